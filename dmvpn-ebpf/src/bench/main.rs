//! Programs that measure the others; the agent does not have them. `cargo xtask bench` loads them beside the real ones.
//!
//! | program | what it does |
//! |---|---|
//! | `bench_feed` | makes the packet the next one of a random flow, and goes on with the program under test (tail call) |
//! | `bench_feed_new` | the same, after it has made every cached route worthless |
//! | `bench_return` | returns `XDP_TX`: the floor, and the least that a forwarder can do |
//! | `bench_fib` | asks the kernel's routing table twice, as a forwarder without a cache of its own does |
//! | `bench_generate` | makes the packet the next one of a random flow, and sends it by an interface |
//! | `bench_sink` | counts what arrives, and drops it |
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

/// On the host there is nothing to run.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod programs;
