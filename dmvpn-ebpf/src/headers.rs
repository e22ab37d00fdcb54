//! The headers that a large buffer's segments have in front of them, options and extension headers included.

use core::hint::black_box;

use crate::{ethernet, ipv4, ipv6, mss::TCP, packet::Packet};

/// Bytes from the frame's first on in which the headers have to end: IPv6 and 200 bytes of extension headers.
const REACH: u32 = 320;
/// Extension headers (IANA, "IPv6 Extension Header Types").
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION: u8 = 60;
const UDP_HEADER: u32 = 8;

/// Bytes of the IP and the transport header in a frame of that protocol. `None`: they are not where they could be.
#[inline(always)]
pub fn length<P: Packet>(packet: &mut P, protocol: u16) -> Option<u32> {
    let within = packet.length().min(REACH);
    if !packet.reach(within) {
        return None;
    }
    let (transport, network) = if protocol == ethernet::IPV4 {
        let header = packet.block::<{ ipv4::LENGTH as usize }>(ethernet::LENGTH as usize)?;
        (header.byte::<9>(), u32::from(header.byte::<0>() & 0xf) * 4)
    } else {
        ipv6_length(packet)?
    };
    if transport != TCP {
        return Some(network + UDP_HEADER);
    }
    let tcp = packet.block::<13>(offset(network)?)?;
    Some(network + u32::from(tcp.byte::<12>() >> 4) * 4)
}

/// What follows the IPv6 header and its extension headers, and how long they are. RFC 8200, 4.1, has four in front of one
/// that nobody segments behind.
#[inline(always)]
fn ipv6_length<P: Packet>(packet: &P) -> Option<(u8, u32)> {
    let header = packet.block::<{ ipv6::LENGTH as usize }>(ethernet::LENGTH as usize)?;
    let (next, length) = (header.byte::<6>(), ipv6::LENGTH);
    // Not in a loop, which Linux 6.1 refuses here.
    let (next, length) = behind_extension(packet, next, length)?;
    let (next, length) = behind_extension(packet, next, length)?;
    let (next, length) = behind_extension(packet, next, length)?;
    let (next, length) = behind_extension(packet, next, length)?;
    (!is_extension(next)).then_some((next, length))
}

/// What follows the extension header behind so many bytes, if `next` is one.
#[inline(always)]
fn behind_extension<P: Packet>(packet: &P, next: u8, length: u32) -> Option<(u8, u32)> {
    if !is_extension(next) {
        return Some((next, length));
    }
    let extension = packet.block::<2>(offset(length)?)?;
    Some((extension.byte::<0>(), length + (u32::from(extension.byte::<1>()) + 1) * 8))
}

#[inline(always)]
const fn is_extension(next: u8) -> bool {
    matches!(next, HOP_BY_HOP | ROUTING | DESTINATION)
}

/// Where in the frame a header is that so many bytes of the packet are in front of.
#[inline(always)]
fn offset(length: u32) -> Option<usize> {
    if length >= REACH {
        return None;
    }
    // Said once more for the verifier, which the compiler must not believe to know.
    Some((ethernet::LENGTH + (black_box(length) & 0x1ff)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::TestPacket;

    fn ipv6(next: u8, rest: &[u8]) -> TestPacket {
        let mut frame = vec![0; 14 + 40];
        frame[14 + 6] = next;
        frame.extend(rest);
        TestPacket(frame)
    }

    #[test]
    fn options_are_part_of_an_ipv4_header() {
        for (words, transport, expected) in [(5, 17, 28), (15, 17, 68), (5, TCP, 20 + 32), (15, TCP, 60 + 32)]
        {
            let mut frame = vec![0x80; 14 + 100];
            frame[14] = 0x40 | words;
            frame[14 + 9] = transport;
            assert_eq!(length(&mut TestPacket(frame), ethernet::IPV4), Some(expected));
        }
    }

    #[test]
    fn extension_headers_are_added_up() {
        let mut rest = vec![DESTINATION, 0, 0, 0, 0, 0, 0, 0, TCP, 1];
        rest.resize(8 + 16 + 12, 0);
        rest.push(0x50);
        assert_eq!(length(&mut ipv6(HOP_BY_HOP, &rest), ethernet::IPV6), Some(40 + 24 + 20));
        rest.pop();
        assert_eq!(length(&mut ipv6(HOP_BY_HOP, &rest), ethernet::IPV6), None, "no TCP header");
        assert_eq!(length(&mut ipv6(17, &[]), ethernet::IPV6), Some(48));
        let endless = [DESTINATION, 0, 0, 0, 0, 0, 0, 0].repeat(20);
        assert_eq!(length(&mut ipv6(DESTINATION, &endless), ethernet::IPV6), None);
        assert_eq!(
            length(&mut ipv6(DESTINATION, &[17, 255].repeat(200)), ethernet::IPV6),
            Some(40 + 2048 + 8)
        );
    }
}
