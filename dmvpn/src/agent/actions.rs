//! Carries out what the engine wants done, in its order: the order is what keeps traffic flowing.

use std::{io, net::IpAddr};

use dmvpn_common::{PeerMac, PeerState};
use ipnet::IpNet;
use tracing::{debug, info, warn};

use super::Agent;
use crate::{
    datapath::DataPath,
    netlink::{
        neighbours,
        routes::{self, TunnelRoute},
    },
    nhrp::engine::{Action, Event, Severity, TunnelId},
};

/// Why an action could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum ActionError {
    /// The engine named a tunnel or peer that is not there.
    #[error("no {what} for {about}: internal inconsistency")]
    Unknown {
        /// What is missing.
        what: &'static str,
        /// Of whom.
        about: String,
    },
    /// The data path refused.
    #[error(transparent)]
    DataPath(#[from] crate::datapath::DataPathError),
    /// The kernel's tables refused.
    #[error(transparent)]
    Netlink(#[from] crate::netlink::Error),
    /// The packet could not be sent.
    #[error("cannot send NHRP to {to}: {source}")]
    Send {
        /// Outer destination.
        to: IpAddr,
        /// Why.
        source: io::Error,
    },
}

impl Agent {
    /// Carries out everything in `actions`. What fails is logged and does not stop the rest.
    pub(super) async fn carry_out(&mut self, actions: &mut Vec<Action>) {
        for action in actions.drain(..) {
            if let Err(error) = self.act(action).await {
                warn!("{error}");
            }
        }
    }

    async fn act(&mut self, action: Action) -> Result<(), ActionError> {
        match action {
            Action::Send { tunnel, to, bytes } => self.send(tunnel, to, &bytes),
            Action::AddPeer { tunnel, nbma } => self.add_peer(tunnel, nbma).await,
            Action::RemovePeer { tunnel, nbma } => self.remove_peer(tunnel, nbma).await,
            Action::SetNeighbour { tunnel, protocol, nbma } => {
                let ifindex = self.ifindex(tunnel)?;
                let index = self.peer_index(tunnel, nbma)?;
                self.put_in_group(tunnel, protocol, nbma, index)?;
                neighbours::set(&self.netlink, ifindex, protocol, PeerMac::from_index(index))?;
                self.forget_routes()
            }
            Action::RemoveNeighbour { tunnel, protocol } => {
                neighbours::remove(&self.netlink, self.ifindex(tunnel)?, protocol)?;
                self.forget_routes()
            }
            Action::AddRoute { tunnel, prefix, via } => {
                routes::add(&self.netlink, self.ifindex(tunnel)?, route(prefix, via)).await?;
                self.forget_routes()
            }
            Action::RemoveRoute { tunnel, prefix, via } => {
                routes::remove(&self.netlink, self.ifindex(tunnel)?, route(prefix, via)).await?;
                self.forget_routes()
            }
            Action::AddMulticast { tunnel, nbma } => {
                let (ifindex, index) = (self.ifindex(tunnel)?, self.peer_index(tunnel, nbma)?);
                let DataPath { multicast, tunnels, .. } = &mut self.data_path;
                Ok(multicast.add(&mut tunnels.interfaces, ifindex, index)?)
            }
            Action::RemoveMulticast { tunnel, nbma } => {
                let index = self.peer_index(tunnel, nbma)?;
                let DataPath { multicast, tunnels, .. } = &mut self.data_path;
                Ok(multicast.remove(&mut tunnels.interfaces, index)?)
            }
            Action::Log(event) => {
                self.log(&event);
                Ok(())
            }
        }
    }

    /// The kernel was changed: the data path must not go by what it remembers.
    fn forget_routes(&self) -> Result<(), ActionError> {
        Ok(self.data_path.control.forget_routes()?)
    }

    fn send(&self, tunnel: TunnelId, to: IpAddr, bytes: &[u8]) -> Result<(), ActionError> {
        let tunnel = self.tunnel(tunnel)?;
        if !tunnel.has_source {
            debug!(tunnel = tunnel.name(), %to, "cannot send NHRP without the tunnel's source");
            return Ok(());
        }
        tunnel.socket.send(to, bytes).map_err(|source| ActionError::Send { to, source })
    }

    async fn add_peer(&mut self, tunnel: TunnelId, nbma: IpAddr) -> Result<(), ActionError> {
        let parameters = self.tunnel(tunnel)?.parameters.clone();
        let index = self.data_path.peers.add(&parameters, nbma, PeerState::Up)?;
        self.connect(index).await
    }

    async fn remove_peer(&mut self, tunnel: TunnelId, nbma: IpAddr) -> Result<(), ActionError> {
        let Some(index) = self.data_path.peers.index_of(tunnel.0, nbma)? else { return Ok(()) };
        self.drop_peer(index).await
    }

    fn log(&self, event: &Event) {
        let tunnel = self.tunnels.get(event.tunnel).map_or("?", |tunnel| tunnel.name());
        match event.kind.severity() {
            Severity::Debug => debug!(tunnel, "{}", event.kind),
            Severity::Info => info!(tunnel, "{}", event.kind),
            Severity::Warning => warn!(tunnel, "{}", event.kind),
        }
    }

    pub(super) fn tunnel(&self, id: TunnelId) -> Result<&super::Tunnel, ActionError> {
        let unknown = || ActionError::Unknown { what: "tunnel", about: id.0.to_string() };
        self.tunnels.get(id).ok_or_else(unknown)
    }

    fn ifindex(&self, id: TunnelId) -> Result<u32, ActionError> {
        self.tunnel(id).map(|tunnel| tunnel.link.ifindex)
    }

    fn peer_index(&self, tunnel: TunnelId, nbma: IpAddr) -> Result<u32, ActionError> {
        let unknown = || ActionError::Unknown { what: "peer", about: nbma.to_string() };
        self.data_path.peers.index_of(tunnel.0, nbma)?.ok_or_else(unknown)
    }
}

/// The kernel route for a route of the engine's.
fn route(prefix: IpNet, via: Option<IpAddr>) -> TunnelRoute {
    match via {
        Some(via) => TunnelRoute::Shortcut { prefix, via },
        None => TunnelRoute::Host { address: prefix.addr() },
    }
}
