//! Takes over what an earlier agent left in the kernel: its neighbours, routes and peers carry traffic all the time.

use std::{collections::BTreeSet, net::IpAddr};

use anyhow::Result;
use tracing::{info, warn};

use super::Agent;
use crate::{
    datapath::DataPath,
    netlink::{
        neighbours,
        routes::{self, TunnelRoute},
    },
    nhrp::engine::{Input, TunnelId},
};

/// Mappings that an earlier agent left on the interface of a tunnel.
pub(super) struct Left {
    tunnel: TunnelId,
    /// Protocol and NBMA address.
    mappings: Vec<(IpAddr, IpAddr)>,
}

impl Agent {
    /// Reads the neighbours of every tunnel interface, before the engine adds its own, and removes those that lead to
    /// no peer.
    pub(super) async fn find_left(&self) -> Result<Vec<Left>> {
        let mut found = Vec::new();
        for tunnel in self.tunnels.iter() {
            let ifindex = tunnel.link.ifindex;
            let mut mappings = Vec::new();
            for neighbour in neighbours::list_ours(&self.netlink, ifindex).await? {
                let peer =
                    self.data_path.peers.get(neighbour.peer)?.filter(|peer| peer.tunnel == tunnel.id.0);
                match peer.and_then(|peer| peer.nbma.to_ip()) {
                    Some(nbma) => mappings.push((neighbour.address, nbma)),
                    None => neighbours::remove(&self.netlink, ifindex, neighbour.address)?,
                }
            }
            found.push(Left { tunnel: tunnel.id, mappings });
        }
        Ok(found)
    }

    /// Tells the engine of every neighbour and shortcut of our tunnel interfaces, then removes what nobody knows.
    pub(super) async fn adopt(&mut self, left: Vec<Left>) -> Result<()> {
        for Left { tunnel, mappings } in left {
            for &(protocol, nbma) in &mappings {
                self.input(Input::Adopt { tunnel, protocol, nbma }).await;
                if let Some(index) = self.data_path.peers.index_of(tunnel.0, nbma)? {
                    self.put_in_group(tunnel, protocol, nbma, index)?;
                }
            }
            self.adopt_receivers(tunnel).await?;
            let shortcuts = self.adopt_routes(tunnel, self.tunnel(tunnel)?.link.ifindex).await?;
            if !mappings.is_empty() || shortcuts > 0 {
                info!(mappings = mappings.len(), shortcuts, "adopted what an earlier agent left");
            }
        }
        self.remove_orphans().await
    }

    /// Shortcuts go to the engine. Static routes follow the configuration. Host routes follow their neighbours.
    async fn adopt_routes(&mut self, tunnel: TunnelId, ifindex: u32) -> Result<usize> {
        let wanted: Vec<_> = self.tunnel(tunnel)?.plan.config.routes.iter().map(static_route).collect();
        let mapped: BTreeSet<_> =
            neighbours::list_ours(&self.netlink, ifindex).await?.iter().map(|found| found.address).collect();
        let mut adopted = 0;
        for route in routes::list_ours(&self.netlink, ifindex).await? {
            match route {
                TunnelRoute::Shortcut { prefix, via } => {
                    self.input(Input::AdoptShortcut { tunnel, prefix, via }).await;
                    adopted += 1;
                }
                TunnelRoute::Static { .. } if wanted.contains(&route) => {}
                TunnelRoute::Host { address } if mapped.contains(&address) => {}
                TunnelRoute::Static { .. } | TunnelRoute::Host { .. } => {
                    routes::remove(&self.netlink, ifindex, route).await?;
                }
            }
        }
        for route in wanted {
            routes::add(&self.netlink, ifindex, route).await?;
        }
        Ok(adopted)
    }

    /// Whoever got copies of multicast packets had registered, or is a server; the engine says who still gets them.
    async fn adopt_receivers(&mut self, tunnel: TunnelId) -> Result<()> {
        let receivers = self.data_path.multicast.receivers(self.tunnel(tunnel)?.link.ifindex);
        for index in receivers {
            let nbma = self.data_path.peers.get(index)?.and_then(|peer| peer.nbma.to_ip());
            if let Some(nbma) = nbma {
                self.input(Input::AdoptMulticast { tunnel, nbma }).await;
            }
            let wanted = nbma.and_then(|nbma| self.engine.peer(tunnel, nbma, self.now()));
            if !wanted.is_some_and(|peer| peer.multicast) {
                let DataPath { multicast, tunnels, .. } = &mut self.data_path;
                multicast.remove(&mut tunnels.interfaces, index)?;
            }
        }
        Ok(())
    }

    /// Peers that no mapping uses: an agent was killed between two steps.
    async fn remove_orphans(&mut self) -> Result<()> {
        for (index, peer) in self.data_path.peers.entries()? {
            let nbma = peer.nbma.to_ip();
            let known = nbma.and_then(|nbma| self.engine.peer(TunnelId(peer.tunnel), nbma, self.now()));
            if known.is_none() {
                warn!(index, ?nbma, "removing a peer that nothing refers to");
                self.drop_peer(index).await?;
            }
        }
        Ok(())
    }
}

/// The kernel route for a route of the configuration.
pub(super) fn static_route(route: &crate::config::StaticRoute) -> TunnelRoute {
    TunnelRoute::Static { prefix: route.prefix, via: route.via }
}
