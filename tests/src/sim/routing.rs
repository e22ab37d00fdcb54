//! The routes of every node, as a routing protocol over the tunnel would make them.
//!
//! A spoke routes all LANs by one hub, its gateway: the first one with which the routing protocol is up. A hub routes
//! a LAN to its spoke if the spoke is registered with it, else by another hub with which it is.

use std::net::{IpAddr, Ipv4Addr};

use dmvpn::nhrp::engine::{Environment, Route, TunnelId};
use ipnet::{IpNet, Ipv4Net};

use super::{
    address::Place,
    address::{ALL_LANS, Address, NodeId, Plan, SUBNET, bits, ip},
    clock::Moment,
    kernel::Kernels,
    settings::{Sabotage, TUNNEL},
};

/// A node, its engine and its tables aside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// Where it is, or was when it lost power.
    pub(super) place: Place,
    /// It has power.
    pub(super) up: bool,
    /// Since when it has power, or has none.
    pub(super) since: Moment,
    /// The hub that a spoke routes all LANs by.
    pub(super) gateway: Option<u8>,
    /// When its engine is going to be woken.
    pub(super) wake: Moment,
    /// Entries in its neighbour table.
    pub(super) neighbours: u32,
}

/// The network as one node's routing table shows it.
pub(super) struct Routing<'a> {
    pub(super) plan: Plan,
    pub(super) nodes: &'a [Node],
    pub(super) kernels: &'a Kernels,
    pub(super) sabotage: Option<Sabotage>,
    pub(super) node: NodeId,
}

impl Routing<'_> {
    /// A hub's next hop to a spoke's LAN.
    fn towards(&self, spoke: NodeId) -> Option<NodeId> {
        let tunnel = self.plan.tunnel(spoke);
        let mut others = (0..self.plan.hubs).filter(|&hub| hub != self.node);
        if self.sabotage == Some(Sabotage::HubsPointAtEachOther) {
            return others.next();
        }
        if self.kernels.neighbour(self.node, tunnel).is_some() {
            return Some(spoke);
        }
        others.find(|&hub| self.nodes[hub as usize].up && self.kernels.neighbour(hub, tunnel).is_some())
    }

    /// Route to an address, shortcuts aside.
    pub(super) fn look_up(&self, destination: Address) -> Route {
        let to = Ipv4Addr::from_bits(destination);
        if destination == self.plan.tunnel(self.node) {
            return Route::Local { prefix: IpNet::from(IpAddr::V4(to)) };
        }
        if SUBNET.contains(&to) {
            return via(to, SUBNET);
        }
        let Some(spoke) = self.plan.node_of_lan(destination) else { return Route::None };
        let lan = self.plan.lan_prefix(spoke);
        if spoke == self.node {
            return Route::Elsewhere { prefix: lan };
        }
        if self.plan.is_hub(self.node) {
            let next = self.towards(spoke).map(|next| ip(self.plan.tunnel(next)));
            return next.map_or(Route::None, |next_hop| Route::Tunnel {
                tunnel: TUNNEL,
                next_hop,
                prefix: lan,
                gives_way: false,
            });
        }
        match self.nodes[self.node as usize].gateway {
            Some(hub) => via(Ipv4Addr::from_bits(self.plan.tunnel(hub.into())), ALL_LANS),
            None => Route::None,
        }
    }
}

const fn via(next_hop: Ipv4Addr, prefix: Ipv4Net) -> Route {
    Route::Tunnel {
        tunnel: TUNNEL,
        next_hop: IpAddr::V4(next_hop),
        prefix: IpNet::V4(prefix),
        gives_way: false,
    }
}

impl Environment for Routing<'_> {
    fn route(&self, destination: IpAddr) -> Route {
        bits(destination).map_or(Route::None, |destination| self.look_up(destination))
    }

    fn packets_sent(&self, _: TunnelId, nbma: IpAddr) -> u64 {
        bits(nbma).map_or(0, |underlay| self.kernels.sent(self.node, underlay))
    }
}
