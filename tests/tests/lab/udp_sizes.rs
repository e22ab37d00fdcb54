//! UDP datagrams of every size between two LANs: whatever the path and the offloads, each one arrives whole, or its
//! sender is told that it is too long. None is lost without a word.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use dmvpn_tests::{
    agent::Agent,
    config::Config,
    lab::{Lab, Lan, Node, Plan},
    namespace::Namespace,
    poll,
    traffic::ping6,
    wire::UNDERLAY,
};
use ipnet::{IpNet, Ipv6Net};
use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt},
};

const PATIENCE: Duration = Duration::from_secs(10);
/// What the underlay leaves: its 1,500 bytes less the outer header and GRE with a key.
const INNER: usize = 1500 - 28;
/// What the LANs take.
const LAN: usize = 1500;
/// Sizes that go in one packet and around that, all of them.
const EVERY: usize = 1600;
/// Larger ones: around two and three fragments, and the largest there is (65,507 over IPv4).
const LARGE: [usize; 8] = [2000, 2936, 2937, 4000, 9000, 20_000, 40_000, 65_507];
/// Room for all datagrams under way, in bytes.
const BUFFER: usize = 8 << 20;

/// Which datagrams, and how they travel.
#[derive(Clone, Copy)]
struct Case {
    ipv6: bool,
    /// Whether the nodes' programs are attached natively, or at TC.
    native: bool,
    /// Whether the LAN's wires finish checksums and cut and join segments as late as they can.
    offloads: bool,
}

fn address6(network: u16, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, network, 0, 0, 0, 0, host)
}

/// A node's address in the IPv6 tunnel.
fn tunnel6(node: &Node) -> Ipv6Addr {
    address6(0, node.address.octets()[3].into())
}

impl Case {
    fn config(self, lab: &Lab, node: &Node) -> Config {
        let mut config = lab.config(node);
        if !self.native {
            config.xdp = "auto";
        }
        if self.ipv6 {
            config.address = IpNet::V6(Ipv6Net::new_assert(tunnel6(node), 64));
            config.nhs = config.nhs.map(|(_, nbma)| (tunnel6(&lab.hub).into(), nbma));
            let others = (1_u16..).zip(&lab.spokes).filter(|(_, spoke)| spoke.name != node.name);
            let is_hub = node.name == lab.hub.name;
            let via = |spoke| tunnel6(if is_hub { spoke } else { &lab.hub }).into();
            config.routes = others
                .map(|(n, spoke)| (Ipv6Net::new_assert(address6(n, 0), 48).into(), via(spoke)))
                .collect();
        }
        if node.lan.is_some() && self.native && !self.offloads {
            "accelerate: [lan0]\n".clone_into(&mut config.more);
        }
        config
    }

    /// A lab in Phase 1, so that all goes through the hub, too, and never changes its way.
    fn start(self) -> Result<(Lab, Vec<Agent>)> {
        let lab = Lab::new(Plan { phase: 1, ..Plan::default() })?;
        for (n, node) in (1_u16..).zip(&lab.spokes) {
            let Lan { host, .. } = lan(node)?;
            if !self.offloads {
                // With this the host takes what an XDP program sends to it, see `wire`.
                host.command("ethtool -K eth0 tx off tso off gso off gro on")?;
                node.namespace.command("ethtool -K lan0 tx off tso off gso off gro off")?;
            }
            if self.ipv6 {
                node.namespace.command(&format!("ip address add {}/64 dev lan0 nodad", address6(n, 1)))?;
                host.command(&format!("ip address add {}/64 dev eth0 nodad", address6(n, 10)))?;
                host.command(&format!("ip route add default via {}", address6(n, 1)))?;
            }
        }
        for node in lab.nodes() {
            // Every datagram that is too long is to have its error.
            node.namespace.set("ipv4/icmp_ratelimit", "0")?;
            node.namespace.set("ipv6/icmp/ratelimit", "0")?;
            if self.ipv6 {
                node.namespace.set("ipv6/conf/all/forwarding", "1")?;
            }
            if !self.native {
                hide_the_driver(node)?;
            }
        }
        let agents = lab
            .nodes()
            .map(|node| Agent::start(node, &self.config(&lab, node)))
            .collect::<Result<Vec<_>>>()?;
        for agent in &agents[1..] {
            agent.wait_registered()?;
        }
        Ok((lab, agents))
    }

    /// Address of a LAN's host.
    fn host(self, number: u16, lan: &Lan) -> IpAddr {
        if self.ipv6 { address6(number, 10).into() } else { lan.address.into() }
    }

    /// Headers before the payload.
    fn headers(self) -> usize {
        if self.ipv6 { 48 } else { 28 }
    }

    /// Sizes of all datagrams.
    fn sizes() -> impl Iterator<Item = usize> {
        (0..=EVERY).chain(LARGE)
    }

    fn run(self) -> Result<()> {
        let (lab, agents) = self.start()?;
        let [a, b] = &lab.spokes[..] else { unreachable!("the plan has two spokes") };
        let (from, to) = (lan(a)?, lan(b)?);
        let target = self.host(2, to);
        if self.ipv6 {
            poll::until("a way between the LANs", PATIENCE, || {
                Ok(ping6(&from.host, address6(2, 10), "eth0", 1, Duration::from_secs(1))?.then_some(()))
            })?;
        }
        let receiver = open(&to.host, target)?;
        let to = receiver.local_addr()?;
        self.in_pieces(&from.host, &receiver, to).with_context(|| told(&agents)).context("may be cut")?;
        self.whole_or_told(&from.host, &receiver, to).with_context(|| told(&agents)).context("may not be cut")
    }

    /// Datagrams that may be cut: every one arrives.
    fn in_pieces(self, from: &Namespace, receiver: &UdpSocket, to: SocketAddr) -> Result<()> {
        let socket = open(from, any(to))?;
        discover(&socket, to, Discovery::Off)?;
        if self.ipv6 {
            // Only the sender cuts, so it has to learn first (RFC 8200 5).
            discover(&socket, to, Discovery::Want)?;
            self.learn(&socket, receiver, to)?;
        }
        for size in Self::sizes() {
            let sent = content(size);
            send(&socket, &sent, to).with_context(|| format!("{size} bytes"))?;
            arrives(receiver, &sent)?;
        }
        Ok(())
    }

    /// Sends a datagram that is too long until it arrives, in pieces.
    fn learn(self, socket: &UdpSocket, receiver: &UdpSocket, to: SocketAddr) -> Result<()> {
        let sent = content(INNER - self.headers() + 1);
        receiver.set_read_timeout(Some(Duration::from_millis(200)))?;
        poll::until("the sender to learn the path MTU", PATIENCE, || {
            send(socket, &sent, to)?;
            Ok(arrives(receiver, &sent).is_ok().then_some(()))
        })?;
        receiver.set_read_timeout(Some(PATIENCE))?;
        Ok(())
    }

    /// Datagrams that must not be cut: those that fit arrive, for the others the sender gets an error.
    fn whole_or_told(self, from: &Namespace, receiver: &UdpSocket, to: SocketAddr) -> Result<()> {
        let probe = || {
            let socket = open(from, any(to))?;
            socket.connect(to)?;
            discover(&socket, to, Discovery::Probe)?;
            socket.set_nonblocking(true)?;
            anyhow::Ok(socket)
        };
        let socket = probe()?;
        // Each of these sizes has a socket to itself, which stays open: an error that comes late is not another size's.
        let mut sockets = Vec::new();
        for size in Self::sizes() {
            let sent = content(size);
            if size + self.headers() <= INNER {
                socket.send(&sent).with_context(|| format!("{size} bytes"))?;
                arrives(receiver, &sent)?;
                continue;
            }
            let socket = probe()?;
            match socket.send(&sent) {
                Err(error) => {
                    // By its own kernel.
                    let longer = size + self.headers() > LAN;
                    ensure!(is_too_long(&error) && longer, "{size} bytes: {error}");
                }
                Ok(_) => Self::is_told(&socket, &sent)?,
            }
            sockets.push(socket);
        }
        Ok(())
    }

    /// Waits for the ICMP error about a datagram that was sent; sends it again, as errors are rate limited.
    fn is_told(socket: &UdpSocket, sent: &[u8]) -> Result<()> {
        poll::until(&format!("an error about {} bytes", sent.len()), PATIENCE, || {
            match socket.recv(&mut [0]) {
                Err(error) if is_too_long(&error) => return Ok(Some(())),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => ensure!(false, "{} bytes: {other:?}", sent.len()),
            }
            match socket.send(sent) {
                Err(error) if is_too_long(&error) => Ok(Some(())),
                other => other.map(|_| None).context("sending again"),
            }
        })
    }
}

/// Gives a node's NBMA address to an interface on top, whose driver has no XDP.
fn hide_the_driver(node: &Node) -> Result<()> {
    let [a, b, c, _] = node.nbma.octets();
    let nbma = node.nbma;
    for line in [
        format!("ip address del {nbma}/24 dev {UNDERLAY}"),
        format!("ip link add top0 link {UNDERLAY} type macvlan mode private"),
        "ip link set top0 up".to_owned(),
        format!("ip address add {nbma}/24 dev top0"),
        format!("ip route add default via {a}.{b}.{c}.254"),
    ] {
        node.namespace.command(&line)?;
    }
    Ok(())
}

fn lan(node: &Node) -> Result<&Lan> {
    node.lan.as_ref().with_context(|| format!("{} has no LAN", node.name))
}

/// What the agents have to say when something went wrong.
fn told(agents: &[Agent]) -> String {
    agents.iter().map(|agent| agent.table("drops").unwrap_or_default()).collect()
}

/// Any address, of the same version.
fn any(to: SocketAddr) -> IpAddr {
    if to.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}

fn open(namespace: &Namespace, address: IpAddr) -> Result<UdpSocket> {
    let socket = namespace.run(|| UdpSocket::bind((address, 0)).context("a socket"))?;
    setsockopt(&socket, sockopt::RcvBufForce, &BUFFER)?;
    setsockopt(&socket, sockopt::SndBuf, &BUFFER)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// How a socket finds the path MTU (ip(7)).
#[derive(Clone, Copy)]
enum Discovery {
    /// DF clear.
    Off,
    /// DF set; cut by the sender to what it has learnt.
    Want,
    /// DF set, never cut, and what was learnt counts for nothing.
    Probe,
}

fn discover(socket: &UdpSocket, to: SocketAddr, how: Discovery) -> Result<()> {
    let (level, option) = if to.is_ipv6() {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER)
    } else {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER)
    };
    let value = match how {
        Discovery::Off => libc::IP_PMTUDISC_DONT,
        Discovery::Want => libc::IP_PMTUDISC_WANT,
        Discovery::Probe => libc::IP_PMTUDISC_PROBE,
    };
    #[expect(unsafe_code, reason = "neither nix nor socket2 has a setter for this")]
    // SAFETY: the descriptor is open, the value lives across the call and its length is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            libc::socklen_t::try_from(size_of_val(&value))?,
        )
    };
    Errno::result(result).context("setting how the path MTU is found").map(drop)
}

fn is_too_long(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}

/// Bytes that differ from place to place and from size to size.
fn content(size: usize) -> Vec<u8> {
    (0..=250).cycle().skip(size % 251).take(size).collect()
}

fn send(socket: &UdpSocket, bytes: &[u8], to: SocketAddr) -> Result<()> {
    socket.send_to(bytes, to).context("sending").map(drop)
}

/// The next datagram is this one, unchanged.
fn arrives(receiver: &UdpSocket, sent: &[u8]) -> Result<()> {
    let mut buffer = vec![0; 1 << 16];
    let length = receiver.recv(&mut buffer).with_context(|| format!("{} bytes never came", sent.len()))?;
    ensure!(buffer[..length] == *sent, "{} bytes arrived as {length}, or changed", sent.len());
    Ok(())
}

/// A test for each combination, so that they run side by side.
macro_rules! every_size_arrives_or_is_refused {
    ($($name:ident: $ipv6:literal, $native:literal, $offloads:literal;)*) => { $(
        #[test]
        fn $name() -> Result<()> {
            Case { ipv6: $ipv6, native: $native, offloads: $offloads }.run()
        }
    )* };
}

every_size_arrives_or_is_refused! {
    ipv4_native_with_offloads: false, true, true;
    ipv4_native_without_offloads: false, true, false;
    ipv4_at_tc_with_offloads: false, false, true;
    ipv4_at_tc_without_offloads: false, false, false;
    ipv6_native_with_offloads: true, true, true;
    ipv6_native_without_offloads: true, true, false;
    ipv6_at_tc_with_offloads: true, false, true;
    ipv6_at_tc_without_offloads: true, false, false;
}
