//! Room for what is too large for the stack, which has 512 bytes for all functions of a program together.
#![expect(unsafe_code, reason = "a per-CPU value is reached by pointer")]

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use dmvpn_common::{CachedWay, NbmaKey, RedirectKey, TunnelKey};

use crate::{cache::Key6, receive::Outer, route::RouteQuery};

/// What the long way writes down. One packet at a time uses it; nothing is kept.
#[repr(C, align(8))]
pub struct Scratch {
    /// The outer header.
    pub outer: Outer,
    /// Where to look for the tunnel.
    pub tunnel: TunnelKey,
    /// Where to look for the peer.
    pub nbma: NbmaKey,
    /// Where to look for the last redirect.
    pub redirect: RedirectKey,
    /// Which peer packets like this one came from when their route was remembered, 0 when none is.
    pub known_peer: u32,
    /// When that route expires: until then no redirect is due. `u32::MAX`: when it was remembered there was no reason for
    /// one.
    pub quiet_until: u32,
    /// Where to look for a cached route.
    pub key: Key6,
    /// The question to the routing table.
    pub query: RouteQuery,
    /// What comes of it.
    pub way: CachedWay,
}

#[btf_map]
static SCRATCH: PerCpuArray<[u64; SIZE], 1> = PerCpuArray::new();

const SIZE: usize = size_of::<Scratch>() / 8;
const _: () = assert!(size_of::<Scratch>().is_multiple_of(8));

/// This CPU's. There is only one: who has it must not ask for it again.
#[inline(always)]
pub fn scratch() -> Option<&'static mut Scratch> {
    let place = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: as many bytes, as aligned, of which any are a valid `Scratch`: its enums are written before they are read.
    // No two programs run on a CPU at once.
    Some(unsafe { &mut *place.cast::<Scratch>() })
}
