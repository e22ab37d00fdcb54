//! Per-CPU counters; a reader adds the CPUs up.

use crate::DropReason;

/// Value of `COUNTERS`, found by [`DropReason`] as a number.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct DropCounter {
    /// The reason itself, so that a dump of the map can be read; written once by the agent.
    pub reason: DropReason,
    /// Zero.
    pub reserved: u32,
    /// Packets dropped for it.
    pub packets: u64,
    /// Bytes of those packets, as they were when dropped.
    pub bytes: u64,
}

/// Value of `PEER_COUNTERS`, found by peer index. Bytes are of inner packets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounters {
    /// Packets received from the peer and decapsulated, whatever happened to them then.
    pub received_packets: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Packets encapsulated to the peer.
    pub sent_packets: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Of the sent packets, those that came from another peer and never left the underlay's XDP program.
    pub transit_packets: u64,
    /// Their bytes.
    pub transit_bytes: u64,
}

const _: () = assert!(size_of::<DropCounter>() == 24);

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya reads and writes map values as plain bytes")]
mod pod {
    // SAFETY: `repr(C)`, explicit padding only, no pointers; enums are only written by this project's code.
    unsafe impl aya::Pod for super::DropCounter {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::PeerCounters {}
}
