//! From the underlay: takes GRE packets of our tunnels, and decides where their payload goes.
//!
//! ```text
//!            not GRE, not our address, not for us,
//! frame -+-> options, fragment, NHRP                 --> kernel, as it came
//!        |
//!        +-> wrong key, unknown peer, malformed ...  --> dropped, counted
//!        |
//!        +-> payload for another peer, simple        --> new outer header, to the underlay   (transit)
//!        |
//!        +-> payload for an accelerated LAN, simple  --> to its neighbour there
//!        |
//!        +-> any other payload                       --> to the tunnel interface             (delivery)
//! ```
//!
//! Delivery is the answer to every question this module does not ask: the kernel routes the packet, answers with ICMP,
//! asks for a missing neighbour and keeps the packet meanwhile. So nothing is lost because something is unresolved.
#![expect(
    unsafe_code,
    reason = "looking into a hash map, of which an entry may be replaced while it is read; numbers that are verdicts"
)]

use dmvpn_common::{
    Address, Control, DropReason, EVENT_HEAD_SIZE, Family, GRE_PROTOCOL_NHRP, IPPROTO_GRE, Keyed, NbmaKey,
    PeerState, Tunnel, TunnelFlags, TunnelKey, Underlay,
};

use crate::{
    address::{self, address},
    cache::{self, Key as _, Key4},
    count, ecn, ethernet,
    forward::{self, Load},
    gre,
    inner::{Inner, Reading},
    ipv4::{self, Ipv4},
    ipv6::{self, Ipv6},
    link, maps, nhrp_limit, outer,
    packet::Packet,
    route::RouteQuery,
    scratch::{self, Scratch},
    way::{self, Origin},
};

/// What receiving needs of a packet, beside its bytes.
pub trait UnderlayPacket: Packet {
    /// The program it goes through.
    const PATH: count::Path;

    /// Whether the frame, which has `link` bytes of link-layer header, is for this box: an interface may hear frames for
    /// others.
    fn is_for_us(&self, link: u32) -> bool;

    /// Whether [`replace_front`](Self::replace_front) is possible; asked before anything is changed.
    fn can_replace_front(&self, old: u32, link: u32, outer: u32) -> bool;

    /// Replaces the first `old` bytes by `link` bytes of link-layer header and `outer` bytes of outer header, whose
    /// content is undefined. `false`: impossible, and nothing changed.
    fn replace_front(&mut self, old: u32, link: u32, outer: u32) -> bool;

    /// Length of the link-layer header that leads to `next_hop`.
    fn link_length(next_hop: &Underlay) -> u32;

    /// Writes that header. `false`: the packet is shorter than that.
    fn write_link(&self, next_hop: &Underlay, ether_type: u16) -> bool;

    /// Index of the interface that leads to `next_hop`.
    fn interface_of(next_hop: &Underlay) -> u32;

    /// How many packets it is on the wire: more than one when they were put together on the way here.
    fn segments(&self) -> u32;

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

/// A verdict as a number. A function that returned the verdict itself would return it in the caller's memory, and whatever
/// happens to be in the register for the result: the verifier refuses it when that is an address.
impl Verdict {
    #[inline(always)]
    const fn to_bits(self) -> u64 {
        match self {
            Self::Pass => 0,
            Self::Drop(reason) => 1 << 32 | reason as u64,
            Self::Transmit(interface) => 2 << 32 | interface as u64,
        }
    }

    /// The verdict that [`to_bits`](Self::to_bits) made this of.
    #[inline(always)]
    const fn from_bits(bits: u64) -> Self {
        let number = bits as u32;
        match bits >> 32 {
            0 => Self::Pass,
            // SAFETY: it was a reason.
            1 => Self::Drop(unsafe { core::mem::transmute::<u32, DropReason>(number) }),
            _ => Self::Transmit(number),
        }
    }
}

/// The outer headers of a frame.
#[repr(C, align(8))]
pub struct Outer {
    /// The words of GRE that are part of a cached route's key.
    words: u64,
    /// Outer source.
    pub source: Address,
    /// Outer destination: our address, perhaps.
    local: Address,
    keyed: Keyed,
    key: u32,
    /// Where the outer packet ends.
    end: u32,
    /// Where the inner packet begins.
    offset: u32,
    /// GRE protocol type.
    protocol: u16,
    tos: u8,
}

/// The way to the GRE header.
struct Ip {
    /// Where the GRE header begins.
    gre: u32,
    /// Where the outer packet ends.
    end: u32,
    tos: u8,
}

// A note on the shape of what follows. A pointer inside a `Result` or an enum shares its place with the numbers of the
// other variants, and the verifier refuses the code that tells them apart. So pointers travel in `Option<&T>` and in
// structures, and every function that can end the matter returns a verdict, which is made of numbers.

/// Decides on a frame that came in by an underlay interface, and changes it accordingly. [`crate::hit`] comes first.
#[inline(always)]
pub fn receive<P: UnderlayPacket>(packet: &mut P) -> Verdict {
    let Some(scratch) = scratch::scratch() else { return Verdict::Pass };
    let outer = &mut scratch.outer;
    let ip = match read_ip(packet, outer) {
        Ok(ip) => ip,
        Err(verdict) => return verdict,
    };
    let Some(header) = packet.block::<{ gre::LENGTH as usize }>(ip.gre as usize) else {
        // The kernel refuses what is too short to be GRE.
        return Verdict::Pass;
    };
    outer.protocol = header.half::<2>();
    outer.words = header.copy_out::<u32, 0>().into();
    outer.keyed = Keyed::No;
    outer.key = 0;
    outer.offset = ip.gre + gre::LENGTH;
    outer.end = ip.end;
    outer.tos = ip.tos;
    match gre::Kind::of(header.half::<0>()) {
        gre::Kind::Plain => {}
        gre::Kind::Keyed => {
            let Some(header) = packet.block::<8>(ip.gre as usize) else {
                let verdict = beyond_reach(packet, ip.gre + gre::KEYED_LENGTH);
                return if_ours(&outer.local, verdict);
            };
            outer.words = header.copy_out::<u64, 0>();
            outer.keyed = Keyed::Yes;
            outer.key = header.word::<4>();
            outer.offset = ip.gre + gre::KEYED_LENGTH;
        }
        gre::Kind::WithOptions => return to_slow_path(outer),
        gre::Kind::Invalid => return if_ours(&outer.local, Verdict::Drop(DropReason::GreVersion)),
    }
    match outer.protocol {
        ethernet::IPV4 => Verdict::from_bits(receive_inner_apart::<P, Ipv4>(packet, scratch)),
        ethernet::IPV6 => Verdict::from_bits(receive_inner_apart::<P, Ipv6>(packet, scratch)),
        _ => receive_other(packet, scratch),
    }
}

/// Reads the outer IP header, or says what becomes of what is not GRE, or work for the slow path.
#[inline(always)]
fn read_ip<P: UnderlayPacket>(packet: &P, outer: &mut Outer) -> Result<Ip, Verdict> {
    let Some((link, kind)) = link::read(packet) else { return Err(Verdict::Pass) };
    match kind {
        ethernet::IPV4 => {
            let Some(header) = packet.block::<{ ipv4::LENGTH as usize }>(link as usize) else {
                return Err(Verdict::Pass);
            };
            if header.byte::<9>() != IPPROTO_GRE || !packet.is_for_us(link) {
                return Err(Verdict::Pass);
            }
            outer.source = address(header.ipv4::<12>());
            outer.local = address(header.ipv4::<16>());
            if header.byte::<0>() != ipv4::NO_OPTIONS {
                return Err(to_slow_path(outer));
            }
            // The kernel refuses, and counts, headers that were damaged on the way.
            if !ipv4::checksum_is_right(&header) {
                return Err(Verdict::Pass);
            }
            if ipv4::is_fragment(header.half::<6>()) {
                return Err(to_slow_path(outer));
            }
            Ok(Ip {
                gre: link + ipv4::LENGTH,
                end: link + u32::from(header.half::<2>()),
                tos: header.byte::<1>(),
            })
        }
        ethernet::IPV6 => {
            let Some(header) = packet.block::<{ ipv6::LENGTH as usize }>(link as usize) else {
                return Err(Verdict::Pass);
            };
            let first = header.half::<0>();
            // With extension headers, only the kernel knows whether it is GRE.
            if first >> 12 != 6 || header.byte::<6>() != IPPROTO_GRE || !packet.is_for_us(link) {
                return Err(Verdict::Pass);
            }
            outer.source = address::from_words(Family::Ipv6, ipv6::source(&header));
            outer.local = address::from_words(Family::Ipv6, ipv6::destination(&header));
            Ok(Ip {
                gre: link + ipv6::LENGTH,
                end: link + ipv6::LENGTH + u32::from(header.half::<4>()),
                tos: (first >> 4) as u8,
            })
        }
        _ => Err(Verdict::Pass),
    }
}

/// What becomes of GRE that this program does not read: the kernel makes a whole packet of it, the agent's raw socket
/// takes it from there. From a source that is none the kernel would drop it, and nobody would know why.
#[inline(always)]
fn to_slow_path(outer: &Outer) -> Verdict {
    if is_martian(&outer.source) {
        return if_ours(&outer.local, Verdict::Drop(DropReason::UnknownPeer));
    }
    Verdict::Pass
}

/// The tunnel of a packet.
#[inline(always)]
fn tunnel_of(scratch: &mut Scratch) -> Option<&'static Tunnel> {
    let Outer { local, keyed, key: gre_key, .. } = scratch.outer;
    let key = &mut scratch.tunnel;
    *key = TunnelKey { local, keyed, key: gre_key };
    // SAFETY: the agent replaces tunnels whole; one that goes away may be used for one more packet.
    unsafe { maps::TUNNELS.get(key) }
}

/// Whether the packet is as long as its outer header says, and that is long enough for GRE.
#[inline(always)]
fn is_whole<P: Packet>(packet: &P, outer: &Outer) -> bool {
    outer.end >= outer.offset && packet.has(outer.end)
}

/// NHRP, or what a tunnel does not carry.
#[inline(always)]
fn receive_other<P: UnderlayPacket>(packet: &P, scratch: &mut Scratch) -> Verdict {
    let Some(tunnel) = tunnel_of(scratch) else {
        return if_ours(&scratch.outer.local, Verdict::Drop(DropReason::WrongKey));
    };
    if !is_whole(packet, &scratch.outer) {
        return Verdict::Drop(DropReason::Truncated);
    }
    if scratch.outer.protocol == GRE_PROTOCOL_NHRP {
        if is_martian(&scratch.outer.source) {
            return Verdict::Drop(DropReason::UnknownPeer);
        }
        let admitted = nhrp_limit::admits(&scratch.outer.source);
        return if admitted { Verdict::Pass } else { Verdict::Drop(DropReason::NhrpRateLimit) };
    }
    match peer_at(tunnel, scratch, 0) {
        Ok(_) => Verdict::Drop(DropReason::GreProtocol),
        Err(reason) => Verdict::Drop(reason),
    }
}

/// `verdict` when `local`, the outer destination, is an address with a tunnel; else it is none of our business.
#[inline(always)]
fn if_ours(local: &Address, verdict: Verdict) -> Verdict {
    if maps::LOCAL.get_ptr(local).is_some() { verdict } else { Verdict::Pass }
}

/// What to do when headers up to `length` are not within reach: the packet is too short, or so oddly divided among
/// buffers that the slow path has to deal with it.
#[inline(always)]
fn beyond_reach<P: Packet>(packet: &P, length: u32) -> Verdict {
    if packet.has(length) { Verdict::Pass } else { Verdict::Drop(DropReason::Truncated) }
}

/// The index of the peer at the outer source that may send data by `tunnel`. `known` is the one who was there a moment
/// ago, or 0: it still is, as a rule, and then there is no need to look into a large hash table.
#[inline(always)]
fn peer_at(tunnel: &Tunnel, scratch: &mut Scratch, known: u32) -> Result<u32, DropReason> {
    let source = scratch.outer.source;
    if known != 0
        && let Some(peer) = maps::PEERS.get(known)
        && peer.state == PeerState::Up
        && peer.tunnel == tunnel.id
        && outer::leads_to(peer, &source)
    {
        return Ok(known);
    }
    let key = &mut scratch.nbma;
    *key = NbmaKey { tunnel: tunnel.id, discriminator: 0, nbma: source };
    // SAFETY: the value is one word.
    let Some(found) = (unsafe { maps::PEER_BY_NBMA.get(key) }) else {
        // Nobody has an address that is none, not even where anyone is welcome.
        let anyone = tunnel.flags & TunnelFlags::ACCEPT_ANY != 0 && is_unicast(&source);
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

/// Whether an address can be somebody's.
#[inline(always)]
fn is_unicast(address: &Address) -> bool {
    let words @ [first, ..] = address::words(address);
    match address.family {
        Family::Ipv6 => ipv6::is_unicast(words),
        _ => ipv4::is_unicast(first.to_ne_bytes()),
    }
}

/// Whether the kernel takes no packets from an address.
#[inline(always)]
fn is_martian(address: &Address) -> bool {
    let words @ [first, ..] = address::words(address);
    match address.family {
        Family::Ipv6 => ipv6::is_martian(words),
        _ => ipv4::is_martian(first.to_ne_bytes()),
    }
}

/// [`receive_inner`] as a function of its own, for each family.
#[inline(never)]
fn receive_inner_apart<P: UnderlayPacket, H: Inner>(packet: &mut P, scratch: &mut Scratch) -> u64 {
    receive_inner::<P, H>(packet, scratch).to_bits()
}

/// Sends a payload on its way: the way its like went, or the one the routing table says.
#[inline(always)]
fn receive_inner<P: UnderlayPacket, H: Inner>(packet: &mut P, scratch: &mut Scratch) -> Verdict {
    // It is less than this. Handed over in memory, the verifier knows nothing of it, and refuses it as an offset.
    let offset = scratch.outer.offset & 0x7f;
    let room = scratch.outer.end.wrapping_sub(offset);
    let Some(control) = cache::control() else { return Verdict::Pass };
    // IPv4 in IPv4 was looked for already.
    let looked_for = H::PROTOCOL == ethernet::IPV4 && scratch.outer.local.family == Family::Ipv4;
    if !looked_for
        && is_whole(packet, &scratch.outer)
        && let Reading::Header(header) = H::read(packet, offset, room)
        && header.is_forwardable()
        && H::checksum_is_right(packet, offset)
        && let Some(tos) = ecn::decapsulate(header.tos(), scratch.outer.tos)
    {
        write_key6::<P, H>(control, scratch, &header);
        if let Some(way) = scratch.key.find()
            && cache::holds(way, control)
            && let Some(verdict) = forward::send(packet, &Load { offset, header: &header, tos }, way)
        {
            cache::gone(packet, way, header.length(), verdict);
            return verdict;
        }
    }

    let Some(tunnel) = tunnel_of(scratch) else {
        return if_ours(&scratch.outer.local, Verdict::Drop(DropReason::WrongKey));
    };
    if !is_whole(packet, &scratch.outer) {
        return Verdict::Drop(DropReason::Truncated);
    }
    // What was remembered of packets like this one holds no more, but says who it was from.
    let known = match H::read(packet, offset, room) {
        Reading::Header(header) if cache::is_on(control) => {
            if looked_for {
                key4::<P, H>(control, &scratch.outer, &header).find()
            } else {
                write_key6::<P, H>(control, scratch, &header);
                scratch.key.find()
            }
        }
        _ => None,
    };
    (scratch.known_peer, scratch.quiet_until) =
        known.as_ref().map_or((0, 0), |way| (way.source_peer, way.expires));
    let peer = match peer_at(tunnel, scratch, scratch.known_peer) {
        Ok(peer) => peer,
        Err(reason) => return Verdict::Drop(reason),
    };
    let header = match H::read(packet, offset, room) {
        Reading::Header(header) => header,
        Reading::Malformed => return Verdict::Drop(DropReason::InnerMalformed),
        Reading::OutOfReach => return beyond_reach(packet, offset + H::LENGTH),
    };
    let Some(tos) = ecn::decapsulate(header.tos(), scratch.outer.tos) else {
        return Verdict::Drop(DropReason::Congestion);
    };
    let load = Load { offset, header: &header, tos };
    let origin = Origin { tunnel, peer, offset };
    let lasting = match way::find(packet, control, &origin, &header, scratch) {
        Ok(lasting) => lasting,
        Err(reason) => {
            count::received(P::PATH, peer, packet.segments(), header.length());
            return Verdict::Drop(reason);
        }
    };
    let slot = if !lasting || !cache::is_on(control) {
        None
    } else if looked_for {
        cache::remember(&key4::<P, H>(control, &scratch.outer, &header), known, &scratch.way)
    } else {
        cache::remember(&scratch.key, known, &scratch.way)
    };
    if let Some(verdict) = forward::send(packet, &load, &scratch.way) {
        cache::gone_at_first(packet, &scratch.way, slot, header.length(), verdict);
        return verdict;
    }
    count::received(P::PATH, peer, packet.segments(), header.length());
    forward::deliver(packet, &load, tunnel.far_ifindex, &scratch.way)
}

/// The key of a packet's route, for IPv4 in IPv4.
#[inline(always)]
fn key4<P: UnderlayPacket, H: Inner>(control: &Control, outer: &Outer, header: &H) -> Key4 {
    let [outer_source, ..] = address::words(&outer.source);
    let [local, ..] = address::words(&outer.local);
    let [source, ..] = address::words(&header.source());
    let [destination, ..] = address::words(&header.destination());
    let inner = cache::pair(source, destination);
    Key4::new(P::PATH, control, cache::pair(outer_source, local), outer.words, inner)
}

/// Writes the key of a packet's route, for anything else.
#[inline(always)]
fn write_key6<P: UnderlayPacket, H: Inner>(control: &Control, scratch: &mut Scratch, header: &H) {
    let (outer_source, local) = (address::words(&scratch.outer.source), address::words(&scratch.outer.local));
    let (source, destination) = (address::words(&header.source()), address::words(&header.destination()));
    let mut at = 0;
    while at < 4 {
        scratch.key.outer[at] = outer_source[at];
        scratch.key.outer[at + 4] = local[at];
        scratch.key.inner[at] = source[at] & control.source_mask;
        scratch.key.inner[at + 4] = destination[at];
        at += 1;
    }
    scratch.key.gre = scratch.outer.words ^ P::PATH.mark();
}
