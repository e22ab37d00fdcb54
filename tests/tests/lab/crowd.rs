//! A hub with ten thousand registered spokes: each of them gets what is sent to it, once.

use std::{
    collections::HashSet,
    io::{ErrorKind, Read as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket},
    ops::Range,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use dmvpn::control::protocol::DropRow;
use dmvpn_common::{DropReason, IPPROTO_GRE};
use dmvpn_tests::{
    agent::Agent,
    bench::hosts::Hosts,
    config::TUNNEL,
    crowd::{Crowd, address, nbma},
    wire::UNDERLAY,
};
use nix::{
    net::if_::if_nametoindex,
    sys::socket::{setsockopt, sockopt},
};
use socket2::{Domain, Protocol, Socket, Type};

const SPOKES: u32 = 10_000;
const KEY: u32 = 42;
/// Packets under way at any time: fewer than any queue between the two ends has room for.
const BATCH: u32 = 64;
/// Longest silence while packets are awaited.
const PATIENCE: Duration = Duration::from_secs(10);
/// Room for all that is under way, in bytes.
const BUFFER: usize = 64 << 20;
/// Where the packets are for; nobody listens.
const PORT: u16 = 9;

const IP_LENGTH: usize = 20;
const IPV6_LENGTH: usize = 40;
const GRE_LENGTH: usize = 8;
const UDP_LENGTH: usize = 8;
const UDP: u8 = 17;
const ETHER_IPV4: [u8; 2] = [0x08, 0x00];
const ETHER_IPV6: [u8; 2] = [0x86, 0xdd];

/// What came to the crowd: to which NBMA address, for which protocol address, and with which number.
type Arrival = (Ipv4Addr, IpAddr, u32);

/// The crowd's end of the wire.
struct Ears {
    socket: Socket,
}

impl Ears {
    fn open(hosts: &Hosts) -> Result<Self> {
        let socket = hosts.b.namespace.run(|| {
            Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(IPPROTO_GRE))))
                .context("a raw socket")
        })?;
        setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).context("the buffer's size")?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket })
    }

    /// The next packet that is not NHRP's; `None` after a long silence.
    fn next(&mut self) -> Result<Option<Arrival>> {
        let mut buffer = [0; 2048];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(length) => {
                    if let Some(arrival) = arrival(&buffer[..length])? {
                        return Ok(Some(arrival));
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Ok(None);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("receiving"),
            }
        }
    }

    /// Receives until all of `expected` has come. Anything else that comes is an error, a second copy too.
    fn expect(&mut self, expected: impl Iterator<Item = Arrival>) -> Result<()> {
        let mut missing: HashSet<_> = expected.collect();
        let all = missing.len();
        while !missing.is_empty() {
            let Some(arrival) = self.next()? else {
                let one = missing.iter().min();
                bail!("{} of {all} packets have not come, {one:?} among them", missing.len());
            };
            ensure!(missing.remove(&arrival), "{arrival:?} was not to come, or not again");
        }
        Ok(())
    }
}

/// `None` for what is no packet in the tunnel.
fn arrival(bytes: &[u8]) -> Result<Option<Arrival>> {
    let outer = bytes[16..IP_LENGTH].first_chunk::<4>().context("an outer header")?;
    let (gre, inner) = bytes[IP_LENGTH..].split_at(GRE_LENGTH);
    let (to, payload): (IpAddr, _) = match [gre[2], gre[3]] {
        ETHER_IPV4 if inner[9] == UDP => {
            let to = inner[16..].first_chunk::<4>().context("an inner header")?;
            (Ipv4Addr::from(*to).into(), &inner[IP_LENGTH + UDP_LENGTH..])
        }
        ETHER_IPV6 if inner[6] == UDP => {
            let to = inner[24..].first_chunk::<16>().context("an inner header")?;
            (Ipv6Addr::from(*to).into(), &inner[IPV6_LENGTH + UDP_LENGTH..])
        }
        // NHRP, and what the kernel says itself (RFC 3810, RFC 4861).
        _ => return Ok(None),
    };
    ensure!(gre[4..] == KEY.to_be_bytes(), "another key: {gre:?}");
    let number = payload.try_into().context("a payload of four bytes")?;
    Ok(Some(((*outer).into(), to, u32::from_be_bytes(number))))
}

/// A hub and its spokes, none of them registered yet.
fn hub() -> Result<(Hosts, Agent, Crowd)> {
    let hosts = Hosts::new()?;
    let mut config = hosts.config(&hosts.a);
    config.address = "10.0.0.1/8".parse()?;
    config.max_peers = Some(SPOKES);
    // No word about shorter ways: there is no spoke to take them.
    config.phase = 1;
    config.log = "warn";
    "limits: {packets-total: 1048576}\n".clone_into(&mut config.more);
    let hub = Agent::start(&hosts.a, &config)?;
    let crowd = Crowd::gather(&hosts, KEY)?;
    Ok((hosts, hub, crowd))
}

/// What was dropped, but for address resolution.
fn drops(hub: &Agent) -> Result<Vec<DropRow>> {
    let resolution = DropReason::NeighbourSolicitation.name();
    Ok(hub.drops()?.into_iter().filter(|row| row.reason != resolution).collect())
}

fn batches() -> impl Iterator<Item = Range<u32>> {
    (0..SPOKES).step_by(usize::try_from(BATCH).unwrap_or(1)).map(|first| first..(first + BATCH).min(SPOKES))
}

/// A UDP packet from one spoke to another in GRE, as the first sends it to the hub. The kernel writes the outer checksum
/// and length.
fn transit(hosts: &Hosts, from: u32, to: u32, number: u32) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, IPPROTO_GRE, 0, 0];
    packet.extend(nbma(from).octets());
    packet.extend(hosts.a.nbma.octets());
    packet.extend([0x20, 0]);
    packet.extend(ETHER_IPV4);
    packet.extend(KEY.to_be_bytes());
    let mut inner = vec![0x45, 0, 0, 32, 0, 0, 0x40, 0, 64, UDP, 0, 0];
    inner.extend(address(from).octets());
    inner.extend(address(to).octets());
    let sum: u32 = inner.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let [_, _, high, low] = (!folded).to_be_bytes();
    inner[10..12].copy_from_slice(&[high, low]);
    // UDP, without a checksum.
    inner.extend([0, 9, 0, 9, 0, 12, 0, 0]);
    inner.extend(number.to_be_bytes());
    packet.extend(inner);
    packet
}

#[test]
fn each_of_ten_thousand_spokes_is_reached() -> Result<()> {
    let (hosts, hub, mut crowd) = hub()?;
    // So that the wire takes what the hub's XDP program sends back.
    hosts.b.occupy_xdp(UNDERLAY)?;
    crowd.register(0..SPOKES).with_context(|| hub.log())?;
    drop(crowd);
    let before = drops(&hub)?;
    let mut ears = Ears::open(&hosts)?;
    let to = |spoke: u32, number: u32| (nbma(spoke), IpAddr::V4(address(spoke)), number);

    // From the box itself.
    let socket = hosts.a.namespace.run(|| UdpSocket::bind((hosts.a.address, 0)).context("a socket"))?;
    for batch in batches() {
        for spoke in batch.clone() {
            socket.send_to(&spoke.to_be_bytes(), (address(spoke), PORT))?;
        }
        ears.expect(batch.map(|spoke| to(spoke, spoke))).context("from the hub")?;
    }

    // From a spoke to all others, through the hub's XDP program.
    let raw = hosts.b.namespace.run(|| {
        Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW))).context("a raw socket")
    })?;
    let hub_nbma = SocketAddr::from((hosts.a.nbma, 0)).into();
    for batch in batches() {
        let others = batch.filter(|spoke| *spoke != 0);
        for spoke in others.clone() {
            raw.send_to(&transit(&hosts, 0, spoke, SPOKES + spoke), &hub_nbma)?;
        }
        ears.expect(others.map(|spoke| to(spoke, SPOKES + spoke))).context("from a spoke")?;
    }
    // What would have come twice has come by now: nothing is before this one.
    socket.send_to(&u32::MAX.to_be_bytes(), (address(1), PORT))?;
    ears.expect(std::iter::once(to(1, u32::MAX)))?;
    assert_eq!(drops(&hub)?, before);
    Ok(())
}

/// OSPF, RIP, EIGRP, PIM, and OSPF version 3.
const GROUPS: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(224, 0, 0, 5)),
    IpAddr::V4(Ipv4Addr::new(224, 0, 0, 9)),
    IpAddr::V4(Ipv4Addr::new(224, 0, 0, 10)),
    IpAddr::V4(Ipv4Addr::new(224, 0, 0, 13)),
    IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 5)),
];

/// Sends a packet to a group by the hub's tunnel interface.
fn say(hosts: &Hosts, group: IpAddr, number: u32) -> Result<()> {
    hosts.a.namespace.run(|| {
        let (socket, to): (_, SocketAddr) = match group {
            IpAddr::V4(group) => {
                let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
                socket.set_multicast_if_v4(&hosts.a.address)?;
                (socket, (group, PORT).into())
            }
            IpAddr::V6(group) => {
                let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
                (socket, SocketAddrV6::new(group, PORT, 0, if_nametoindex(TUNNEL)?).into())
            }
        };
        socket.send_to(&number.to_be_bytes(), &to.into()).map(drop).context("sending")
    })
}

/// Packets that the hub's tunnel interface has received.
fn received(hosts: &Hosts) -> Result<u64> {
    let text = hosts.a.namespace.command(&format!("ip -json -stats link show dev {TUNNEL}"))?;
    let link: serde_json::Value = serde_json::from_str(&text)?;
    link[0]["stats64"]["rx"]["packets"].as_u64().context("a count")
}

#[test]
fn multicast_is_copied_to_ten_thousand_spokes() -> Result<()> {
    let (hosts, hub, mut crowd) = hub()?;
    // A network card has a queue, and is slower than the hub; here so slow that all copies are in the queue before the
    // other end of the wire, which holds a thousand, is full. The queue has room for a copy for everyone, and for
    // everyone once more: the kernel may have something to say itself.
    let namespace = &hosts.a.namespace;
    namespace.command(&format!("ip link set {UNDERLAY} txqueuelen {}", 2 * SPOKES))?;
    namespace
        .command(&format!("tc qdisc add dev {UNDERLAY} root handle 1: tbf rate 8mbit burst 8kb limit 8mb"))?;
    namespace.command(&format!("tc qdisc add dev {UNDERLAY} parent 1:1 handle 2: pfifo"))?;
    namespace.set(&format!("ipv6/conf/{TUNNEL}/router_solicitations"), "0")?;
    namespace.command(&format!("ip address add fe80::1/64 dev {TUNNEL} nodad"))?;
    let mut ears = Ears::open(&hosts)?;
    let mut registered = 0;
    for receivers in [1, 100, SPOKES] {
        crowd.register(registered..receivers).with_context(|| hub.log())?;
        registered = receivers;
        let before = (drops(&hub)?, received(&hosts)?);
        for (number, group) in (0..).zip(GROUPS) {
            let what = || format!("{group} to {receivers}");
            say(&hosts, group, number).with_context(what)?;
            ears.expect((0..receivers).map(|spoke| (nbma(spoke), group, number))).with_context(what)?;
        }
        // What would have come twice has come by now: nothing is before this one.
        let marker = namespace.run(|| UdpSocket::bind((hosts.a.address, 0)).context("a socket"))?;
        marker.send_to(&u32::MAX.to_be_bytes(), (address(0), PORT))?;
        ears.expect(std::iter::once((nbma(0), address(0).into(), u32::MAX)))?;
        // And nothing has come back.
        assert_eq!((drops(&hub)?, received(&hosts)?), before, "{receivers} receivers");
    }
    Ok(())
}
