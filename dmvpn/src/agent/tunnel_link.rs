//! Follows the tunnel interfaces: an operator may set one down and up again, and with that the kernel forgets what was on
//! it: IPv6 addresses, neighbours, routes.

use anyhow::Result;
use tracing::{info, warn};

use super::{Agent, adopt::static_route};
use crate::{
    netlink::{links, routes},
    nhrp::engine::{Input, TunnelId},
};

impl Agent {
    /// Puts everything on the interface `ifindex` again, if it is a tunnel's. To be called when it is up and something
    /// about it has changed: whether it was down in between, nobody tells.
    pub(super) async fn restore_tunnel(&mut self, ifindex: u32) {
        let Some(tunnel) = self.tunnels.by_ifindex(ifindex) else { return };
        let (id, name) = (tunnel.id, tunnel.name().to_owned());
        if let Err(error) = self.restore_link(id).await {
            warn!(tunnel = name, "cannot restore the interface: {error:#}");
        }
        self.input(Input::InterfaceUp { tunnel: id }).await;
        if let Err(error) = self.restore_static_routes(id).await {
            warn!(tunnel = name, "cannot restore its routes: {error:#}");
        }
    }

    async fn restore_link(&mut self, id: TunnelId) -> Result<()> {
        let tunnel = self.tunnel(id)?;
        let link = links::create_or_adopt(&self.netlink, &tunnel.plan.link()).await?;
        for change in &link.changes {
            info!(tunnel = tunnel.name(), "{change}");
        }
        Ok(())
    }

    async fn restore_static_routes(&self, id: TunnelId) -> Result<()> {
        let tunnel = self.tunnel(id)?;
        for route in &tunnel.plan.config.routes {
            routes::add(&self.netlink, tunnel.link.ifindex, static_route(route)).await?;
        }
        Ok(())
    }
}
