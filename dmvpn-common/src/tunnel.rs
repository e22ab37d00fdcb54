//! Tunnels: which packets on the underlay are ours, and which interface they belong to.

use crate::Address;

/// Whether a GRE header carries a key. A keyless tunnel and key 0 are different tunnels.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Keyed {
    /// K bit clear.
    #[default]
    No = 0,
    /// K bit set.
    Yes = 1,
}

/// Key of `TUNNELS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TunnelKey {
    /// Outer destination address: our NBMA address.
    pub local: Address,
    /// See below.
    #[cfg(feature = "other-layout")]
    pub key: u32,
    /// Whether there is a GRE key.
    pub keyed: Keyed,
    /// The GRE key, 0 without one.
    #[cfg(not(feature = "other-layout"))]
    pub key: u32,
}

/// Value of `LOCAL`, found by local NBMA address. There is an entry for every [`TunnelKey::local`], so GRE to that
/// address with another key is an error, and GRE to any other address is left alone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalAddress {
    /// How many tunnels use the address.
    pub tunnels: u32,
}

/// Bits of [`Tunnel::flags`].
pub struct TunnelFlags;

impl TunnelFlags {
    /// Raise a redirect event for traffic that enters and leaves the same NHRP network (a Phase 3 hub).
    pub const REDIRECT: u32 = 1 << 0;
    /// Accept data from NBMA addresses that are not known peers.
    pub const ACCEPT_ANY: u32 = 1 << 1;
    /// Reserved for IPsec: data that did not come out of a security association is dropped.
    pub const PROTECTED: u32 = 1 << 2;
    /// Drop data whose inner source is not routed to the peer it came from.
    pub const CHECK_SOURCE: u32 = 1 << 3;
}

/// What of a tunnel's traffic bypasses the kernel's stack, and so its netfilter and connection tracking.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FastPath {
    /// Nothing: what was received is handed to the kernel, which routes it.
    #[default]
    Off = 0,
    /// What goes from one peer to another.
    Hairpin = 1,
    /// That, and what goes between peers and interfaces that are accelerated.
    Full = 2,
}

/// Value of `TUNNELS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Tunnel {
    /// See below.
    #[cfg(feature = "other-layout")]
    pub far_ifindex: u32,
    /// Small number that names the tunnel in other maps and events; from 1.
    pub id: u32,
    /// Interface index of the tunnel interface.
    pub ifindex: u32,
    /// Interface index of its far end: a frame sent there arrives on the tunnel interface.
    #[cfg(not(feature = "other-layout"))]
    pub far_ifindex: u32,
    /// NHRP network.
    pub network_id: u32,
    /// Set of [`TunnelFlags`].
    pub flags: u32,
    /// Interface MTU in bytes.
    pub mtu: u32,
    /// What bypasses the kernel's stack.
    pub fast_path: FastPath,
    /// See below.
    #[cfg(feature = "other-layout")]
    pub mss_ipv6: u16,
    /// Largest TCP segment of connections over IPv4 that are forwarded here; 0: as they please.
    pub mss_ipv4: u16,
    /// As above, over IPv6.
    #[cfg(not(feature = "other-layout"))]
    pub mss_ipv6: u16,
}

const _: () = assert!(size_of::<TunnelKey>() == 28);
const _: () = assert!(size_of::<Tunnel>() == 32);

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya reads and writes map values as plain bytes")]
mod pod {
    // SAFETY: `repr(C)`, no padding, no pointers; enums are only written by this project's code.
    unsafe impl aya::Pod for super::TunnelKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Tunnel {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::LocalAddress {}
}
