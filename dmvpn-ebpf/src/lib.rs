//! The data path: what the XDP and TC programs of dmvpn do.
//!
//! Programs (`dmvpn_common::program_names`):
//!
//! | program | hook | attach to |
//! |---|---|---|
//! | `dmvpn_underlay` | XDP, multi-buffer (`xdp.frags`) | every underlay interface |
//! | `dmvpn_tunnel` | TC egress (section `classifier`) | every tunnel interface |
//!
//! Load-time settings, see [`settings`]: `NHRP_SOURCE_LIMIT` (`u32`, 200 packets a second), `REDIRECT_INTERVAL_NS`
//! (`u64`, 8 s) and `AYA_LOG_LEVEL` (`u8`, **set it to 0** unless logging is wanted: aya's own default is "all").
//!
//! Maps: see [`maps`]. Sizes of `PEERS`, `PEER_BY_NBMA`, `PEER_COUNTERS` and `UNDERLAY` are set by the loader.
//!
//! The crate also builds for the host, where everything that touches only bytes is unit-tested.
#![cfg_attr(target_arch = "bpf", no_std)]
#![expect(
    clippy::inline_always,
    reason = "a call costs an eBPF program stack, and the verifier's knowledge of a value"
)]

pub mod maps;
pub mod settings;
