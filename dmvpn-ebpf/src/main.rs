//! Entry points of the eBPF object: they turn a decision into an action. See the library for everything else.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

/// On the host the package exists for its unit tests.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod programs;
