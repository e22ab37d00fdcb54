//! Interfaces that the data path has to know by their index.

use crate::FastPath;

/// What an interface is to the data path.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InterfaceRole {
    /// Nothing.
    #[default]
    None = 0,
    /// A tunnel interface.
    Tunnel = 1,
    /// An interface between which and the tunnels packets go without the kernel (`accelerate`).
    Lan = 2,
}

/// Value of `INTERFACES`, found by interface index.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// See below.
    #[cfg(feature = "other-layout")]
    pub first_receiver: u32,
    /// What it is.
    pub role: InterfaceRole,
    /// A tunnel interface: [`Tunnel::id`](crate::Tunnel::id).
    pub tunnel: u32,
    /// A tunnel interface: what bypasses the kernel's stack.
    pub fast_path: FastPath,
    /// A tunnel interface: first peer that gets copies of multicast packets, the others follow in `MULTICAST`; 0 for
    /// nobody.
    #[cfg(not(feature = "other-layout"))]
    pub first_receiver: u32,
    /// A tunnel interface: largest TCP segment of connections over IPv4; 0: as they please.
    pub mss_ipv4: u16,
    /// As above, over IPv6.
    pub mss_ipv6: u16,
    /// A LAN: its link-layer address. Frames for others are none of our business.
    pub mac: [u8; 6],
    /// Zero.
    pub reserved: u16,
}

/// Value of `MULTICAST`, found by peer index: a list of the peers that get copies, from [`Interface::first_receiver`]
/// on. A peer is put in front, and taken out by making the one before it name the next, so that a packet on its way
/// along the list never loses it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MulticastReceiver {
    /// Index of the next peer in the list; 0 at its end.
    pub next: u32,
}

const _: () = assert!(size_of::<Interface>() == 28);

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya reads and writes map values as plain bytes")]
mod pod {
    // SAFETY: `repr(C)`, no padding, no pointers; enums are only written by this project's code.
    unsafe impl aya::Pod for super::Interface {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::MulticastReceiver {}
}
