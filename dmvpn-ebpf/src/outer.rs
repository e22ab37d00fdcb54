//! The outer header of a peer: prepared by the agent, finished here.
#![expect(unsafe_code, reason = "prepared headers are read as words")]

use core::mem::offset_of;

use dmvpn_common::{Address, Family, HEADER_SIZE, Peer};

use crate::{
    address, checksum, ethernet, gre, ipv4, ipv6,
    packet::{Block, Packet, Plain},
};

/// Outer IPv4 header and GRE header without options.
const IPV4_GRE: u32 = ipv4::LENGTH + gre::LENGTH;
/// Outer IPv4 header and GRE header with a key.
const IPV4_GRE_KEYED: u32 = ipv4::LENGTH + gre::KEYED_LENGTH;
/// Outer IPv6 header and GRE header without options.
const IPV6_GRE: u32 = ipv6::LENGTH + gre::LENGTH;
/// Outer IPv6 header and GRE header with a key.
const IPV6_GRE_KEYED: u32 = ipv6::LENGTH + gre::KEYED_LENGTH;

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
pub fn length(peer: &Peer) -> u32 {
    u32::from(peer.header_length)
}

/// `EtherType` of a peer's header.
#[inline(always)]
pub fn ether_type(peer: &Peer) -> u16 {
    if length(peer) <= IPV4_GRE_KEYED { ethernet::IPV4 } else { ethernet::IPV6 }
}

/// Whether that is where the peer is. For IPv4 the prepared header says so, which is nearer than
/// [`Peer::nbma`](dmvpn_common::Peer::nbma).
#[inline(always)]
pub fn leads_to(peer: &Peer, nbma: &Address) -> bool {
    if length(peer) <= IPV4_GRE_KEYED {
        let [address, ..] = address::words(nbma);
        return nbma.family as u32 == Family::Ipv4 as u32 && template::<u32, 16>(peer) == address;
    }
    address::is_same(&peer.nbma, nbma)
}

/// Finishes the header of `peer` in the room for it behind the link-layer header, which has `link` bytes. `false`: no
/// such room, or no such header.
#[inline(always)]
pub fn write<P: Packet>(packet: &P, link: u32, peer: &Peer, inner: Inner) -> bool {
    let start = link as usize;
    match length(peer) {
        IPV4_GRE => {
            let Some(mut block) = packet.block::<{ IPV4_GRE as usize }>(start) else { return false };
            write_ipv4(&mut block, peer, inner);
        }
        IPV4_GRE_KEYED => {
            let Some(mut block) = packet.block::<{ IPV4_GRE_KEYED as usize }>(start) else { return false };
            write_ipv4(&mut block, peer, inner);
            block.copy_in::<u32, 24>(template::<u32, 24>(peer));
        }
        IPV6_GRE => {
            let Some(mut block) = packet.block::<{ IPV6_GRE as usize }>(start) else { return false };
            write_ipv6(&mut block, peer, inner);
        }
        IPV6_GRE_KEYED => {
            let Some(mut block) = packet.block::<{ IPV6_GRE_KEYED as usize }>(start) else { return false };
            write_ipv6(&mut block, peer, inner);
            block.copy_in::<u32, 44>(template::<u32, 44>(peer));
        }
        _ => return false,
    }
    true
}

/// Writes what a header over IPv4 has with and without key. Every access is at a fixed offset: a store of eight bytes
/// each.
#[inline(always)]
fn write_ipv4<const SIZE: usize>(block: &mut Block<'_, SIZE>, peer: &Peer, inner: Inner) {
    let total_length = (length(peer) + inner.length) as u16;
    let tos = peer.tos | inner.tos & peer.tos_mask;
    let df = inner.df & peer.df_mask;
    block.copy_in::<u64, 0>(template::<u64, 0>(peer));
    block.copy_in::<u64, 8>(template::<u64, 8>(peer));
    block.copy_in::<u64, 16>(template::<u64, 16>(peer));
    block.set_byte::<1>(tos);
    block.set_half::<2>(total_length);
    if df != 0 {
        block.set_byte::<6>(df);
    }
    // Total length, TOS and a copied don't-fragment bit are not in the sum yet.
    let sum = u32::from(peer.header_sum) + u32::from(total_length) + u32::from(tos) + (u32::from(df) << 8);
    block.set_half::<10>(!checksum::fold(sum));
    block.set_half::<22>(inner.protocol);
}

/// Writes what a header over IPv6 has with and without key. The flow label is zero, as in the template.
#[inline(always)]
fn write_ipv6<const SIZE: usize>(block: &mut Block<'_, SIZE>, peer: &Peer, inner: Inner) {
    let class = peer.tos | inner.tos & peer.tos_mask;
    block.copy_in::<u64, 0>(template::<u64, 0>(peer));
    block.copy_in::<u64, 8>(template::<u64, 8>(peer));
    block.copy_in::<u64, 16>(template::<u64, 16>(peer));
    block.copy_in::<u64, 24>(template::<u64, 24>(peer));
    block.copy_in::<u64, 32>(template::<u64, 32>(peer));
    block.copy_in::<u32, 40>(template::<u32, 40>(peer));
    block.set_half::<0>(0x6000 | u16::from(class) << 4);
    block.set_half::<4>((length(peer) - ipv6::LENGTH + inner.length) as u16);
    block.set_half::<42>(inner.protocol);
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

#[cfg(test)]
mod tests {
    use dmvpn_common::PeerState;

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
                assert!(write(
                    &packet,
                    14,
                    &peer,
                    Inner { length: inner, tos, df: 0, protocol: ethernet::IPV6 }
                ));
                let (header, rest) = packet.0[14..].split_at(length);
                assert_eq!(packet.0[..14], [0xee; 14], "the Ethernet header is left alone");
                assert_eq!(rest, [0xee; 2], "so is what follows");
                assert!(ipv4::checksum_is_right(&packet.block::<20>(14).unwrap()), "{inner} {tos}");
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
        assert!(!write(&TestPacket(vec![0; 37]), 14, &peer(false), inner));
        assert!(!write(&TestPacket(vec![0; 41]), 14, &peer(true), inner));
    }

    #[test]
    fn finishes_an_ipv6_header() {
        for length in [44_usize, 48] {
            let mut header = [0xaa; HEADER_SIZE];
            header[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 0, 47, 64]);
            header[40..48].copy_from_slice(&[if length == 48 { 0x20 } else { 0 }, 0, 0x08, 0, 1, 2, 3, 4]);
            let peer = Peer { header_length: length as u8, tos: 0xb8, tos_mask: 3, header, ..Peer::FREE };
            let packet = TestPacket(vec![0xee; 18 + length + 2]);
            let inner = Inner { length: 100, tos: 0xff, df: 0x40, protocol: ethernet::IPV6 };
            assert!(write(&packet, 18, &peer, inner));
            let mut expected = peer.header;
            // Version and traffic class; the payload is GRE and the inner packet.
            expected[..2].copy_from_slice(&[0x6b, 0xb0]);
            expected[5] = 100 + length as u8 - 40;
            expected[42..44].copy_from_slice(&[0x86, 0xdd]);
            assert_eq!(packet.0[18..18 + length], expected[..length]);
            assert_eq!(packet.0[18 + length..], [0xee; 2]);
        }
    }

    #[test]
    fn copies_dont_fragment_where_the_peer_wants_it() {
        for (mask, df, expected) in [(0, 0x40, 0), (0x40, 0, 0), (0x40, 0x40, 0x40)] {
            let mut peer = peer(false);
            peer.header[6] = 0;
            peer.header_sum = checksum::fold(u32::from(peer.header_sum) + u32::from(!0x4000_u16));
            peer.df_mask = mask;
            let packet = TestPacket(vec![0; 38]);
            assert!(write(&packet, 14, &peer, Inner { length: 20, tos: 0, df, protocol: ethernet::IPV4 }));
            assert_eq!(packet.0[20], expected);
            assert!(ipv4::checksum_is_right(&packet.block::<20>(14).unwrap()));
        }
    }
}
