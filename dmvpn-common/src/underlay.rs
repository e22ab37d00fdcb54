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
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Underlay {
    /// Whether the link-layer addresses are valid.
    pub state: UnderlayState,
    /// Interface frames leave by.
    pub ifindex: u32,
    /// The next hop itself: a gateway, or the peer when it is on the link.
    pub gateway: Address,
    /// Link-layer address of the next hop.
    pub gateway_mac: [u8; 6],
    /// Link-layer address of the interface.
    pub source_mac: [u8; 6],
}

const _: () = assert!(size_of::<Underlay>() == 40);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, no padding, no pointers; enums are only written by this project's code.
#[expect(unsafe_code, reason = "aya reads and writes map values as plain bytes")]
unsafe impl aya::Pod for Underlay {}
