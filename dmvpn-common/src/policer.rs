//! Policers: token buckets that bound what is sent to peers.

/// The kernel's lock: it finds it in a map's value by the name of this type.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct bpf_spin_lock {
    /// Taken or not. Readers see zero.
    pub val: u32,
}

/// Value of `POLICERS`, found by [`Peer::policer`](crate::Peer::policer), which is the peer's own index: each has its
/// bucket. Index 0 is never used.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policer {
    /// See below.
    #[cfg(feature = "other-layout")]
    pub last: u64,
    /// Bytes of inner packets a second.
    pub rate: u64,
    /// Most bytes at once, and the last packet of them may be longer than what is left.
    pub burst: u32,
    /// Held while a packet is admitted: all CPUs share the bucket.
    pub lock: bpf_spin_lock,
    /// Bytes that may be sent now. Below zero where the last packet was longer than what was left.
    pub tokens: i64,
    /// When `tokens` was brought up to date: `CLOCK_MONOTONIC` in nanoseconds.
    #[cfg(not(feature = "other-layout"))]
    pub last: u64,
    /// Packets let through, as they are on the wire.
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
