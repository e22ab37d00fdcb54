//! From peer to peer: a received packet that the kernel's routing table sends back into a tunnel gets a new outer header
//! and leaves at once.

use dmvpn_common::{DropReason, Peer, PeerMac, PeerState, RedirectKey, TunnelFlags, Underlay, UnderlayState};

use crate::{
    address::address,
    count, ethernet, event,
    ipv4::{self, Ipv4},
    maps, outer,
    receive::{Received, UnderlayPacket, Verdict},
    redirect,
    route::{self, RouteQuery},
};

/// Passes the packet on to the peer that the routing table names. `None`: the packet is as it was, and for the kernel,
/// which knows what to do when the route leads elsewhere or is unreachable, when the neighbour is not known yet, and
/// when the packet is too long.
#[inline(always)]
pub fn pass_on<P: UnderlayPacket>(
    packet: &mut P,
    received: &Received,
    inner: &Ipv4,
    tos: u8,
) -> Option<Verdict> {
    let mut query = RouteQuery::new(received.tunnel.ifindex, inner);
    match packet.look_up_route(&mut query) {
        route::FOUND => {}
        route::BLACKHOLE => return Some(Verdict::Drop(DropReason::RouteRefused)),
        _ => return None,
    }
    let index = PeerMac::index_of(query.next_hop_address())?;
    let peer = maps::PEERS.get(index)?;
    if peer.tunnel_ifindex != query.ifindex {
        // An ordinary interface has a neighbour whose address looks like one of ours.
        return None;
    }
    match peer.state {
        PeerState::Up => {}
        PeerState::Down => return Some(Verdict::Drop(DropReason::PeerDown)),
        PeerState::Free => return None,
    }
    // A router must not forward what has a wrong checksum (RFC 1812, 5.2.2).
    if !ipv4::checksum_is_right(&packet.block(received.offset as usize)?) {
        return Some(Verdict::Drop(DropReason::InnerMalformed));
    }
    indicate(packet, received, inner, index, peer);

    if u32::from(inner.length) > peer.mtu || !outer::is_supported(peer) {
        return None;
    }
    let next_hop = maps::UNDERLAY.get(peer.underlay)?;
    if next_hop.state != UnderlayState::Valid {
        return None;
    }
    if !rewrite(packet, received, inner, tos, peer, next_hop) {
        return Some(Verdict::Drop(DropReason::NoHeadroom));
    }
    count::transit(P::PATH, index, 1, u32::from(inner.length));
    Some(Verdict::Transmit(next_hop.ifindex))
}

/// Raises a redirect event when the packet stays inside one NHRP network and goes to another peer.
#[inline(always)]
fn indicate<P: UnderlayPacket>(packet: &P, received: &Received, inner: &Ipv4, to: u32, peer: &Peer) {
    let tunnel = received.tunnel;
    if tunnel.flags & TunnelFlags::REDIRECT == 0 || tunnel.network_id != peer.network_id {
        return;
    }
    // A stranger could not be told, and a peer that gets its own packet back knows no shorter way.
    if received.peer == 0 || received.peer == to {
        return;
    }
    let key = RedirectKey { peer: received.peer, destination: address(inner.destination) };
    if redirect::is_due(&key) {
        let length = u32::from(inner.length);
        event::redirect(tunnel.ifindex, address(received.source), |head| {
            packet.copy_head(received.offset, length, head)
        });
    }
}

/// Rewrites the packet into a frame for `next_hop`, addressed to `peer`. `false`: the driver has no room for it.
#[inline(always)]
fn rewrite<P: UnderlayPacket>(
    packet: &mut P,
    received: &Received,
    inner: &Ipv4,
    tos: u8,
    peer: &Peer,
    next_hop: &Underlay,
) -> bool {
    let Some(mut header) = packet.block(received.offset as usize) else { return false };
    ipv4::decrement_ttl(&mut header);
    if tos != inner.tos {
        ipv4::set_tos(&mut header, tos);
    }
    let fields =
        outer::Inner { length: u32::from(inner.length), tos, df: inner.df, protocol: ethernet::IPV4 };
    packet.replace_front(received.offset, ethernet::LENGTH + u32::from(peer.header_length))
        && outer::write(packet, peer, fields)
        && outer::write_ethernet(packet, next_hop)
}
