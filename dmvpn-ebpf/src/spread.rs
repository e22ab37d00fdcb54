//! Spreading: which CPU works on a packet.
//!
//! All packets of a peer have the same outer addresses, and network cards that look no further give them all to one CPU.
//! So that one does no more than read the headers, and hands the packet over to the CPU that its inner flow belongs to:
//!
//! ```text
//!            network card                    queue of a CPU
//! frame ----> dmvpn_spread --- inner flow ---> dmvpn_spread_cpu ---> what dmvpn_underlay does
//!                  |
//!                  +--- NHRP, not ours, odd, or of a flow of this CPU ---> the same, at once
//! ```
//!
//! A flow has one CPU, and a queue keeps the order, so the packets of a flow stay in order. Fragments have no ports, or
//! only the first one: they go by addresses and protocol alone, and so stay together; other packets of their flow may
//! overtake them, as they may anywhere that flows are told apart by ports.
#![expect(unsafe_code, reason = "kernel helpers, and per-CPU values reached by pointer")]

use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use dmvpn_common::{Address, Family, IPPROTO_GRE, SpreadCounter, Traffic};

use crate::{
    address::{self, address},
    ethernet, gre, ipv4, ipv6, link,
    maps::{LOCAL, SPREAD_COUNTERS, SPREAD_CPUS, SPREAD_QUEUES},
    packet::Packet,
    settings::SPREAD_WIDTH,
};

/// An odd number without pattern: 2^64 divided by the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// The inner flow of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flow {
    /// Outer destination.
    local: Address,
    /// The same for all packets of the flow.
    hash: u32,
}

/// Hands a packet over to the CPU of its flow, and returns the action for XDP. `None`: it is to be dealt with here.
#[inline(always)]
pub fn hand_over<P: Packet>(packet: &P) -> Option<u32> {
    let flow = flow(packet)?;
    let cpu = *SPREAD_CPUS.get(slot(flow.hash, SPREAD_WIDTH.load()))?;
    // SAFETY: takes nothing.
    let here = unsafe { bpf_get_smp_processor_id() };
    if cpu == here || LOCAL.get_ptr(flow.local).is_none() {
        return None;
    }
    // Without a queue it stays here too.
    let action = SPREAD_QUEUES.redirect(cpu, 0).ok()?;
    count(cpu, packet.length(), |counter| &mut counter.handed_over);
    Some(action)
}

/// Notes that this CPU got a packet that was handed over to it.
#[inline(always)]
pub fn take<P: Packet>(packet: &P) {
    // SAFETY: takes nothing.
    let here = unsafe { bpf_get_smp_processor_id() };
    count(here, packet.length(), |counter| &mut counter.taken);
}

#[inline(always)]
fn count(cpu: u32, bytes: u32, which: impl FnOnce(&mut SpreadCounter) -> &mut Traffic) {
    if let Some(counter) = SPREAD_COUNTERS.get_ptr_mut(cpu) {
        // SAFETY: the value of this CPU, and programs do not nest on one map value.
        let traffic = which(unsafe { &mut *counter });
        traffic.packets += 1;
        traffic.bytes += u64::from(bytes);
    }
}

/// Which of `width` parts of all hashes one is in.
#[inline(always)]
fn slot(hash: u32, width: u32) -> u32 {
    ((u64::from(hash) * u64::from(width)) >> 32) as u32
}

/// Reads the headers as far as the flow needs it; `None` for what is not IP in GRE, or has options or fragments outside.
#[inline(always)]
fn flow<P: Packet>(packet: &P) -> Option<Flow> {
    let (link, kind) = link::read(packet)?;
    let (local, gre) = match kind {
        ethernet::IPV4 => {
            let outer = packet.block::<{ ipv4::LENGTH as usize }>(link as usize)?;
            if outer.byte::<0>() != ipv4::NO_OPTIONS
                || outer.byte::<9>() != IPPROTO_GRE
                || ipv4::is_fragment(outer.half::<6>())
            {
                return None;
            }
            (address(outer.ipv4::<16>()), link + ipv4::LENGTH)
        }
        ethernet::IPV6 => {
            let outer = packet.block::<{ ipv6::LENGTH as usize }>(link as usize)?;
            if outer.byte::<0>() >> 4 != 6 || outer.byte::<6>() != IPPROTO_GRE {
                return None;
            }
            (address::from_words(Family::Ipv6, ipv6::destination(&outer)), link + ipv6::LENGTH)
        }
        _ => return None,
    };
    let header = packet.block::<{ gre::LENGTH as usize }>(gre as usize)?;
    let inner = match gre::Kind::of(header.half::<0>()) {
        gre::Kind::Plain => gre + gre::LENGTH,
        gre::Kind::Keyed => gre + gre::KEYED_LENGTH,
        gre::Kind::WithOptions | gre::Kind::Invalid => return None,
    };
    let hash = match header.half::<2>() {
        ethernet::IPV4 => hash_ipv4(packet, inner)?,
        ethernet::IPV6 => hash_ipv6(packet, inner)?,
        _ => return None,
    };
    Some(Flow { local, hash })
}

/// Of the IPv4 packet at `offset`: addresses, protocol, and ports of what is no fragment.
#[inline(always)]
fn hash_ipv4<P: Packet>(packet: &P, offset: u32) -> Option<u32> {
    let header = packet.block::<{ ipv4::LENGTH as usize }>(offset as usize)?;
    let first = header.byte::<0>();
    let length = u32::from(first & 0xf) * 4;
    if first >> 4 != 4 || length < ipv4::LENGTH {
        return None;
    }
    let protocol = header.byte::<9>();
    let whole = !ipv4::is_fragment(header.half::<6>());
    let ports = if whole { ports(packet, protocol, offset + length) } else { 0 };
    Some(finish(mix(0, header.copy_out::<u64, 12>()), protocol, ports))
}

/// Of the IPv6 packet at `offset`: addresses, next header, and ports where they follow at once.
#[inline(always)]
fn hash_ipv6<P: Packet>(packet: &P, offset: u32) -> Option<u32> {
    let header = packet.block::<{ ipv6::LENGTH as usize }>(offset as usize)?;
    if header.byte::<0>() >> 4 != 6 {
        return None;
    }
    let source = mix(mix(0, header.copy_out::<u64, 8>()), header.copy_out::<u64, 16>());
    let both = mix(mix(source, header.copy_out::<u64, 24>()), header.copy_out::<u64, 32>());
    let protocol = header.byte::<6>();
    Some(finish(both, protocol, ports(packet, protocol, offset + ipv6::LENGTH)))
}

/// The ports at `offset`, of a protocol that begins with them; zero when it does not.
#[inline(always)]
fn ports<P: Packet>(packet: &P, protocol: u8, offset: u32) -> u32 {
    /// TCP, UDP, DCCP, SCTP and UDP-Lite.
    const WITH_PORTS: [u8; 5] = [6, 17, 33, 132, 136];
    if !WITH_PORTS.contains(&protocol) {
        return 0;
    }
    packet.block::<4>(offset as usize).map_or(0, |ports| ports.copy_out::<u32, 0>())
}

#[inline(always)]
const fn mix(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(MULTIPLIER);
    // The low bits of a product know only the low bits of its factors.
    mixed ^ mixed >> 32
}

#[inline(always)]
const fn finish(hash: u64, protocol: u8, ports: u32) -> u32 {
    (mix(hash, (ports as u64) << 8 | protocol as u64) >> 32) as u32
}
