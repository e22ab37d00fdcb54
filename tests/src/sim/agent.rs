//! What a node's agent does with what its engine wants done: it writes it into the kernel, and sends.

use std::net::IpAddr;

use dmvpn::nhrp::engine::Action;
use ipnet::IpNet;

use super::{
    address::{Address, NodeId, bits, ip},
    settings::{REGISTRATION_INTERVAL, Sabotage},
    violations::Invariant,
    world::World,
};

impl World {
    /// Does what an engine wants done, in its order.
    pub(super) fn carry_out(&mut self, node: NodeId, actions: &mut Vec<Action>, hostile: bool) {
        for action in actions.drain(..) {
            match action {
                Action::Send { to, bytes, .. } => {
                    if let Some(to) = bits(to) {
                        self.send(self.address(node), to, bytes, hostile);
                    }
                }
                Action::AddPeer { nbma, .. } => self.with(nbma, |world, at| world.add_peer(node, at)),
                Action::RemovePeer { nbma, .. } => self.with(nbma, |world, at| world.remove_peer(node, at)),
                Action::SetNeighbour { protocol, nbma, .. } => {
                    self.with(protocol, |world, protocol| {
                        world.with(nbma, |world, at| world.set_neighbour(node, protocol, at));
                    });
                }
                Action::RemoveNeighbour { protocol, .. } => {
                    self.with(protocol, |world, protocol| world.remove_neighbour(node, protocol));
                }
                Action::AddRoute { prefix, via: Some(via), .. } => {
                    self.with(via, |world, via| world.add_route(node, prefix, via));
                }
                Action::RemoveRoute { prefix, via: Some(via), .. } => {
                    if let (Some(prefix), Some(via)) = (key(prefix), bits(via)) {
                        self.kernels.remove_route(node, prefix, via);
                    }
                }
                // Host routes belong to an addressing model that is not used here. Copies of multicast packets and
                // the log are nobody's concern.
                Action::AddRoute { via: None, .. }
                | Action::RemoveRoute { via: None, .. }
                | Action::AddMulticast { .. }
                | Action::RemoveMulticast { .. }
                | Action::Log(_) => {}
            }
        }
    }

    fn with(&mut self, address: IpAddr, act: impl FnOnce(&mut Self, Address)) {
        match bits(address) {
            Some(address) => act(self, address),
            None => self.violations.add(self.now, Invariant::Actions, format!("{address} in an IPv4 tunnel")),
        }
    }

    fn add_peer(&mut self, node: NodeId, at: Address) {
        if self.settings.sabotage == Some(Sabotage::NoPeers) {
            return;
        }
        if self.kernels.add_peer(node, at) {
            self.places.hold(at);
        } else {
            self.impossible(node, "add a peer that is there");
        }
    }

    fn remove_peer(&mut self, node: NodeId, at: Address) {
        if self.settings.sabotage == Some(Sabotage::NothingIsRemoved) {
            return;
        }
        if self.kernels.remove_peer(node, at) {
            self.places.release(at);
        } else {
            self.impossible(node, "remove a peer that is not there");
        }
    }

    fn set_neighbour(&mut self, node: NodeId, protocol: Address, at: Address) {
        let mut at = at;
        if self.settings.sabotage == Some(Sabotage::WrongMappings)
            && self.plan.is_hub(node)
            && self.plan.node_of_tunnel(protocol).is_some_and(|spoke| spoke % 5 == 0)
        {
            at = self.address(self.plan.spoke(1));
        }
        if !self.kernels.is_peer(node, at) {
            self.impossible(node, "map to an address that is no peer");
        }
        let before = self.kernels.set_neighbour(node, protocol, at, self.now);
        self.places.hold(at);
        match before {
            Some(before) => self.places.release(before.underlay),
            None => self.nodes[node as usize].neighbours += 1,
        }
        self.check_mapping(node, protocol, at);
        if self.plan.is_hub(node)
            && let Some(spoke) = self.plan.node_of_tunnel(protocol)
            && !self.plan.is_hub(spoke)
        {
            if before.is_none() {
                self.registered += 1;
                self.note_mass_registration();
            }
            self.plan_adjacency(self.pairs.number(spoke, node));
        }
    }

    fn remove_neighbour(&mut self, node: NodeId, protocol: Address) {
        if self.settings.sabotage == Some(Sabotage::NothingIsRemoved) {
            return;
        }
        if self.kernels.routes(node).any(|(_, _, via)| via == protocol) {
            self.impossible(node, "remove a neighbour that a route leads to");
        }
        let Some(before) = self.kernels.remove_neighbour(node, protocol) else {
            return self.impossible(node, "remove a neighbour that is not there");
        };
        self.places.release(before.underlay);
        self.nodes[node as usize].neighbours -= 1;
        if self.plan.is_hub(node) {
            self.spoke_is_unregistered(node, protocol);
        }
    }

    /// A hub forgot a spoke.
    pub(super) fn spoke_is_unregistered(&mut self, hub: NodeId, protocol: Address) {
        let Some(spoke) = self.plan.node_of_tunnel(protocol).filter(|&node| !self.plan.is_hub(node)) else {
            return;
        };
        self.registered -= 1;
        let pair = self.pairs.number(spoke, hub);
        self.plan_adjacency(pair);
        // If the spoke asked for it, it registers at once; if not, it cannot know.
        if self.nodes[spoke as usize].up && self.nodes[hub as usize].up {
            self.should_register(pair, REGISTRATION_INTERVAL);
        }
    }

    fn note_mass_registration(&mut self) {
        if self.figures.registering() && self.registered == self.plan.hubs * self.plan.spokes {
            self.figures.mass_registration_is_over();
            self.tally.mass_registration = Some(self.now);
        }
    }

    fn add_route(&mut self, node: NodeId, prefix: IpNet, via: Address) {
        let Some(key) = key(prefix) else {
            return self.impossible(node, "add an IPv6 route");
        };
        if self.kernels.neighbour(node, via).is_none() {
            self.impossible(node, "add a route by an unknown next hop");
        }
        let owner = self.plan.node_of_tunnel(via);
        if owner.is_none() || self.plan.node_of_lan(key.0) != owner {
            let what = format!("{}: a shortcut to {prefix} by {}", self.name(node), ip(via));
            self.violations.add(self.now, Invariant::Delivery, what);
        }
        self.tally.shortcuts += 1;
        self.kernels.add_route(node, key, via);
    }

    pub(super) fn impossible(&mut self, node: NodeId, what: &str) {
        let what = format!("{} is to {what}", self.name(node));
        self.violations.add(self.now, Invariant::Actions, what);
    }
}

/// A prefix as the kernels keep it.
fn key(prefix: IpNet) -> Option<(Address, u8)> {
    Some((bits(prefix.addr())?, prefix.prefix_len()))
}
