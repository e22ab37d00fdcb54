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

/// The header of an inner packet, found consistent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6 {
    /// Traffic class: what TOS is to IPv4.
    pub traffic_class: u8,
    /// Length of header and payload.
    pub length: u32,
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
        Some(Self { traffic_class: (first >> 4) as u8, length })
    }
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
        assert_eq!(header, Some(Ipv6 { traffic_class: 0xb8, length: 48 }));
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
}
