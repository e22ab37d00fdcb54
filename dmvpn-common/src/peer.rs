//! Peers: a remote node as the data path sees it, a finished outer header.

use crate::{Address, Family};

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
    Up = if cfg!(feature = "other-layout") { 2 } else { 1 },
    /// Known, but data is dropped in both directions (for example: its security association is gone).
    Down = if cfg!(feature = "other-layout") { 1 } else { 2 },
}

/// Room for fields to come.
const RESERVED_WORDS: usize = if cfg!(feature = "other-layout") { 6 } else { 4 };

/// Value of `PEERS`, found by peer index. Index 0 is never used, so that a zeroed index means "none".
///
/// Two cache lines. What most packets to the peer and from it need is in the first, over IPv6 in the first and the head of
/// the second.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// See below.
    #[cfg(feature = "other-layout")]
    pub network_id: u32,
    /// See below.
    #[cfg(feature = "other-layout")]
    pub mtu: u32,
    /// See below.
    #[cfg(feature = "other-layout")]
    pub discriminator: u32,
    /// Whether the slot is in use.
    pub state: PeerState,
    /// Index into `UNDERLAY`; 0 when no next hop is known yet.
    pub underlay: u32,
    /// Index into `POLICERS`, the peer's own; 0: what is sent to it is not limited.
    pub policer: u32,
    /// Largest inner packet in bytes.
    #[cfg(not(feature = "other-layout"))]
    pub mtu: u32,
    /// IPv4 only: one's complement sum, folded to 16 bits, of the outer IP header as it stands in `header`, over 16-bit
    /// words in network order.
    pub header_sum: u16,
    /// Bytes of [`header`](Self::header) in use: outer IP and GRE. 24 or 28 is over IPv4, 44 or 48 over IPv6.
    pub header_length: u8,
    /// The outer TOS byte or traffic class is this, and of the inner packet's byte the bits in
    /// [`tos_mask`](Self::tos_mask).
    pub tos: u8,
    /// All bits: the byte is inherited. The lower two: only the ECN field is, the rest is fixed (RFC 6040).
    pub tos_mask: u8,
    /// IPv4 only: bits of the byte with the don't-fragment bit that are copied from the inner packet; those in `header`
    /// are always set.
    pub df_mask: u8,
    /// Zero.
    pub reserved: u16,
    /// [`Tunnel::id`](crate::Tunnel::id) of the tunnel it belongs to.
    pub tunnel: u32,
    /// [`Control::generation`](crate::Control::generation) when the peer was added: what a cached route counted before
    /// belongs to another peer, which had the index then.
    pub since: u32,
    /// Outer IP header and GRE header, finished but for total length, TOS, a copied don't-fragment bit and checksum,
    /// which are zero.
    pub header: [u8; HEADER_SIZE],
    /// Interface index of that tunnel's interface.
    pub tunnel_ifindex: u32,
    /// NHRP network of that tunnel: a packet that stays inside it is a reason for a redirect.
    #[cfg(not(feature = "other-layout"))]
    pub network_id: u32,
    /// Tells several peers behind one NBMA address apart; 0 when there is one.
    #[cfg(not(feature = "other-layout"))]
    pub discriminator: u32,
    /// Where it is: the NBMA address packets are sent to.
    pub nbma: Address,
    /// Zero.
    pub reserved_words: [u32; RESERVED_WORDS],
}

impl Peer {
    /// A slot nobody uses.
    pub const FREE: Self = Self {
        state: PeerState::Free,
        underlay: 0,
        policer: 0,
        mtu: 0,
        header_sum: 0,
        header_length: 0,
        tos: 0,
        tos_mask: 0,
        df_mask: 0,
        reserved: 0,
        tunnel: 0,
        since: 0,
        header: [0; HEADER_SIZE],
        tunnel_ifindex: 0,
        network_id: 0,
        discriminator: 0,
        nbma: Address { family: Family::None, bytes: [0; 16] },
        reserved_words: [0; RESERVED_WORDS],
    };
}

/// Key of `PEER_BY_NBMA`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NbmaKey {
    /// See below.
    #[cfg(feature = "other-layout")]
    pub discriminator: u32,
    /// [`Tunnel::id`](crate::Tunnel::id).
    pub tunnel: u32,
    /// Tells several peers behind one NBMA address apart; 0 when there is one.
    #[cfg(not(feature = "other-layout"))]
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

const _: () = assert!(size_of::<Peer>() == 112 + 4 * RESERVED_WORDS && align_of::<Peer>() == 8);
/// With a header over IPv4, the longest of which has a GRE key.
#[cfg(not(feature = "other-layout"))]
const _: () = assert!(core::mem::offset_of!(Peer, header) + 28 <= 64);
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
