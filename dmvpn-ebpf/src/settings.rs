//! Settings the loader may override before it loads the programs. They are constants to the verifier.
#![expect(unsafe_code, reason = "the loader finds a setting by its unmangled symbol")]

use aya_ebpf::Global;

/// NHRP packets one source may send a second; what is above is dropped. 0: no limit.
#[unsafe(no_mangle)]
pub static NHRP_SOURCE_LIMIT: Global<u32> = Global::new(200);

/// Nanoseconds between two redirect events for the same inner source and destination.
#[unsafe(no_mangle)]
pub static REDIRECT_INTERVAL_NS: Global<u64> = Global::new(8_000_000_000);

/// Slots of each CPU in `ROUTE_CACHE` as a power of two, 2 at least; `ROUTE_CACHE_IPV6` has a quarter of them.
#[unsafe(no_mangle)]
pub static ROUTE_CACHE_BITS: Global<u32> = Global::new(16);

/// Peers there can be at most, and so receivers of a multicast packet: the loader knows.
#[unsafe(no_mangle)]
pub static MAX_PEERS: Global<u32> = Global::new(16384);

/// CPUs to spread over; only [`crate::spread`] asks.
#[unsafe(no_mangle)]
pub static SPREAD_WIDTH: Global<u32> = Global::new(1);
