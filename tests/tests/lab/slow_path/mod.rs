//! Outer packets that the programs leave to the kernel and the agent: what is in them arrives once, or is counted.

mod ipv6;
mod packet;
mod refuse;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result};
use dmvpn::control::protocol::{Path, PeerRow};
use dmvpn_tests::{
    agent::Agent,
    lab::{Lab, Node, Plan},
    namespace::Namespace,
    poll,
    traffic::FrameSender,
    wire::UNDERLAY,
};

use self::packet::{CHECKED, Gre, Ip, PLAIN, PORT};

const PATIENCE: Duration = Duration::from_secs(15);

/// Takes what datagrams arrive at a host, each with its number.
struct Inbox(UdpSocket);

impl Inbox {
    fn open(host: &Namespace, address: Ipv4Addr) -> Result<Self> {
        let socket = host.run(|| UdpSocket::bind((address, PORT)).context("a socket"))?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// How often each number has arrived since the last call.
    fn numbers(&self) -> BTreeMap<u32, u32> {
        let mut numbers = BTreeMap::new();
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length) = self.0.recv(&mut buffer) {
            let number =
                buffer[..length].first_chunk().map_or(u32::MAX, |number| u32::from_be_bytes(*number));
            *numbers.entry(number).or_default() += 1;
        }
        numbers
    }

    /// Waits until every number below `count` has arrived, each once.
    fn wait_for_all(&self, count: u32) -> Result<()> {
        let mut numbers = BTreeMap::new();
        let wanted: BTreeMap<_, _> = (0..count).map(|number| (number, 1)).collect();
        poll::until("every datagram", PATIENCE, || {
            for (number, times) in self.numbers() {
                *numbers.entry(number).or_default() += times;
            }
            Ok((numbers.len() >= wanted.len()).then_some(()))
        })
        .with_context(|| format!("arrived: {numbers:?}"))?;
        // What comes twice comes soon.
        std::thread::sleep(Duration::from_millis(50));
        for (number, times) in self.numbers() {
            *numbers.entry(number).or_default() += times;
        }
        assert_eq!(numbers, wanted);
        Ok(())
    }
}

/// A payload with its number, and filled up to `length` bytes.
fn numbered(number: u32, length: usize) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(length.max(4), 0xab);
    payload
}

/// Sends packets as the underlay does, to the hub.
fn to_hub(lab: &Lab) -> Result<FrameSender> {
    FrameSender::open((&lab.underlay, &lab.hub.name), (&lab.hub.namespace, UNDERLAY))
}

fn peer(agent: &Agent, nbma: Ipv4Addr) -> Result<PeerRow> {
    let peer = agent.peers()?.into_iter().find(|peer| peer.nbma == nbma);
    peer.with_context(|| format!("no peer {nbma}"))
}

/// Packets and bytes of the slow path.
fn slow(peer: &PeerRow) -> (u64, u64) {
    let row = peer.paths.iter().find(|row| row.path == Path::Slow);
    row.map_or((0, 0), |row| (row.received_packets, row.received_bytes))
}

/// A tunnel packet from a spoke to the hub.
fn outer<'a>(lab: &Lab, spoke: &Node) -> Ip<'a> {
    Ip::between(spoke.nbma, lab.hub.nbma)
}

#[test]
fn what_the_programs_cannot_take_out_arrives_once() -> Result<()> {
    for xdp in ["native", "generic"] {
        let lab = Lab::new(Plan { xdp, ..Plan::default() })?;
        let (hub, _spokes) = lab.start_all()?;
        let spoke = &lab.spokes[0];
        let sender = to_hub(&lab)?;
        // To the hub itself, and by the hub to a host behind the other spoke.
        let host = lab.spoke_lan(1)?;
        let places = [(&lab.hub.namespace, lab.hub.address), (&host.host, host.address)];
        for (namespace, address) in places {
            let before = slow(&peer(&hub, spoke.nbma)?);
            let drops = hub.drops()?;
            let inbox = Inbox::open(namespace, address)?;
            let source = if address == lab.hub.address { spoke.address } else { lab.spoke_lan(0)?.address };
            let inner = Ip::between(source, address);
            let plain_outer = outer(&lab, spoke);
            let with_options = Ip { options: &[1, 1, 1, 0], ..plain_outer };
            let mut sent: u32 = 0;
            let mut bytes = 0;
            let mut next = |length| {
                let packet = inner.udp(&numbered(sent, length));
                sent += 1;
                bytes += packet.len();
                packet
            };
            for gre in
                [CHECKED, Gre { sequence: Some(7), ..CHECKED }, Gre { sequence: Some(u32::MAX), ..PLAIN }]
            {
                // Of odd and even lengths.
                for length in [4, 5, 1000] {
                    sender.send(&plain_outer.gre(&gre.around(&next(length))))?;
                }
                sender.send(&with_options.gre(&gre.around(&next(99))))?;
                for piece in plain_outer.fragments(1, &gre.around(&next(1400))) {
                    sender.send(&piece)?;
                }
            }
            sender.send(&with_options.gre(&PLAIN.around(&next(500))))?;
            for (id, length) in [(2, 700), (3, 1400)] {
                for piece in plain_outer.fragments(id, &PLAIN.around(&next(length))) {
                    sender.send(&piece)?;
                }
            }
            inbox.wait_for_all(sent)?;
            let after = slow(&peer(&hub, spoke.nbma)?);
            assert_eq!(after.0 - before.0, u64::from(sent), "{xdp}");
            assert_eq!(after.1 - before.1, u64::try_from(bytes)?, "{xdp}");
            assert_eq!(hub.drops()?, drops, "{xdp}");
        }
    }
    Ok(())
}

/// Nobody but the interface's MTU says how long the inner packets of others are.
#[test]
fn an_inner_packet_longer_than_the_tunnels_mtu_is_cut_or_its_sender_told() -> Result<()> {
    let lab = Lab::new(Plan { spokes: 1, ..Plan::default() })?;
    let (hub, _spokes) = lab.start_all()?;
    let spoke = &lab.spokes[0];
    let sender = to_hub(&lab)?;
    let inbox = Inbox::open(&lab.hub.namespace, lab.hub.address)?;
    let inner = Ip::between(spoke.address, lab.hub.address);
    for piece in outer(&lab, spoke).fragments(9, &PLAIN.around(&inner.udp(&numbered(0, 4000)))) {
        sender.send(&piece)?;
    }
    inbox.wait_for_all(1)?;
    let inner = Ip { dont_fragment: true, ..inner };
    // The message about it goes back to the spoke.
    let before = peer(&hub, spoke.nbma)?.sent_packets;
    for piece in outer(&lab, spoke).fragments(10, &PLAIN.around(&inner.udp(&numbered(1, 4000)))) {
        sender.send(&piece)?;
    }
    poll::until("a drop", PATIENCE, || {
        Ok((hub.dropped(dmvpn_common::DropReason::TooLong)? == 1).then_some(()))
    })?;
    poll::until("a message", PATIENCE, || {
        Ok((peer(&hub, spoke.nbma)?.sent_packets == before + 1).then_some(()))
    })?;
    assert_eq!(inbox.numbers(), BTreeMap::new());
    Ok(())
}
