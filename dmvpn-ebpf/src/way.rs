//! The long way: asks the kernel's routing table where a packet goes. What it says is remembered in the route cache.

use dmvpn_common::{
    CachedVerdict, CachedWay, Control, DropReason, FastPath, InterfaceRole, Peer, PeerMac, PeerState,
    RedirectKey, Tunnel, TunnelFlags,
};

use crate::{
    event,
    inner::Inner,
    link_local, maps, mss,
    receive::UnderlayPacket,
    redirect,
    route::{self, RouteQuery},
    scratch::Scratch,
    settings::REDIRECT_INTERVAL_NS,
};

/// Where a packet comes from.
pub struct Origin<'a> {
    /// The tunnel it came by.
    pub tunnel: &'a Tunnel,
    /// Index of the peer that sent it; 0 for a stranger on a tunnel that accepts anyone.
    pub peer: u32,
    /// Where the inner packet begins.
    pub offset: u32,
}

const NANOSECONDS: u64 = 1_000_000_000;

/// Finds the way of a packet that came from a peer and writes it to [`Scratch::way`]; or says why the packet is to be
/// dropped. Returns whether packets like it may go the same way without another look.
///
/// The kernel gets everything that is not plain: it answers with ICMP, asks for a missing neighbour, fragments.
#[inline(always)]
pub fn find<P: UnderlayPacket, H: Inner>(
    packet: &P,
    control: &Control,
    origin: &Origin<'_>,
    header: &H,
    scratch: &mut Scratch,
) -> Result<bool, DropReason> {
    let tunnel = origin.tunnel;
    let way = &mut scratch.way;
    *way = CachedWay {
        generation: control.generation,
        expires: u32::MAX,
        hits: 0,
        verdict: CachedVerdict::Deliver,
        mtu: 0,
        mss: H::of_family(tunnel.mss_ipv4, tunnel.mss_ipv6),
        to: tunnel.far_ifindex,
        source_peer: origin.peer,
        bytes: 0,
        link_layer: [0; 12],
    };
    // First of all: options or a last hop must be no way round. What has no routable source (a routing daemon on the link,
    // say) is not forwarded by anybody.
    if tunnel.flags & TunnelFlags::CHECK_SOURCE != 0 && header.has_unicast_source() {
        let query = &mut scratch.query;
        *query = header.query(tunnel.ifindex).reversed(header.has_unicast_destination());
        if !is_behind(packet, query, tunnel, origin.peer) {
            return Err(DropReason::Spoofed);
        }
    }
    if !header.is_forwardable() {
        link_local::notice(packet, origin, header, scratch);
        return Ok(false);
    }
    let query = &mut scratch.query;
    // Then the kernel routes the packet, but the peer is to hear of the shorter way.
    let is_the_kernels = tunnel.fast_path == FastPath::Off;
    if is_the_kernels && tunnel.flags & TunnelFlags::REDIRECT == 0 {
        return Ok(true);
    }
    *query = header.query(tunnel.ifindex);
    match packet.look_up_route(query) {
        route::FOUND => {}
        route::NOT_FORWARDED => return Ok(true),
        route::BLACKHOLE if !is_the_kernels => return Err(DropReason::RouteRefused),
        _ => return Ok(false),
    }
    way.mtu = query.length;
    if let Some(index) = PeerMac::index_of(query.next_hop_address())
        && let Some(peer) = maps::PEERS.get(index)
        // An ordinary interface may have a neighbour whose address looks like one of ours. (Most peers are of the same
        // tunnel, and what says so is near.)
        && (peer.tunnel == tunnel.id && query.ifindex == tunnel.ifindex || peer.tunnel_ifindex == query.ifindex)
        && peer.state != PeerState::Free
    {
        if peer.state == PeerState::Down && !is_the_kernels {
            return Err(DropReason::PeerDown);
        }
        if !is_the_kernels {
            if !H::checksum_is_right(packet, origin.offset) {
                return Err(DropReason::InnerMalformed);
            }
            way.verdict = CachedVerdict::Peer;
            way.to = index;
            if peer.tunnel != tunnel.id {
                way.mss = mss::lower_of(way.mss, mss::of_interface::<H>(query.ifindex));
            }
        }
        if wants_redirect(origin, peer, index) {
            // When the next redirect is due does not depend on what made the slot worthless. To know it spares a clock and
            // a large table.
            if scratch.known_peer == origin.peer
                && scratch.quiet_until != u32::MAX
                && control.seconds < scratch.quiet_until
            {
                way.expires = scratch.quiet_until;
                return Ok(true);
            }
            scratch.redirect = RedirectKey { peer: origin.peer, destination: header.destination() };
            let raised = redirect::is_due(&scratch.redirect);
            if raised {
                event::redirect(tunnel.ifindex, &scratch.outer.source, |head| {
                    packet.copy_head(origin.offset, header.length(), head)
                });
            }
            // Until the next one is due. Less than a second is not to be had of a clock of seconds: then every packet
            // goes the long way.
            let interval = (REDIRECT_INTERVAL_NS.load() / NANOSECONDS) as u32;
            way.expires = control.seconds.wrapping_add(if raised { interval } else { interval.min(1) });
        }
        return Ok(true);
    }
    if tunnel.fast_path == FastPath::Full && is_accelerated(query.ifindex) {
        if !H::checksum_is_right(packet, origin.offset) {
            return Err(DropReason::InnerMalformed);
        }
        way.verdict = CachedVerdict::Interface;
        way.to = query.ifindex;
        way.link_layer = query.frame_addresses();
    }
    Ok(true)
}

/// Whether the routing table leads to `peer` for packets `back` to the source of this one.
#[inline(always)]
fn is_behind<P: UnderlayPacket>(packet: &P, back: &mut RouteQuery, tunnel: &Tunnel, peer: u32) -> bool {
    packet.look_up_route(back) == route::FOUND
        && back.ifindex == tunnel.ifindex
        && PeerMac::index_of(back.next_hop_address()) == Some(peer)
}

/// Whether the packet stays inside one NHRP network and goes to another peer.
#[inline(always)]
fn wants_redirect(origin: &Origin<'_>, peer: &Peer, index: u32) -> bool {
    let tunnel = origin.tunnel;
    tunnel.flags & TunnelFlags::REDIRECT != 0
        && (peer.tunnel == tunnel.id || tunnel.network_id == peer.network_id)
        // A stranger could not be told, and a peer that gets its own packet back knows no shorter way.
        && origin.peer != 0
        && origin.peer != index
}

/// Whether packets to this interface may bypass the kernel's stack.
#[inline(always)]
#[expect(unsafe_code, reason = "looking into a hash map: an entry may be replaced while it is read")]
fn is_accelerated(ifindex: u32) -> bool {
    // SAFETY: the value is only looked at, one word of it.
    unsafe { maps::INTERFACES.get(ifindex) }.is_some_and(|interface| interface.role == InterfaceRole::Lan)
}
