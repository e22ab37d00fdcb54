//! A network in memory: nodes with an engine, a kernel that only remembers, and wires that delay, lose and translate.
//!
//! Every action is checked against what the kernel of a real node would need: no neighbour without its peer, no route
//! without its next hop, nothing removed that is in use, nothing added or removed twice. So every test that uses the
//! bench also tests the order of actions.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    time::Duration,
};

use ipnet::IpNet;

use crate::nhrp::{
    engine::{
        Action, CacheKind, CacheView, Engine, Environment, EventKind, Fault, Input, Nhs, NhsView, Policy,
        RequestIds, Route, Shared, ShortcutView, Time, TunnelConfig, TunnelId,
    },
    wire::{Packet, PacketKind},
};

/// Tunnel of every node, unless a test says otherwise.
pub(super) const TUNNEL: TunnelId = TunnelId(1);

/// Time a packet takes from node to node.
const LATENCY: Duration = Duration::from_millis(10);

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A Phase 3 node without servers.
pub(super) fn config(address: &str, nbma: &str) -> TunnelConfig {
    TunnelConfig {
        id: TUNNEL,
        network_id: 1,
        address: net(address),
        link_local: None,
        aliases: Vec::new(),
        networks: Vec::new(),
        nbma: ip(nbma),
        mtu: 1472,
        holding_time: seconds(600),
        registration_interval: None,
        authentication: None,
        unique: true,
        nhs: Vec::new(),
        static_maps: Vec::new(),
        resolve: true,
        redirect: true,
        shortcut: true,
        max_entries: 1000,
        failover: Shared::default(),
        multicast: Shared::default(),
        policy: Policy { redirect_interval: Duration::from_millis(1), ..Policy::default() }.into(),
        limits: Shared::default(),
    }
}

/// A next hop server.
pub(super) fn nhs(protocol: &str, nbma: &str) -> Nhs {
    let protocol = (protocol != "dynamic").then(|| ip(protocol));
    Nhs { protocol, nbma: ip(nbma), priority: 0, cluster: 0 }
}

/// Routes of a node's kernel that are not ours, and its counters.
#[derive(Default)]
pub(super) struct Kernel {
    pub(super) routes: Vec<(IpNet, RouteTo)>,
    /// Whether routes by the tunnel are withdrawn for others of the same prefix.
    pub(super) gives_way: bool,
    pub(super) sent: BTreeMap<(TunnelId, IpAddr), u64>,
    peers: BTreeSet<(TunnelId, IpAddr)>,
    pub(super) multicast: BTreeSet<(TunnelId, IpAddr)>,
    pub(super) neighbours: BTreeMap<(TunnelId, IpAddr), IpAddr>,
    pub(super) shortcuts: BTreeMap<(TunnelId, IpNet), Option<IpAddr>>,
}

/// Where a route leads.
#[derive(Clone, Copy)]
pub(super) enum RouteTo {
    Local,
    Lan,
    /// By the tunnel: to a gateway, or on the link.
    Tunnel(TunnelId, Option<IpAddr>),
}

impl Environment for Kernel {
    fn route(&self, destination: IpAddr) -> Route {
        let best = self.routes.iter().filter(|(prefix, _)| prefix.contains(&destination));
        match best.max_by_key(|(prefix, _)| prefix.prefix_len()) {
            None => Route::None,
            Some(&(prefix, RouteTo::Local)) => Route::Local { prefix },
            Some(&(prefix, RouteTo::Lan)) => Route::Elsewhere { prefix },
            Some(&(prefix, RouteTo::Tunnel(tunnel, gateway))) => Route::Tunnel {
                tunnel,
                next_hop: gateway.unwrap_or(destination),
                prefix,
                gives_way: self.gives_way,
            },
        }
    }

    fn packets_sent(&self, tunnel: TunnelId, nbma: IpAddr) -> u64 {
        self.sent.get(&(tunnel, nbma)).copied().unwrap_or(0)
    }
}

impl Kernel {
    /// Does what an action says, and checks that it can be done.
    fn apply(&mut self, action: &Action) {
        match *action {
            Action::AddPeer { tunnel, nbma } => {
                assert!(self.peers.insert((tunnel, nbma)), "peer {nbma} added twice");
            }
            Action::RemovePeer { tunnel, nbma } => {
                assert!(self.peers.remove(&(tunnel, nbma)), "peer {nbma} removed twice");
                assert!(!self.multicast.contains(&(tunnel, nbma)), "peer {nbma} still gets copies");
                let user = self.neighbours.iter().find(|&(&(at, _), &to)| at == tunnel && to == nbma);
                assert!(user.is_none(), "peer {nbma} removed while {user:?} leads to it");
            }
            Action::AddMulticast { tunnel, nbma } => {
                assert!(self.peers.contains(&(tunnel, nbma)), "copies for {nbma}, which is no peer");
                assert!(self.multicast.insert((tunnel, nbma)), "copies for {nbma} added twice");
            }
            Action::RemoveMulticast { tunnel, nbma } => {
                assert!(self.multicast.remove(&(tunnel, nbma)), "copies for {nbma} removed twice");
            }
            Action::SetNeighbour { tunnel, protocol, nbma } => {
                assert!(self.peers.contains(&(tunnel, nbma)), "{protocol} leads to {nbma}, which is no peer");
                self.neighbours.insert((tunnel, protocol), nbma);
            }
            Action::RemoveNeighbour { tunnel, protocol } => {
                assert!(
                    self.neighbours.remove(&(tunnel, protocol)).is_some(),
                    "neighbour {protocol} removed twice"
                );
                let user =
                    self.shortcuts.iter().find(|&(&(at, _), &via)| at == tunnel && via == Some(protocol));
                assert!(user.is_none(), "{protocol} removed while the route {user:?} needs it");
            }
            Action::AddRoute { tunnel, prefix, via } => {
                let next_hop = via.unwrap_or(prefix.addr());
                assert_eq!(prefix, prefix.trunc(), "host bits in a route");
                assert!(
                    self.neighbours.contains_key(&(tunnel, next_hop)),
                    "route by {next_hop}: no neighbour"
                );
                self.shortcuts.insert((tunnel, prefix), via);
            }
            Action::RemoveRoute { tunnel, prefix, via } => {
                // A route that replaced another one for the same prefix is not the one that is meant.
                if self.shortcuts.get(&(tunnel, prefix)) == Some(&via) {
                    self.shortcuts.remove(&(tunnel, prefix));
                }
            }
            Action::Send { .. } | Action::Log(_) => {}
        }
    }

    /// The kernel's way for a data packet: our routes win over equal ones, longer prefixes over shorter ones.
    fn forward(&self, destination: IpAddr) -> Route {
        let ours = self.shortcuts.iter().filter(|((_, prefix), _)| prefix.contains(&destination));
        let ours = ours.max_by_key(|((_, prefix), _)| prefix.prefix_len());
        let theirs = self.route(destination);
        match (ours, theirs) {
            (
                Some((&(tunnel, prefix), &via)),
                Route::Local { prefix: other }
                | Route::Elsewhere { prefix: other }
                | Route::Tunnel { prefix: other, .. },
            ) if prefix.prefix_len() >= other.prefix_len() => {
                Route::Tunnel { tunnel, next_hop: via.unwrap_or(destination), prefix, gives_way: false }
            }
            (Some((&(tunnel, prefix), &via)), Route::None) => {
                Route::Tunnel { tunnel, next_hop: via.unwrap_or(destination), prefix, gives_way: false }
            }
            (_, theirs) => theirs,
        }
    }
}

pub(super) struct Node {
    pub(super) engine: Engine,
    pub(super) kernel: Kernel,
    nbma: IpAddr,
    pub(super) events: Vec<EventKind>,
    alive: bool,
}

/// A packet on its way.
struct Flight {
    at: Time,
    from: IpAddr,
    to: IpAddr,
    tunnel: TunnelId,
    bytes: Vec<u8>,
}

/// Something that was on the wire.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    pub(super) packet: Packet,
}

#[derive(Default)]
pub(super) struct Bench {
    pub(super) now: Time,
    pub(super) nodes: BTreeMap<&'static str, Node>,
    flights: VecDeque<Flight>,
    /// Outer addresses that a NAT puts in the place of others.
    pub(super) nat: BTreeMap<IpAddr, IpAddr>,
    /// Every NHRP packet that was sent.
    pub(super) wire: Vec<Seen>,
    /// Nodes take data from outer addresses they do not know.
    pub(super) accept_any: bool,
    /// Pairs of outer addresses that nothing gets through between.
    pub(super) cut: BTreeSet<(IpAddr, IpAddr)>,
}

impl Bench {
    /// Adds a node and starts it. Its tunnel's subnet is on the link.
    pub(super) fn add(&mut self, name: &'static str, config: TunnelConfig) -> &mut Self {
        self.add_with(name, config, &[])
    }

    /// The same with routes.
    pub(super) fn add_with(
        &mut self,
        name: &'static str,
        config: TunnelConfig,
        routes: &[(&str, RouteTo)],
    ) -> &mut Self {
        let mut kernel = Kernel::default();
        let address = config.address;
        kernel.routes.push((IpNet::from(address.addr()), RouteTo::Local));
        if !config.host_routes() {
            kernel.routes.push((address.trunc(), RouteTo::Tunnel(config.id, None)));
        }
        kernel.routes.extend(routes.iter().map(|&(prefix, to)| (net(prefix), to)));
        let nbma = config.nbma;
        let seed = name.bytes().fold(1, |seed, byte| seed * 131 + u64::from(byte));
        let engine = Engine::new(vec![config], seed);
        self.nodes.insert(name, Node { engine, kernel, nbma, events: Vec::new(), alive: true });
        let mut out = Vec::new();
        let node = self.nodes.get_mut(name).unwrap();
        node.engine.start(self.now, &node.kernel, &mut out);
        self.take(name, out);
        self
    }

    /// Reboots a node: another agent, whose randomness is its own, with `saved` ids. Of the kernel routes are left.
    pub(super) fn reboot(&mut self, name: &'static str, config: TunnelConfig, saved: Option<RequestIds>) {
        let node = self.nodes.get_mut(name).unwrap();
        node.kernel = Kernel { routes: std::mem::take(&mut node.kernel.routes), ..Kernel::default() };
        node.nbma = config.nbma;
        let tunnel = config.id;
        node.engine = Engine::new(vec![config], self.now.since_start().as_secs() + 77);
        if let Some(saved) = saved {
            node.engine.resume(tunnel, saved);
        }
        let mut out = Vec::new();
        node.engine.start(self.now, &node.kernel, &mut out);
        self.take(name, out);
    }

    fn take(&mut self, name: &'static str, actions: Vec<Action>) {
        let now = self.now;
        let node = self.nodes.get_mut(name).unwrap();
        for action in actions {
            node.kernel.apply(&action);
            match action {
                Action::Send { tunnel, to, bytes } => {
                    let from = self.nat.get(&node.nbma).copied().unwrap_or(node.nbma);
                    let packet = Packet::decode(&bytes).unwrap();
                    self.wire.push(Seen { from, to, packet });
                    if !self.cut.contains(&(from, to)) {
                        self.flights.push_back(Flight { at: now + LATENCY, from, to, tunnel, bytes });
                    }
                }
                Action::Log(event) => node.events.push(event.kind),
                _ => {}
            }
        }
    }

    /// Gives a node an input.
    pub(super) fn input(&mut self, name: &'static str, input: Input<'_>) {
        let node = self.nodes.get_mut(name).unwrap();
        let mut out = Vec::new();
        node.engine.handle(self.now, input, &node.kernel, &mut out);
        self.take(name, out);
    }

    /// Gives a node a packet from `source`, made by the test.
    pub(super) fn inject(&mut self, name: &'static str, source: &str, packet: &Packet) {
        let mut bytes = Vec::new();
        packet.encode(&mut bytes).unwrap();
        self.input(name, Input::Packet { tunnel: TUNNEL, source: ip(source), bytes: &bytes });
    }

    /// Loses everything that is on its way.
    pub(super) fn flights_clear(&mut self) {
        self.flights.clear();
    }

    /// Takes a node off the network, or puts it back.
    pub(super) fn set_alive(&mut self, name: &'static str, alive: bool) {
        self.nodes.get_mut(name).unwrap().alive = alive;
    }

    fn at(&self, nbma: IpAddr) -> Option<&'static str> {
        let inside = self.nat.iter().find(|&(_, &public)| public == nbma).map_or(nbma, |(&inside, _)| inside);
        self.nodes.iter().find(|(_, node)| node.nbma == inside).map(|(&name, _)| name)
    }

    /// Moves a node to another NBMA address and tells it.
    pub(super) fn renumber(&mut self, name: &'static str, nbma: IpAddr) {
        self.nodes.get_mut(name).unwrap().nbma = nbma;
        self.input(name, Input::LocalNbma { tunnel: TUNNEL, nbma });
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let flight = self.flights.front().map(|flight| flight.at);
            let timers = self.nodes.values().filter(|node| node.alive);
            let timer = timers.filter_map(|node| node.engine.next_deadline()).min();
            let Some(next) = flight.into_iter().chain(timer).min().filter(|&next| next <= end) else { break };
            self.now = self.now.max(next);
            if flight == Some(next) {
                let Flight { from, to, tunnel, bytes, .. } = self.flights.pop_front().unwrap();
                if let Some(name) = self.at(to).filter(|name| self.nodes[name].alive) {
                    self.input(name, Input::Packet { tunnel, source: from, bytes: &bytes });
                }
            } else {
                let due: Vec<_> = self
                    .nodes
                    .iter()
                    .filter(|(_, node)| {
                        node.alive && node.engine.next_deadline().is_some_and(|at| at <= next)
                    })
                    .map(|(&name, _)| name)
                    .collect();
                for name in due {
                    self.input(name, Input::Timer);
                }
            }
        }
        self.now = end;
    }

    /// Sends a data packet and says which nodes it went through, or why it was lost.
    pub(super) fn data(
        &mut self,
        from: &'static str,
        source: &str,
        destination: &str,
    ) -> Result<Vec<&'static str>, String> {
        let (source, destination) = (ip(source), ip(destination));
        let mut head = vec![0x45; 1];
        head.resize(28, 0);
        if let (IpAddr::V4(source), IpAddr::V4(destination)) = (source, destination) {
            head[12..16].copy_from_slice(&source.octets());
            head[16..20].copy_from_slice(&destination.octets());
        } else if let (IpAddr::V6(source), IpAddr::V6(destination)) = (source, destination) {
            head = vec![0x60; 1];
            head.resize(48, 0);
            head[8..24].copy_from_slice(&source.octets());
            head[24..40].copy_from_slice(&destination.octets());
        }
        let mut path = vec![from];
        let mut at = from;
        let mut came_from: Option<(TunnelId, IpAddr)> = None;
        for _ in 0..8 {
            let (tunnel, next_hop) = match self.nodes[at].kernel.forward(destination) {
                Route::Local { .. } | Route::Elsewhere { .. } => return Ok(path),
                Route::None => return Err(format!("{at} has no route to {destination}")),
                Route::Tunnel { tunnel, next_hop, .. } => (tunnel, next_hop),
            };
            if !self.nodes[at].kernel.neighbours.contains_key(&(tunnel, next_hop)) {
                self.input(at, Input::Resolve { tunnel, next_hop });
            }
            let Some(&nbma) = self.nodes[at].kernel.neighbours.get(&(tunnel, next_hop)) else {
                return Err(format!("{at} does not know where {next_hop} is"));
            };
            if let Some((tunnel, source)) = came_from {
                self.input(at, Input::Redirect { tunnel, source, head: &head });
            }
            let node = self.nodes.get_mut(at).unwrap();
            *node.kernel.sent.entry((tunnel, nbma)).or_default() += 1;
            let outer = self.nat.get(&node.nbma).copied().unwrap_or(node.nbma);
            let Some(next) = self.at(nbma).filter(|next| self.nodes[next].alive) else {
                return Err(format!("{at} sent to {nbma}, where nobody is"));
            };
            if !self.accept_any && !self.nodes[next].kernel.peers.contains(&(tunnel, outer)) {
                return Err(format!("{next} does not know {outer}, from where {at} sent"));
            }
            path.push(next);
            at = next;
            came_from = Some((tunnel, outer));
        }
        Err(format!("went round: {path:?}"))
    }

    /// Sends data all the time and fails if any is lost; gives the last path.
    pub(super) fn data_for(
        &mut self,
        span: Duration,
        from: &'static str,
        source: &str,
        destination: &str,
    ) -> Vec<&'static str> {
        let step = Duration::from_millis(5);
        let mut path = Vec::new();
        let end = self.now + span;
        while self.now < end {
            path =
                self.data(from, source, destination).unwrap_or_else(|lost| panic!("{:?}: {lost}", self.now));
            self.run(step);
        }
        path
    }

    pub(super) fn node(&self, name: &str) -> &Node {
        &self.nodes[name]
    }

    pub(super) fn kernel(&mut self, name: &str) -> &mut Kernel {
        &mut self.nodes.get_mut(name).unwrap().kernel
    }

    /// Packets of a kind that were on the wire.
    pub(super) fn seen(&self, kind: PacketKind) -> Vec<&Seen> {
        self.wire.iter().filter(|seen| seen.packet.kind() == kind).collect()
    }

    /// A node's cache entry for an address.
    pub(super) fn entry(&self, name: &str, protocol: &str) -> Option<CacheView> {
        let node = &self.nodes[name];
        let protocol = protocol.parse().unwrap_or_else(|_| IpNet::from(ip(protocol)));
        node.engine.cache(TUNNEL, self.now, &node.kernel).find(|entry| entry.protocol == protocol)
    }

    /// Its kind.
    pub(super) fn kind(&self, name: &str, protocol: &str) -> Option<CacheKind> {
        self.entry(name, protocol).map(|entry| entry.kind)
    }

    /// Where a node's kernel sends frames for a next hop.
    pub(super) fn neighbour(&self, name: &str, protocol: &str) -> Option<IpAddr> {
        self.nodes[name].kernel.neighbours.get(&(TUNNEL, ip(protocol))).copied()
    }

    pub(super) fn has_peer(&self, name: &str, nbma: &str) -> bool {
        self.nodes[name].kernel.peers.contains(&(TUNNEL, ip(nbma)))
    }

    pub(super) fn server(&self, name: &str, index: usize) -> NhsView {
        self.nodes[name].engine.servers(TUNNEL, self.now).nth(index).unwrap()
    }

    pub(super) fn shortcuts(&self, name: &str) -> Vec<ShortcutView> {
        let node = &self.nodes[name];
        node.engine.shortcuts(TUNNEL, self.now, &node.kernel).collect()
    }

    pub(super) fn fault(&self, name: &str, fault: Fault) -> u64 {
        self.nodes[name].engine.counters(TUNNEL).unwrap().fault(fault)
    }

    /// Whether nothing of ours is left in a node's kernel.
    pub(super) fn is_clean(&self, name: &str) -> bool {
        let kernel = &self.nodes[name].kernel;
        kernel.peers.is_empty()
            && kernel.neighbours.is_empty()
            && kernel.shortcuts.is_empty()
            && kernel.multicast.is_empty()
    }
}

/// Makes the checksum right again, so that what is wrong is found behind it.
pub(super) fn fix_checksum(bytes: &mut [u8]) {
    bytes[12..14].fill(0);
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    let sum = !u16::try_from(sum).unwrap();
    bytes[12..14].copy_from_slice(&sum.to_be_bytes());
}
