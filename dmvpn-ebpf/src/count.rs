//! Per-CPU counters: no other CPU writes them, so plain additions do.
#![expect(unsafe_code, reason = "per-CPU values are reached by pointer")]

use dmvpn_common::DropReason;

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

/// Counts an inner packet of `bytes` bytes from a peer.
#[inline(always)]
pub fn received(peer: u32, bytes: u32) {
    if let Some(counters) = PEER_COUNTERS.get_ptr_mut(peer) {
        // SAFETY: as above.
        unsafe {
            (*counters).received_packets += 1;
            (*counters).received_bytes += u64::from(bytes);
        }
    }
}

/// Counts inner packets (several in an offloaded one) of `bytes` bytes in all to a peer.
#[inline(always)]
pub fn sent(peer: u32, packets: u32, bytes: u32) {
    if let Some(counters) = PEER_COUNTERS.get_ptr_mut(peer) {
        // SAFETY: as above.
        unsafe {
            (*counters).sent_packets += u64::from(packets);
            (*counters).sent_bytes += u64::from(bytes);
        }
    }
}

/// Counts an inner packet of `bytes` bytes that goes from one peer to another without passing the kernel.
#[inline(always)]
pub fn transit(to: u32, bytes: u32) {
    if let Some(counters) = PEER_COUNTERS.get_ptr_mut(to) {
        // SAFETY: as above.
        unsafe {
            (*counters).sent_packets += 1;
            (*counters).sent_bytes += u64::from(bytes);
            (*counters).transit_packets += 1;
            (*counters).transit_bytes += u64::from(bytes);
        }
    }
}
