//! Ethernet headers.

use dmvpn_common::PeerMac;

use crate::packet::{Block, Packet};

/// Length of the header.
pub const LENGTH: u32 = 14;

/// `EtherType` of IPv4, which is also its GRE protocol type.
pub const IPV4: u16 = 0x0800;
/// `EtherType` of ARP.
pub const ARP: u16 = 0x0806;
/// `EtherType` of IPv6, which is also its GRE protocol type.
pub const IPV6: u16 = 0x86dd;

const SIZE: usize = LENGTH as usize;

/// The header at the start of `packet`.
#[inline(always)]
pub fn header<P: Packet>(packet: &P) -> Option<Block<'_, SIZE>> {
    packet.block::<SIZE>(0)
}

/// Destination of the frame `header` begins.
#[inline(always)]
pub fn destination(header: &Block<'_, SIZE>) -> [u8; 6] {
    header.mac::<0>()
}

/// `EtherType` of the frame `header` begins.
#[inline(always)]
pub fn ether_type(header: &Block<'_, SIZE>) -> u16 {
    header.half::<12>()
}

/// Writes the header of a frame for the tunnel interface that comes from the peer with index `peer`.
#[inline(always)]
pub fn write_for_tunnel(header: &mut Block<'_, SIZE>, peer: u32, ether_type: u16) {
    // Two synthetic addresses in a row, written as three words.
    let prefix = u32::from(u16::from_be_bytes(PeerMac::PREFIX));
    let [.., a, b, c, d] = PeerMac::TUNNEL.0;
    let tunnel = u32::from_be_bytes([a, b, c, d]);
    header.set_word::<0>(prefix << 16 | tunnel >> 16);
    header.set_word::<4>(tunnel << 16 | prefix);
    header.set_word::<8>(peer);
    header.set_half::<12>(ether_type);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::TestPacket;

    #[test]
    fn writes_synthetic_addresses() {
        let packet = TestPacket(vec![0xee; 20]);
        write_for_tunnel(&mut header(&packet).unwrap(), 0x0102_0304, IPV4);
        let expected =
            [&PeerMac::TUNNEL.0[..], &PeerMac::from_index(0x0102_0304).0, &[0x08, 0x00], &[0xee; 6]];
        assert_eq!(packet.0, expected.concat());
        let header = header(&packet).unwrap();
        assert_eq!(destination(&header), PeerMac::TUNNEL.0);
        assert_eq!(ether_type(&header), IPV4);
    }
}
