//! IPv6 headers (RFC 8200): as much as a tunnel has to know of an inner packet.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |Version| Traffic class |              Flow label               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |        Payload length         |  Next header  |   Hop limit   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//! and sixteen bytes each of source and destination.

use crate::packet::Block;

/// Length of the fixed header.
pub const LENGTH: u32 = 40;

const SIZE: usize = LENGTH as usize;

/// Next header: hop-by-hop options, which every router has to look at.
const HOP_BY_HOP: u8 = 0;

/// The header of an inner packet, read once and found consistent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6 {
    /// Traffic class: what TOS is to IPv4.
    pub traffic_class: u8,
    /// Length of header and payload.
    pub length: u32,
    /// Hop limit.
    pub hop_limit: u8,
    /// Protocol of what follows the header.
    pub next_header: u8,
    /// Source address, as it lies in memory.
    pub source: [u32; 4],
    /// Destination address, as it lies in memory.
    pub destination: [u32; 4],
}

impl Ipv6 {
    /// Reads the header of a packet that has `room` bytes; `None` when it contradicts itself or the room.
    #[inline(always)]
    pub fn read(header: &Block<'_, SIZE>, room: u32) -> Option<Self> {
        let first = header.half::<0>();
        let length = LENGTH + u32::from(header.half::<4>());
        if first >> 12 != 6 || length > room {
            return None;
        }
        Some(Self {
            traffic_class: (first >> 4) as u8,
            length,
            hop_limit: header.byte::<7>(),
            next_header: header.byte::<6>(),
            source: source(header),
            destination: destination(header),
        })
    }

    /// Whether a router may forward the packet without a closer look: no options for routers, and both addresses
    /// unicast addresses beyond the link.
    #[inline(always)]
    pub const fn is_simple_unicast(&self) -> bool {
        self.next_header != HOP_BY_HOP && is_unicast(self.source) && is_unicast(self.destination)
    }
}

/// The source address, as it lies in memory.
#[inline(always)]
pub fn source(header: &Block<'_, SIZE>) -> [u32; 4] {
    [
        header.copy_out::<u32, 8>(),
        header.copy_out::<u32, 12>(),
        header.copy_out::<u32, 16>(),
        header.copy_out::<u32, 20>(),
    ]
}

/// The destination address, as it lies in memory.
#[inline(always)]
pub fn destination(header: &Block<'_, SIZE>) -> [u32; 4] {
    [
        header.copy_out::<u32, 24>(),
        header.copy_out::<u32, 28>(),
        header.copy_out::<u32, 32>(),
        header.copy_out::<u32, 36>(),
    ]
}

/// Neither unspecified, loopback, link-local nor multicast (RFC 4291, 2.4). The whole of `::/96` is left out.
#[inline(always)]
pub const fn is_unicast(address: [u32; 4]) -> bool {
    !is_martian(address) && !is_link_local(address)
}

/// Unspecified, loopback or multicast: nobody sends from such an address. The whole of `::/96` is taken for it.
#[inline(always)]
pub const fn is_martian(address: [u32; 4]) -> bool {
    let [first, second, third, _] = address;
    let [high, ..] = first.to_ne_bytes();
    (first | second | third) == 0 || high == 0xff
}

/// In `fe80::/10`.
#[inline(always)]
pub const fn is_link_local([first, ..]: [u32; 4]) -> bool {
    let [high, low, ..] = first.to_ne_bytes();
    high == 0xfe && low & 0xc0 == 0x80
}

/// Takes one from the hop limit, which is not zero.
#[inline(always)]
pub fn decrement_hop_limit(header: &mut Block<'_, SIZE>) {
    let hop_limit = header.byte::<7>();
    header.set_byte::<7>(hop_limit.wrapping_sub(1));
}

/// Changes the traffic class.
#[inline(always)]
pub fn set_traffic_class(header: &mut Block<'_, SIZE>, class: u8) {
    let first = header.half::<0>();
    header.set_half::<0>(first & 0xf00f | u16::from(class) << 4);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Packet as _, TestPacket};

    /// Version 6, class 0xb8, flow label 0x54321, payload of 8 bytes.
    fn packet() -> TestPacket {
        let mut bytes = vec![0; 40];
        bytes[..8].copy_from_slice(&[0x6b, 0x85, 0x43, 0x21, 0, 8, 17, 64]);
        TestPacket(bytes)
    }

    #[test]
    fn reads_a_header() {
        let header = Ipv6::read(&packet().block(0).unwrap(), 48);
        let zero = [0; 4];
        let expected = Ipv6 {
            traffic_class: 0xb8,
            length: 48,
            hop_limit: 64,
            next_header: 17,
            source: zero,
            destination: zero,
        };
        assert_eq!(header, Some(expected));
    }

    #[test]
    fn refuses_a_header_that_contradicts_itself() {
        assert_eq!(Ipv6::read(&packet().block(0).unwrap(), 47), None, "longer than the packet");
        let mut other = packet();
        other.0[0] = 0x4b;
        assert_eq!(Ipv6::read(&other.block(0).unwrap(), 48), None, "version");
    }

    #[test]
    fn changes_the_traffic_class_alone() {
        let packet = packet();
        set_traffic_class(&mut packet.block(0).unwrap(), 0x2f);
        assert_eq!(packet.0[..4], [0x62, 0xf5, 0x43, 0x21]);
    }

    #[test]
    fn leaves_special_addresses_to_the_kernel() {
        for (text, unicast) in [
            ("2001:db8::1", true),
            ("fd00::1", true),
            ("fec0::1", true),
            ("::", false),
            ("::1", false),
            ("fe80::1", false),
            ("febf::1", false),
            ("ff02::5", false),
        ] {
            let octets = text.parse::<std::net::Ipv6Addr>().unwrap().octets();
            let words = [0, 4, 8, 12].map(|at| u32::from_ne_bytes(octets[at..at + 4].try_into().unwrap()));
            assert_eq!(is_unicast(words), unicast, "{text}");
            assert_eq!(is_martian(words), !unicast && !text.starts_with("fe"), "{text}");
        }
    }

    #[test]
    fn takes_one_hop() {
        let packet = packet();
        decrement_hop_limit(&mut packet.block(0).unwrap());
        assert_eq!(packet.0[4..8], [0, 8, 17, 63]);
    }
}
