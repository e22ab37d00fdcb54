//! Follows the tunnel source: another address of the interface, an address that goes and comes back.
//!
//! While a tunnel has no source its peers stay as they are. Nothing can be sent, but what is known is true again as
//! soon as the source is back, and spares everybody to begin anew.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tracing::{info, warn};

use super::{
    Agent,
    find_source::{Found, find_source},
    receiver::Receiver,
    socket::NhrpSocket,
};
use crate::nhrp::engine::{Input, TunnelId};

impl Agent {
    /// Looks where the source of every tunnel is now. To be called when addresses or interfaces changed.
    pub(super) async fn follow_sources(&mut self) {
        let tunnels: Vec<_> = self.tunnels.iter().map(|tunnel| tunnel.id).collect();
        for id in tunnels {
            if let Err(error) = self.follow_source(id).await {
                let tunnel = self.tunnels.get(id).map_or("?", |tunnel| tunnel.name());
                warn!(tunnel, "cannot follow the tunnel's source: {error:#}");
            }
        }
    }

    async fn follow_source(&mut self, id: TunnelId) -> Result<()> {
        let Some(tunnel) = self.tunnels.get(id) else { return Ok(()) };
        let (wanted, current) = (&tunnel.plan.config.source, tunnel.plan.source);
        let found = find_source(&self.netlink, &tunnel.plan.config, Some(current)).await?;
        // The kernel tells when a new address may be used.
        match found.filter(|found| !found.tentative) {
            None => {
                if tunnel.has_source {
                    warn!(
                        tunnel = tunnel.name(),
                        "the tunnel's source {wanted} is gone: waiting for it to come back"
                    );
                    self.set_has_source(id, false);
                }
                Ok(())
            }
            Some(found) if found.address == current => {
                if !tunnel.has_source {
                    info!(tunnel = tunnel.name(), "the tunnel's source {wanted} is back");
                }
                self.use_source(id, found).await
            }
            Some(found) => {
                let name = tunnel.name();
                if let Some(other) = self.tunnels.iter().find(|other| {
                    other.id != id
                        && (other.plan.source, other.plan.config.key)
                            == (found.address, tunnel.plan.config.key)
                }) {
                    bail!(
                        "{} is the source of tunnel {} already, with the same key",
                        found.address,
                        other.name()
                    );
                }
                info!(tunnel = name, "the tunnel's source moves from {current} to {}", found.address);
                self.use_source(id, found).await
            }
        }
    }

    /// Makes a source that is on this box the tunnel's: what comes to it is accepted first, then peers hear of it.
    async fn use_source(&mut self, id: TunnelId, found: Found) -> Result<()> {
        let Some(tunnel) = self.tunnels.get(id) else { return Ok(()) };
        let moved = found.address != tunnel.plan.source;
        let was_gone = !tunnel.has_source;
        let same_interface = found.interface.index == tunnel.plan.underlay.index;
        if !moved && !was_gone && same_interface {
            return Ok(());
        }
        let mode = tunnel.plan.config.xdp;
        if moved {
            let config = &tunnel.plan.config;
            let socket = NhrpSocket::open(found.address, config.key, config.ttl)
                .with_context(|| format!("cannot open a GRE socket on {}", found.address))?;
            let mut parameters = tunnel.parameters.clone();
            parameters.local = found.address;
            self.data_path.tunnels.set(&parameters)?;
            for (_, peer) in
                self.data_path.peers.entries()?.into_iter().filter(|(_, peer)| peer.tunnel == id.0)
            {
                if let Some(nbma) = peer.nbma.to_ip() {
                    self.data_path.peers.add(&parameters, nbma, peer.state)?;
                }
            }
            let socket = Arc::new(socket);
            let receiver = Receiver::start(id, Arc::clone(&socket), self.queues.packets.clone());
            if let Some(tunnel) = self.tunnels.get_mut(id) {
                tunnel.parameters = parameters;
                tunnel.plan.source = found.address;
                tunnel.socket = socket;
                tunnel.receiver = receiver;
            }
            self.update_slow_paths().context("cannot open a GRE socket")?;
        }
        let underlay = found.interface.index;
        if let Some(tunnel) = self.tunnels.get_mut(id) {
            tunnel.plan.underlay = found.interface;
        }
        self.set_has_source(id, true);
        self.accelerate(underlay, mode).await?;
        self.reconnect(id).await;
        self.input(Input::LocalNbma { tunnel: id, nbma: found.address }).await;
        if moved {
            // Which addresses of a host name are not our own is another question now.
            self.update_servers(id).await;
        }
        Ok(())
    }

    fn set_has_source(&mut self, id: TunnelId, has_source: bool) {
        if let Some(tunnel) = self.tunnels.get_mut(id) {
            tunnel.has_source = has_source;
        }
    }
}
