//! Underlay next hops: one entry a gateway, so that a gateway's new link-layer address is one write.

use crate::Address;

/// Whether an [`Underlay`] entry can be used.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnderlayState {
    /// The slot is not in use.
    #[default]
    Free = 0,
    /// Link-layer addresses are known: frames can be written.
    Valid = 1,
    /// The route is known, the link-layer address is not: leave the frame to the kernel.
    Unresolved = 2,
}

/// Value of `UNDERLAY`, found by index; index 0 is never used.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Underlay {
    /// See below.
    #[cfg(feature = "other-layout")]
    pub route_ifindex: u32,
    /// See below.
    #[cfg(feature = "other-layout")]
    pub gateway: Address,
    /// Whether the link-layer addresses are valid.
    pub state: UnderlayState,
    /// Interface frames leave by. Where the route leads to a VLAN device, the physical interface below it.
    pub ifindex: u32,
    /// Link-layer address of the next hop.
    pub gateway_mac: [u8; 6],
    /// Link-layer address of the interface.
    pub source_mac: [u8; 6],
    /// VLAN (802.1Q) of the frames, 1 to 4094; 0: no tag.
    pub vlan: u16,
    /// Zero.
    pub reserved: u16,
    /// Interface that the route names: the VLAN device where there is one, else as `ifindex`. The kernel resolves the
    /// next hop there.
    #[cfg(not(feature = "other-layout"))]
    pub route_ifindex: u32,
    /// The next hop itself: a gateway, or the peer when it is on the link.
    #[cfg(not(feature = "other-layout"))]
    pub gateway: Address,
}

const _: () = assert!(size_of::<Underlay>() == 48);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, no padding, no pointers; enums are only written by this project's code.
#[expect(unsafe_code, reason = "aya reads and writes map values as plain bytes")]
unsafe impl aya::Pod for Underlay {}
