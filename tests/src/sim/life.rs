//! What happens to nodes: they get power, lose it, leave, move, and the routing protocol notices.

use std::time::Duration;

use dmvpn::nhrp::engine::{Input, NhsState};

use super::{
    address::{NodeId, ip},
    clock::Moment,
    kernel::Gone,
    queue::Event,
    settings::{REGISTRATION_INTERVAL, TUNNEL},
    world::{MAPPING_BOUND, World},
};

/// How soon the routing protocol notices that it can talk to a neighbour, and how late that it cannot.
const ADJACENCY_UP: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));
pub(super) const ADJACENCY_DOWN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(15));

impl World {
    /// A node gets power.
    pub(super) fn boot(&mut self, node: NodeId) {
        let state = &mut self.nodes[node as usize];
        if state.up {
            return;
        }
        state.up = true;
        state.since = self.now;
        self.places.come_back(state.place);
        self.start(node);
        if self.plan.is_hub(node) {
            self.hub_is_back(node);
        } else {
            self.spoke_should_register(node);
        }
    }

    /// A spoke that just started or moved should register with every hub that is there.
    fn spoke_should_register(&mut self, spoke: NodeId) {
        for hub in 0..self.plan.hubs {
            if self.nodes[hub as usize].up {
                let pair = self.pairs.number(spoke, hub);
                self.should_register(pair, Duration::ZERO);
                self.plan_adjacency(pair);
            }
        }
    }

    /// A hub that lost everything is there again: spokes that noticed go on trying, the others find out when they
    /// renew their registration.
    fn hub_is_back(&mut self, hub: NodeId) {
        for spoke in self.plan.hubs..self.plan.nodes() {
            if !self.nodes[spoke as usize].up {
                continue;
            }
            let server = self.engines[spoke as usize]
                .as_ref()
                .and_then(|engine| engine.servers(TUNNEL, self.now.time()).nth(hub as usize));
            let tries = server.is_some_and(|server| server.state == NhsState::Probing);
            let notices = if tries { Duration::ZERO } else { REGISTRATION_INTERVAL };
            self.should_register(self.pairs.number(spoke, hub), notices);
        }
        self.other_hubs_notice(hub);
    }

    /// The routing protocol between hubs is quick.
    fn other_hubs_notice(&mut self, hub: NodeId) {
        for other in (0..self.plan.hubs).filter(|&other| other != hub) {
            self.input(other, Input::RoutesChanged, false);
        }
    }

    /// A node loses power: its engine and its tables are gone.
    fn lose_power(&mut self, node: NodeId) {
        self.engines[node as usize] = None;
        let state = &mut self.nodes[node as usize];
        state.up = false;
        state.since = self.now;
        state.wake = Moment::NEVER;
        state.gateway = None;
        state.neighbours = 0;
        let place = state.place;
        self.places.leave(place, self.now);
        let mut gone = Vec::new();
        self.kernels.clear(node, |what| gone.push(what));
        for what in gone {
            match what {
                Gone::Neighbour { protocol, underlay } => {
                    self.places.release(underlay);
                    if self.plan.is_hub(node) {
                        self.spoke_is_unregistered(node, protocol);
                    }
                }
                Gone::Peer { underlay } => self.places.release(underlay),
            }
        }
    }

    /// A spoke leaves: `politely` with a farewell, or because its power is cut.
    pub(super) fn leave(&mut self, spoke: NodeId, politely: bool) {
        if politely {
            self.input(spoke, Input::Shutdown, false);
            if self.kernels.neighbours(spoke).next().is_some() || self.kernels.peers(spoke).next().is_some() {
                self.impossible(spoke, "say good-bye, and leaves something behind");
            }
        }
        self.lose_power(spoke);
        for hub in 0..self.plan.hubs {
            let pair = self.pairs.number(spoke, hub);
            self.pairs.close(pair);
            self.pairs.set_adjacent(pair, false);
        }
        self.expect_no_mapping(spoke);
    }

    /// A spoke gets another underlay address; its agent is told if it has one.
    pub(super) fn relocate(&mut self, spoke: NodeId) {
        let Some(place) = self.places.open(spoke) else { return };
        let up = self.nodes[spoke as usize].up;
        if up {
            self.places.leave(self.nodes[spoke as usize].place, self.now);
            self.expect_no_mapping(spoke);
        } else {
            self.places.leave(place, self.now);
        }
        self.nodes[spoke as usize].place = place;
        if up {
            let nbma = ip(self.address(spoke));
            self.spoke_should_register(spoke);
            self.input(spoke, Input::LocalNbma { tunnel: TUNNEL, nbma }, false);
        }
    }

    /// A spoke just left its place: after a while nobody may know it.
    fn expect_no_mapping(&mut self, spoke: NodeId) {
        let place = self.nodes[spoke as usize].place;
        self.queue.plan(self.now + MAPPING_BOUND, Event::MappingBound(place));
    }

    /// A hub fails.
    pub(super) fn fail(&mut self, hub: NodeId) {
        self.lose_power(hub);
        for spoke in self.plan.hubs..self.plan.nodes() {
            let pair = self.pairs.number(spoke, hub);
            self.pairs.close(pair);
            self.plan_adjacency(pair);
        }
        self.other_hubs_notice(hub);
    }

    /// Something changed between a spoke and a hub; the routing protocol is going to notice.
    pub(super) fn plan_adjacency(&mut self, pair: u32) {
        if self.pairs.plan_adjacency(pair, true) {
            return;
        }
        let (spoke, hub) = self.pairs.nodes(pair);
        let (least, most) = if self.is_mapped(spoke, hub) { ADJACENCY_UP } else { ADJACENCY_DOWN };
        let delay = self.random.between(least, most);
        self.queue.plan(self.now + delay, Event::Adjacency(pair));
    }

    /// The routing protocol looks at a neighbour.
    pub(super) fn look_at_adjacency(&mut self, pair: u32) {
        self.pairs.plan_adjacency(pair, false);
        let (spoke, hub) = self.pairs.nodes(pair);
        let both_up = self.nodes[spoke as usize].up && self.nodes[hub as usize].up;
        let adjacent = both_up && self.is_mapped(spoke, hub);
        if self.pairs.set_adjacent(pair, adjacent) == adjacent || !self.nodes[spoke as usize].up {
            return;
        }
        let mut hubs = 0..self.plan.hubs;
        let gateway = hubs.find(|&hub| self.pairs.is_adjacent(self.pairs.number(spoke, hub)));
        let gateway = gateway.and_then(|hub| u8::try_from(hub).ok());
        let state = &mut self.nodes[spoke as usize];
        if state.gateway != gateway {
            state.gateway = gateway;
            self.input(spoke, Input::RoutesChanged, false);
        }
    }
}
