//! Peers: a remote node as the data path sees it, a finished outer header.

use crate::Address;

/// Room for the largest outer header: IPv6 (40) and GRE with key (8).
pub const HEADER_SIZE: usize = 48;

/// Whether packets may be exchanged with a peer.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PeerState {
    /// The slot is not in use.
    #[default]
    Free = 0,
    /// Data is sent to it and accepted from it.
    Up = 1,
    /// Known, but data is dropped in both directions (for example: its security association is gone).
    Down = 2,
}

/// Value of `PEERS`, found by peer index. Index 0 is never used, so that a zeroed index means "none".
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Whether the slot is in use.
    pub state: PeerState,
    /// [`Tunnel::id`](crate::Tunnel::id) of the tunnel it belongs to.
    pub tunnel: u32,
    /// Interface index of that tunnel's interface.
    pub tunnel_ifindex: u32,
    /// NHRP network of that tunnel: a packet that stays inside it is a reason for a redirect.
    pub network_id: u32,
    /// Index into `UNDERLAY`; 0 when no next hop is known yet.
    pub underlay: u32,
    /// Largest inner packet in bytes.
    pub mtu: u32,
    /// Bytes of [`header`](Self::header) in use: outer IP and GRE.
    pub header_length: u32,
    /// IPv4 only: one's complement sum, folded to 16 bits, of the outer IP header with total length, identification
    /// and checksum zero, TOS zero. Summed over 16-bit words in network order.
    pub header_sum: u32,
    /// Outer IP header and GRE header, finished but for total length, TOS and checksum.
    pub header: [u8; HEADER_SIZE],
    /// Where it is: the NBMA address packets are sent to.
    pub nbma: Address,
    /// Zero.
    pub reserved: u32,
}

/// Key of `PEER_BY_NBMA`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NbmaKey {
    /// [`Tunnel::id`](crate::Tunnel::id).
    pub tunnel: u32,
    /// Tells several peers behind one NBMA address apart; 0 when there is one.
    pub discriminator: u32,
    /// Outer source address.
    pub nbma: Address,
}

/// Value of `PEER_BY_NBMA`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerIndex {
    /// Index into `PEERS`.
    pub peer: u32,
}

const _: () = assert!(size_of::<Peer>() == 104 && align_of::<Peer>() == 8);
const _: () = assert!(size_of::<NbmaKey>() == 28);

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya reads and writes map values as plain bytes")]
mod pod {
    // SAFETY: `repr(C)`, explicit padding only, no pointers; enums are only written by this project's code.
    unsafe impl aya::Pod for super::Peer {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::NbmaKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::PeerIndex {}
}
