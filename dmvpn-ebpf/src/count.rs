//! Per-CPU counters: no other CPU writes them, so plain additions do.
#![expect(unsafe_code, reason = "per-CPU values are reached by pointer")]

use dmvpn_common::{CachedVerdict, CachedWay, DropReason, Traffic};

use crate::maps::{COUNTERS, PEER_COUNTERS};

/// Counts a packet of `bytes` bytes that is dropped for `reason`.
#[inline(always)]
pub fn dropped(reason: DropReason, bytes: u32) {
    if let Some(counter) = COUNTERS.get_ptr_mut(reason as u32) {
        // SAFETY: the value of this CPU, and programs do not nest on one map value.
        unsafe {
            (*counter).packets += 1;
            (*counter).bytes += u64::from(bytes);
        }
    }
}

/// Which program a packet goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// XDP.
    Xdp,
    /// TC.
    Tc,
}

impl Path {
    /// What the words of GRE in a cached route's key are combined with: each path has slots of its own.
    #[inline(always)]
    pub const fn mark(self) -> u64 {
        match self {
            Self::Xdp => 0,
            Self::Tc => u64::from_ne_bytes([0x80, 0, 0, 0, 0, 0, 0, 0]),
        }
    }
}

/// Counts inner packets (several in an offloaded one) of `bytes` bytes in all from a peer; those of a stranger, peer 0, are
/// nobody's.
#[inline(always)]
pub fn received(path: Path, peer: u32, packets: u32, bytes: u32) {
    if peer != 0
        && let Some(counters) = PEER_COUNTERS.get_ptr_mut(peer)
    {
        // SAFETY: the value of this CPU, as above.
        let counters = unsafe { &mut *counters };
        add(
            match path {
                Path::Xdp => &mut counters.received_xdp,
                Path::Tc => &mut counters.received_tc,
            },
            packets,
            bytes,
        );
    }
}

/// Counts inner packets of `bytes` bytes in all that the kernel sends to a peer by its tunnel interface.
#[inline(always)]
pub fn sent(peer: u32, packets: u32, bytes: u32) {
    if let Some(counters) = PEER_COUNTERS.get_ptr_mut(peer) {
        // SAFETY: as above.
        add(unsafe { &mut (*counters).sent_tc }, packets, bytes);
    }
}

/// Counts inner packets of `bytes` bytes in all that went `way` without passing the kernel.
#[inline(always)]
pub fn forwarded(path: Path, way: &CachedWay, packets: u32, bytes: u32) {
    if way.verdict != CachedVerdict::Peer {
        return;
    }
    if let Some(counters) = PEER_COUNTERS.get_ptr_mut(way.to) {
        // SAFETY: as above.
        let counters = unsafe { &mut *counters };
        add(
            match (path, way.source_peer) {
                (Path::Xdp, 0) => &mut counters.sent_xdp,
                (Path::Tc, 0) => &mut counters.sent_tc,
                (Path::Xdp, _) => &mut counters.transit_xdp,
                (Path::Tc, _) => &mut counters.transit_tc,
            },
            packets,
            bytes,
        );
    }
}

#[inline(always)]
fn add(traffic: &mut Traffic, packets: u32, bytes: u32) {
    traffic.packets += u64::from(packets);
    traffic.bytes += u64::from(bytes);
}
