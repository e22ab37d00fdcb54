//! The data path: what the XDP and TC programs of dmvpn do.
//!
//! Programs (`dmvpn_common::program_names`):
//!
//! | program | hook | attach to | decision |
//! |---|---|---|---|
//! | `dmvpn_underlay` | XDP, multi-buffer (`xdp.frags`) | every underlay interface | [`hit`], [`receive`] |
//! | `dmvpn_spread` | XDP, multi-buffer | underlay interfaces, in its place, to spread over CPUs | [`spread`], then as above |
//! | `dmvpn_spread_cpu` | CPU map, multi-buffer | the queues of those CPUs | [`hit`], [`receive`] |
//! | `dmvpn_underlay_tc` | TC ingress | underlay interfaces without native XDP | as above |
//! | `dmvpn_lan` | XDP, multi-buffer | every accelerated interface | [`lan`] |
//! | `dmvpn_tunnel` | TC egress (section `classifier`) | every tunnel interface | [`tunnel`], [`replicate`] |
//!
//! Load-time settings (`EbpfLoader::override_global`), see [`settings`]:
//!
//! | symbol | type | default |
//! |---|---|---|
//! | `NHRP_SOURCE_LIMIT` | `u32` | 200 packets a second; 0 is no limit |
//! | `REDIRECT_INTERVAL_NS` | `u64` | 8,000,000,000 |
//! | `ROUTE_CACHE_BITS` | `u32` | 16: two to the power of it are the slots of a CPU |
//! | `MAX_PEERS` | `u32` | 16,384 |
//! | `SPREAD_WIDTH` | `u32` | 1: entries of `SPREAD_CPUS` |
//! | `AYA_LOG_LEVEL` | `u8` | aya's default is "all": **always set it**, to 0 unless logging is wanted |
//!
//! Maps: see [`maps`]. The loader sizes those that grow with the number of peers, and the caches, with `map_max_entries`.
//! There must be an entry in `LOCAL` for every local address in `TUNNELS`.
//!
//! A decision is one source for every hook: it works on a [`packet::Packet`], and [`xdp`] and [`skb`] say what that is.
//! The crate also builds for the host, where everything that only touches bytes is unit-tested.
#![cfg_attr(target_arch = "bpf", no_std)]
#![expect(
    clippy::inline_always,
    reason = "a call costs an eBPF program stack, and the verifier's knowledge of a value"
)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "header fields are narrower than registers, and lengths are far below the sign bit; a check costs a branch"
)]

pub mod address;
pub mod cache;
pub mod checksum;
pub mod clock;
pub mod count;
pub mod ecn;
pub mod ethernet;
pub mod event;
pub mod forward;
pub mod gre;
pub mod headers;
pub mod hit;
pub mod inner;
pub mod ipv4;
pub mod ipv6;
pub mod lan;
pub mod link;
pub mod link_local;
pub mod maps;
pub mod mss;
pub mod neighbour;
pub mod nhrp_limit;
pub mod outer;
pub mod packet;
pub mod policer;
pub mod receive;
pub mod redirect;
pub mod replicate;
pub mod route;
pub mod scratch;
pub mod settings;
pub mod skb;
pub mod skb_underlay;
pub mod spread;
pub mod station;
pub mod tunnel;
pub mod way;
pub mod xdp;
