//! The LAN interfaces whose packets bypass the kernel's stack on their way to and from the tunnels.

use std::collections::BTreeMap;

use tracing::{info, warn};

use super::{Agent, actions::ActionError};
use crate::{
    config::XdpMode,
    datapath::{Hook, LinkName},
    netlink::interfaces,
};

impl Agent {
    /// Brings the program to every interface of `accelerate` that is there. To be called again after links changed: an
    /// interface may come, go, or get another address.
    pub(super) async fn accelerate_lans(&mut self) {
        let wanted: BTreeMap<String, XdpMode> = self
            .tunnels
            .iter()
            .flat_map(|tunnel| {
                let mode = tunnel.plan.config.xdp;
                tunnel.plan.config.accelerate.iter().map(move |name| (name.clone(), mode))
            })
            .collect();
        for (name, mode) in wanted {
            if let Err(error) = self.accelerate_lan(&name, mode).await {
                warn!(interface = name, "cannot accelerate it: {error}");
            }
        }
    }

    async fn accelerate_lan(&mut self, name: &str, mode: XdpMode) -> Result<(), ActionError> {
        let Some(interface) = interfaces::by_name(&self.netlink, name).await? else { return Ok(()) };
        let Some(mac) = interface.mac else { return Ok(()) };
        let known = self.tunnels.lans.get(&interface.index).copied();
        if known == Some(mac) {
            return Ok(());
        }
        // It has one XDP program, and without that of the underlay there is no tunnel.
        if self.tunnels.is_underlay(interface.index) {
            warn!(interface = name, "it leads to peers too, so packets from it to peers go by the kernel");
        } else if known.is_none() {
            let attached = self.data_path.attach_lan(name, mode)?;
            info!(interface = name, mode = attached.mode.name(), kept = attached.kept, "accelerated");
            if let Some(reason) = &attached.fallback {
                warn!(
                    interface = name,
                    reason, "XDP runs in the kernel's generic hook, not in the driver: slow"
                );
            }
        }
        self.data_path.tunnels.interfaces.accelerate(interface.index, mac)?;
        self.tunnels.lans.insert(interface.index, mac);
        Ok(())
    }

    /// Forgets what an earlier agent accelerated and this one does not.
    pub(super) fn remove_stale_lans(&mut self) -> Result<(), ActionError> {
        for (ifindex, interface) in self.data_path.tunnels.interfaces.entries()? {
            if interface.role != dmvpn_common::InterfaceRole::Lan || self.tunnels.lans.contains_key(&ifindex)
            {
                continue;
            }
            self.data_path.tunnels.interfaces.remove(ifindex)?;
            // Without a name it is gone, and its program with it.
            if let Ok(name) = nix::net::if_::if_indextoname(ifindex)
                && !self.tunnels.is_underlay(ifindex)
            {
                let interface = name.to_string_lossy().into_owned();
                info!(interface, "not accelerated any more");
                self.data_path.detach(&LinkName { hook: Hook::Xdp, interface })?;
            }
        }
        Ok(())
    }

    /// A LAN interface is no more.
    pub(super) fn forget_lan(&mut self, ifindex: u32) {
        if self.tunnels.lans.remove(&ifindex).is_some()
            && let Err(error) = self.data_path.tunnels.interfaces.remove(ifindex)
        {
            warn!("{error}");
        }
    }
}
