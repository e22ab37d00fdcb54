//! The world: every node, the network between them, and one step after the other.

use std::time::{Duration, Instant};

use super::{
    address::{Address, NodeId, Plan, ip, underlay},
    clock::Moment,
    figures::Figures,
    hostile::Strangers,
    kernel::Kernels,
    network::{Flight, Network},
    pairs::{Pairs, STEP},
    places::Places,
    queue::{Event, Queue},
    random::Random,
    routing::{Node, Routing},
    settings::{HOLDING_TIME, Sabotage, Settings, TUNNEL, Templates},
    traffic::Traffic,
    violations::{Invariant, Violations},
};
use dmvpn::nhrp::{
    engine::{Action, Engine, Fault, Input},
    wire::PacketKind,
};

/// How long a mapping may outlive its station: the holding time and one retry.
pub(super) const MAPPING_BOUND: Duration = Duration::from_secs(HOLDING_TIME.as_secs()).saturating_add(STEP);

/// Where the kind of an NHRP packet is, and its hop count.
const KIND: usize = 17;
const HOP_COUNT: usize = 9;

/// Hops that no packet needs here: spoke, hub, hub, spoke.
const MOST_HOPS: u8 = 4;

/// Everything.
pub(super) struct World {
    pub(super) settings: Settings,
    pub(super) plan: Plan,
    templates: Templates,
    pub(super) now: Moment,
    pub(super) queue: Queue,
    /// For what the scenario does. The network, traffic and strangers have their own.
    pub(super) random: Random,
    /// `None` without power.
    pub(super) engines: Vec<Option<Engine>>,
    pub(super) nodes: Vec<Node>,
    pub(super) kernels: Kernels,
    pub(super) places: Places,
    pub(super) pairs: Pairs,
    pub(super) network: Network,
    pub(super) traffic: Traffic,
    pub(super) strangers: Strangers,
    pub(super) violations: Violations,
    pub(super) figures: Figures,
    pub(super) tally: Tally,
    /// Pairs of spokes and hubs with a mapping for the spoke.
    pub(super) registered: u32,
    /// Empty between two steps; kept for its memory.
    actions: Vec<Action>,
}

/// What happened, counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Inputs to engines.
    pub(super) inputs: u64,
    /// NHRP packets that arrived.
    pub(super) packets: u64,
    /// Registration Requests that arrived at hubs.
    pub(super) registrations: u64,
    /// Resolution Requests that arrived at hubs.
    pub(super) resolutions: u64,
    /// Shortcuts that were installed.
    pub(super) shortcuts: u64,
    /// Spokes that left.
    pub(super) left: u64,
    /// Spokes that moved to another underlay address.
    pub(super) moved: u64,
    /// Hubs that failed.
    pub(super) hub_failures: u64,
    /// Virtual time until every spoke was registered with every hub.
    pub(super) mass_registration: Option<Moment>,
}

impl World {
    pub(super) fn new(settings: Settings) -> Self {
        let plan = settings.plan();
        let mut seeds = Random::new(settings.seed);
        let mut stream = || Random::new(seeds.next());
        let random = stream();
        let network = Network::new(stream());
        let traffic = Traffic::new(stream());
        let strangers = Strangers::new(stream());
        let mut places = Places::default();
        let nodes = (0..plan.nodes()).map(|node| Node {
            // The address plan has room for as many places as there can be nodes.
            place: places.open(node).unwrap_or(node),
            up: false,
            since: Moment(0),
            gateway: None,
            wake: Moment::NEVER,
            neighbours: 0,
        });
        let nodes: Vec<_> = nodes.collect();
        for node in 0..plan.nodes() {
            places.leave(node, Moment(0));
        }
        let mut world = Self {
            plan,
            templates: Templates::new(&settings),
            now: Moment(0),
            queue: Queue::default(),
            random,
            engines: (0..plan.nodes()).map(|_| None).collect(),
            nodes,
            kernels: Kernels::default(),
            places,
            pairs: Pairs::new(plan),
            network,
            traffic,
            strangers,
            violations: Violations::default(),
            figures: Figures::new(),
            tally: Tally::default(),
            registered: 0,
            actions: Vec::new(),
            settings,
        };
        world.plan_scenario();
        world
    }

    /// Does the next thing that happens by `end`. False when there is none.
    pub(super) fn step(&mut self, end: Moment) -> bool {
        let Some((at, event)) = self.queue.next(end) else { return false };
        self.now = at;
        match event {
            Event::Arrive(flight) => self.arrive(flight),
            Event::Wake(node) => self.wake(node),
            Event::Adjacency(pair) => self.look_at_adjacency(pair),
            Event::RegistrationBound(pair) => self.look_at_registration(pair),
            Event::MappingBound(place) => self.look_at_mappings(place),
            Event::Boot(node) => self.boot(node),
            Event::Leave => self.somebody_leaves(),
            Event::Move => self.somebody_moves(),
            Event::HubFails(hub) => self.hub_fails(hub),
            Event::NewFlow => self.new_flow(),
            Event::Flow(flow) => self.flow(flow),
            Event::Stranger => self.stranger(),
            Event::Flood => self.flood(),
        }
        true
    }

    /// A node's name, for messages.
    pub(super) fn name(&self, node: NodeId) -> String {
        if self.plan.is_hub(node) {
            format!("hub {node}")
        } else {
            format!("spoke {}", node - self.plan.hubs)
        }
    }

    /// A node's underlay address.
    pub(super) fn address(&self, node: NodeId) -> Address {
        underlay(self.nodes[node as usize].place).unwrap_or(0)
    }

    fn wake(&mut self, node: NodeId) {
        if self.nodes[node as usize].wake == self.now {
            self.nodes[node as usize].wake = Moment::NEVER;
            self.input(node, Input::Timer, false);
        }
    }

    /// A packet comes to whoever is there.
    fn arrive(&mut self, flight: u32) {
        let Some(Flight { from, to, bytes, hostile }) = self.network.arrive(flight) else { return };
        let Some(node) = self.places.occupant(to).filter(|&node| self.nodes[node as usize].up) else {
            return;
        };
        self.tally.packets += 1;
        let kind = bytes.get(KIND).copied().unwrap_or(0);
        if !hostile && bytes.get(HOP_COUNT).is_some_and(|&left| left < u8::MAX - MOST_HOPS) {
            let what =
                format!("NHRP packet of type {kind} came to {} over {MOST_HOPS} hops", self.name(node));
            self.violations.add(self.now, Invariant::Loop, what);
        }
        if self.plan.is_hub(node) && !hostile {
            self.tally.registrations += u64::from(kind == PacketKind::RegistrationRequest as u8);
            self.tally.resolutions += u64::from(kind == PacketKind::ResolutionRequest as u8);
        }
        let open = self.open_pair(from, to).filter(|_| is_registration(kind));
        let dropped = open.map(|_| self.dropped_for_rate(node));
        self.input(node, Input::Packet { tunnel: TUNNEL, source: ip(from), bytes: &bytes }, hostile);
        if let (Some(pair), Some(dropped)) = (open, dropped)
            && self.dropped_for_rate(node) != dropped
        {
            self.pairs.lose(pair);
        }
    }

    /// Packets that a node did not look at because there were too many.
    fn dropped_for_rate(&self, node: NodeId) -> u64 {
        let counters = self.engines[node as usize].as_ref().and_then(|engine| engine.counters(TUNNEL));
        counters.map_or(0, |counters| counters.fault(Fault::SourceRate) + counters.fault(Fault::TotalRate))
    }

    /// The pair of a spoke and a hub at two places, if the spoke has to register.
    fn open_pair(&self, one: Address, other: Address) -> Option<u32> {
        let one = self.places.owner_of(one)?;
        let other = self.places.owner_of(other)?;
        let (hub, spoke) = if one < other { (one, other) } else { (other, one) };
        if !self.plan.is_hub(hub) || self.plan.is_hub(spoke) {
            return None;
        }
        Some(self.pairs.number(spoke, hub)).filter(|&pair| self.pairs.is_open(pair))
    }

    /// Hands an input to a node's engine and does what it wants done.
    pub(super) fn input(&mut self, node: NodeId, input: Input<'_>, hostile: bool) {
        let Some(mut engine) = self.engines[node as usize].take() else { return };
        let mut actions = std::mem::take(&mut self.actions);
        self.tally.inputs += 1;
        let measured = match input {
            Input::Packet { bytes, .. } if self.plan.is_hub(node) && !hostile => bytes.get(KIND).copied(),
            _ => None,
        };
        let routing = self.routing(node);
        let started = measured.map(|_| Instant::now());
        engine.handle(self.now.time(), input, &routing, &mut actions);
        if let (Some(kind), Some(started)) = (measured, started) {
            self.figures.add(kind, started);
        }
        self.engines[node as usize] = Some(engine);
        self.finish(node, actions, hostile);
    }

    /// Starts a node's engine.
    pub(super) fn start(&mut self, node: NodeId) {
        let mut actions = std::mem::take(&mut self.actions);
        let config = self.templates.config(node, self.address(node));
        let mut engine = Engine::new(vec![config], self.settings.engine_seed(node));
        engine.start(self.now.time(), &self.routing(node), &mut actions);
        self.engines[node as usize] = Some(engine);
        self.finish(node, actions, false);
    }

    /// Does what an engine wants done, and checks where that led.
    fn finish(&mut self, node: NodeId, mut actions: Vec<Action>, hostile: bool) {
        self.carry_out(node, &mut actions, hostile);
        self.actions = actions;
        self.check_tables(node);
        self.plan_wake(node);
    }

    /// The routes of a node.
    pub(super) fn routing(&self, node: NodeId) -> Routing<'_> {
        Routing {
            plan: self.plan,
            nodes: &self.nodes,
            kernels: &self.kernels,
            sabotage: self.settings.sabotage,
            node,
        }
    }

    fn plan_wake(&mut self, node: NodeId) {
        let Some(engine) = &self.engines[node as usize] else { return };
        let Some(deadline) = engine.next_deadline().map(Moment::from) else { return };
        let deadline = deadline.max(self.now);
        let wake = &mut self.nodes[node as usize].wake;
        if deadline < *wake {
            *wake = deadline;
            self.queue.plan(deadline, Event::Wake(node));
        }
    }

    /// Puts a packet on the wire.
    pub(super) fn send(&mut self, from: Address, to: Address, bytes: Vec<u8>, hostile: bool) {
        if !hostile {
            self.strangers.overhear(from, &bytes);
        }
        if self.settings.sabotage == Some(Sabotage::SilentHub)
            && bytes.get(KIND) == Some(&(PacketKind::RegistrationReply as u8))
            && self.places.owner_of(to) == Some(self.plan.spoke(7))
        {
            return;
        }
        let kind = bytes.get(KIND).copied().unwrap_or(0);
        match self.network.send(Flight { from, to, bytes, hostile }) {
            Some((delay, flight)) => self.queue.plan(self.now + delay, Event::Arrive(flight)),
            None if is_registration(kind) => {
                if let Some(pair) = self.open_pair(from, to) {
                    self.pairs.lose(pair);
                }
            }
            None => {}
        }
    }
}

/// Kinds of packets that make a registration or take it back.
fn is_registration(kind: u8) -> bool {
    (PacketKind::RegistrationRequest as u8..=PacketKind::PurgeReply as u8).contains(&kind)
}
