//! The tunnels: `TUNNELS`, and `LOCAL` which follows from it.

use std::net::IpAddr;

use aya::maps::{HashMap, MapData};
use dmvpn_common::{Address, FastPath, Keyed, LocalAddress, Tunnel, TunnelFlags, TunnelKey, map_names};

use super::{ControlTable, DataPathError, DontFragment, InterfaceTable, OuterTos};

/// What the data path has to know of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelParameters {
    /// Names the tunnel in other maps, from 1. Peers belong to this number: keep it over a restart.
    pub id: u32,
    /// Index of the tunnel interface.
    pub ifindex: u32,
    /// Index of its far end.
    pub far_ifindex: u32,
    /// NHRP network.
    pub network_id: u32,
    /// Our NBMA address.
    pub local: IpAddr,
    /// GRE key; none and 0 are different tunnels.
    pub key: Option<u32>,
    /// Outer TTL or hop limit.
    pub ttl: u8,
    /// Don't-fragment in outer headers.
    pub dont_fragment: DontFragment,
    /// Type of service in outer headers.
    pub tos: OuterTos,
    /// What bypasses the kernel's stack.
    pub fast_path: FastPath,
    /// Raise a redirect event for traffic that enters and leaves the NHRP network here.
    pub redirect: bool,
    /// Accept data from NBMA addresses that are no known peers.
    pub accept_any: bool,
    /// Drop data whose inner source is not routed to the peer it came from. Wants
    /// [`RouteSelection::BySource`](super::RouteSelection::BySource).
    pub check_source: bool,
    /// MTU of the interface in bytes, and of every new peer.
    pub mtu: u32,
    /// To what the largest segment that TCP connections announce is lowered.
    pub segments: Segments,
}

/// To what the largest segment (MSS) that the ends of a TCP connection announce is lowered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segments {
    /// It is not.
    Any,
    /// To what fits the tunnel's MTU, and that of the peer.
    ThatFit,
    /// That, and to so many bytes over IPv4, 20 less over IPv6.
    AtMost(u16),
}

impl Segments {
    /// Length of an IP and a TCP header over IPv4.
    const HEADERS: u16 = 40;
    /// Bytes that the header of IPv6 is longer.
    const LONGER: u16 = 20;

    /// The limits for a tunnel of this MTU, over IPv4 and IPv6; 0: none.
    pub(super) fn limits(self, mtu: u32) -> [u16; 2] {
        let fits = u16::try_from(mtu).unwrap_or(u16::MAX).saturating_sub(Self::HEADERS);
        let most = match self {
            Self::Any => return [0; 2],
            Self::ThatFit => fits,
            Self::AtMost(bytes) => bytes.min(fits),
        };
        // 0 would be none. No tunnel is so narrow.
        [most.max(1), most.saturating_sub(Self::LONGER).max(1)]
    }
}

impl TunnelParameters {
    fn map_key(&self) -> TunnelKey {
        TunnelKey {
            local: self.local.into(),
            keyed: if self.key.is_some() { Keyed::Yes } else { Keyed::No },
            key: self.key.unwrap_or(0),
        }
    }

    fn map_value(&self) -> Tunnel {
        let flag = |set: bool, flag: u32| if set { flag } else { 0 };
        let [mss_ipv4, mss_ipv6] = self.segments.limits(self.mtu);
        Tunnel {
            id: self.id,
            ifindex: self.ifindex,
            far_ifindex: self.far_ifindex,
            network_id: self.network_id,
            flags: flag(self.redirect, TunnelFlags::REDIRECT)
                | flag(self.accept_any, TunnelFlags::ACCEPT_ANY)
                | flag(self.check_source, TunnelFlags::CHECK_SOURCE),
            mtu: self.mtu,
            fast_path: self.fast_path,
            mss_ipv4,
            mss_ipv6,
        }
    }
}

/// The tunnels in the kernel; at most 1,024.
pub struct TunnelTable {
    /// Their interfaces, and those that are accelerated.
    pub interfaces: InterfaceTable,
    tunnels: HashMap<MapData, TunnelKey, Tunnel>,
    local: HashMap<MapData, Address, LocalAddress>,
    control: ControlTable,
}

impl TunnelTable {
    pub(super) fn new(
        tunnels: HashMap<MapData, TunnelKey, Tunnel>,
        local: HashMap<MapData, Address, LocalAddress>,
        interfaces: InterfaceTable,
        control: ControlTable,
    ) -> Self {
        Self { interfaces, tunnels, local, control }
    }

    /// Adds a tunnel or changes the one with the same id, whatever address and key that has now.
    pub fn set(&mut self, tunnel: &TunnelParameters) -> Result<(), DataPathError> {
        let key = tunnel.map_key();
        self.interfaces.set_tunnel(tunnel)?;
        self.tunnels
            .insert(key, tunnel.map_value(), 0)
            .map_err(DataPathError::map(map_names::TUNNELS, "write"))?;
        // Only now: an address without a tunnel drops its packets as having a wrong key.
        self.count_local(key.local)?;
        for (old, value) in self.entries()? {
            if value.id == tunnel.id && old != key {
                self.remove_key(&old)?;
                if value.ifindex != tunnel.ifindex {
                    self.interfaces.remove(value.ifindex)?;
                }
            }
        }
        self.control.forget_routes()
    }

    /// Removes the tunnel with this id, if there is one. Its peers stay: remove them first.
    pub fn remove(&mut self, id: u32) -> Result<(), DataPathError> {
        for (key, tunnel) in self.entries()? {
            if tunnel.id == id {
                self.remove_key(&key)?;
                self.interfaces.remove(tunnel.ifindex)?;
            }
        }
        self.control.forget_routes()
    }

    /// Every tunnel in the kernel, also those of an earlier run.
    pub fn entries(&self) -> Result<Vec<(TunnelKey, Tunnel)>, DataPathError> {
        self.tunnels.iter().collect::<Result<_, _>>().map_err(DataPathError::map(map_names::TUNNELS, "read"))
    }

    fn remove_key(&mut self, key: &TunnelKey) -> Result<(), DataPathError> {
        self.tunnels.remove(key).map_err(DataPathError::map(map_names::TUNNELS, "remove from"))?;
        self.count_local(key.local)
    }

    /// Writes how many tunnels an address has.
    fn count_local(&mut self, address: Address) -> Result<(), DataPathError> {
        let tunnels = self.entries()?.iter().filter(|(key, _)| key.local == address).count();
        match u32::try_from(tunnels) {
            Ok(0) => self.local.remove(&address).map_err(DataPathError::map(map_names::LOCAL, "remove from")),
            counted => {
                let value = LocalAddress { tunnels: counted.unwrap_or(u32::MAX) };
                self.local.insert(address, value, 0).map_err(DataPathError::map(map_names::LOCAL, "write"))
            }
        }
    }
}
