//! Time, for the limiters.
#![expect(unsafe_code, reason = "a kernel helper")]

use aya_ebpf::helpers::generated::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns};

/// Nanoseconds since boot, `CLOCK_MONOTONIC` as of the last timer tick: a memory read where the exact clock is a
/// device's register on some machines.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: takes nothing, any program may call it (kernel 5.11).
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// Nanoseconds since boot, `CLOCK_MONOTONIC`: exact, for what happens many times between two timer ticks.
#[inline(always)]
pub fn exact() -> u64 {
    // SAFETY: takes nothing, any program may call it.
    unsafe { bpf_ktime_get_ns() }
}
