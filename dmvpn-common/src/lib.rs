//! What the agent and the eBPF programs share: the layout of every pinned map, the reasons a packet can be
//! dropped for, and the synthetic link-layer addresses that carry a peer index.
//!
//! Every type here is what `bpftool map dump` shows, so fields are named, addresses are byte arrays and enums are
//! `repr(u32)`. Multi-byte integers are in host order; byte arrays are in network order.
//!
//! Changing the size, order or meaning of any of it means a new [`LAYOUT_VERSION`]. An agent takes over the maps of other
//! versions by the names of fields and of values: one name always means the same, and a field that is new works as before
//! while it is zero.
#![no_std]
#![expect(
    clippy::inline_always,
    reason = "a call costs an eBPF program stack, and the verifier's knowledge of a value"
)]

mod address;
mod control;
mod counters;
mod drop_reason;
mod event;
mod interface;
mod limit;
mod mac;
mod peer;
mod policer;
mod route_cache;
mod station;
mod tunnel;
mod underlay;

pub use address::{Address, Family};
pub use control::{Control, ControlFlags};
pub use counters::{DropCounter, PeerCounters, SpreadCounter, Traffic};
pub use drop_reason::{DROP_COUNTERS, DropReason};
pub use event::{EVENT_HEAD_SIZE, Event, EventKind};
pub use interface::{Interface, InterfaceRole, MulticastReceiver};
pub use limit::{LastRedirect, NhrpRate, REDIRECT_SEEN_BITS, RedirectKey};
pub use mac::PeerMac;
pub use peer::{HEADER_SIZE, NbmaKey, Peer, PeerIndex, PeerState};
pub use policer::{Policer, bpf_spin_lock};
pub use route_cache::{CACHE_HITS, CachedRoute, CachedRoute6, CachedVerdict, CachedWay};
pub use station::{STATIONS, Station, Stations};
pub use tunnel::{FastPath, Keyed, LocalAddress, Tunnel, TunnelFlags, TunnelKey};
pub use underlay::{Underlay, UnderlayState};

/// Version of the pinned layout; names the directory below the pin directory (`v4`).
///
/// A pinned map is re-used without any check by the kernel, so two layouts must never meet in one directory.
pub const LAYOUT_VERSION: u32 = if cfg!(feature = "other-layout") { VERSION + 1 } else { VERSION };

/// What [`LAYOUT_VERSION`] is, but in tests.
const VERSION: u32 = 4;

/// IP protocol number of GRE.
pub const IPPROTO_GRE: u8 = 47;

/// GRE protocol type of NHRP.
pub const GRE_PROTOCOL_NHRP: u16 = 0x2001;

/// Names of the maps as they are pinned, one constant for the loader, the programs' tests and the documentation.
pub mod map_names {
    /// Local NBMA address and GRE key -> [`Tunnel`](crate::Tunnel).
    pub const TUNNELS: &str = "TUNNELS";
    /// Local NBMA address -> [`LocalAddress`](crate::LocalAddress): tells "wrong key" from "none of our business".
    pub const LOCAL: &str = "LOCAL";
    /// Tunnel and remote NBMA address -> [`PeerIndex`](crate::PeerIndex).
    pub const PEER_BY_NBMA: &str = "PEER_BY_NBMA";
    /// Peer index -> [`Peer`](crate::Peer).
    pub const PEERS: &str = "PEERS";
    /// Underlay next hop index -> [`Underlay`](crate::Underlay).
    pub const UNDERLAY: &str = "UNDERLAY";
    /// Hash of a [`RedirectKey`](crate::RedirectKey) -> [`LastRedirect`](crate::LastRedirect).
    pub const REDIRECT_SEEN: &str = "REDIRECT_SEEN";
    /// Outer source -> [`NhrpRate`](crate::NhrpRate).
    pub const NHRP_RATE: &str = "NHRP_RATE";
    /// Drop reason -> [`DropCounter`](crate::DropCounter), per CPU.
    pub const COUNTERS: &str = "COUNTERS";
    /// Peer index -> [`PeerCounters`](crate::PeerCounters), per CPU.
    pub const PEER_COUNTERS: &str = "PEER_COUNTERS";
    /// Ring buffer of [`Event`](crate::Event).
    pub const EVENTS: &str = "EVENTS";
    /// The one [`Control`](crate::Control).
    pub const CONTROL: &str = "CONTROL";
    /// The one [`Stations`](crate::Stations).
    pub const STATIONS: &str = "STATIONS";
    /// Interface index -> [`Interface`](crate::Interface).
    pub const INTERFACES: &str = "INTERFACES";
    /// Peer index -> [`MulticastReceiver`](crate::MulticastReceiver).
    pub const MULTICAST: &str = "MULTICAST";
    /// Peer index -> [`Policer`](crate::Policer).
    pub const POLICERS: &str = "POLICERS";
    /// CPU -> [`SpreadCounter`](crate::SpreadCounter), per CPU.
    pub const SPREAD_COUNTERS: &str = "SPREAD_COUNTERS";
    /// CPU -> its queue, and the program that works on it.
    pub const SPREAD_QUEUES: &str = "SPREAD_QUEUES";
    /// Part of the hash of a flow -> CPU.
    pub const SPREAD_CPUS: &str = "SPREAD_CPUS";
    /// CPU and hash -> [`CachedRoute`](crate::CachedRoute).
    pub const ROUTE_CACHE: &str = "ROUTE_CACHE";
    /// CPU and hash -> [`CachedRoute6`](crate::CachedRoute6).
    pub const ROUTE_CACHE_IPV6: &str = "ROUTE_CACHE_IPV6";

    /// Maps that may be made anew when they do not fit: all that is lost is a second of counting.
    pub const CACHES: [&str; 2] = [ROUTE_CACHE, ROUTE_CACHE_IPV6];

    /// Maps that live and die with the program that uses them.
    pub const UNPINNED: [&str; 2] = [SPREAD_QUEUES, SPREAD_CPUS];

    /// Every map that is pinned.
    pub const ALL: [&str; 18] = [
        TUNNELS,
        LOCAL,
        PEER_BY_NBMA,
        PEERS,
        UNDERLAY,
        REDIRECT_SEEN,
        NHRP_RATE,
        COUNTERS,
        PEER_COUNTERS,
        EVENTS,
        CONTROL,
        STATIONS,
        INTERFACES,
        MULTICAST,
        POLICERS,
        ROUTE_CACHE,
        ROUTE_CACHE_IPV6,
        SPREAD_COUNTERS,
    ];
}

/// Names of the programs in the object.
pub mod program_names {
    /// XDP program of an underlay interface.
    pub const XDP_UNDERLAY: &str = "dmvpn_underlay";
    /// XDP program of an underlay interface whose packets are spread over CPUs.
    pub const XDP_SPREAD: &str = "dmvpn_spread";
    /// What the CPUs run on packets that are spread.
    pub const XDP_SPREAD_CPU: &str = "dmvpn_spread_cpu";
    /// TC ingress program of an underlay interface that has no native XDP.
    pub const TC_UNDERLAY: &str = "dmvpn_underlay_tc";
    /// XDP program of an accelerated interface.
    pub const XDP_LAN: &str = "dmvpn_lan";
    /// TC egress program of a tunnel interface.
    pub const TC_TUNNEL: &str = "dmvpn_tunnel";
}
