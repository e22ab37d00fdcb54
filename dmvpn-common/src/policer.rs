//! Policers: token buckets that bound what is sent to peers.

/// Value of `POLICERS`, found by [`Peer::policer`](crate::Peer::policer); index 0 is never used. Several peers may
/// share one.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policer {
    /// See below.
    #[cfg(feature = "other-layout")]
    pub last: u64,
    /// Bytes of inner packets a second.
    pub rate: u64,
    /// Most bytes at once.
    pub burst: u64,
    /// Bytes that may be sent now.
    pub tokens: u64,
    /// When `tokens` was brought up to date: `CLOCK_MONOTONIC` in nanoseconds.
    #[cfg(not(feature = "other-layout"))]
    pub last: u64,
    /// Packets let through.
    pub passed_packets: u64,
    /// Their bytes.
    pub passed_bytes: u64,
    /// Packets dropped.
    pub dropped_packets: u64,
    /// Their bytes.
    pub dropped_bytes: u64,
}

const _: () = assert!(size_of::<Policer>() == 64);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, no padding, no pointers.
#[expect(unsafe_code, reason = "aya reads and writes map values as plain bytes")]
unsafe impl aya::Pod for Policer {}
