//! What has to become of a frame that comes from this side of the tunnels: from the LAN, or from the kernel by the tunnel
//! interface.

use dmvpn_common::{DropReason, FastPath, PeerState, UnderlayState};

use super::{
    oracle::{self, Column, Expected, Hook, Verdict},
    packet::{Inner, half},
    world::{LAN_MAC, Route, TUNNEL_MTU, World, route},
};
use crate::frames::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6};

const ICMPV6: u8 = 58;

/// A frame from the LAN: to a peer, or the kernel's as it is.
pub(super) fn from_lan(world: &World, frame: &[u8]) -> Vec<Expected> {
    vec![to_peer(world, frame).unwrap_or_else(|| Expected::pass(frame))]
}

fn to_peer(world: &World, frame: &[u8]) -> Option<Expected> {
    let rest = &frame[14..];
    let inner = Inner::read(rest, rest.len(), half(frame, 12)?)?;
    let Route::Peer(index) = route(inner.destination) else { return None };
    let remote = &world.remotes[index as usize];
    let allowed = frame[..6] == LAN_MAC
        && inner.is_plain()
        && inner.checksum_is_right
        && inner.length <= TUNNEL_MTU.min(remote.peer.mtu as usize)
        && world.hub.tunnel.fast_path == FastPath::Full
        && remote.peer.state == PeerState::Up
        && world.next_hops[remote.peer.underlay as usize].state == UnderlayState::Valid;
    if !allowed {
        return None;
    }
    let rest = oracle::passed_on(&inner, inner.tos, rest);
    let sent = oracle::encapsulated(world, Hook::Lan, world.lan, remote, &inner, &rest);
    Some(sent.counting(&[(index, Column::SentXdp, inner.length as u64)]))
}

/// A frame that the kernel sends by the tunnel interface. What is in it is the kernel's, so only what is outside is
/// looked at.
pub(super) fn from_kernel(world: &World, frame: &[u8], segment: usize) -> Vec<Expected> {
    vec![sent(world, frame, segment).unwrap_or_else(Expected::drop)]
}

fn sent(world: &World, frame: &[u8], segment: usize) -> Result<Expected, DropReason> {
    if frame.len() < 34 {
        return Err(DropReason::Truncated);
    }
    let packet = &frame[14..];
    let protocol = u16::from_be_bytes([frame[12], frame[13]]);
    let is_ipv6 = protocol == ETHERTYPE_IPV6;
    let (tos, dont_fragment) = match protocol {
        ETHERTYPE_ARP => return Err(DropReason::NeighbourSolicitation),
        ETHERTYPE_IPV4 => (packet[1], packet[6] & 0x40 != 0),
        ETHERTYPE_IPV6 => (packet[0] << 4 | packet[1] >> 4, true),
        _ => return Err(DropReason::GreProtocol),
    };
    let index = match frame[..6] {
        [first, ..] if first & 1 != 0 => {
            // A solicitation or an advertisement: an ICMP header with an address.
            if is_ipv6 && packet.len() >= 64 && packet[6] == ICMPV6 && matches!(packet[40], 135 | 136) {
                return Err(DropReason::NeighbourSolicitation);
            }
            world.receiver.ok_or(DropReason::NoMulticastReceiver)?
        }
        [0x02, 0xd4, a, b, c, d] => u32::from_be_bytes([a, b, c, d]),
        _ => return Err(DropReason::NoSuchPeer),
    };
    let remote = world.remotes.get(index as usize).filter(|_| index != 0).ok_or(DropReason::NoSuchPeer)?;
    match remote.peer.state {
        PeerState::Free => return Err(DropReason::NoSuchPeer),
        PeerState::Down => return Err(DropReason::PeerDown),
        PeerState::Up => {}
    }
    let next_hop = &world.next_hops[remote.peer.underlay as usize];
    if next_hop.state == UnderlayState::Free {
        return Err(DropReason::NoUnderlayRoute);
    }
    let longest = if segment == 0 { packet.len() } else { longest_segment(packet, is_ipv6, segment) };
    if packet.len() > remote.peer.mtu as usize && longest > remote.peer.mtu as usize {
        let mut frame = frame.to_vec();
        if frame[0] & 1 != 0 {
            frame[..6].copy_from_slice(&super::world::peer_mac(index));
        }
        // The agent tells the sender of what must not be cut, and of what is one packet only here.
        let reason = (dont_fragment || segment != 0).then_some(DropReason::TooLong);
        return Ok(Expected { verdict: Verdict::Leave, reason, ..Expected::pass(&frame) });
    }
    if segment != 0 {
        // The kernel wants to know what is segmented, which a test run cannot tell it, before it makes room.
        return Err(DropReason::NoHeadroom);
    }
    let inner = Inner { protocol, tos, dont_fragment, length: packet.len(), ..Inner::EMPTY };
    let sent = oracle::encapsulated(world, Hook::Tunnel, 0, remote, &inner, packet);
    // The kernel writes the addresses of a next hop that it has to ask for.
    let unwritten = if next_hop.state == UnderlayState::Valid { 0 } else { 14 };
    Ok(Expected { unwritten, ..sent }.counting(&[(index, Column::SentTc, packet.len() as u64)]))
}

/// The length of the packets that one with a segment size is cut into; of all whose headers do not end soon, nothing is
/// known.
fn longest_segment(packet: &[u8], is_ipv6: bool, segment: usize) -> usize {
    headers(&packet[..packet.len().min(306)], is_ipv6).map_or(packet.len(), |headers| headers + segment)
}

/// The length of the IP and the transport header.
fn headers(packet: &[u8], is_ipv6: bool) -> Option<usize> {
    const TCP: u8 = 6;
    let (mut protocol, mut length) =
        if is_ipv6 { (*packet.get(..40)?.get(6)?, 40) } else { (packet[9], usize::from(packet[0] & 15) * 4) };
    let mut extensions = 0;
    while is_ipv6 && [0, 43, 60].contains(&protocol) {
        extensions += 1;
        let header = packet.get(length..length + 2).filter(|_| extensions <= 4)?;
        protocol = header[0];
        length += 8 * (1 + usize::from(header[1]));
    }
    let transport = match protocol {
        TCP => usize::from(*packet.get(length..length + 13)?.last()? >> 4) * 4,
        _ => 8,
    };
    Some(length + transport)
}
