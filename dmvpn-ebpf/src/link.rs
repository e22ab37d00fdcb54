//! What comes before the network header: Ethernet, with or without one VLAN tag (802.1Q).

use core::mem::offset_of;

use dmvpn_common::Underlay;

use crate::{ethernet, packet::Packet};

/// `EtherType` of an 802.1Q tag.
const VLAN: u16 = 0x8100;
/// Ethernet header and one tag.
const TAGGED: u32 = ethernet::LENGTH + 4;

/// Length of the link-layer header, and the `EtherType` of what follows. `None`: the frame is too short.
#[inline(always)]
pub fn read<P: Packet>(packet: &P) -> Option<(u32, u16)> {
    let header = packet.block::<{ ethernet::LENGTH as usize }>(0)?;
    let kind = header.half::<12>();
    if kind != VLAN {
        return Some((ethernet::LENGTH, kind));
    }
    let header = packet.block::<{ TAGGED as usize }>(0)?;
    Some((TAGGED, header.half::<16>()))
}

/// Length of the header that leads to `next_hop`.
#[inline(always)]
pub fn length(next_hop: &Underlay) -> u32 {
    if next_hop.vlan == 0 { ethernet::LENGTH } else { TAGGED }
}

/// Writes the header that leads to the next hop. `false`: the packet is shorter than that.
#[inline(always)]
pub fn write<P: Packet>(packet: &P, next_hop: &Underlay, ether_type: u16) -> bool {
    if next_hop.vlan == 0 {
        return write_untagged(packet, next_hop, ether_type);
    }
    let Some(mut header) = packet.block::<{ TAGGED as usize }>(0) else { return false };
    header.copy_in::<u64, 0>(first_addresses(next_hop));
    header.copy_in::<u32, 8>(last_addresses(next_hop));
    header.set_half::<12>(VLAN);
    header.set_half::<14>(next_hop.vlan);
    header.set_half::<16>(ether_type);
    true
}

/// Writes the header that leads to the next hop by the interface that the route names: a VLAN device puts its tag in
/// itself. `false`: the packet is shorter than that.
#[inline(always)]
pub fn write_untagged<P: Packet>(packet: &P, next_hop: &Underlay, ether_type: u16) -> bool {
    let Some(mut header) = ethernet::header(packet) else { return false };
    // Destination and source lie in the map's value as they do in the frame.
    header.copy_in::<u64, 0>(first_addresses(next_hop));
    header.copy_in::<u32, 8>(last_addresses(next_hop));
    header.set_half::<12>(ether_type);
    true
}

const ADDRESSES: usize = offset_of!(Underlay, gateway_mac);
const _: () = {
    assert!(offset_of!(Underlay, source_mac) == ADDRESSES + 6);
    assert!(ADDRESSES.is_multiple_of(align_of::<u64>()) && align_of::<Underlay>() == align_of::<u64>());
};

/// The first eight bytes of the two link-layer addresses.
#[inline(always)]
#[expect(unsafe_code, reason = "two addresses in a row are read as words")]
fn first_addresses(next_hop: &Underlay) -> u64 {
    // SAFETY: inside the structure and aligned, as asserted above; any bytes are a number.
    unsafe { core::ptr::from_ref(next_hop).cast::<u64>().byte_add(ADDRESSES).read() }
}

/// The last four bytes of the two link-layer addresses.
#[inline(always)]
#[expect(unsafe_code, reason = "two addresses in a row are read as words")]
fn last_addresses(next_hop: &Underlay) -> u32 {
    // SAFETY: inside the structure and aligned, as asserted above; any bytes are a number.
    unsafe { core::ptr::from_ref(next_hop).cast::<u32>().byte_add(ADDRESSES + 8).read() }
}

#[cfg(test)]
mod tests {
    use dmvpn_common::UnderlayState;

    use super::*;
    use crate::packet::TestPacket;

    fn next_hop(vlan: u16) -> Underlay {
        Underlay {
            state: UnderlayState::Valid,
            gateway_mac: [2, 4, 6, 8, 10, 12],
            source_mac: [1, 3, 5, 7, 9, 11],
            vlan,
            ..Underlay::default()
        }
    }

    #[test]
    fn writes_the_next_hops_addresses() {
        let packet = TestPacket(vec![0xee; 15]);
        assert!(write(&packet, &next_hop(0), ethernet::IPV4));
        assert_eq!(packet.0, [2, 4, 6, 8, 10, 12, 1, 3, 5, 7, 9, 11, 0x08, 0x00, 0xee]);
        assert_eq!(read(&packet), Some((14, ethernet::IPV4)));
    }

    #[test]
    fn writes_and_reads_a_tag() {
        let packet = TestPacket(vec![0xee; 19]);
        assert!(write(&packet, &next_hop(0x123), ethernet::IPV6));
        assert_eq!(packet.0[12..], [0x81, 0x00, 0x01, 0x23, 0x86, 0xdd, 0xee]);
        assert_eq!(read(&packet), Some((18, ethernet::IPV6)));
        assert_eq!(read(&TestPacket(packet.0[..17].to_vec())), None, "cut off");
    }
}
