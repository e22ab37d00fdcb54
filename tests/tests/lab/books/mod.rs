//! The books of a hub balance: what reached it is what it sent on, delivered, or counted as dropped for a reason; to the
//! packet and to the byte, for each peer, direction and path, while good traffic and bad goes through real wires.

mod ledger;
mod packets;

use std::{
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result};
use dmvpn_common::{DropReason, PeerCounters, Traffic};
use dmvpn_tests::{
    agent::Agent,
    lab::{Lab, Plan},
    poll,
};

use self::{
    ledger::Ledger,
    packets::{Gre, Inner, Receiver, send_datagrams},
};

const PATIENCE: Duration = Duration::from_secs(20);
const KEY: u32 = 42;
/// Outer header of a packet to or from a spoke, with its key, and that of the frame.
const OUTER: u64 = 28;
const ETHERNET: u64 = 14;

/// Payload of most datagrams, and the length of their packets.
const PAYLOAD: usize = 100;
const LENGTH: u64 = 128;
/// GRE with a key and an IPv4 packet.
const DATA: [u8; 4] = [0x20, 0, 0x08, 0];
/// Of all that is wrong a few.
const FEW: u64 = 5;

/// What the router lets through to the second spoke, and what is left of it.
const NARROW: u32 = 1400;
const INNER: u32 = NARROW - 28;
/// Longer than that, but not too long for the tunnel.
const LONG: u16 = 1400;

/// Where the hub's underlay program runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    Xdp,
    Tc,
}

impl Path {
    fn received(self, packets: u64, length: u64) -> PeerCounters {
        let traffic = traffic(packets, length);
        match self {
            Self::Xdp => PeerCounters { received_xdp: traffic, ..PeerCounters::default() },
            Self::Tc => PeerCounters { received_tc: traffic, ..PeerCounters::default() },
        }
    }

    fn transit(self, packets: u64, length: u64) -> PeerCounters {
        let traffic = traffic(packets, length);
        match self {
            Self::Xdp => PeerCounters { transit_xdp: traffic, ..PeerCounters::default() },
            Self::Tc => PeerCounters { transit_tc: traffic, ..PeerCounters::default() },
        }
    }
}

fn traffic(packets: u64, length: u64) -> Traffic {
    Traffic { packets, bytes: packets * length }
}

fn sent_by_the_kernel(packets: u64, bytes: u64) -> PeerCounters {
    PeerCounters { sent_tc: Traffic { packets, bytes }, ..PeerCounters::default() }
}

/// A hub that checks sources and has no receivers of multicast, and two spokes in Phase 1, so that all goes by the hub.
struct Books {
    lab: Lab,
    path: Path,
    hub: Agent,
    _spokes: Vec<Agent>,
    /// An address on the underlay that is no spoke's.
    stranger: Ipv4Addr,
    before: Ledger,
    expected: Ledger,
}

impl Books {
    fn open(path: Path) -> Result<Self> {
        let xdp = if path == Path::Xdp { "native" } else { "auto" };
        let lab = Lab::new(Plan { phase: 1, xdp, ..Plan::default() })?;
        for node in lab.nodes() {
            // Nobody looks for neighbours or routers by multicast.
            for conf in ["all", "default"] {
                node.namespace.set(&format!("ipv6/conf/{conf}/disable_ipv6"), "1")?;
            }
        }
        if path == Path::Tc {
            hide_the_driver(&lab)?;
        }
        let mut config = lab.config(&lab.hub);
        config.more = "check-source: true\nmulticast:\n  clients: false".into();
        let hub = Agent::start(&lab.hub, &config)?;
        let spokes = lab.spokes.iter().map(|spoke| lab.start(spoke)).collect::<Result<Vec<_>>>()?;
        for spoke in &spokes {
            spoke.wait_registered()?;
            hub.wait_cached(spoke.node())?;
        }
        let stranger = Ipv4Addr::new(198, 18, 1, 99);
        lab.spokes[0].namespace.command(&format!("ip address add {stranger}/24 dev underlay0"))?;
        lab.hub.namespace.command("ip route add blackhole 192.168.60.0/24")?;
        lab.hub.namespace.command("ip route add 239.0.0.0/8 dev dmvpn0")?;
        let mut books = Self {
            path,
            hub,
            _spokes: spokes,
            stranger,
            before: Ledger::default(),
            expected: Ledger::default(),
            lab,
        };
        books.narrow()?;
        books.before = Ledger::read(&books.hub)?;
        Ok(books)
    }

    /// Lets the hub learn that the way to the second spoke is narrow.
    fn narrow(&self) -> Result<()> {
        let Self { lab, hub, .. } = self;
        let narrow = format!("ip route change 198.18.2.0/24 dev spoke-b src 198.18.2.254 mtu lock {NARROW}");
        lab.underlay.command(&narrow)?;
        let b = lab.spoke_lan(1)?;
        let socket = lab.hub.namespace.run(|| UdpSocket::bind(("0.0.0.0", 0)).context("a socket"))?;
        poll::until("the path MTU", PATIENCE, || {
            let known =
                hub.peers()?.into_iter().any(|peer| peer.nbma == lab.spokes[1].nbma && peer.mtu == INNER);
            if !known {
                // An error tells that it is known to the kernel, too.
                let _ = socket.send_to(&[0; 1400], (b.address, 9));
            }
            Ok(known.then_some(()))
        })
    }

    /// What comes from the first spoke's own socket, rightly or not.
    fn gre(&self) -> Gre<'_> {
        let spoke = &self.lab.spokes[0];
        Gre { namespace: &spoke.namespace, source: spoke.nbma, destination: self.lab.hub.nbma }
    }

    /// Books that the first spoke sent so many packets of this length, and the hub took them.
    fn received(&mut self, packets: u64, length: u64) {
        self.expected.exchanged(self.lab.spokes[0].nbma, self.path.received(packets, length));
    }

    /// Books dropped frames that had packets of this length in them.
    fn dropped(&mut self, reason: DropReason, packets: u64, length: u64) {
        self.expected.dropped(reason, packets, ETHERNET + OUTER + length);
    }

    /// Traffic as it should be.
    fn good(&mut self) -> Result<()> {
        let (a, b) = (self.lab.spoke_lan(0)?.clone(), self.lab.spoke_lan(1)?.clone());
        let hub = self.lab.hub.clone();
        let (at_b, at_hub) =
            (Receiver::open(&b.host, b.address)?, Receiver::open(&hub.namespace, hub.address)?);
        // From LAN to LAN, to the hub itself, and from it.
        send_datagrams(&a.host, b.address, PAYLOAD, 64, 300)?;
        send_datagrams(&a.host, hub.address, PAYLOAD, 64, 50)?;
        send_datagrams(&hub.namespace, b.address, PAYLOAD, 64, 30)?;
        // Those that may be cut, which the agent does.
        let long = Inner { dont_fragment: false, ..self.inner(b.address, LONG)? };
        self.gre().send(DATA, Some(KEY), &long.bytes(), 0, FEW)?;
        at_b.expect(300 + 30 + FEW, PATIENCE)?;
        at_hub.expect(50, PATIENCE)?;

        self.received(300 + 50, LENGTH);
        self.received(FEW, LONG.into());
        let to_b = self.lab.spokes[1].nbma;
        self.expected.exchanged(to_b, self.path.transit(300, LENGTH));
        self.expected.exchanged(to_b, sent_by_the_kernel(30, 30 * LENGTH));
        // In two pieces, the second one with a header of its own.
        self.expected.exchanged(to_b, sent_by_the_kernel(2 * FEW, FEW * (u64::from(LONG) + 20)));
        Ok(())
    }

    /// A packet from the first spoke's LAN.
    fn inner(&self, destination: Ipv4Addr, length: u16) -> Result<Inner> {
        let source = self.lab.spoke_lan(0)?.address;
        Ok(Inner { source, destination, length, claimed: None, dont_fragment: true, right_checksum: true })
    }

    /// What the hub has to refuse before it takes it.
    fn refused(&mut self) -> Result<()> {
        use DropReason as Reason;
        let packet = self.inner(self.lab.spoke_lan(1)?.address, 128)?;
        let good = packet.bytes();
        let longer = Inner { claimed: Some(129), ..packet }.bytes();
        // First the head of GRE, then the key, the payload, the outer type of service.
        for (head, key, payload, tos, reason) in [
            (DATA, Some(43), &good[..], 0, Reason::WrongKey),
            ([0, 0, 0x08, 0], None, &good, 0, Reason::WrongKey),
            ([0x20, 0x01, 0x08, 0], Some(KEY), &good, 0, Reason::GreVersion),
            ([0x60, 0, 0x08, 0], Some(KEY), &good, 0, Reason::GreVersion),
            ([0x20, 0, 0x65, 0x58], Some(KEY), &good, 0, Reason::GreProtocol),
            (DATA, Some(KEY), &good[..19], 0, Reason::Truncated),
            (DATA, Some(KEY), &good[..100], 0, Reason::InnerMalformed),
            (DATA, Some(KEY), &longer, 0, Reason::InnerMalformed),
            ([0x20, 0, 0x86, 0xdd], Some(KEY), &good, 0, Reason::InnerMalformed),
            (DATA, Some(KEY), &good, 3, Reason::Congestion),
        ] {
            self.gre().send(head, key, payload, tos, FEW)?;
            let shorter = if key.is_none() { 4 } else { 0 };
            self.dropped(reason, FEW, payload.len() as u64 - shorter);
        }
        let stranger = Gre { source: self.stranger, ..self.gre() };
        stranger.send(DATA, Some(KEY), &good, 0, FEW)?;
        self.dropped(Reason::UnknownPeer, FEW, LENGTH);
        Ok(())
    }

    /// What the hub takes and then has to drop, or to answer.
    fn dropped_later(&mut self) -> Result<()> {
        let (a, b) = (self.lab.spoke_lan(0)?.clone(), self.lab.spoke_lan(1)?.clone());
        let to_b = self.inner(b.address, 128)?;
        let spoofed = Inner { source: Ipv4Addr::new(192, 168, 2, 77), ..to_b };
        let damaged = Inner { right_checksum: false, ..to_b };
        for (packet, reason) in [(spoofed, DropReason::Spoofed), (damaged, DropReason::InnerMalformed)] {
            self.gre().send(DATA, Some(KEY), &packet.bytes(), 0, FEW)?;
            self.received(FEW, LENGTH);
            self.dropped(reason, FEW, LENGTH);
        }
        send_datagrams(&a.host, Ipv4Addr::new(192, 168, 60, 1), PAYLOAD, 64, FEW)?;
        self.received(FEW, LENGTH);
        self.dropped(DropReason::RouteRefused, FEW, LENGTH);

        // The last hop but one: the kernel says so to the sender, and quotes the packet.
        send_datagrams(&a.host, b.address, PAYLOAD, 2, FEW)?;
        self.received(FEW, LENGTH);
        let to_a = self.lab.spokes[0].nbma;
        self.expected.exchanged(to_a, sent_by_the_kernel(FEW, FEW * (20 + 8 + LENGTH)));

        // Too long for the second spoke, and not to be cut: the agent says so, in a message of 576 bytes.
        let long = self.inner(b.address, LONG)?;
        self.gre().send(DATA, Some(KEY), &long.bytes(), 0, FEW)?;
        self.received(FEW, LONG.into());
        self.expected.dropped(DropReason::TooLong, FEW, ETHERNET + u64::from(LONG));
        self.expected.exchanged(to_a, sent_by_the_kernel(FEW, FEW * 576));

        // Nobody is to receive multicast.
        send_datagrams(&self.lab.hub.namespace, Ipv4Addr::new(239, 1, 2, 3), PAYLOAD, 64, FEW)?;
        self.expected.dropped(DropReason::NoMulticastReceiver, FEW, ETHERNET + LENGTH);
        Ok(())
    }

    /// What the hub's programs leave to the agent: the slow path.
    fn slow(&mut self) -> Result<()> {
        // GRE with a key and a sequence number; with a checksum, which is wrong, and a key.
        const NUMBERED: [u8; 4] = [0x30, 0, 0x08, 0];
        const SUMMED: [u8; 4] = [0xa0, 0, 0x08, 0];
        let b = self.lab.spoke_lan(1)?.clone();
        let at_b = Receiver::open(&b.host, b.address)?;
        let packet = self.inner(b.address, 128)?.bytes();
        let behind = |head: &[u8]| [head, &packet].concat();

        self.gre().send(NUMBERED, Some(KEY), &behind(&[0, 0, 0, 1]), 0, FEW)?;
        at_b.expect(FEW, PATIENCE)?;
        let traffic = traffic(FEW, LENGTH);
        let slow = PeerCounters { received_slow: traffic, ..PeerCounters::default() };
        self.expected.exchanged(self.lab.spokes[0].nbma, slow);
        self.expected.exchanged(self.lab.spokes[1].nbma, sent_by_the_kernel(FEW, FEW * LENGTH));

        // The agent sees GRE without the outer header: four bytes, key, and a number or a checksum.
        let length = 12 + LENGTH;
        self.gre().send(SUMMED, None, &behind(&[0x12, 0x34, 0, 0, 0, 0, 0, 42]), 0, FEW)?;
        self.expected.dropped(DropReason::GreChecksum, FEW, length);
        let stranger = Gre { source: self.stranger, ..self.gre() };
        stranger.send(NUMBERED, Some(KEY), &behind(&[0, 0, 0, 1]), 0, FEW)?;
        self.expected.dropped(DropReason::UnknownPeer, FEW, length);
        self.gre().send(NUMBERED, Some(43), &behind(&[0, 0, 0, 1]), 0, FEW)?;
        self.expected.dropped(DropReason::WrongKey, FEW, length);
        Ok(())
    }

    /// Waits until everything is counted, and compares.
    fn assert_balanced(&self) -> Result<()> {
        let grown = || -> Result<Ledger> { Ok(Ledger::read(&self.hub)?.since(&self.before)) };
        let wait = poll::until("all packets to be counted", PATIENCE, || {
            Ok((grown()? == self.expected).then_some(()))
        });
        let grown = grown()?;
        // What comes out is more readable this way.
        assert_eq!(grown.drops, self.expected.drops);
        assert_eq!(grown.peers, self.expected.peers);
        wait
    }
}

/// Gives the hub's NBMA address to an interface on top, whose driver has no XDP.
fn hide_the_driver(lab: &Lab) -> Result<()> {
    let nbma = lab.hub.nbma;
    for line in [
        &format!("ip address del {nbma}/24 dev underlay0"),
        "ip link add top0 link underlay0 type macvlan mode private",
        "ip link set top0 up",
        &format!("ip address add {nbma}/24 dev top0"),
        "ip route add default via 198.18.0.254",
    ] {
        lab.hub.namespace.command(line)?;
    }
    Ok(())
}

fn balance(path: Path) -> Result<()> {
    let mut books = Books::open(path)?;
    books.good()?;
    books.refused()?;
    books.dropped_later()?;
    books.slow()?;
    books.good()?;
    books.assert_balanced()
}

#[test]
fn of_a_hub_with_xdp_balance() -> Result<()> {
    balance(Path::Xdp)
}

#[test]
fn of_a_hub_without_xdp_balance() -> Result<()> {
    balance(Path::Tc)
}
