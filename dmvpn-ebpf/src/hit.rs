//! The short way: an IPv4 packet in IPv4 and GRE whose like was here a moment ago.
//!
//! It has to cost next to nothing, so it asks no hash table, no routing table and no clock. The words of the headers are
//! compared with those of a slot of the route cache; what is not exactly an ordinary packet finds none, and goes the long
//! way ([`crate::receive`]), which knows every exception.

use crate::{
    cache::{self, Key as _, Key4},
    ecn, ethernet,
    forward::{self, Load},
    ipv4::{self, Ipv4},
    link,
    receive::{UnderlayPacket, Verdict},
};

/// Outer IPv4 header, GRE header with a key, and as much again as makes the shortest inner packet in a frame without key.
const REACH: usize = 48;

/// GRE without options that carries IPv4, in network order.
const PLAIN: u32 = u32::from_ne_bytes([0, 0, 0x08, 0x00]);
/// GRE with a key that carries IPv4, in network order.
const KEYED: u32 = u32::from_ne_bytes([0x20, 0, 0x08, 0x00]);

/// The bits that say whether a header has no options and is no fragment.
const ORDINARY_MASK: u64 = u64::from_ne_bytes([0xff, 0, 0, 0, 0, 0, 0x3f, 0xff]);
const ORDINARY: u64 = u64::from_ne_bytes([ipv4::NO_OPTIONS, 0, 0, 0, 0, 0, 0, 0]);

/// Sends a packet the way its like went. `None`: it has to go the long way, and is as it was.
#[inline(always)]
pub fn forward<P: UnderlayPacket>(packet: &mut P) -> Option<Verdict> {
    let (link, kind) = link::read(packet)?;
    let outer = packet.block::<REACH>(link as usize)?;
    let is_gre = outer.byte::<9>() == dmvpn_common::IPPROTO_GRE;
    if kind != ethernet::IPV4 || !is_gre || outer.copy_out::<u64, 0>() & ORDINARY_MASK != ORDINARY {
        return None;
    }
    let (gre, header_length) = match outer.copy_out::<u32, 20>() {
        PLAIN => (u64::from(PLAIN), 24),
        KEYED => (outer.copy_out::<u64, 20>(), 28),
        _ => return None,
    };
    let outer_length = u32::from(outer.half::<2>());
    if !packet.has(link + outer_length) {
        return None;
    }
    let outer_tos = outer.byte::<1>();
    let addresses = outer.copy_out::<u64, 12>();

    let offset = link + header_length;
    let inner = packet.block::<20>(offset as usize)?;
    let control = cache::control()?;
    let way = Key4::new(P::PATH, control, addresses, gre, inner.copy_out::<u64, 12>()).find()?;
    if !cache::holds(way, control) {
        return None;
    }

    let header = Ipv4::read(&inner, outer_length.wrapping_sub(header_length))?;
    // The destination is that of a packet that was forwarded; the source is another one perhaps.
    let fit = outer_length >= header_length
        && packet.is_for_us(link)
        && header.plain
        && header.ttl > 1
        && ipv4::is_unicast(header.source)
        && ipv4::checksum_is_right(&inner)
        && ipv4::checksum_is_right(&outer);
    if !fit {
        return None;
    }
    let tos = if (header.tos ^ outer_tos) & ecn::MASK == 0 {
        header.tos
    } else {
        ecn::decapsulate(header.tos, outer_tos)?
    };
    let verdict = forward::send(packet, &Load { offset, header: &header, tos }, way)?;
    cache::gone(packet, way, header.length.into(), verdict);
    Some(verdict)
}
