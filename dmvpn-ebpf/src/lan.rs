//! From a LAN: what the routing table sends to a peer is encapsulated and leaves at once, on interfaces that the
//! configuration names. Everything else is the kernel's, as it came.

use dmvpn_common::{CachedVerdict, CachedWay, Control, FastPath, InterfaceRole, PeerMac, PeerState};

use crate::{
    address,
    cache::{self, Key, Key4, Key6},
    ethernet,
    forward::{self, Load},
    inner::{Inner, Reading},
    ipv4::Ipv4,
    ipv6::Ipv6,
    maps,
    receive::{UnderlayPacket, Verdict},
    route,
    scratch::{self, Scratch},
};

/// In the key of a cached route, where GRE has the protocol: no protocol of ours.
const FROM_LAN: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

/// Decides on a frame that came in by an accelerated interface. `None`: it is the kernel's.
#[inline(always)]
pub fn forward<P: UnderlayPacket>(packet: &mut P) -> Option<Verdict> {
    let header = ethernet::header(packet)?;
    match ethernet::ether_type(&header) {
        ethernet::IPV4 => forward_inner::<P, Ipv4>(packet),
        ethernet::IPV6 => forward_inner::<P, Ipv6>(packet),
        _ => None,
    }
}

/// Sends a packet the way its like went, or the one the routing table says.
#[inline(always)]
fn forward_inner<P: UnderlayPacket, H: Inner>(packet: &mut P) -> Option<Verdict> {
    let offset = ethernet::LENGTH;
    // What lies in several buffers goes by the kernel.
    let reach = (packet.end() - packet.start()) as u32;
    let Reading::Header(header) = H::read(packet, offset, reach.wrapping_sub(offset)) else { return None };
    if !header.is_forwardable() || !H::checksum_is_right(packet, offset) {
        return None;
    }
    let control = cache::control()?;
    let load = Load { offset, header: &header, tos: header.tos() };
    let frame = ethernet::header(packet)?;
    let (front, back) = (frame.copy_out::<u32, 0>(), frame.copy_out::<u16, 4>());
    let (source, destination) = (address::words(&header.source()), address::words(&header.destination()));
    if H::PROTOCOL == ethernet::IPV4 {
        let gre = u64::from(FROM_LAN | u32::from(back));
        let outer = cache::pair(packet.interface(), front);
        let inner = cache::pair(source[0], destination[0]);
        return go(packet, control, &load, &Key4::new(P::PATH, control, outer, gre, inner));
    }
    let mut key = Key6 {
        outer: [packet.interface(), front, back.into(), 0, 0, 0, 0, 0],
        inner: [0; 8],
        gre: FROM_LAN.into(),
    };
    let mut at = 0;
    while at < 4 {
        key.inner[at] = source[at] & control.source_mask;
        key.inner[at + 4] = destination[at];
        at += 1;
    }
    go(packet, control, &load, &key)
}

/// Sends a packet the way that is remembered for `key`, or the one the routing table says.
#[inline(always)]
fn go<P: UnderlayPacket, H: Inner, K: Key>(
    packet: &mut P,
    control: &Control,
    load: &Load<'_, H>,
    key: &K,
) -> Option<Verdict> {
    let known = match key.find() {
        Some(way) if cache::holds(way, control) => {
            let verdict = forward::send(packet, load, way)?;
            cache::gone(packet, way, load.header.length(), verdict);
            return Some(verdict);
        }
        known => known,
    };
    let scratch = scratch::scratch()?;
    find(packet, control, load.header, scratch)?;
    let slot = if cache::is_on(control) { cache::remember(key, known, &scratch.way) } else { None };
    let verdict = forward::send(packet, load, &scratch.way)?;
    cache::gone_at_first(packet, &scratch.way, slot, load.header.length(), verdict);
    Some(verdict)
}

/// Finds the peer that the routing table leads to, and writes the way to [`Scratch::way`]. `None`: it leads elsewhere, or
/// the kernel has to look at the packet.
#[inline(always)]
#[expect(unsafe_code, reason = "looking into a hash map: an entry may be replaced while it is read")]
fn find<P: UnderlayPacket, H: Inner>(
    packet: &P,
    control: &Control,
    header: &H,
    scratch: &mut Scratch,
) -> Option<()> {
    // SAFETY: the agent replaces entries whole; one that goes away may be used for one more packet.
    let lan = unsafe { maps::INTERFACES.get(packet.interface()) }?;
    let to = ethernet::destination(&ethernet::header(packet)?);
    // An interface may hear frames for others.
    if lan.role != InterfaceRole::Lan || PeerMac(lan.mac) != PeerMac(to) {
        return None;
    }
    let query = &mut scratch.query;
    *query = header.query(packet.interface());
    if packet.look_up_route(query) != route::FOUND {
        return None;
    }
    let index = PeerMac::index_of(query.next_hop_address())?;
    let peer = maps::PEERS.get(index)?;
    if peer.tunnel_ifindex != query.ifindex || peer.state != PeerState::Up {
        return None;
    }
    // SAFETY: as above.
    let tunnel = unsafe { maps::INTERFACES.get(query.ifindex) }?;
    if tunnel.role != InterfaceRole::Tunnel || tunnel.fast_path != FastPath::Full {
        return None;
    }
    scratch.way = CachedWay {
        generation: control.generation,
        expires: u32::MAX,
        hits: 0,
        verdict: CachedVerdict::Peer,
        mtu: query.length,
        mss: H::of_family(tunnel.mss_ipv4, tunnel.mss_ipv6),
        to: index,
        source_peer: 0,
        bytes: 0,
        link_layer: [0; 12],
    };
    Some(())
}
