//! Address resolution on a tunnel interface: NHRP answers instead of ARP (RFC 826) and neighbour discovery (RFC 4861),
//! so a question becomes an event and goes nowhere.

use dmvpn_common::Address;

use crate::{ethernet, packet::Packet};

/// Ethernet header and ARP for Ethernet and IPv4.
pub const ARP_FRAME: u32 = ethernet::LENGTH + 28;
/// Ethernet header, IPv6 header and the fixed part of a neighbour solicitation.
pub const SOLICITATION_FRAME: u32 = ethernet::LENGTH + 40 + 24;

const START: usize = ethernet::LENGTH as usize;

const ARP_REQUEST: u16 = 1;
const ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// What the sender of a frame wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The link-layer address of this next hop.
    NextHop(Address),
    /// Nothing we could answer: it announces its own address or asks whether it is taken (RFC 5227, RFC 4862), or it
    /// is no question at all.
    Nothing,
}

/// What the sender of an ARP frame wants to know.
#[inline(always)]
pub fn arp<P: Packet>(packet: &P) -> Question {
    let Some(frame) = packet.block::<{ ARP_FRAME as usize }>(0) else { return Question::Nothing };
    // Hardware type Ethernet, protocol type IPv4, addresses of 6 and 4 bytes.
    if frame.word::<START>() != 0x0001_0800 || frame.half::<{ START + 4 }>() != 0x0604 {
        return Question::Nothing;
    }
    let sender = frame.ipv4::<{ START + 14 }>();
    let target = frame.ipv4::<{ START + 24 }>();
    if frame.half::<{ START + 6 }>() != ARP_REQUEST || sender == [0; 4] || sender == target {
        return Question::Nothing;
    }
    Question::NextHop(Address::v4(target))
}

/// What the sender of a neighbour solicitation or advertisement wants to know; `None`: an IPv6 frame is something else.
#[inline(always)]
pub fn solicitation<P: Packet>(packet: &P) -> Option<Question> {
    let frame = packet.block::<{ SOLICITATION_FRAME as usize }>(0)?;
    if frame.byte::<{ START + 6 }>() != ICMPV6 {
        return None;
    }
    match frame.byte::<{ START + 40 }>() {
        NEIGHBOUR_SOLICITATION => {}
        // It would announce a link-layer address that means something else to every peer.
        NEIGHBOUR_ADVERTISEMENT => return Some(Question::Nothing),
        _ => return None,
    }
    // Duplicate address detection has no source.
    if frame.ipv6::<{ START + 8 }>() == [0; 16] {
        return Some(Question::Nothing);
    }
    Some(Question::NextHop(Address::v6(frame.ipv6::<{ START + 48 }>())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::TestPacket;

    fn arp_frame(operation: u8, sender: [u8; 4], target: [u8; 4]) -> TestPacket {
        let mut frame = vec![0xff; 12];
        frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, operation]);
        frame.extend([2, 0, 0, 0, 0, 1]);
        frame.extend(sender);
        frame.extend([0; 6]);
        frame.extend(target);
        TestPacket(frame)
    }

    #[test]
    fn an_arp_request_asks_for_its_target() {
        let next_hop = Question::NextHop(Address::v4([10, 0, 0, 9]));
        assert_eq!(arp(&arp_frame(1, [10, 0, 0, 1], [10, 0, 0, 9])), next_hop);
    }

    #[test]
    fn other_arp_frames_ask_nothing() {
        for (what, frame) in [
            ("reply", arp_frame(2, [10, 0, 0, 1], [10, 0, 0, 9])),
            ("probe", arp_frame(1, [0, 0, 0, 0], [10, 0, 0, 1])),
            ("announcement", arp_frame(1, [10, 0, 0, 1], [10, 0, 0, 1])),
            ("short", TestPacket(vec![0; 41])),
        ] {
            assert_eq!(arp(&frame), Question::Nothing, "{what}");
        }
        let mut token_ring = arp_frame(1, [10, 0, 0, 1], [10, 0, 0, 9]);
        token_ring.0[15] = 6;
        assert_eq!(arp(&token_ring), Question::Nothing);
    }

    fn icmpv6_frame(icmp_type: u8, source: [u8; 16], target: [u8; 16]) -> TestPacket {
        let mut frame = vec![0x33; 12];
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 58, 255]);
        frame.extend(source);
        frame.extend([0xff; 16]);
        frame.extend([icmp_type, 0, 0, 0, 0, 0, 0, 0]);
        frame.extend(target);
        TestPacket(frame)
    }

    #[test]
    fn a_neighbour_solicitation_asks_for_its_target() {
        let next_hop = Some(Question::NextHop(Address::v6([9; 16])));
        assert_eq!(solicitation(&icmpv6_frame(135, [1; 16], [9; 16])), next_hop);
        assert_eq!(solicitation(&icmpv6_frame(135, [0; 16], [9; 16])), Some(Question::Nothing), "detection");
        assert_eq!(solicitation(&icmpv6_frame(136, [1; 16], [9; 16])), Some(Question::Nothing), "answer");
        assert_eq!(solicitation(&icmpv6_frame(133, [1; 16], [9; 16])), None, "router solicitation");
        assert_eq!(solicitation(&TestPacket(vec![0; 77])), None, "short");
    }
}
