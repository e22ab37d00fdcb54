//! The outer header of a peer: prepared by the agent, finished here.
#![expect(unsafe_code, reason = "prepared headers are read as words")]

use core::mem::offset_of;

use dmvpn_common::{HEADER_SIZE, Peer, Underlay};

use crate::{
    checksum, ethernet, gre, ipv4,
    packet::{Block, Packet, Plain},
};

/// Outer IPv4 header and GRE header without options.
pub const IPV4_GRE: u32 = ipv4::LENGTH + gre::LENGTH;
/// Outer IPv4 header and GRE header with a key.
pub const IPV4_GRE_KEYED: u32 = ipv4::LENGTH + gre::KEYED_LENGTH;

const START: usize = ethernet::LENGTH as usize;
const PLAIN: usize = START + IPV4_GRE as usize;
const KEYED: usize = START + IPV4_GRE_KEYED as usize;

/// What differs from packet to packet.
#[derive(Clone, Copy)]
pub struct Inner {
    /// Bytes behind the outer header; only the lower 16 bits of the sum with the header's length go into a header.
    pub length: u32,
    /// Type of service, copied outside as far as the peer's header wants it.
    pub tos: u8,
    /// [`ipv4::DONT_FRAGMENT`] or zero, likewise.
    pub df: u8,
    /// GRE protocol type.
    pub protocol: u16,
}

/// Length of a peer's header.
#[inline(always)]
fn length(peer: &Peer) -> u32 {
    u32::from(peer.header_length)
}

/// Whether the header is one this module can finish: IPv4 and GRE, with or without key.
#[inline(always)]
pub fn is_supported(peer: &Peer) -> bool {
    length(peer) == IPV4_GRE || length(peer) == IPV4_GRE_KEYED
}

/// Finishes the header of `peer` in the room for it behind the Ethernet header. `false`: no such room.
#[inline(always)]
pub fn write<P: Packet>(packet: &P, peer: &Peer, inner: Inner) -> bool {
    if length(peer) == IPV4_GRE_KEYED {
        let Some(mut block) = packet.block::<KEYED>(0) else { return false };
        write_common(&mut block, peer, inner);
        block.copy_in::<u32, PLAIN>(template::<u32, { IPV4_GRE as usize }>(peer));
    } else {
        let Some(mut block) = packet.block::<PLAIN>(0) else { return false };
        write_common(&mut block, peer, inner);
    }
    true
}

/// Writes what a header has with and without key. Every access is at a fixed offset: a store of eight bytes each.
#[inline(always)]
fn write_common<const SIZE: usize>(block: &mut Block<'_, SIZE>, peer: &Peer, inner: Inner) {
    let total_length = (length(peer) + inner.length) as u16;
    let tos = peer.tos | inner.tos & peer.tos_mask;
    let df = inner.df & peer.df_mask;
    block.copy_in::<u64, START>(template::<u64, 0>(peer));
    block.copy_in::<u64, { START + 8 }>(template::<u64, 8>(peer));
    block.copy_in::<u64, { START + 16 }>(template::<u64, 16>(peer));
    block.set_byte::<{ START + 1 }>(tos);
    block.set_half::<{ START + 2 }>(total_length);
    if df != 0 {
        block.set_byte::<{ START + 6 }>(df);
    }
    // Total length, TOS and a copied don't-fragment bit are not in the sum yet.
    let sum = u32::from(peer.header_sum) + u32::from(total_length) + u32::from(tos) + (u32::from(df) << 8);
    block.set_half::<{ START + 10 }>(!checksum::fold(sum));
    block.set_half::<{ START + 22 }>(inner.protocol);
}

/// Writes the Ethernet header that leads to the next hop. `false`: the packet is shorter than that.
#[inline(always)]
pub fn write_ethernet<P: Packet>(packet: &P, next_hop: &Underlay) -> bool {
    let Some(mut header) = ethernet::header(packet) else { return false };
    // Destination and source lie in the map's value as they do in the frame.
    header.copy_in::<u32, 0>(addresses::<0>(next_hop));
    header.copy_in::<u32, 4>(addresses::<4>(next_hop));
    header.copy_in::<u32, 8>(addresses::<8>(next_hop));
    header.set_half::<12>(ethernet::IPV4);
    true
}

/// What lies at `AT` in the prepared header.
#[inline(always)]
fn template<T: Plain, const AT: usize>(peer: &Peer) -> T {
    const START: usize = offset_of!(Peer, header);
    const {
        assert!(AT + size_of::<T>() <= HEADER_SIZE);
        assert!((START + AT).is_multiple_of(align_of::<T>()) && align_of::<T>() <= align_of::<Peer>());
    }
    // SAFETY: inside the array and aligned, as asserted; any bytes are a T.
    unsafe { core::ptr::from_ref(peer).cast::<T>().byte_add(START + AT).read() }
}

/// The word at `AT` of the two link-layer addresses.
#[inline(always)]
fn addresses<const AT: usize>(next_hop: &Underlay) -> u32 {
    const START: usize = offset_of!(Underlay, gateway_mac);
    const {
        assert!(offset_of!(Underlay, source_mac) == START + 6 && START + 12 <= size_of::<Underlay>());
        assert!(
            (START + AT).is_multiple_of(align_of::<u32>()) && align_of::<u32>() <= align_of::<Underlay>()
        );
    }
    // SAFETY: inside the structure and aligned, as asserted; any bytes are a number.
    unsafe { core::ptr::from_ref(next_hop).cast::<u32>().byte_add(START + AT).read() }
}

#[cfg(test)]
mod tests {
    use dmvpn_common::{Address, PeerState, UnderlayState};

    use super::*;
    use crate::packet::TestPacket;

    /// 192.0.2.1 to 198.51.100.7, TTL 255, don't fragment, GRE. With key: 42.
    fn peer(keyed: bool) -> Peer {
        let mut header = [0; HEADER_SIZE];
        header[..20]
            .copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0x40, 0, 255, 47, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7]);
        header[22] = 0x08;
        if keyed {
            header[20] = 0x20;
            header[27] = 42;
        }
        let sum =
            (0..20).step_by(2).map(|at| u32::from(u16::from_be_bytes([header[at], header[at + 1]]))).sum();
        Peer {
            state: PeerState::Up,
            header_length: if keyed { 28 } else { 24 },
            header_sum: checksum::fold(sum),
            tos_mask: 0xff,
            header,
            nbma: Address::v4([198, 51, 100, 7]),
            ..Peer::FREE
        }
    }

    #[test]
    fn finishes_the_header() {
        for keyed in [false, true] {
            let peer = peer(keyed);
            let length = usize::from(peer.header_length);
            for (inner, tos) in [(20, 0), (84, 0xb8), (1472, 0x03), (65_507, 0xff)] {
                let packet = TestPacket(vec![0xee; 14 + length + 2]);
                assert!(write(&packet, &peer, Inner { length: inner, tos, df: 0, protocol: ethernet::IPV6 }));
                let (header, rest) = packet.0[14..].split_at(length);
                assert_eq!(packet.0[..14], [0xee; 14], "the Ethernet header is left alone");
                assert_eq!(rest, [0xee; 2], "so is what follows");
                assert!(ipv4::checksum_is_right(&packet.block(14).unwrap()), "{inner} {tos}");
                let mut expected = peer.header;
                expected[1] = tos;
                expected[2..4].copy_from_slice(&(inner as u16 + length as u16).to_be_bytes());
                expected[10..12].copy_from_slice(&header[10..12]);
                expected[22..24].copy_from_slice(&[0x86, 0xdd]);
                assert_eq!(header, &expected[..length]);
            }
        }
    }

    #[test]
    fn needs_room_for_the_header() {
        let inner = Inner { length: 0, tos: 0, df: 0, protocol: ethernet::IPV4 };
        assert!(!write(&TestPacket(vec![0; 37]), &peer(false), inner));
        assert!(!write(&TestPacket(vec![0; 41]), &peer(true), inner));
    }

    #[test]
    fn writes_the_next_hops_addresses() {
        let next_hop = Underlay {
            state: UnderlayState::Valid,
            ifindex: 3,
            gateway: Address::v4([192, 0, 2, 254]),
            gateway_mac: [2, 4, 6, 8, 10, 12],
            source_mac: [1, 3, 5, 7, 9, 11],
            ..Underlay::default()
        };
        let packet = TestPacket(vec![0xee; 15]);
        assert!(write_ethernet(&packet, &next_hop));
        assert_eq!(packet.0, [2, 4, 6, 8, 10, 12, 1, 3, 5, 7, 9, 11, 0x08, 0x00, 0xee]);
    }
}
