//! The route cache's slots: how they are found, believed and filled. See [`dmvpn_common::CachedRoute`].
//!
//! A key has two places to be, side by side. A new one takes the first and moves what is there to the second, so that two
//! destinations that are in use at once do not take turns in driving each other out.
#![expect(unsafe_code, reason = "slots are read and written in place: this CPU's are nobody else's")]

use core::mem::offset_of;

use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use dmvpn_common::{CACHE_HITS, CachedRoute, CachedRoute6, CachedVerdict, CachedWay, Control, ControlFlags};

use crate::{
    count::{self, Path},
    maps,
    receive::{UnderlayPacket, Verdict},
    settings::ROUTE_CACHE_BITS,
};

/// The key of a slot for IPv4 in IPv4: the fields in front of the answer, as they lie in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key4 {
    /// Outer source and destination.
    pub outer: u64,
    /// First word of GRE, and the key.
    pub gre: u64,
    /// Inner source, as far as it counts, and destination.
    pub inner: u64,
}

/// The key of a slot for anything else.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct Key6 {
    /// Outer source and destination.
    pub outer: [u32; 8],
    /// Inner source, as far as it counts, and destination.
    pub inner: [u32; 8],
    /// First word of GRE, and the key.
    pub gre: u64,
}

/// What answers are found by.
pub trait Key {
    /// The answer for this key, if there is one; see [`holds`] and [`gone`].
    fn find(&self) -> Option<&'static mut CachedWay>;

    /// Puts in an answer for this key, for which there is none; returns where.
    fn insert(&self, way: &CachedWay) -> Option<&'static mut CachedWay>;
}

const _: () = {
    assert!(offset_of!(CachedRoute, outer_source) == 0 && offset_of!(CachedRoute, gre) == 8);
    assert!(offset_of!(CachedRoute, source) == 16 && offset_of!(CachedRoute, way) == size_of::<Key4>());
    assert!(offset_of!(CachedRoute6, outer_source) == 0 && offset_of!(CachedRoute6, source) == 32);
    assert!(offset_of!(CachedRoute6, gre) == 64 && offset_of!(CachedRoute6, way) == 72);
};

/// An odd number without pattern: 2^64 divided by the golden ratio.
pub const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// What the agent says about the box.
#[inline(always)]
pub fn control() -> Option<&'static Control> {
    maps::CONTROL.get(0)
}

impl Key4 {
    /// A key from words of the packet. `inner` are source and destination.
    #[inline(always)]
    pub fn new(path: Path, control: &Control, outer: u64, gre: u64, inner: u64) -> Self {
        // The source comes first in memory.
        let mask = pair(control.source_mask, u32::MAX);
        Self { outer, gre: gre ^ path.mark(), inner: inner & mask }
    }

    /// Where the key is, if it is anywhere.
    #[inline(always)]
    fn place(self) -> u32 {
        // One half is the outer and the inner source, the other one the inner destination.
        let mixed = (self.outer << 32) ^ self.inner.rotate_left(32);
        place(mixed.wrapping_mul(MULTIPLIER), ROUTE_CACHE_BITS.load())
    }

    #[inline(always)]
    fn is_at(self, slot: *mut CachedRoute) -> bool {
        // SAFETY: a slot is a value of the map, aligned to eight bytes, and begins with the three words of a key.
        let key = unsafe { slot.cast::<Key4>().read() };
        (key.outer ^ self.outer) | (key.gre ^ self.gre) | (key.inner ^ self.inner) == 0
    }
}

impl Key for Key4 {
    #[inline(always)]
    fn find(&self) -> Option<&'static mut CachedWay> {
        let place = self.place();
        let first = maps::ROUTE_CACHE.get_ptr_mut(place)?;
        if self.is_at(first) {
            // SAFETY: inside the slot.
            return Some(mine(unsafe { &raw mut (*first).way }));
        }
        let second = maps::ROUTE_CACHE.get_ptr_mut(place ^ 1)?;
        if self.is_at(second) {
            // SAFETY: inside the slot.
            return Some(mine(unsafe { &raw mut (*second).way }));
        }
        None
    }

    #[inline(always)]
    fn insert(&self, way: &CachedWay) -> Option<&'static mut CachedWay> {
        let place = self.place();
        let first = maps::ROUTE_CACHE.get_ptr_mut(place)?;
        let second = maps::ROUTE_CACHE.get_ptr_mut(place ^ 1)?;
        // SAFETY: as in `is_at`; both slots are this CPU's, and no other program runs on it now.
        unsafe {
            if (*first).way.generation == way.generation {
                settle(&(*second).way, way.generation);
                second.write(first.read());
            } else {
                settle(&(*first).way, way.generation);
            }
            first.cast::<Key4>().write(*self);
            (&raw mut (*first).way).write(*way);
            Some(mine(&raw mut (*first).way))
        }
    }
}

impl Key6 {
    /// Where the key is, if it is anywhere.
    #[inline(always)]
    fn place(&self) -> u32 {
        let mut mixed = 0_u64;
        let mut at = 0;
        while at < 4 {
            let (outer, inner) = (self.outer[at], self.inner[at]);
            mixed =
                (mixed.rotate_left(29) ^ pair(outer ^ inner, self.inner[at + 4])).wrapping_mul(MULTIPLIER);
            at += 1;
        }
        place(mixed, ROUTE_CACHE_BITS.load().wrapping_sub(2))
    }
}

impl Key for Key6 {
    #[inline(always)]
    fn find(&self) -> Option<&'static mut CachedWay> {
        let slot = maps::ROUTE_CACHE_IPV6.get_ptr_mut(self.place())?;
        // SAFETY: a slot is a value of the map, aligned to eight bytes, and begins with the words of a key.
        let (outer, inner, gre) = unsafe {
            (
                slot.cast::<[u32; 8]>().read(),
                slot.cast::<[u32; 8]>().add(1).read(),
                slot.cast::<u64>().add(8).read(),
            )
        };
        let mut difference = (gre ^ self.gre) as u32 | ((gre ^ self.gre) >> 32) as u32;
        let mut at = 0;
        while at < 8 {
            difference |= (outer[at] ^ self.outer[at]) | (inner[at] ^ self.inner[at]);
            at += 1;
        }
        if difference != 0 {
            return None;
        }
        // SAFETY: inside the slot.
        Some(mine(unsafe { &raw mut (*slot).way }))
    }

    #[inline(always)]
    fn insert(&self, way: &CachedWay) -> Option<&'static mut CachedWay> {
        let slot = maps::ROUTE_CACHE_IPV6.get_ptr_mut(self.place())?;
        // SAFETY: as in `find`; the slot is this CPU's, and no other program runs on it now.
        unsafe {
            settle(&(*slot).way, way.generation);
            slot.cast::<[u32; 8]>().write(self.outer);
            slot.cast::<[u32; 8]>().add(1).write(self.inner);
            slot.cast::<u64>().add(8).write(self.gre);
            (&raw mut (*slot).way).write(*way);
            Some(mine(&raw mut (*slot).way))
        }
    }
}

/// Whether routes may be remembered at all.
#[inline(always)]
pub const fn is_on(control: &Control) -> bool {
    control.flags & ControlFlags::NO_CACHE == 0
}

/// The answer in a slot.
#[inline(always)]
fn mine(way: *mut CachedWay) -> &'static mut CachedWay {
    // SAFETY: in a slot of this CPU, which the kernel keeps while the program runs and no other program uses meanwhile.
    unsafe { &mut *way }
}

/// Whether a packet may go a remembered way. Whoever goes it calls [`gone`].
#[inline(always)]
pub fn holds(way: &CachedWay, control: &Control) -> bool {
    way.generation == control.generation && control.seconds < way.expires && way.hits < CACHE_HITS
}

/// Remembers the answer `way` for `key`; returns where. `known` is what [`Key::find`] found.
///
/// What was counted in a slot goes on being counted there when the answer is still the same: the counters of two peers
/// would be four more reads.
#[inline(always)]
pub fn remember<K: Key>(
    key: &K,
    known: Option<&'static mut CachedWay>,
    way: &CachedWay,
) -> Option<&'static mut CachedWay> {
    let Some(slot) = known else { return key.insert(way) };
    let generation = way.generation;
    let goes_on = slot.hits < CACHE_HITS
        && slot.verdict == way.verdict
        && slot.source_peer == way.source_peer
        && slot.to == way.to
        && (slot.source_peer == 0 || is_the_same(slot, slot.source_peer, generation))
        && (slot.verdict != CachedVerdict::Peer || is_the_same(slot, slot.to, generation));
    let (mut hits, mut bytes) = (slot.hits, slot.bytes);
    if !goes_on {
        settle(slot, generation);
        (hits, bytes) = (0, 0);
    }
    *slot = CachedWay { hits, bytes, ..*way };
    Some(slot)
}

/// Counts a packet of `length` bytes that came and went a remembered way, with the verdict `verdict`.
#[inline(always)]
pub fn gone<P: UnderlayPacket>(packet: &P, way: &mut CachedWay, length: u32, verdict: Verdict) {
    if let Verdict::Drop(_) = verdict {
        count::received(P::PATH, way.source_peer, packet.segments(), length);
        return;
    }
    way.hits += 1;
    match P::PATH {
        Path::Xdp => way.bytes += length,
        Path::Tc => {
            count::received(P::PATH, way.source_peer, packet.segments(), length);
            count::forwarded(P::PATH, way, packet.segments(), length);
        }
    }
}

/// Counts a packet that went a way which was just found, and is remembered in `slot` perhaps.
#[inline(always)]
pub fn gone_at_first<P: UnderlayPacket>(
    packet: &P,
    way: &CachedWay,
    slot: Option<&'static mut CachedWay>,
    length: u32,
    verdict: Verdict,
) {
    let Verdict::Transmit(_) = verdict else {
        return count::received(P::PATH, way.source_peer, packet.segments(), length);
    };
    if P::PATH == Path::Xdp
        && let Some(slot) = slot
    {
        slot.hits += 1;
        slot.bytes += length;
        return;
    }
    count::received(P::PATH, way.source_peer, packet.segments(), length);
    count::forwarded(P::PATH, way, packet.segments(), length);
}

/// Adds what a slot has counted to the peers' counters, before it is filled anew.
#[inline(always)]
fn settle(way: &CachedWay, generation: u32) {
    // At TC nothing is counted in slots.
    if way.bytes == 0 {
        return;
    }
    let packets = u32::from(way.hits);
    if is_the_same(way, way.source_peer, generation) {
        count::received(Path::Xdp, way.source_peer, packets, way.bytes);
    }
    if way.verdict == CachedVerdict::Peer && is_the_same(way, way.to, generation) {
        count::forwarded(Path::Xdp, way, packets, way.bytes);
    }
}

/// Whether `peer` is the index of the peer that had it when the slot was filled; 0 is nobody's.
#[inline(always)]
fn is_the_same(way: &CachedWay, peer: u32, generation: u32) -> bool {
    peer != 0 && maps::PEERS.get(peer).is_some_and(|peer| way.is_younger(peer.since, generation))
}

/// The place of a hash among the `1 << bits` slots of this CPU.
#[inline(always)]
fn place(hash: u64, bits: u32) -> u32 {
    // SAFETY: takes nothing.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    (cpu << (bits & 31)) | (hash >> (64_u32.wrapping_sub(bits) & 63)) as u32
}

/// Two words as they would lie in memory.
#[inline(always)]
pub const fn pair(first: u32, second: u32) -> u64 {
    if cfg!(target_endian = "little") {
        (second as u64) << 32 | first as u64
    } else {
        (first as u64) << 32 | second as u64
    }
}
