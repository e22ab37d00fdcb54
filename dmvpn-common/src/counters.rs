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
    /// See below.
    #[cfg(feature = "other-layout")]
    pub bytes: u64,
    /// Packets dropped for it.
    pub packets: u64,
    /// Bytes of those packets, as they were when dropped.
    #[cfg(not(feature = "other-layout"))]
    pub bytes: u64,
}

/// Packets and their bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// See below.
    #[cfg(feature = "other-layout")]
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Bytes of inner packets.
    #[cfg(not(feature = "other-layout"))]
    pub bytes: u64,
}

impl Traffic {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_add(other.packets),
            bytes: self.bytes.wrapping_add(other.bytes),
        }
    }
}

/// Value of `PEER_COUNTERS`, found by peer index. Bytes are of inner packets. Two cache lines: what most packets need is
/// in the first. What XDP forwards by a cached route is counted there first, see [`CachedWay`](crate::CachedWay), so the
/// first three lag behind by the packets in the slots, 1,024 at most in each.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounters {
    /// See below.
    #[cfg(feature = "other-layout")]
    pub sent_tc: Traffic,
    /// See below.
    #[cfg(feature = "other-layout")]
    pub received_slow: Traffic,
    /// Received from the peer and decapsulated in XDP, whatever happened to the packets then.
    pub received_xdp: Traffic,
    /// Sent to the peer in XDP, from another peer: they never saw the kernel's stack.
    pub transit_xdp: Traffic,
    /// Sent to the peer in XDP, from a LAN.
    pub sent_xdp: Traffic,
    /// Sent to the peer at TC, by this box or by the kernel's forwarding.
    #[cfg(not(feature = "other-layout"))]
    pub sent_tc: Traffic,
    /// Received from the peer and decapsulated at TC.
    pub received_tc: Traffic,
    /// Sent to the peer at TC, from another peer: they never saw the kernel's routing.
    pub transit_tc: Traffic,
    /// Received from the peer by the slow path.
    #[cfg(not(feature = "other-layout"))]
    pub received_slow: Traffic,
    /// Sent to the peer by the slow path.
    pub sent_slow: Traffic,
}

impl PeerCounters {
    /// Everything received from the peer.
    pub const fn received(&self) -> Traffic {
        self.received_xdp.plus(self.received_tc).plus(self.received_slow)
    }

    /// Everything sent to the peer, transit too.
    pub const fn sent(&self) -> Traffic {
        self.sent_xdp.plus(self.sent_tc).plus(self.sent_slow).plus(self.transit())
    }

    /// Sent to the peer and come from another one, without the kernel's routing.
    pub const fn transit(&self) -> Traffic {
        self.transit_xdp.plus(self.transit_tc)
    }

    /// The sum of two CPUs' counters.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            received_xdp: self.received_xdp.plus(other.received_xdp),
            transit_xdp: self.transit_xdp.plus(other.transit_xdp),
            sent_xdp: self.sent_xdp.plus(other.sent_xdp),
            sent_tc: self.sent_tc.plus(other.sent_tc),
            received_tc: self.received_tc.plus(other.received_tc),
            transit_tc: self.transit_tc.plus(other.transit_tc),
            received_slow: self.received_slow.plus(other.received_slow),
            sent_slow: self.sent_slow.plus(other.sent_slow),
        }
    }
}

/// Value of `SPREAD_COUNTERS`, found by the number of the CPU that packets were meant for. What was handed over and never
/// taken is in its queue, or was lost because that was full: the kernel tells no program.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpreadCounter {
    /// Handed over to that CPU; frames as they came in.
    pub handed_over: Traffic,
    /// Taken out of its queue by that CPU.
    pub taken: Traffic,
}

impl SpreadCounter {
    /// The sum of two CPUs' counters.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self { handed_over: self.handed_over.plus(other.handed_over), taken: self.taken.plus(other.taken) }
    }
}

const _: () = assert!(size_of::<SpreadCounter>() == 32);
const _: () = assert!(size_of::<DropCounter>() == 24);
const _: () = assert!(size_of::<PeerCounters>() == 128);

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya reads and writes map values as plain bytes")]
mod pod {
    // SAFETY: `repr(C)`, explicit padding only, no pointers; enums are only written by this project's code.
    unsafe impl aya::Pod for super::DropCounter {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::PeerCounters {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::SpreadCounter {}
}
