//! Sends a packet the way that was found for it.

use dmvpn_common::{CachedVerdict, CachedWay, DropReason, PeerState, UnderlayState};

use crate::{
    ethernet,
    inner::Inner,
    maps, mss, outer, policer,
    receive::{UnderlayPacket, Verdict},
};

/// The packet in hand.
pub struct Load<'a, H> {
    /// Where the inner packet begins.
    pub offset: u32,
    /// Its header.
    pub header: &'a H,
    /// The type of service it is to have from here on.
    pub tos: u8,
}

/// Sends the packet on its way; counting it is left to the caller. `None`: the way cannot be gone now, and the packet is
/// as it was.
#[inline(always)]
pub fn send<P: UnderlayPacket, H: Inner>(
    packet: &mut P,
    load: &Load<'_, H>,
    way: &CachedWay,
) -> Option<Verdict> {
    match way.verdict {
        CachedVerdict::Peer => to_peer(packet, load, way),
        CachedVerdict::Interface => to_interface(packet, load, way),
        CachedVerdict::Deliver => Some(deliver(packet, load, way.to, way)),
        CachedVerdict::None => None,
    }
}

/// Puts the packet into an outer header for a peer.
#[inline(always)]
fn to_peer<P: UnderlayPacket, H: Inner>(
    packet: &mut P,
    load: &Load<'_, H>,
    way: &CachedWay,
) -> Option<Verdict> {
    let peer = maps::PEERS.get(way.to)?;
    let length = load.header.length();
    if peer.state != PeerState::Up || length > peer.mtu || length > u32::from(way.mtu) {
        return None;
    }
    let next_hop = maps::UNDERLAY.get(peer.underlay)?;
    if next_hop.state != UnderlayState::Valid {
        return None;
    }
    let fields = outer::Inner { length, tos: load.tos, df: load.header.df(), protocol: H::PROTOCOL };
    let link = P::link_length(next_hop);
    if !packet.can_replace_front(load.offset, link, outer::length(peer)) {
        return None;
    }
    if peer.policer != 0
        && !policer::admits(packet, peer.policer, load.offset, load.header, packet.segments())
    {
        return Some(Verdict::Drop(DropReason::Policed));
    }
    mss::clamp(packet, load.offset, load.header, way.mss, [way.source_peer, way.to]);
    let done = load.header.pass_hop(packet, load.offset, load.tos)
        && packet.replace_front(load.offset, link, outer::length(peer))
        && outer::write(packet, link, peer, fields)
        && packet.write_link(next_hop, outer::ether_type(peer));
    if !done {
        return Some(Verdict::Drop(DropReason::NoHeadroom));
    }
    Some(Verdict::Transmit(P::interface_of(next_hop)))
}

/// Sends the packet to a neighbour on an ordinary interface.
#[inline(always)]
fn to_interface<P: UnderlayPacket, H: Inner>(
    packet: &mut P,
    load: &Load<'_, H>,
    way: &CachedWay,
) -> Option<Verdict> {
    if load.header.length() > u32::from(way.mtu) {
        return None;
    }
    mss::clamp(packet, load.offset, load.header, way.mss, [way.source_peer, 0]);
    let done = load.header.pass_hop(packet, load.offset, load.tos)
        && packet.replace_front(load.offset, ethernet::LENGTH, 0);
    if !done {
        return Some(Verdict::Drop(DropReason::NoHeadroom));
    }
    let Some(mut frame) = ethernet::header(packet) else {
        return Some(Verdict::Drop(DropReason::Truncated));
    };
    frame.copy_in::<[u8; 12], 0>(way.link_layer);
    frame.set_half::<12>(H::PROTOCOL);
    Some(Verdict::Transmit(way.to))
}

/// Hands the packet to the kernel as a frame that comes from the peer it came from and arrives on the tunnel interface
/// whose far end is `far_ifindex`. Of `way` only counts where it comes from.
#[inline(always)]
pub fn deliver<P: UnderlayPacket, H: Inner>(
    packet: &mut P,
    load: &Load<'_, H>,
    far_ifindex: u32,
    way: &CachedWay,
) -> Verdict {
    mss::clamp(packet, load.offset, load.header, way.mss, [way.source_peer, 0]);
    if load.tos != load.header.tos() && !load.header.set_tos(packet, load.offset, load.tos) {
        return Verdict::Drop(DropReason::Truncated);
    }
    if !packet.replace_front(load.offset, ethernet::LENGTH, 0) {
        return Verdict::Drop(DropReason::NoHeadroom);
    }
    let Some(mut frame) = ethernet::header(packet) else {
        return Verdict::Drop(DropReason::Truncated);
    };
    ethernet::write_for_tunnel(&mut frame, way.source_peer, H::PROTOCOL);
    Verdict::Transmit(far_ifindex)
}
