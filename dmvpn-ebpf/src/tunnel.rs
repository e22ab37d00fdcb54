//! From the tunnel interface: what the kernel sends by it is encapsulated for the peer that its link-layer destination
//! names, or swallowed.

use dmvpn_common::{DropReason, PeerMac, PeerState, Underlay, UnderlayState};

use crate::{
    count, ethernet, event, headers,
    inner::{Inner, Reading},
    ipv4::{self, Ipv4},
    ipv6::Ipv6,
    link, maps,
    mss::{self, TCP},
    neighbour::{self, Question},
    outer,
    packet::Packet,
    policer, replicate,
};

/// Ethernet and the fixed part of IPv4, which is no longer than that of IPv6.
const HEADERS: u32 = ethernet::LENGTH + ipv4::LENGTH;

/// What sending needs of a packet, beside its bytes.
pub trait TunnelPacket: Packet {
    /// Whether it carries a VLAN tag beside its bytes.
    fn is_tagged(&self) -> bool;

    /// Bytes of payload in each packet it is on the wire, when segmentation is left to the device; else 0.
    fn segment_size(&self) -> u32;

    /// How many packets it is on the wire: more than one when segmentation is left to the device.
    fn segments(&self) -> u32;

    /// Sends copies of the frame by its own interface again: to the peer `first` and to those that follow it in the list
    /// of receivers, but not to the last, whose index it returns.
    fn copy_along(&mut self, first: u32) -> u32;

    /// Makes room for an outer IP (`ether_type` says which) and GRE header of `length` bytes behind the Ethernet header.
    /// `false`: impossible.
    fn make_room(&mut self, length: u32, ether_type: u16) -> bool;

    /// Leaves the frame to the far end of the interface; the action that does it.
    fn leave(&self) -> i32;

    /// Hands the finished frame to the next hop's interface; the action that does it.
    fn transmit(&self, next_hop: &Underlay) -> i32;

    /// Hands the packet to the next hop's interface, but leaves the link-layer addresses to the kernel, which asks for
    /// them if need be and keeps the packet meanwhile; the action that does it.
    fn resolve(&self, next_hop: &Underlay) -> i32;
}

/// Decides on a frame that the kernel sends by a tunnel interface, and changes it accordingly: the action of the hook,
/// or why the frame is to be dropped.
#[inline(always)]
pub fn send<P: TunnelPacket>(packet: &mut P) -> Result<i32, DropReason> {
    if !packet.reach(HEADERS) {
        return Err(DropReason::Truncated);
    }
    let Some(header) = packet.block::<{ HEADERS as usize }>(0) else { return Err(DropReason::Truncated) };
    let destination = header.mac::<0>();
    let protocol = header.half::<12>();
    if packet.is_tagged() {
        return Err(DropReason::GreProtocol);
    }
    if protocol == ethernet::ARP {
        return Err(swallow_arp(packet));
    }
    let (tos, df, transport) = match protocol {
        ethernet::IPV4 => {
            (header.byte::<15>(), header.byte::<20>() & ipv4::DONT_FRAGMENT, header.byte::<23>())
        }
        // Version and traffic class share the first two bytes. Routers never fragment IPv6.
        ethernet::IPV6 => ((header.half::<14>() >> 4) as u8, ipv4::DONT_FRAGMENT, header.byte::<20>()),
        _ => return Err(DropReason::GreProtocol),
    };
    let index = if destination[0] & 1 != 0 {
        if protocol == ethernet::IPV6 && swallow_ipv6(packet) {
            return Err(DropReason::NeighbourSolicitation);
        }
        replicate::to_receivers(packet)?
    } else {
        PeerMac::index_of(destination).ok_or(DropReason::NoSuchPeer)?
    };
    let Some(peer) = maps::PEERS.get(index) else { return Err(DropReason::NoSuchPeer) };
    if peer.state == PeerState::Free || peer.tunnel_ifindex != packet.interface() {
        return Err(DropReason::NoSuchPeer);
    }
    if peer.state == PeerState::Down {
        return Err(DropReason::PeerDown);
    }
    let Some(next_hop) = maps::UNDERLAY.get(peer.underlay) else { return Err(DropReason::MapInconsistent) };
    if next_hop.state == UnderlayState::Free {
        return Err(DropReason::NoUnderlayRoute);
    }

    let length = packet.length() - ethernet::LENGTH;
    if length > peer.mtu && is_too_long(packet, protocol, peer.mtu) {
        // The agent finds it at the far end. It cuts what may be cut, and tells the sender of anything else.
        if packet.segment_size() != 0 || df != 0 {
            count::dropped(DropReason::TooLong, packet.length());
        }
        return Ok(packet.leave());
    }
    if peer.policer != 0 {
        let admitted = if protocol == ethernet::IPV4 {
            is_admitted::<P, Ipv4>(packet, peer.policer)
        } else {
            is_admitted::<P, Ipv6>(packet, peer.policer)
        };
        if !admitted {
            return Err(DropReason::Policed);
        }
    }
    if transport == TCP && protocol == ethernet::IPV4 {
        lower_segments::<P, Ipv4>(packet, index);
    } else if transport == TCP {
        lower_segments::<P, Ipv6>(packet, index);
    }
    let segments = packet.segments();
    if !packet.make_room(outer::length(peer), outer::ether_type(peer))
        || !outer::write(packet, ethernet::LENGTH, peer, outer::Inner { length, tos, df, protocol })
    {
        return Err(DropReason::NoHeadroom);
    }
    count::sent(index, segments, length);
    if next_hop.state != UnderlayState::Valid {
        return Ok(packet.resolve(next_hop));
    }
    if !link::write_untagged(packet, next_hop, outer::ether_type(peer)) {
        return Err(DropReason::NoHeadroom);
    }
    Ok(packet.transmit(next_hop))
}

/// Whether the policer lets the packet go. One that contradicts itself goes nowhere.
#[inline(always)]
fn is_admitted<P: TunnelPacket, H: Inner>(packet: &mut P, policer: u32) -> bool {
    const OFFSET: u32 = ethernet::LENGTH;
    let (room, segments) = (packet.length() - OFFSET, packet.segments());
    // What is shorter than that is one segment, whose transport header nobody asks for.
    let _ = packet.reach(OFFSET + H::LENGTH + mss::FLAGS as u32);
    let Reading::Header(header) = H::read(packet, OFFSET, room) else { return false };
    policer::admits(packet, policer, OFFSET, &header, segments)
}

/// Lowers the largest segment that a TCP packet to the peer with this index announces, if it does: see [`mss`].
#[inline(always)]
fn lower_segments<P: TunnelPacket, H: Inner>(packet: &mut P, index: u32) {
    const OFFSET: u32 = ethernet::LENGTH;
    let room = packet.length() - OFFSET;
    if packet.reach(OFFSET + H::LENGTH)
        && let Reading::Header(header) = H::read(packet, OFFSET, room)
        && packet.reach(OFFSET + H::LENGTH + mss::FLAGS as u32 + 1)
        && header.opens_connection(packet, OFFSET)
    {
        let most = mss::of_interface::<H>(packet.interface());
        mss::clamp(packet, OFFSET, &header, most, [0, index]);
    }
}

/// Whether a packet of more than `mtu` bytes really is too long: not, when the packets it will be cut into fit.
#[inline(always)]
fn is_too_long<P: TunnelPacket>(packet: &mut P, protocol: u16, mtu: u32) -> bool {
    let segment = packet.segment_size();
    segment == 0 || headers::length(packet, protocol).is_none_or(|headers| headers + segment > mtu)
}

/// Turns an ARP frame into an event, if it is a question.
#[inline(always)]
fn swallow_arp<P: TunnelPacket>(packet: &mut P) -> DropReason {
    if packet.reach(neighbour::ARP_FRAME)
        && let Question::NextHop(next_hop) = neighbour::arp(packet)
    {
        event::resolve(packet.interface(), next_hop);
    }
    DropReason::NeighbourSolicitation
}

/// Turns a neighbour solicitation into an event. `false`: the packet is no part of address resolution.
#[inline(always)]
fn swallow_ipv6<P: TunnelPacket>(packet: &mut P) -> bool {
    if !packet.reach(neighbour::SOLICITATION_FRAME) {
        return false;
    }
    match neighbour::solicitation(packet) {
        None => return false,
        Some(Question::NextHop(next_hop)) => event::resolve(packet.interface(), next_hop),
        Some(Question::Nothing) => {}
    }
    true
}
