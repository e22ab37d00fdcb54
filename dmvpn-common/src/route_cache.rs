//! The route cache: what the routing tables said about packets like this one.
//!
//! A slot is found by a hash of the addresses and believed only when the whole key is the packet's, byte for byte. The
//! key is what the packet has where an ordinary packet has it, so a comparison of the key also is the parsing of the
//! packet: flags, GRE protocol and addresses are what they were when the long way was gone.
//!
//! Each CPU has slots of its own, one range after the other in one array: no lock, no atomic operation, and no second
//! look-up by CPU.
//!
//! What goes through XDP is counted in the slot, which is at hand, and not in `PEER_COUNTERS`, where each packet would
//! wait for two more values of a large map. The slot's counts are added there when it is filled anew; until then a
//! reader adds them itself.

/// What becomes of a packet.
#[repr(u16)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CachedVerdict {
    /// The slot was never used.
    #[default]
    None = 0,
    /// To the peer with the index [`CachedWay::to`].
    Peer = 1,
    /// To a neighbour on an ordinary interface: [`CachedWay::to`] and [`CachedWay::link_layer`].
    Interface = 2,
    /// To the kernel, as a frame for the tunnel interface whose far end is [`CachedWay::to`].
    Deliver = 3,
}

/// The answer in a slot. A packet uses it when the generation is that of [`Control`](crate::Control), and neither time
/// nor hits are over.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CachedWay {
    /// [`Control::generation`](crate::Control::generation) when the answer was given.
    pub generation: u32,
    /// First second ([`Control::seconds`](crate::Control::seconds)) in which it is not used any more: the long way has
    /// to be gone again, because a redirect is due.
    pub expires: u32,
    /// Packets that used it, [`CACHE_HITS`] at most: without an agent nobody raises the generation. In XDP this also is
    /// the number of packets that are not in `PEER_COUNTERS` yet.
    pub hits: u16,
    /// What becomes of the packet.
    pub verdict: CachedVerdict,
    /// Largest packet in bytes that may go this way.
    pub mtu: u16,
    /// Largest TCP segment in bytes for connections on this way; 0: as they please.
    pub mss: u16,
    /// The peer it goes to, or else the interface it leaves by.
    pub to: u32,
    /// The peer it came from; 0 for a stranger or a LAN.
    pub source_peer: u32,
    /// Bytes of the inner packets that used it in XDP; they are not in `PEER_COUNTERS` yet. Always zero at TC.
    pub bytes: u32,
    /// Destination and source of the frame, where it does not go to a peer.
    pub link_layer: [u8; 12],
}

impl CachedWay {
    /// Whether the counts in a slot are those of the peer that has the index now: not, when the index was another's.
    /// `generation` is the present one, `since` is [`Peer::since`](crate::Peer::since).
    #[inline(always)]
    pub const fn is_younger(&self, since: u32, generation: u32) -> bool {
        generation.wrapping_sub(self.generation) <= generation.wrapping_sub(since)
    }
}

/// Value of `ROUTE_CACHE`: an IPv4 packet that came in IPv4, or from a LAN. One cache line.
///
/// From a LAN, [`outer_source`](Self::outer_source) is the interface's index, the next six bytes are the frame's
/// destination, and the rest of [`gre`](Self::gre) is `0xffff`, which is no GRE protocol of ours. At TC the first bit of
/// [`gre`](Self::gre) is set, so that the two paths, which count in other places, have slots of their own.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CachedRoute {
    /// Outer source address.
    pub outer_source: [u8; 4],
    /// Outer destination address: ours.
    pub outer_destination: [u8; 4],
    /// First word of the GRE header: flags, version and protocol.
    pub gre: [u8; 4],
    /// GRE key, zero without one.
    pub key: [u8; 4],
    /// Inner source, as far as it counts: [`Control::source_mask`](crate::Control::source_mask).
    pub source: [u8; 4],
    /// Inner destination.
    pub destination: [u8; 4],
    /// The answer.
    pub way: CachedWay,
}

/// Value of `ROUTE_CACHE_IPV6`: any packet that has IPv6 inside or outside. Unused bytes of an IPv4 address are zero.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CachedRoute6 {
    /// Outer source address.
    pub outer_source: [u8; 16],
    /// Outer destination address: ours.
    pub outer_destination: [u8; 16],
    /// Inner source, as far as it counts: [`Control::source_mask`](crate::Control::source_mask).
    pub source: [u8; 16],
    /// Inner destination.
    pub destination: [u8; 16],
    /// First word of the GRE header: flags, version and protocol.
    pub gre: [u8; 4],
    /// GRE key, zero without one.
    pub key: [u8; 4],
    /// The answer.
    pub way: CachedWay,
}

/// How often a cached route is used before the routing tables are asked again.
pub const CACHE_HITS: u16 = 1024;

const _: () = assert!(size_of::<CachedWay>() == 40);
const _: () = assert!(size_of::<CachedRoute>() == 64);
const _: () = assert!(size_of::<CachedRoute6>() == 112);

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya reads and writes map values as plain bytes")]
mod pod {
    // SAFETY: `repr(C)`, no padding, no pointers; enums are only written by this project's code.
    unsafe impl aya::Pod for super::CachedRoute {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::CachedRoute6 {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_belong_to_the_peer_that_had_the_index_then() {
        let filled_at = |generation| CachedWay { generation, ..CachedWay::default() };
        assert!(filled_at(7).is_younger(7, 9));
        assert!(filled_at(8).is_younger(7, 9));
        assert!(!filled_at(6).is_younger(7, 9));
        assert!(filled_at(1).is_younger(u32::MAX, 2), "generations begin anew");
        assert!(!filled_at(u32::MAX - 1).is_younger(u32::MAX, 2));
    }
}
