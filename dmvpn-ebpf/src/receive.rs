//! From the underlay: takes GRE packets of our tunnels, and decides where their payload goes.
//!
//! ```text
//!            not GRE, not our address,
//! frame -+-> options, fragment, NHRP                 --> kernel, as it came
//!        |
//!        +-> wrong key, unknown peer, malformed ...  --> dropped, counted
//!        |
//!        +-> payload: IPv4 for another peer, simple  --> new outer header, to the underlay   (transit)
//!        |
//!        +-> any other payload                       --> to the tunnel interface             (delivery)
//! ```
//!
//! Delivery is the answer to every question this module does not ask: the kernel routes the packet, answers with ICMP,
//! asks for a missing neighbour and keeps the packet meanwhile. So nothing is lost because something is unresolved.
#![expect(unsafe_code, reason = "looking into a hash map: an entry may be replaced while it is read")]

use dmvpn_common::{
    DropReason, EVENT_HEAD_SIZE, GRE_PROTOCOL_NHRP, IPPROTO_GRE, Keyed, NbmaKey, PeerState, Tunnel,
    TunnelFlags, TunnelKey,
};

use crate::{
    address::address,
    count, ecn, ethernet, gre,
    ipv4::{self, Ipv4},
    ipv6::{self, Ipv6},
    maps, nhrp_limit,
    packet::Packet,
    route::RouteQuery,
    transit,
};

/// What receiving needs of a packet, beside its bytes.
pub trait UnderlayPacket: Packet {
    /// The program it goes through.
    const PATH: count::Path;

    /// Replaces the first `old` bytes by `new` bytes, whose content is undefined. `false`: impossible, and nothing
    /// changed.
    fn replace_front(&mut self, old: u32, new: u32) -> bool;

    /// Copies `length` bytes from `offset` on, at least one and [`EVENT_HEAD_SIZE`] at most, and returns how many.
    fn copy_head(&self, offset: u32, length: u32, to: *mut [u8; EVENT_HEAD_SIZE]) -> u32;

    /// Asks the kernel's routing table; returns what the helper returns.
    fn look_up_route(&self, query: &mut RouteQuery) -> i64;
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// None of our business, or work for the slow path: the kernel goes on with the frame as it came.
    Pass,
    /// Dropped; to be counted.
    Drop(DropReason),
    /// A finished frame for the interface with this index.
    Transmit(u32),
}

/// A GRE packet of one of our tunnels, from a source that may send us data.
pub struct Received {
    /// The tunnel.
    pub tunnel: &'static Tunnel,
    /// Index of the peer that sent it; 0 for a stranger on a tunnel that accepts anyone.
    pub peer: u32,
    /// Outer source address.
    pub source: [u8; 4],
    /// TOS byte of the outer header.
    pub outer_tos: u8,
    /// Where the inner packet begins.
    pub offset: u32,
    /// Bytes from there to the end of the outer packet.
    pub room: u32,
    /// GRE protocol type.
    pub protocol: u16,
}

// Offsets in a frame whose outer header has no options.
const ETHER_TYPE: usize = 12;
const OUTER: usize = ethernet::LENGTH as usize;
const GRE: usize = OUTER + ipv4::LENGTH as usize;
const GRE_KEY: usize = GRE + gre::LENGTH as usize;

// A note on the shape of what follows. A pointer inside a `Result` or an enum shares its place with the numbers of the
// other variants, and the verifier refuses the code that tells them apart. So pointers travel in `Option<&T>` and in
// structures, and every function that can end the matter returns a verdict, which is made of numbers.

/// Decides on a frame that came in by an underlay interface, and changes it accordingly.
#[inline(always)]
pub fn receive<P: UnderlayPacket>(packet: &mut P) -> Verdict {
    // The kernel refuses what is too short to be GRE over IPv4.
    let Some(headers) = packet.block::<GRE_KEY>(0) else { return Verdict::Pass };
    if headers.half::<ETHER_TYPE>() != ethernet::IPV4 || headers.byte::<{ OUTER + 9 }>() != IPPROTO_GRE {
        return Verdict::Pass;
    }
    // Options and fragments are for the kernel, which reassembles; the agent's raw socket takes it from there.
    if headers.byte::<OUTER>() != ipv4::NO_OPTIONS || ipv4::is_fragment(headers.half::<{ OUTER + 6 }>()) {
        return Verdict::Pass;
    }
    let local = headers.ipv4::<{ OUTER + 16 }>();
    let source = headers.ipv4::<{ OUTER + 12 }>();
    let outer_tos = headers.byte::<{ OUTER + 1 }>();
    let protocol = headers.half::<{ GRE + 2 }>();
    let end = ethernet::LENGTH + u32::from(headers.half::<{ OUTER + 2 }>());
    let (keyed, key, offset) = match gre::Kind::of(headers.half::<GRE>()) {
        gre::Kind::Plain => (Keyed::No, 0, GRE_KEY as u32),
        gre::Kind::Keyed => match packet.block::<4>(GRE_KEY) {
            Some(key) => (Keyed::Yes, key.word::<0>(), GRE_KEY as u32 + 4),
            None => return if_ours(local, beyond_reach(packet, GRE_KEY as u32 + 4)),
        },
        gre::Kind::WithOptions => return Verdict::Pass,
        gre::Kind::Invalid => return if_ours(local, Verdict::Drop(DropReason::GreVersion)),
    };
    // SAFETY: the agent replaces tunnels whole; one that goes away may be used for one more packet.
    let tunnel = unsafe { maps::TUNNELS.get(TunnelKey { local: address(local), keyed, key }) };
    let Some(tunnel) = tunnel else { return if_ours(local, Verdict::Drop(DropReason::WrongKey)) };

    if end < offset || !packet.has(end) {
        return Verdict::Drop(DropReason::Truncated);
    }
    if protocol == GRE_PROTOCOL_NHRP {
        let admitted = nhrp_limit::admits(address(source));
        return if admitted { Verdict::Pass } else { Verdict::Drop(DropReason::NhrpRateLimit) };
    }
    let peer = match peer_at(tunnel, source) {
        Ok(peer) => peer,
        Err(reason) => return Verdict::Drop(reason),
    };
    let received = Received { tunnel, peer, source, outer_tos, offset, room: end - offset, protocol };
    match protocol {
        ethernet::IPV4 => receive_ipv4(packet, &received),
        ethernet::IPV6 => receive_ipv6(packet, &received),
        _ => Verdict::Drop(DropReason::GreProtocol),
    }
}

/// `verdict` when `local`, the outer destination, is an address with a tunnel; else it is none of our business.
#[inline(always)]
fn if_ours(local: [u8; 4], verdict: Verdict) -> Verdict {
    if maps::LOCAL.get_ptr(address(local)).is_some() { verdict } else { Verdict::Pass }
}

/// What to do when headers up to `length` are not within reach: the packet is too short, or so oddly divided among
/// buffers that the slow path has to deal with it.
#[inline(always)]
fn beyond_reach<P: Packet>(packet: &P, length: u32) -> Verdict {
    if packet.has(length) { Verdict::Pass } else { Verdict::Drop(DropReason::Truncated) }
}

/// The index of the peer at `source` that may send data by `tunnel`.
#[inline(always)]
fn peer_at(tunnel: &Tunnel, source: [u8; 4]) -> Result<u32, DropReason> {
    let key = NbmaKey { tunnel: tunnel.id, discriminator: 0, nbma: address(source) };
    // SAFETY: the value is one word.
    let Some(found) = (unsafe { maps::PEER_BY_NBMA.get(key) }) else {
        let anyone = tunnel.flags & TunnelFlags::ACCEPT_ANY != 0;
        return if anyone { Ok(0) } else { Err(DropReason::UnknownPeer) };
    };
    let index = found.peer;
    let Some(peer) = maps::PEERS.get(index) else { return Err(DropReason::MapInconsistent) };
    match peer.state {
        PeerState::Up => Ok(index),
        PeerState::Down => Err(DropReason::PeerDown),
        PeerState::Free => Err(DropReason::MapInconsistent),
    }
}

/// Sends an IPv4 payload on its way.
#[inline(always)]
fn receive_ipv4<P: UnderlayPacket>(packet: &mut P, received: &Received) -> Verdict {
    let offset = received.offset;
    let Some(header) = packet.block(offset as usize) else {
        return beyond_reach(packet, offset + ipv4::LENGTH);
    };
    let Some(inner) = Ipv4::read(&header, received.room) else {
        return Verdict::Drop(DropReason::InnerMalformed);
    };
    let Some(tos) = ecn::decapsulate(inner.tos, received.outer_tos) else {
        return Verdict::Drop(DropReason::Congestion);
    };
    count::received(P::PATH, received.peer, 1, u32::from(inner.length));
    // A time to live that ends here is the kernel's: it answers with ICMP.
    if inner.is_simple_unicast()
        && inner.ttl > 1
        && let Some(verdict) = transit::pass_on(packet, received, &inner, tos)
    {
        return verdict;
    }
    if tos != inner.tos {
        let Some(mut header) = packet.block(offset as usize) else {
            return Verdict::Drop(DropReason::Truncated);
        };
        ipv4::set_tos(&mut header, tos);
    }
    deliver(packet, received)
}

/// Sends an IPv6 payload on its way.
#[inline(always)]
fn receive_ipv6<P: UnderlayPacket>(packet: &mut P, received: &Received) -> Verdict {
    let offset = received.offset;
    let Some(mut header) = packet.block(offset as usize) else {
        return beyond_reach(packet, offset + ipv6::LENGTH);
    };
    let Some(inner) = Ipv6::read(&header, received.room) else {
        return Verdict::Drop(DropReason::InnerMalformed);
    };
    let Some(class) = ecn::decapsulate(inner.traffic_class, received.outer_tos) else {
        return Verdict::Drop(DropReason::Congestion);
    };
    count::received(P::PATH, received.peer, 1, inner.length);
    if class != inner.traffic_class {
        ipv6::set_traffic_class(&mut header, class);
    }
    deliver(packet, received)
}

/// Hands the payload to the kernel as a frame that the tunnel interface receives.
#[inline(always)]
fn deliver<P: UnderlayPacket>(packet: &mut P, received: &Received) -> Verdict {
    if !packet.replace_front(received.offset, ethernet::LENGTH) {
        return Verdict::Drop(DropReason::NoHeadroom);
    }
    let Some(mut header) = ethernet::header(packet) else { return Verdict::Drop(DropReason::Truncated) };
    ethernet::write_for_tunnel(&mut header, received.peer, received.protocol);
    Verdict::Transmit(received.tunnel.far_ifindex)
}
