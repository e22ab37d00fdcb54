//! What is checked at every step, and at bounds that were planned.

use std::time::Duration;

use dmvpn::nhrp::engine::NhsState;

use super::{
    address::{Address, NodeId, bits, place, underlay},
    pairs::Bound,
    queue::Event,
    settings::{Sabotage, TUNNEL},
    violations::Invariant,
    world::{MAPPING_BOUND, World},
};

impl World {
    /// Checks a mapping as it is made.
    pub(super) fn check_mapping(&mut self, node: NodeId, protocol: Address, at: Address) {
        let Some(owner) = self.plan.node_of_tunnel(protocol) else { return };
        let Some(place) = place(at) else {
            let what = format!("{}: {} leads to a stranger", self.name(node), self.name(owner));
            return self.violations.add(self.now, Invariant::Mapping, what);
        };
        let occupant = self.places.owner(place);
        if occupant != owner && !self.plan.is_hub(occupant) {
            let what =
                { format!("{}: {} leads to {}", self.name(node), self.name(owner), self.name(occupant)) };
            self.violations.add(self.now, Invariant::Mapping, what);
        }
        if let Some(left) = self.places.left(place)
            && !self.plan.is_hub(occupant)
            && self.now.since(left) > MAPPING_BOUND
        {
            let what =
                { format!("{}: {} leads to where it was until {left}", self.name(node), self.name(owner)) };
            self.violations.add(self.now, Invariant::Mapping, what);
        }
    }

    /// A station left a place a while ago: nobody should know it any more.
    pub(super) fn look_at_mappings(&mut self, place: u32) {
        let Some(left) = self.places.left(place) else { return };
        let references = self.places.references(place);
        if self.now.since(left) >= MAPPING_BOUND && references > 0 {
            let address = underlay(place).unwrap_or(0);
            let holder =
                self.kernels.all_neighbours().find(|(_, _, neighbour)| neighbour.underlay == address);
            let holder = holder.map(|(node, ..)| node);
            let holder =
                holder.or_else(|| self.kernels.all_peers().find(|peer| peer.1 == address).map(|peer| peer.0));
            let owner = self.places.owner(place);
            let what = {
                format!(
                    "{references} entries lead to where {} was until {left}, one of them on {}",
                    self.name(owner),
                    holder.map_or_else(|| "no node".to_owned(), |node| self.name(node)),
                )
            };
            self.violations.add(self.now, Invariant::Mapping, what);
        }
    }

    /// From now on the spoke of a pair should register.
    pub(super) fn should_register(&mut self, pair: u32, notices: Duration) {
        if let Some(bound) = self.pairs.open(pair, self.now, notices) {
            self.queue.plan(bound, Event::RegistrationBound(pair));
        }
    }

    pub(super) fn look_at_registration(&mut self, pair: u32) {
        let (spoke, hub) = self.pairs.nodes(pair);
        let registered = self.is_mapped(spoke, hub) && self.thinks_it_is_registered(spoke, hub);
        match self.pairs.look(pair, self.now, registered) {
            Bound::Kept => {}
            Bound::Later(at) => self.queue.plan(at, Event::RegistrationBound(pair)),
            Bound::Broken { since, lost } => {
                let what = {
                    let mapped = if self.is_mapped(spoke, hub) { "is mapped" } else { "is not mapped" };
                    format!(
                        "{} has been trying to register with {} since {since}, {lost} packets lost; it {mapped}",
                        self.name(spoke),
                        self.name(hub)
                    )
                };
                self.violations.add(self.now, Invariant::Registration, what);
            }
        }
    }

    /// Whether a hub knows where a spoke is.
    pub(super) fn is_mapped(&self, spoke: NodeId, hub: NodeId) -> bool {
        let neighbour = self.kernels.neighbour(hub, self.plan.tunnel(spoke));
        neighbour.is_some_and(|neighbour| neighbour.underlay == self.address(spoke))
    }

    fn thinks_it_is_registered(&self, spoke: NodeId, hub: NodeId) -> bool {
        let engine = self.engines[spoke as usize].as_ref();
        let server = engine.and_then(|engine| engine.servers(TUNNEL, self.now.time()).nth(hub as usize));
        server.is_some_and(|server| server.state == NhsState::Up)
    }

    /// No table of a node may be over its bound.
    pub(super) fn check_tables(&mut self, node: NodeId) {
        let Some(engine) = &self.engines[node as usize] else { return };
        let small = self.settings.sabotage == Some(Sabotage::SmallTables);
        let neighbours = self.nodes[node as usize].neighbours as usize;
        for table in engine.tables(TUNNEL) {
            let bound = if small { self.plan.spokes as usize / 2 } else { table.bound };
            let entries = if table.name == "cache" { table.entries.max(neighbours) } else { table.entries };
            if entries > bound {
                let name = self.name(node);
                let what = format!("{name}: {entries} entries in {}, which has room for {bound}", table.name);
                self.violations.add(self.now, Invariant::Tables, what);
            }
        }
    }

    /// Compares what was counted all along with the tables themselves, and the kernels with the engines.
    pub(super) fn final_check(&mut self) {
        let mut references = vec![0_u32; self.places.all().count()];
        let neighbours = self.kernels.all_neighbours().map(|(_, _, neighbour)| neighbour.underlay);
        for at in neighbours.chain(self.kernels.all_peers().map(|(_, at)| at)).filter_map(place) {
            references[at as usize] += 1;
        }
        for place in self.places.all() {
            if references[place as usize] != self.places.references(place) {
                self.violations.add(self.now, Invariant::Mapping, format!("place {place} is miscounted"));
            }
        }
        for node in 0..self.plan.nodes() {
            let Some(engine) = &self.engines[node as usize] else { continue };
            let routing = self.routing(node);
            let cache = engine.cache(TUNNEL, self.now.time(), &routing).skip(1);
            let cache = cache.filter_map(|entry| Some((bits(entry.protocol.addr())?, bits(entry.nbma?)?)));
            let kernel =
                self.kernels.neighbours(node).map(|(protocol, neighbour)| (protocol, neighbour.underlay));
            if !cache.eq(kernel) {
                let what = format!("{}: the kernel's neighbours are not the engine's", self.name(node));
                self.violations.add(self.now, Invariant::Actions, what);
            }
        }
    }
}
