//! IPv4 headers (RFC 791).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  0
//! |Version|  IHL  |      TOS      |         Total length          |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  4
//! |        Identification         |0|D|M|     Fragment offset     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  8
//! |      TTL      |   Protocol    |           Checksum            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+ 12
//! |                            Source                             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+ 16
//! |                          Destination                          |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+ 20
//! ```

use crate::{checksum, packet::Block};

/// Length without options.
pub const LENGTH: u32 = 20;

/// Version 4 with a header of five words: no options.
pub const NO_OPTIONS: u8 = 0x45;

const SIZE: usize = LENGTH as usize;

/// Don't fragment, in the byte at 6.
pub const DONT_FRAGMENT: u8 = 0x40;

/// More fragments, or not the first one.
const FRAGMENT: u16 = 0x3fff;
/// Not the first fragment.
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// The header of an inner packet, read once and found consistent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4 {
    /// No options in the header.
    pub plain: bool,
    /// Type of service.
    pub tos: u8,
    /// Length of header and payload.
    pub length: u16,
    /// The byte with the don't-fragment bit, [`DONT_FRAGMENT`] or zero.
    pub df: u8,
    /// Time to live.
    pub ttl: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Source address.
    pub source: [u8; 4],
    /// Destination address.
    pub destination: [u8; 4],
}

impl Ipv4 {
    /// Reads the header of a packet that has `room` bytes; `None` when it contradicts itself or the room.
    #[inline(always)]
    pub fn read(header: &Block<'_, SIZE>, room: u32) -> Option<Self> {
        let first = header.byte::<0>();
        let header_length = (first & 0xf) * 4;
        let length = header.half::<2>();
        if first >> 4 != 4 || u32::from(header_length) < LENGTH || length < u16::from(header_length) {
            return None;
        }
        if u32::from(length) > room {
            return None;
        }
        Some(Self {
            plain: first == NO_OPTIONS,
            tos: header.byte::<1>(),
            length,
            df: header.byte::<6>() & DONT_FRAGMENT,
            ttl: header.byte::<8>(),
            protocol: header.byte::<9>(),
            source: header.ipv4::<12>(),
            destination: header.ipv4::<16>(),
        })
    }

    /// Whether a router may forward the packet without a closer look: no options, and both addresses unicast
    /// addresses of the network rather than of a host (RFC 1812, 5.3.7). Link-local ones are for the kernel.
    #[inline(always)]
    pub const fn is_simple_unicast(&self) -> bool {
        self.plain && is_unicast(self.source) && is_unicast(self.destination)
    }
}

/// Neither "this network", loopback, link-local, multicast, reserved nor broadcast.
#[inline(always)]
pub const fn is_unicast([first, second, ..]: [u8; 4]) -> bool {
    first != 0 && first != 127 && first < 224 && !(first == 169 && second == 254)
}

/// Unspecified, loopback, multicast or broadcast: Linux takes no packets from such an address.
#[inline(always)]
pub const fn is_martian(address: [u8; 4]) -> bool {
    let word = u32::from_be_bytes(address);
    word == 0 || word == u32::MAX || word >> 24 == 127 || word >> 28 == 14
}

/// Whether `word`, the one with the fragment offset, is a fragment's.
#[inline(always)]
pub const fn is_fragment(word: u16) -> bool {
    word & FRAGMENT != 0
}

/// Whether `word`, the one with the fragment offset, is that of a fragment that is not the first one.
#[inline(always)]
pub const fn is_later_fragment(word: u16) -> bool {
    word & FRAGMENT_OFFSET != 0
}

/// Whether the checksum of a header without options, at the start of a block, is right.
#[inline(always)]
pub fn checksum_is_right<const LENGTH: usize>(header: &Block<'_, LENGTH>) -> bool {
    // Words of 32 bits, in any byte order: the sum is all ones or it is not (RFC 1071, section 2).
    let sum = u64::from(header.copy_out::<u32, 0>())
        + u64::from(header.copy_out::<u32, 4>())
        + u64::from(header.copy_out::<u32, 8>())
        + u64::from(header.copy_out::<u32, 12>())
        + u64::from(header.copy_out::<u32, 16>());
    let (carry, low) = ((sum >> 32) as u32, sum as u32);
    checksum::fold(carry + (low >> 16) + (low & 0xffff)) == 0xffff
}

/// Changes the TOS byte and corrects the checksum.
#[inline(always)]
pub fn set_tos(header: &mut Block<'_, SIZE>, tos: u8) {
    let old = header.half::<0>();
    let new = old & 0xff00 | u16::from(tos);
    let check = checksum::update(header.half::<10>(), old, new);
    header.set_half::<0>(new);
    header.set_half::<10>(check);
}

/// Takes one from the time to live, which is not zero, and corrects the checksum.
#[inline(always)]
pub fn decrement_ttl(header: &mut Block<'_, SIZE>) {
    let old = header.half::<8>();
    let new = old.wrapping_sub(0x0100);
    let check = checksum::update(header.half::<10>(), old, new);
    header.set_half::<8>(new);
    header.set_half::<10>(check);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Packet as _, TestPacket};

    /// 10.1.2.3 to 10.4.5.6, TOS 0x28, UDP, total length 100, TTL 64, with a right checksum.
    const HEADER: [u8; 20] =
        [0x45, 0x28, 0, 100, 0x12, 0x34, 0x40, 0, 64, 17, 0x0d, 0x20, 10, 1, 2, 3, 10, 4, 5, 6];

    fn with(changes: &[(usize, u8)]) -> TestPacket {
        let mut bytes = HEADER.to_vec();
        for &(at, value) in changes {
            bytes[at] = value;
        }
        TestPacket(bytes)
    }

    fn read(packet: &TestPacket, room: u32) -> Option<Ipv4> {
        Ipv4::read(&packet.block(0).unwrap(), room)
    }

    #[test]
    fn reads_a_header() {
        let expected = Ipv4 {
            plain: true,
            tos: 0x28,
            length: 100,
            df: DONT_FRAGMENT,
            ttl: 64,
            protocol: 17,
            source: [10, 1, 2, 3],
            destination: [10, 4, 5, 6],
        };
        assert_eq!(read(&with(&[]), 100), Some(expected));
        assert_eq!(read(&with(&[]), 1000), Some(expected));
        assert_eq!(read(&with(&[(0, 0x46)]), 100).map(|header| header.plain), Some(false));
    }

    #[test]
    fn refuses_a_header_that_contradicts_itself() {
        assert_eq!(read(&with(&[]), 99), None, "longer than the packet");
        assert_eq!(read(&with(&[(0, 0x65)]), 100), None, "version");
        assert_eq!(read(&with(&[(0, 0x44)]), 100), None, "header length");
        assert_eq!(read(&with(&[(3, 19)]), 100), None, "shorter than the header");
        assert_eq!(read(&with(&[(0, 0x46), (3, 23)]), 100), None, "shorter than the header with options");
    }

    #[test]
    fn leaves_special_addresses_to_the_kernel() {
        for (address, simple) in [
            ([10, 0, 0, 1], true),
            ([223, 255, 255, 255], true),
            ([169, 253, 0, 1], true),
            ([0, 0, 0, 0], false),
            ([127, 0, 0, 1], false),
            ([169, 254, 0, 1], false),
            ([224, 0, 0, 5], false),
            ([255, 255, 255, 255], false),
        ] {
            let [a, b, c, d] = address;
            let to = with(&[(16, a), (17, b), (18, c), (19, d)]);
            let from = with(&[(12, a), (13, b), (14, c), (15, d)]);
            for packet in [to, from] {
                assert_eq!(read(&packet, 100).unwrap().is_simple_unicast(), simple, "{address:?}");
            }
        }
        assert!(!read(&with(&[(0, 0x46)]), 100).unwrap().is_simple_unicast(), "options");
    }

    #[test]
    fn takes_nothing_from_addresses_that_are_no_senders() {
        for (address, martian) in [
            ([0, 0, 0, 0], true),
            ([127, 0, 0, 1], true),
            ([224, 0, 0, 5], true),
            ([239, 255, 255, 255], true),
            ([255, 255, 255, 255], true),
            ([10, 0, 0, 1], false),
            ([192, 168, 0, 1], false),
            ([169, 254, 0, 1], false),
            ([223, 255, 255, 255], false),
        ] {
            assert_eq!(is_martian(address), martian, "{address:?}");
        }
    }

    #[test]
    fn checks_the_checksum() {
        assert!(checksum_is_right(&with(&[]).block::<SIZE>(0).unwrap()));
        for (at, byte) in HEADER.into_iter().enumerate() {
            let wrong = with(&[(at, byte ^ 0x10)]);
            assert!(!checksum_is_right(&wrong.block::<SIZE>(0).unwrap()), "byte {at}");
        }
    }

    #[test]
    fn keeps_the_checksum_right_when_it_changes_the_header() {
        for ttl in 1..=255 {
            for tos in [0x28, 0x29, 0xff, 0] {
                let packet = with(&[(8, ttl), (10, 0), (11, 0)]);
                let mut header = packet.block(0).unwrap();
                let sum = (0..20)
                    .step_by(2)
                    .map(|at| u32::from(u16::from_be_bytes([packet.0[at], packet.0[at + 1]])));
                header.set_half::<10>(!checksum::fold(sum.sum()));
                assert!(checksum_is_right(&header));
                decrement_ttl(&mut header);
                assert_eq!(header.byte::<8>(), ttl - 1);
                assert!(checksum_is_right(&header), "ttl {ttl}");
                set_tos(&mut header, tos);
                assert_eq!(header.byte::<1>(), tos);
                assert!(checksum_is_right(&header), "tos {tos}");
                assert_eq!(header.byte::<9>(), 17, "nothing else changes");
            }
        }
    }

    #[test]
    fn tells_fragments() {
        assert!(!is_fragment(0x4000), "don't fragment");
        assert!(is_fragment(0x2000), "more fragments");
        assert!(is_fragment(0x0001), "the last one");
        assert!(!is_later_fragment(0x6000), "the first one");
        assert!(is_later_fragment(0x2001) && is_later_fragment(0x1000));
    }
}
