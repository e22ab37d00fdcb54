//! Real traffic between two boxes that are nothing but the programs: no agent, static entries.
//!
//! ```text
//! left: dmvpn0 10.0.0.1 --- wan0 192.0.2.1 ===== wan0 192.0.2.2 --- dmvpn0 10.0.0.2 :right
//! ```

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use aya::programs::XdpMode;
use dmvpn_common::{
    FastPath, Interface, InterfaceRole, PeerMac, Tunnel, Underlay, UnderlayState, program_names,
};
use nix::sys::socket::{getsockopt, sockopt};

use crate::{
    hub::add_neighbour,
    namespace::{Namespace, index_of, ip, mac_text, run},
    programs::{Programs, Settings, peer_of},
};

/// Longest time anything may take; milliseconds when nothing is wrong.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How the two boxes are built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) key: Option<u32>,
    /// XDP, or TC.
    pub(crate) mode: Option<XdpMode>,
    /// Whether the tunnel program knows the next hop's link-layer address, or leaves that to the kernel.
    pub(crate) next_hop: UnderlayState,
    /// `ethtool -K wan0`: what the underlay promises to do for the sender.
    pub(crate) offload: &'static str,
    /// The CPUs that share the work of the right one, if any.
    pub(crate) spread: &'static [u32],
    /// Largest TCP segment; 0: any.
    pub(crate) mss: u16,
}

pub(crate) const PLAN: Plan = Plan {
    key: None,
    mode: Some(XdpMode::Driver),
    next_hop: UnderlayState::Valid,
    // A veth pair hands on packets without checksums, and XDP cannot tell. Real interfaces complete them.
    offload: "tx off",
    spread: &[],
    mss: 0,
};

/// One of the boxes, by the last byte of its addresses.
struct Side {
    ours: u8,
    theirs: u8,
}

const LEFT: Side = Side { ours: 1, theirs: 2 };
const RIGHT: Side = Side { ours: 2, theirs: 1 };

impl Side {
    const fn wan_mac(byte: u8) -> [u8; 6] {
        [2, 0, 0, 0, 0, byte]
    }

    const fn nbma(byte: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, byte)
    }

    /// Sets the namespace of the calling thread up. `wan0` is there.
    fn build(&self, plan: Plan) -> Programs {
        let Self { ours, theirs } = *self;
        // Multicast of IPv6's own would be counted as dropped.
        fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").unwrap();
        fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        ip(&format!("link set wan0 address {} up", mac_text(Self::wan_mac(ours))));
        ip(&format!("address add 192.0.2.{ours}/24 dev wan0"));
        run("ethtool", &format!("-K wan0 {}", plan.offload));
        ip(&format!("link add dmvpn0 address {} type veth peer name dmvpn0-x", mac_text(PeerMac::TUNNEL.0)));
        ip("link set dmvpn0-x up");
        ip("link set dmvpn0 mtu 1472 up");
        ip(&format!("address add 10.0.0.{ours}/24 dev dmvpn0"));
        // Without it, native XDP cannot redirect to the far end.
        run("ethtool", "-K dmvpn0 gro on");
        add_neighbour(&format!("10.0.0.{theirs}"), 1);

        let tunnel = Tunnel {
            id: 1,
            ifindex: index_of("dmvpn0"),
            far_ifindex: index_of("dmvpn0-x"),
            network_id: 1,
            flags: 0,
            mtu: 1472,
            fast_path: FastPath::Full,
            mss_ipv4: plan.mss,
            mss_ipv6: 0,
        };
        let spread = if ours == RIGHT.ours { plan.spread } else { &[] };
        let mut programs = Programs::load_with(Settings { spread, ..Settings::default() });
        programs.add_tunnel(Self::nbma(ours), plan.key, tunnel);
        programs.set_interface(
            tunnel.ifindex,
            Interface { role: InterfaceRole::Tunnel, tunnel: 1, mss_ipv4: plan.mss, ..Interface::default() },
        );
        programs.add_peer(1, &peer_of(Self::nbma(ours), &tunnel, Self::nbma(theirs), plan.key));
        programs.set_next_hop(
            1,
            Underlay {
                state: plan.next_hop,
                ifindex: index_of("wan0"),
                route_ifindex: index_of("wan0"),
                gateway: IpAddr::from(Self::nbma(theirs)).into(),
                gateway_mac: Self::wan_mac(theirs),
                source_mac: Self::wan_mac(ours),
                ..Underlay::default()
            },
        );
        match plan.mode {
            Some(mode) if spread.is_empty() => programs.attach_underlay("wan0", mode),
            Some(mode) => programs.attach_spread("wan0", mode),
            None => programs.attach_underlay_tc("wan0"),
        }
        programs.attach_tunnel("dmvpn0");
        programs
    }
}

/// Two boxes that are connected.
pub(crate) struct Pair {
    pub(crate) left: Namespace,
    pub(crate) right: Namespace,
    pub(crate) programs: [Programs; 2],
}

impl Pair {
    pub(crate) fn new(plan: Plan) -> Self {
        Self::of([plan; 2])
    }

    /// The left one, and the right one.
    fn of(plans: [Plan; 2]) -> Self {
        let (left, right) = (Namespace::new(), Namespace::new());
        left.run(|| ip(&format!("link add wan0 type veth peer name wan0 netns {}", right.path())));
        let programs = [left.run(|| LEFT.build(plans[0])), right.run(|| RIGHT.build(plans[1]))];
        Self { left, right, programs }
    }

    /// Sends `size` bytes by TCP through the tunnel, and back. No segment may arrive with a wrong checksum.
    pub(crate) fn transfer(&self, size: usize) {
        let listener = self.right.run(|| TcpListener::bind("10.0.0.2:7").unwrap());
        // Not joined before it is known to end: it waits for a connection that may never come.
        let echo = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap();
            stream.write_all(&received).unwrap();
        });
        let server = ([10, 0, 0, 2], 7).into();
        let mut stream = self.left.run(|| TcpStream::connect_timeout(&server, PATIENCE).unwrap());
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&content(size)).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut returned = Vec::new();
        stream.read_to_end(&mut returned).unwrap();
        echo.join().unwrap();
        assert!(returned == content(size), "the content changed on the way");
        for side in [&self.left, &self.right] {
            assert_eq!(side.run(|| checksum_errors("Tcp")), 0);
        }
    }
}

/// Bytes whose period is odd, so that a missing or moved piece is seen.
fn content(size: usize) -> Vec<u8> {
    (0..=250).cycle().take(size).collect()
}

/// Segments or datagrams with a wrong checksum, in the namespace of the calling thread.
fn checksum_errors(protocol: &str) -> u64 {
    let counters = fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let mut lines = counters.lines().filter_map(|line| line.strip_prefix(protocol)?.strip_prefix(": "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let place = names.split(' ').position(|name| name == "InCsumErrors").unwrap();
    values.split(' ').nth(place).unwrap().parse().unwrap()
}

#[test]
fn tcp_goes_both_ways_in_every_mode() {
    for plan in [
        PLAN,
        Plan { key: Some(42), ..PLAN },
        Plan { next_hop: UnderlayState::Unresolved, ..PLAN },
        // Generic XDP leaves alone what was redirected before, even when that was at the other end of a veth pair. The
        // kernel does not call sending to a neighbour a redirect. On real interfaces either works.
        Plan { mode: Some(XdpMode::Skb), next_hop: UnderlayState::Unresolved, ..PLAN },
        Plan { mode: Some(XdpMode::Skb), key: Some(42), next_hop: UnderlayState::Unresolved, ..PLAN },
    ] {
        println!("{plan:?}");
        let pair = Pair::new(plan);
        pair.transfer(3_000_000);
        let [left, right] = &pair.programs;
        for (programs, other) in [(left, right), (right, left)] {
            assert_eq!(programs.drops(), [], "{plan:?}");
            let (counters, others) = (programs.counters(1), other.counters(1));
            assert!(counters.sent().bytes > 3_000_000, "{plan:?}: {counters:?}");
            assert_eq!(
                counters.sent().packets,
                others.received().packets,
                "{plan:?}: segments are counted, not buffers"
            );
        }
    }
}

/// Socket buffers may lack checksums, or be several packets put together: TC knows.
#[test]
fn tcp_goes_both_ways_at_tc() {
    for plan in [
        Plan { mode: None, ..PLAN },
        Plan { mode: None, offload: "tx on", ..PLAN },
        Plan { mode: None, offload: "tx on gro on", key: Some(42), ..PLAN },
    ] {
        println!("{plan:?}");
        let pair = Pair::new(plan);
        pair.transfer(3_000_000);
        for programs in &pair.programs {
            assert_eq!(programs.drops(), [], "{plan:?}");
            let counters = programs.counters(1);
            assert!(counters.received_tc.bytes > 3_000_000, "{plan:?}: {counters:?}");
            assert_eq!(counters.received_xdp.packets, 0, "{plan:?}");
        }
    }
}

/// The SYN leaves the sender with a checksum or without, and is changed there; it is changed again on the other side, if
/// it is too large still. A wrong checksum would not be answered.
#[test]
fn segments_are_lowered_whoever_computes_the_checksums() {
    const LARGEST: [(u16, u16); 3] = [(1200, 1200), (1200, 0), (0, 1200)];
    for plan in [
        PLAN,
        Plan { mode: None, ..PLAN },
        Plan { mode: None, offload: "tx on", ..PLAN },
        Plan { mode: None, offload: "tx on gro on", key: Some(42), ..PLAN },
    ] {
        for (left, right) in LARGEST {
            println!("{plan:?} {left} {right}");
            let pair = Pair::of([Plan { mss: left, ..plan }, Plan { mss: right, ..plan }]);
            // What the tunnel interface itself computes checksums for leaves it to a device that does not.
            for (side, promise) in [(&pair.left, "on"), (&pair.right, "off")] {
                side.run(|| run("ethtool", &format!("-K dmvpn0 tx {promise}")));
                side.run(|| fs::write("/proc/sys/net/ipv4/tcp_timestamps", "0").unwrap());
            }
            for (from, to, address) in
                [(&pair.left, &pair.right, "10.0.0.2:7"), (&pair.right, &pair.left, "10.0.0.1:7")]
            {
                let listener = to.run(|| TcpListener::bind(address).unwrap());
                let address = listener.local_addr().unwrap();
                let stream = from.run(|| TcpStream::connect_timeout(&address, PATIENCE).unwrap());
                let (accepted, _) = listener.accept().unwrap();
                for end in [stream, accepted] {
                    assert_eq!(
                        getsockopt(&end, sockopt::TcpMaxSeg).unwrap(),
                        1200,
                        "{plan:?} {left} {right}"
                    );
                }
                assert_eq!(to.run(|| checksum_errors("Tcp")), 0);
                assert_eq!(from.run(|| checksum_errors("Tcp")), 0);
            }
            pair.transfer(1_000_000);
        }
    }
}

/// A large buffer passes the tunnel program as one and is segmented behind it.
#[test]
fn large_buffers_are_encapsulated_once() {
    // The kernel counts runs of programs while this is held.
    let _statistics = aya::sys::enable_stats(aya::sys::Stats::RunTime).unwrap();
    let pair = Pair::new(PLAN);
    pair.transfer(10_000_000);
    let packets: u64 = pair.programs.iter().map(|programs| programs.counters(1).sent().packets).sum();
    let runs: u64 =
        pair.programs.iter().map(|programs| programs.info(program_names::TC_TUNNEL).run_count()).sum();
    println!("{packets} packets in {runs} runs");
    assert!(runs * 2 < packets, "{packets} packets in {runs} runs");
}

/// What happens when the underlay promises checksums and does not compute them, as a veth pair does: native XDP gets the
/// packet without, and the receiver drops it. Nothing on the receiving side can tell; the sender's underlay has to
/// compute them (`ethtool -K wan0 tx off`), as any real interface does.
#[test]
fn a_veth_pair_that_promises_checksums_loses_them() {
    let pair = Pair::new(Plan { offload: "tx on", ..PLAN });
    let receiver = pair.right.run(|| UdpSocket::bind("10.0.0.2:7").unwrap());
    let sender = pair.left.run(|| UdpSocket::bind("10.0.0.1:0").unwrap());
    sender.send_to(b"no checksum", "10.0.0.2:7").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while pair.right.run(|| checksum_errors("Udp")) == 0 {
        assert!(Instant::now() < deadline, "no checksum error: {:?}", pair.programs[1].counters(1));
        std::thread::sleep(Duration::from_millis(5));
    }
    receiver.set_nonblocking(true).unwrap();
    let nothing = receiver.recv(&mut [0; 16]).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
}
