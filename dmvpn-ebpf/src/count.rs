//! Per-CPU counters: no other CPU writes them, so plain additions do.
#![expect(unsafe_code, reason = "per-CPU values are reached by pointer")]

use dmvpn_common::{DropReason, Traffic};

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

/// Counts an inner packet of `bytes` bytes from a peer.
#[inline(always)]
pub fn received(path: Path, peer: u32, packets: u32, bytes: u32) {
    if let Some(counters) = PEER_COUNTERS.get_ptr_mut(peer) {
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

/// Counts inner packets (several in an offloaded one) of `bytes` bytes in all to a peer.
#[inline(always)]
pub fn sent(path: Path, peer: u32, packets: u32, bytes: u32) {
    if let Some(counters) = PEER_COUNTERS.get_ptr_mut(peer) {
        // SAFETY: as above.
        let counters = unsafe { &mut *counters };
        add(
            match path {
                Path::Xdp => &mut counters.sent_xdp,
                Path::Tc => &mut counters.sent_tc,
            },
            packets,
            bytes,
        );
    }
}

/// Counts inner packets of `bytes` bytes in all that go from one peer to another without passing the kernel.
#[inline(always)]
pub fn transit(path: Path, to: u32, packets: u32, bytes: u32) {
    if let Some(counters) = PEER_COUNTERS.get_ptr_mut(to) {
        // SAFETY: as above.
        let counters = unsafe { &mut *counters };
        add(
            match path {
                Path::Xdp => &mut counters.transit_xdp,
                Path::Tc => &mut counters.transit_tc,
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
