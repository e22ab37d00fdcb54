//! The box the engine runs on: routes that the case gives it, and what the engine has put into it.
//!
//! What the engine wants done is checked against what a kernel could do: no neighbour without its peer, no route
//! without its next hop, nothing removed that is in use, nothing added or removed twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use anyhow::{Result, ensure};
use dmvpn::nhrp::engine::{Action, Environment, Route, TunnelConfig, TunnelId};
use ipnet::IpNet;

/// Where a route leads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Leads {
    /// To an address of the box.
    Local,
    /// Out by an interface that is no tunnel.
    Lan,
    /// Into a tunnel: to a gateway, or to the destination itself.
    Tunnel(TunnelId, Option<IpAddr>),
}

#[derive(Debug, Default)]
pub(super) struct Kernel {
    /// Routes that are not the engine's.
    pub(super) routes: BTreeMap<IpNet, Leads>,
    /// Data packets sent to each peer.
    pub(super) traffic: BTreeMap<(TunnelId, IpAddr), u64>,
    pub(super) peers: BTreeSet<(TunnelId, IpAddr)>,
    pub(super) copies: BTreeSet<(TunnelId, IpAddr)>,
    pub(super) neighbours: BTreeMap<(TunnelId, IpAddr), IpAddr>,
    /// The engine's routes.
    pub(super) shortcuts: BTreeMap<(TunnelId, IpNet), Option<IpAddr>>,
}

impl Environment for Kernel {
    fn route(&self, destination: IpAddr) -> Route {
        let found = self.routes.iter().filter(|(prefix, _)| prefix.contains(&destination));
        match found.max_by_key(|(prefix, _)| prefix.prefix_len()) {
            None => Route::None,
            Some((&prefix, Leads::Local)) => Route::Local { prefix },
            Some((&prefix, Leads::Lan)) => Route::Elsewhere { prefix },
            Some((&prefix, &Leads::Tunnel(tunnel, gateway))) => {
                Route::Tunnel { tunnel, next_hop: gateway.unwrap_or(destination), prefix, gives_way: false }
            }
        }
    }

    fn packets_sent(&self, tunnel: TunnelId, nbma: IpAddr) -> u64 {
        self.traffic.get(&(tunnel, nbma)).copied().unwrap_or(0)
    }
}

impl Kernel {
    /// A box with the tunnel's address and, unless it stands alone, its subnet on the link.
    pub(super) fn connect(&mut self, config: &TunnelConfig) {
        self.routes.insert(IpNet::from(config.address.addr()), Leads::Local);
        if !config.host_routes() {
            self.routes.insert(config.address.trunc(), Leads::Tunnel(config.id, None));
        }
    }

    /// Does what an action says, if it can be done.
    pub(super) fn apply(&mut self, action: &Action) -> Result<()> {
        match *action {
            Action::AddPeer { tunnel, nbma } => {
                ensure!(self.peers.insert((tunnel, nbma)), "peer {nbma} is added twice");
            }
            Action::RemovePeer { tunnel, nbma } => {
                ensure!(self.peers.remove(&(tunnel, nbma)), "peer {nbma} is removed, but is none");
                ensure!(!self.copies.contains(&(tunnel, nbma)), "peer {nbma} goes and still gets copies");
                let user = self.neighbours.iter().find(|&(&(at, _), &to)| at == tunnel && to == nbma);
                ensure!(user.is_none(), "peer {nbma} goes while {user:?} leads to it");
            }
            Action::AddMulticast { tunnel, nbma } => {
                ensure!(self.peers.contains(&(tunnel, nbma)), "copies for {nbma}, which is no peer");
                ensure!(self.copies.insert((tunnel, nbma)), "copies for {nbma} are added twice");
            }
            Action::RemoveMulticast { tunnel, nbma } => {
                ensure!(self.copies.remove(&(tunnel, nbma)), "copies for {nbma} are removed, but are none");
            }
            Action::SetNeighbour { tunnel, protocol, nbma } => {
                ensure!(self.peers.contains(&(tunnel, nbma)), "{protocol} leads to {nbma}, which is no peer");
                self.neighbours.insert((tunnel, protocol), nbma);
            }
            Action::RemoveNeighbour { tunnel, protocol } => {
                let removed = self.neighbours.remove(&(tunnel, protocol));
                ensure!(removed.is_some(), "neighbour {protocol} is removed, but is none");
                let needs = |(&(at, _), &via): (&(TunnelId, IpNet), &Option<IpAddr>)| {
                    at == tunnel && via == Some(protocol)
                };
                let user = self.shortcuts.iter().find(|&route| needs(route));
                ensure!(user.is_none(), "neighbour {protocol} goes while the route {user:?} needs it");
            }
            Action::AddRoute { tunnel, prefix, via } => {
                let next_hop = via.unwrap_or(prefix.addr());
                ensure!(prefix == prefix.trunc(), "the route {prefix} has host bits");
                let known = self.neighbours.contains_key(&(tunnel, next_hop));
                ensure!(known, "the route {prefix} needs {next_hop}, which is no neighbour");
                self.shortcuts.insert((tunnel, prefix), via);
            }
            Action::RemoveRoute { tunnel, prefix, via } => {
                // A route that has replaced another one for its prefix is not the one that is meant.
                if self.shortcuts.get(&(tunnel, prefix)) == Some(&via) {
                    self.shortcuts.remove(&(tunnel, prefix));
                }
            }
            Action::Send { .. } | Action::Log(_) => {}
        }
        Ok(())
    }
}
