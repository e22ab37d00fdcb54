//! Builds the eBPF object that the agent embeds.
fn main() {}
