//! Keeps the way to every peer true: next hop, link-layer addresses, MTU, and the XDP program on the interfaces used.

use std::time::Instant;

use dmvpn_common::Peer;
use tracing::{info, warn};

use super::{
    Agent,
    actions::ActionError,
    path_mtu_socket::PacketTooBig,
    plan::overhead,
    tunnels::{UnderlayHook, UnderlayInterface},
};
use crate::{
    config::XdpMode,
    datapath::{DataPath, Hook, LinkAddresses, LinkName, NextHop, RunningMode, TcMode, Vlan},
    netlink::{
        interfaces,
        monitor::{Change, LinkState},
    },
    nhrp::engine::TunnelId,
};

/// Peers whose way is found anew in one turn of the agent's loop: some milliseconds.
const PEERS_A_TURN: usize = 32;

impl Agent {
    /// Finds the way to a peer and tells the data path. Without a way, frames are left to the kernel.
    pub(super) async fn connect(&mut self, index: u32) -> Result<(), ActionError> {
        let Some(peer) = self.data_path.peers.get(index)? else { return Ok(()) };
        let Some(nbma) = peer.nbma.to_ip() else { return Ok(()) };
        let tunnel = self.tunnel(TunnelId(peer.tunnel))?;
        if !tunnel.has_source {
            return Ok(());
        }
        let (source, key) = (tunnel.plan.source, tunnel.plan.config.key);
        let (tunnel_mtu, mode) = (tunnel.parameters.mtu, tunnel.plan.config.xdp);
        let old = self.data_path.peers.underlays.next_hop(peer.underlay);

        let way = self.ways.next_hop(nbma, source).await?;
        let id = TunnelId(peer.tunnel);
        let into_tunnel = self.leads_into_tunnel(id, nbma, way.as_ref().map(|way| way.ifindex));
        let Some(way) = way.filter(|_| !into_tunnel) else {
            self.data_path.peers.set_next_hop(index, None)?;
            return self.abandon(old).await;
        };
        let hop = NextHop { ifindex: way.ifindex, gateway: way.address };
        self.data_path.peers.set_next_hop(index, Some(hop))?;
        // First the program: it tells what kind of interface that is.
        let attached = self.accelerate(hop.ifindex, mode).await;
        self.set_addresses(hop, way.gateway_mac, way.source_mac)?;
        let path_mtu = self.path_mtus.get(nbma).unwrap_or(u32::MAX).min(way.mtu);
        let mtu = tunnel_mtu.min(path_mtu.saturating_sub(overhead(source, key)));
        if mtu != peer.mtu {
            self.data_path.peers.set_mtu(index, mtu)?;
        }
        if old != Some(hop) {
            // Most peers are behind one gateway.
            if !self.ways.keeps_fresh(hop.ifindex, hop.gateway) {
                self.ways.keep_fresh(hop.ifindex, hop.gateway).await?;
            }
            self.abandon(old).await?;
        }
        attached
    }

    /// Tells the data path the link-layer addresses of a next hop and of the interface that leads there, if both are
    /// known.
    fn set_addresses(
        &mut self,
        hop: NextHop,
        gateway: Option<[u8; 6]>,
        source: Option<[u8; 6]>,
    ) -> Result<(), ActionError> {
        let vlan = self.tunnels.underlays.get(&hop.ifindex).and_then(|underlay| underlay.vlan);
        let underlays = &mut self.data_path.peers.underlays;
        match gateway.zip(source) {
            Some((gateway, source)) => {
                underlays.set_resolved(hop, LinkAddresses { gateway, source, vlan })?
            }
            None => underlays.set_unresolved(hop)?,
        };
        Ok(())
    }

    /// A router on the underlay says how much it lets through to a peer.
    pub(super) async fn take_in_path_mtu(&mut self, PacketTooBig { destination, mtu }: PacketTooBig) {
        let peers = self.peers_where(|peer| peer.nbma.to_ip() == Some(destination));
        if !peers.is_empty() && self.path_mtus.learn(destination, mtu, Instant::now()) {
            info!(peer = %destination, mtu, "a router on the way lets only smaller packets through");
            self.connect_all(peers).await;
        }
    }

    /// Tries larger packets again where a router said long ago that they are too large.
    pub(super) async fn expire_path_mtus(&mut self) {
        let expired = self.path_mtus.expire(Instant::now());
        if !expired.is_empty() {
            let peers =
                self.peers_where(|peer| peer.nbma.to_ip().is_some_and(|nbma| expired.contains(&nbma)));
            self.connect_all(peers).await;
        }
    }

    /// Removes a peer from the data path, and what was kept for it.
    pub(super) async fn drop_peer(&mut self, index: u32) -> Result<(), ActionError> {
        let Some(peer) = self.data_path.peers.get(index)? else { return Ok(()) };
        let hop = self.data_path.peers.underlays.next_hop(peer.underlay);
        let of = peer.nbma.to_ip().map(|nbma| (TunnelId(peer.tunnel), nbma));
        if let Some((id, nbma)) = of {
            self.path_mtus.forget(nbma);
            self.leads_into_tunnel(id, nbma, None);
        }
        let DataPath { multicast, tunnels, .. } = &mut self.data_path;
        multicast.remove(&mut tunnels.interfaces, index)?;
        self.data_path.peers.remove(index)?;
        self.leave_group(index)?;
        self.abandon(hop).await
    }

    /// Stops keeping a next hop fresh that no peer uses any more.
    async fn abandon(&mut self, hop: Option<NextHop>) -> Result<(), ActionError> {
        if let Some(hop) = hop
            && !self.data_path.peers.underlays.contains(hop)
        {
            self.ways.release(hop.ifindex, hop.gateway).await?;
        }
        Ok(())
    }

    /// Attaches the XDP program to an underlay interface that has not got it. Without it packets that arrive there
    /// are not decapsulated.
    pub(super) async fn accelerate(&mut self, ifindex: u32, mode: XdpMode) -> Result<(), ActionError> {
        if self.tunnels.underlays.contains_key(&ifindex) || self.tunnels.by_ifindex(ifindex).is_some() {
            return Ok(());
        }
        let Some(interface) = interfaces::by_index(&self.netlink, ifindex).await? else { return Ok(()) };
        // A VLAN device has no XDP of its own: the program goes on the interface below it, and knows tags. At TC the kernel
        // has taken the tag off before it comes to the interface below: there the program goes on the VLAN device.
        let vlan = interface
            .vlan
            .zip(interface.below.filter(|_| !interface.below_elsewhere))
            .map(|(id, physical)| Vlan { physical, id });
        let name = interface.name;
        let mut program_on = name.clone();
        if let Some(Vlan { physical, .. }) = vlan {
            let Some(below) = interfaces::by_index(&self.netlink, physical).await? else { return Ok(()) };
            program_on = below.name;
        }
        self.add_stations(ifindex, vlan).await?;
        let serves = |underlay: &&UnderlayInterface| {
            underlay.program_on == program_on && (vlan.is_none() || underlay.hook != UnderlayHook::Tc)
        };
        let hook = match self.tunnels.underlays.values().find(serves) {
            Some(same) => same.hook,
            None => self.attach_underlay(&name, &program_on, mode)?,
        };
        if hook == UnderlayHook::Tc {
            program_on.clone_from(&name);
        }
        self.tunnels.underlays.insert(ifindex, UnderlayInterface { name, program_on, hook, vlan });
        Ok(())
    }

    /// Attaches the underlay program: in the driver of `device`, which is `name` or below it, else, unless the operator
    /// wants generic XDP, to `name` at TC, which does the same on socket buffers and leaves segmented packets whole.
    fn attach_underlay(
        &mut self,
        name: &str,
        device: &str,
        mode: XdpMode,
    ) -> Result<UnderlayHook, ActionError> {
        // Not even for a moment in generic mode below a VLAN device: the tag may lie beside the packet's bytes, where the
        // program does not see it, and would go out a second time.
        let is_below = device != name && mode == XdpMode::Auto;
        let attached = match self.data_path.attach_xdp(device, if is_below { XdpMode::Native } else { mode })
        {
            Err(error) if is_below => Err(error.to_string()),
            Ok(attached) if mode == XdpMode::Auto && attached.mode == RunningMode::Generic => {
                Err(attached.fallback.unwrap_or_default())
            }
            attached => Ok(attached?),
        };
        let reason = match attached {
            Ok(attached) => {
                let hook = UnderlayHook::Xdp(attached.mode);
                let link = LinkName { hook: Hook::TcIngress, interface: name.to_owned() };
                self.data_path.detach(&link)?;
                info!(interface = device, mode = hook.name(), kept = attached.kept, "XDP attached");
                return Ok(hook);
            }
            Err(reason) => reason,
        };
        let attached = self.data_path.attach_underlay_tc(name, TcMode::Tcx)?;
        self.data_path.detach(&LinkName { hook: Hook::Xdp, interface: device.to_owned() })?;
        warn!(interface = name, reason, "no XDP in the driver: the program runs at TC, which is slower");
        info!(interface = name, hook = attached.mode.name(), kept = attached.kept, "TC attached");
        if !self.data_path.spread.cpus().is_empty() {
            warn!(
                interface = name,
                "`spread` does nothing at TC: let the kernel spread what it receives \
                 (/sys/class/net/{name}/queues/rx-*/rps_cpus)"
            );
        }
        Ok(UnderlayHook::Tc)
    }

    /// Takes in what changed in the kernel. Returns whether routes may have changed.
    pub(super) async fn take_in(&mut self, changes: Vec<Change>) -> bool {
        let (mut routes_changed, mut sources_changed) = (false, false);
        let is_of_next_hops = |change: &Change| {
            matches!(change, Change::Neighbour { .. } | Change::Link { .. } | Change::Everything)
        };
        if changes.iter().any(is_of_next_hops) {
            self.ways.forget();
        }
        for change in changes {
            match change {
                Change::Neighbour { ifindex, address, mac } => {
                    let hop = NextHop { ifindex, gateway: address };
                    if let Err(error) = self.take_in_neighbour(hop, mac).await {
                        warn!("{error}");
                    }
                }
                Change::Link { ifindex, state: LinkState::Removed, .. } => {
                    self.forget_underlay(ifindex);
                    self.forget_lan(ifindex);
                    sources_changed = true;
                }
                Change::Link { ifindex, state, .. } => {
                    if state == LinkState::Up {
                        if let Err(error) = self.ways.keep_fresh_again(ifindex).await {
                            warn!("{error}");
                        }
                        self.restore_tunnel(ifindex).await;
                    }
                    sources_changed = true;
                }
                Change::Address { .. } => sources_changed = true,
                Change::Everything => {
                    self.find_selectors().await;
                    sources_changed = true;
                }
                Change::Routes { by } => {
                    self.note_routes(by);
                    routes_changed = true;
                }
                Change::Rules => {
                    self.find_rules().await;
                    routes_changed = true;
                }
            }
        }
        self.apply_selection();
        if sources_changed {
            self.follow_stations().await;
            self.accelerate_lans().await;
            self.follow_sources().await;
        }
        routes_changed || sources_changed
    }

    /// The kernel has another link-layer address for a next hop, or none.
    async fn take_in_neighbour(&mut self, hop: NextHop, mac: Option<[u8; 6]>) -> Result<(), ActionError> {
        if !self.data_path.peers.underlays.contains(hop) {
            return Ok(());
        }
        let interface = interfaces::by_index(&self.netlink, hop.ifindex).await?;
        let source = interface.and_then(|interface| interface.mac);
        self.set_addresses(hop, mac, source)
    }

    /// An underlay interface is no more. Another one of its name gets a program of its own.
    fn forget_underlay(&mut self, ifindex: u32) {
        let Some(gone) = self.tunnels.underlays.remove(&ifindex) else { return };
        info!(interface = gone.name, "the underlay interface is gone");
        if self.tunnels.underlays.values().any(|other| other.program_on == gone.program_on) {
            return;
        }
        for hook in [Hook::Xdp, Hook::TcIngress] {
            let link = LinkName { hook, interface: gone.program_on.clone() };
            if let Err(error) = self.data_path.detach(&link) {
                warn!("{error}");
            }
        }
    }

    /// Finds the way to every peer of a tunnel anew.
    pub(super) async fn reconnect(&mut self, tunnel: TunnelId) {
        let peers = self.peers_where(|peer| peer.tunnel == tunnel.0);
        self.connect_all(peers).await;
    }

    /// Has the way to every peer found anew, by and by: after routes, links or addresses changed.
    pub(super) fn reconnect_all(&mut self) {
        self.to_reconnect = self.peers_where(|_| true).into();
    }

    /// Finds the way to some of the peers anew that are waiting for that.
    pub(super) async fn reconnect_some(&mut self) {
        let some = self.to_reconnect.len().min(PEERS_A_TURN);
        let peers = self.to_reconnect.drain(..some).collect();
        self.connect_all(peers).await;
    }

    fn peers_where(&self, wanted: impl Fn(&Peer) -> bool) -> Vec<u32> {
        let peers = self.data_path.peers.entries().unwrap_or_else(|error| {
            warn!("{error}");
            Vec::new()
        });
        peers.iter().filter(|(_, peer)| wanted(peer)).map(|(index, _)| *index).collect()
    }

    /// What is wrong with the way to one peer is most likely wrong with all: it is said once.
    async fn connect_all(&mut self, peers: Vec<u32>) {
        let mut failed = 0_usize;
        let mut first = None;
        for index in peers {
            if let Err(error) = self.connect(index).await {
                failed += 1;
                first.get_or_insert(error);
            }
        }
        if let Some(error) = first {
            warn!(peers = failed, "{error}");
        }
    }
}
