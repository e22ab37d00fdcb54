//! The tunnels of this agent, as they run.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    plan::Plan, receiver::Receiver, recursion::Recursive, socket::NhrpSocket, too_long::TooLongReceiver,
};
use crate::{
    datapath::{RunningMode, TcMode, TunnelParameters, Vlan},
    netlink::links::TunnelLink,
    nhrp::engine::TunnelId,
};

/// A tunnel that runs.
pub(super) struct Tunnel {
    /// Names it in the engine and in the maps.
    pub(super) id: TunnelId,
    /// What it was made from.
    pub(super) plan: Plan,
    /// Its interface.
    pub(super) link: TunnelLink,
    /// What the data path knows of it.
    pub(super) parameters: TunnelParameters,
    /// How its program is attached.
    pub(super) tc: TcMode,
    /// Its source is an address of this box now. Without it nothing can be sent.
    pub(super) has_source: bool,
    /// Peers that are routed into a tunnel.
    pub(super) recursive: Recursive,
    /// Sends and receives its NHRP.
    pub(super) socket: Arc<NhrpSocket>,
    /// Reads the socket.
    pub(super) receiver: Receiver,
    /// Takes what is too long for a peer.
    pub(super) too_long: TooLongReceiver,
}

impl Tunnel {
    /// Name of its interface.
    pub(super) fn name(&self) -> &str {
        &self.plan.config.name
    }
}

/// All of them, and the underlay interfaces they share.
#[derive(Default)]
pub(super) struct Tunnels {
    by_id: BTreeMap<TunnelId, Tunnel>,
    /// Underlay interfaces that have the XDP program, by index.
    pub(super) underlays: BTreeMap<u32, UnderlayInterface>,
    /// Accelerated interfaces and their link-layer addresses, by index.
    pub(super) lans: BTreeMap<u32, [u8; 6]>,
}

/// An underlay interface with the XDP program.
#[derive(Clone, Debug)]
pub(super) struct UnderlayInterface {
    /// Its name.
    pub(super) name: String,
    /// Name of the interface that has the program.
    pub(super) program_on: String,
    /// Where the program runs.
    pub(super) hook: UnderlayHook,
    /// It is a VLAN device: the XDP program is on the interface below it.
    pub(super) vlan: Option<Vlan>,
}

/// Where the underlay program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnderlayHook {
    /// XDP.
    Xdp(RunningMode),
    /// TC ingress.
    Tc,
}

impl UnderlayHook {
    /// Name in logs.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Xdp(mode) => mode.name(),
            Self::Tc => "tc",
        }
    }
}

impl Tunnels {
    pub(super) fn insert(&mut self, tunnel: Tunnel) {
        self.by_id.insert(tunnel.id, tunnel);
    }

    pub(super) fn get(&self, id: TunnelId) -> Option<&Tunnel> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: TunnelId) -> Option<&mut Tunnel> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn by_ifindex(&self, ifindex: u32) -> Option<&Tunnel> {
        self.iter().find(|tunnel| tunnel.link.ifindex == ifindex)
    }

    /// Name of an underlay interface; its index when it has no program of ours.
    pub(super) fn underlay_name(&self, ifindex: u32) -> String {
        self.underlays.get(&ifindex).map_or_else(|| format!("#{ifindex}"), |found| found.name.clone())
    }

    /// Whether an interface has the underlay's program, for itself or for a VLAN device on it.
    pub(super) fn is_underlay(&self, ifindex: u32) -> bool {
        self.underlays
            .iter()
            .any(|(index, underlay)| underlay.vlan.map_or(*index, |vlan| vlan.physical) == ifindex)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Tunnel> {
        self.by_id.values_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Tunnel> {
        self.by_id.values()
    }
}
