//! Data: flows between hosts of two LANs. Every packet is walked through the tables of the nodes as they are at that
//! moment, and has to arrive. (The network loses NHRP packets only: data that it loses would prove nothing.)

use std::time::Duration;

use dmvpn::nhrp::engine::{Input, Route};

use super::{
    address::{Address, NodeId, bits, ip, place},
    life::ADJACENCY_DOWN,
    queue::Event,
    random::Random,
    settings::{Sabotage, TUNNEL},
    slab::Slab,
    violations::Invariant,
    world::{MAPPING_BOUND, World},
};

/// Spokes for each new flow a second.
const SPOKES_PER_FLOW: u32 = 20_000;

/// Of 100 flows, so many last long.
const LONG: u32 = 2;

/// Packets of a flow and the time between them.
const SHORT_FLOW: (u16, Duration) = (6, Duration::from_millis(700));
const LONG_FLOW: (u16, Duration) = (200, Duration::from_mins(1));

/// A flow in both directions.
#[derive(Clone, Copy, Debug)]
struct Flow {
    /// The spokes.
    ends: [NodeId; 2],
    /// Addresses of the hosts.
    hosts: [Address; 2],
    left: u16,
    gap: Duration,
}

/// All flows, and what became of their packets.
#[derive(Debug)]
pub(super) struct Traffic {
    random: Random,
    flows: Slab<Flow>,
    /// Packets that went from spoke to spoke.
    pub(super) direct: u64,
    /// Packets that went by a hub.
    pub(super) by_hub: u64,
    pub(super) lost: Lost,
}

/// Packets that were lost for a reason that the invariants allow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lost {
    /// To a place that its station left, or that knows nobody since it restarted, within the bound of a mapping.
    pub(super) stale: u64,
    /// Between a spoke and a hub with which it has to register, within the bound of that.
    pub(super) unregistered: u64,
    /// To a hub that failed so short ago that the routing protocol did not notice.
    pub(super) failed_hub: u64,
}

/// Why a packet did not arrive.
enum Fate {
    /// It did.
    Arrived,
    Stale,
    Unregistered,
    FailedHub,
    /// For no reason that is allowed.
    Violation(Invariant, String),
}

impl Traffic {
    pub(super) const fn new(random: Random) -> Self {
        Self {
            random,
            flows: Slab::new(),
            direct: 0,
            by_hub: 0,
            lost: Lost { stale: 0, unregistered: 0, failed_hub: 0 },
        }
    }
}

impl World {
    /// A flow begins between two spokes.
    pub(super) fn new_flow(&mut self) {
        let rate = (self.plan.spokes / SPOKES_PER_FLOW).max(1);
        let gap = self.traffic.random.gap(Duration::from_secs(1) / rate);
        self.queue.plan(self.now + gap, Event::NewFlow);

        let random = &mut self.traffic.random;
        let ends = [0; 2].map(|_| self.plan.spoke(random.below(self.plan.spokes)));
        let hosts = ends.map(|spoke| self.plan.lan(spoke) + 1 + random.below(62));
        let (left, gap) = if random.chance(LONG) { LONG_FLOW } else { SHORT_FLOW };
        if ends[0] == ends[1] {
            return;
        }
        let flow = Flow { ends, hosts, left, gap };
        let number = self.traffic.flows.add(flow);
        self.flow(number);
    }

    /// A flow sends a packet in each direction. It ends with its last packet, or when an end loses its power.
    pub(super) fn flow(&mut self, number: u32) {
        let Some(&mut flow) = self.traffic.flows.get_mut(number) else { return };
        if flow.left == 0 || flow.ends.iter().any(|&end| !self.nodes[end as usize].up) {
            self.traffic.flows.take(number);
            return;
        }
        self.packet(flow.ends, flow.hosts);
        self.packet([flow.ends[1], flow.ends[0]], [flow.hosts[1], flow.hosts[0]]);
        if let Some(flow) = self.traffic.flows.get_mut(number) {
            flow.left -= 1;
        }
        self.queue.plan(self.now + flow.gap, Event::Flow(number));
    }

    /// Sends a packet and judges what became of it.
    fn packet(&mut self, ends: [NodeId; 2], hosts: [Address; 2]) {
        let mut path = vec![ends[0]];
        match self.walk(ends[1], hosts, &mut path) {
            Fate::Arrived if path.len() == 2 => self.traffic.direct += 1,
            Fate::Arrived if path[1..path.len() - 1].iter().all(|&node| self.plan.is_hub(node)) => {
                self.traffic.by_hub += 1;
            }
            Fate::Arrived => {
                let what = format!("a packet went by another spoke: {}", self.names(&path));
                self.violations.add(self.now, Invariant::Delivery, what);
            }
            Fate::Stale => self.traffic.lost.stale += 1,
            Fate::Unregistered => self.traffic.lost.unregistered += 1,
            Fate::FailedHub => self.traffic.lost.failed_hub += 1,
            Fate::Violation(invariant, why) => {
                let what = format!("{} for {}: {why}", self.names(&path), self.name(ends[1]));
                self.violations.add(self.now, invariant, what);
            }
        }
    }

    fn names(&self, path: &[NodeId]) -> String {
        path.iter().map(|&node| self.name(node)).collect::<Vec<_>>().join(" -> ")
    }

    /// Takes a packet from table to table, until it is in the LAN of `end`.
    fn walk(&mut self, end: NodeId, hosts: [Address; 2], path: &mut Vec<NodeId>) -> Fate {
        let head = head(hosts);
        let mut came_from = None;
        loop {
            let at = path[path.len() - 1];
            if at == end {
                return Fate::Arrived;
            }
            let Some(next_hop) = self.next_hop(at, hosts[1]) else {
                return self.without_route(at);
            };
            if self.kernels.neighbour(at, next_hop).is_none() {
                self.input(at, Input::Resolve { tunnel: TUNNEL, next_hop: ip(next_hop) }, false);
            }
            let Some(neighbour) = self.kernels.neighbour(at, next_hop) else {
                let why = format!("{} does not know {}", self.name(at), ip(next_hop));
                return Fate::Violation(Invariant::Delivery, why);
            };
            if let Some(source) = came_from
                && self.plan.is_hub(at)
            {
                self.input(at, Input::Redirect { tunnel: TUNNEL, source: ip(source), head: &head }, false);
            }
            self.kernels.count(at, neighbour.underlay);
            let Some(next) = self.places.occupant(neighbour.underlay) else {
                return self.nobody_there(neighbour.underlay);
            };
            let from = self.address(at);
            let deaf = self.settings.sabotage == Some(Sabotage::DeafSpokes)
                && at == self.plan.spoke(7)
                && !self.plan.is_hub(next);
            if deaf || !self.kernels.is_peer(next, from) {
                return self.unknown_source(at, next, neighbour.since);
            }
            let round = path.contains(&next);
            path.push(next);
            if round {
                return Fate::Violation(Invariant::Loop, "a packet came round".to_owned());
            }
            came_from = Some(from);
        }
    }

    /// The kernel's next hop: a shortcut if there is one, else the routed path.
    fn next_hop(&self, node: NodeId, destination: Address) -> Option<Address> {
        if let Some(via) = self.kernels.shortcut(node, destination) {
            return Some(via);
        }
        match self.routing(node).look_up(destination) {
            Route::Tunnel { next_hop, .. } => bits(next_hop),
            Route::Local { .. } | Route::Elsewhere { .. } | Route::None => None,
        }
    }

    /// A spoke without a gateway, or a hub without a registration.
    fn without_route(&self, node: NodeId) -> Fate {
        // A hub that knows no way to a spoke: the spoke is registered nowhere, which has a bound of its own. A spoke
        // that just started does not talk to its hubs yet, although they may still know it from before.
        let settled = ADJACENCY_DOWN.1 * 2;
        let registered = (0..self.plan.hubs).find(|&hub| {
            !self.plan.is_hub(node)
                && self.now.since(self.nodes[node as usize].since) > settled
                && self.nodes[hub as usize].up
                && self.is_mapped(node, hub)
                && self
                    .kernels
                    .neighbour(hub, self.plan.tunnel(node))
                    .is_some_and(|neighbour| self.now.since(neighbour.since) > settled)
        });
        match registered {
            Some(hub) => {
                let why = format!("no route, but it is registered with {}", self.name(hub));
                Fate::Violation(Invariant::Delivery, why)
            }
            None => Fate::Unregistered,
        }
    }

    /// A packet was sent to where nobody is.
    fn nobody_there(&self, underlay: Address) -> Fate {
        let Some(place) = place(underlay) else {
            return Fate::Violation(Invariant::Delivery, "sent to a stranger".to_owned());
        };
        let owner = self.places.owner(place);
        let since = self.places.left(place).map(|left| self.now.since(left)).unwrap_or_default();
        if self.plan.is_hub(owner) {
            if since <= ADJACENCY_DOWN.1 {
                return Fate::FailedHub;
            }
        } else if since <= MAPPING_BOUND {
            return Fate::Stale;
        }
        let why = format!("sent to where {} was until {since:?} ago", self.name(owner));
        Fate::Violation(Invariant::Delivery, why)
    }

    /// A packet came from somebody whom the node does not know, and was dropped.
    fn unknown_source(&self, from: NodeId, at: NodeId, mapped: super::clock::Moment) -> Fate {
        let (from_hub, at_hub) = (self.plan.is_hub(from), self.plan.is_hub(at));
        if !from_hub && at_hub && self.pairs.is_open(self.pairs.number(from, at)) {
            return Fate::Unregistered;
        }
        let restarted = self.nodes[at as usize].since;
        if !from_hub && !at_hub && restarted > mapped && self.now.since(restarted) <= MAPPING_BOUND {
            return Fate::Stale;
        }
        let why = format!("{} does not know where it came from", self.name(at));
        Fate::Violation(Invariant::Delivery, why)
    }
}

/// Head of a UDP packet between two hosts.
fn head(hosts: [Address; 2]) -> [u8; 28] {
    let mut head = [0; 28];
    head[0] = 0x45;
    head[3] = 28;
    head[8] = 63;
    head[9] = 17;
    head[12..16].copy_from_slice(&hosts[0].to_be_bytes());
    head[16..20].copy_from_slice(&hosts[1].to_be_bytes());
    head
}
