//! What the agent and the eBPF programs share: the layout of every pinned map, the reasons a packet can be
//! dropped for, and the synthetic link-layer addresses that carry a peer index.
//!
//! Every type here is what `bpftool map dump` shows, so fields are named, addresses are byte arrays and enums are
//! `repr(u32)`. Multi-byte integers are in host order; byte arrays are in network order.
//!
//! Changing the size, order or meaning of any of it means a new [`LAYOUT_VERSION`].
#![no_std]
#![expect(
    clippy::inline_always,
    reason = "a call costs an eBPF program stack, and the verifier's knowledge of a value"
)]

mod address;
mod counters;
mod drop_reason;
mod event;
mod limit;
mod mac;
mod peer;
mod tunnel;
mod underlay;

pub use address::{Address, Family};
pub use counters::{DropCounter, PeerCounters};
pub use drop_reason::{DROP_COUNTERS, DropReason};
pub use event::{EVENT_HEAD_SIZE, Event, EventKind};
pub use limit::{FlowKey, LastRedirect, NhrpRate};
pub use mac::PeerMac;
pub use peer::{HEADER_SIZE, NbmaKey, Peer, PeerIndex, PeerState};
pub use tunnel::{Keyed, LocalAddress, Tunnel, TunnelFlags, TunnelKey};
pub use underlay::{Underlay, UnderlayState};

/// Version of the pinned layout; names the directory below the pin directory (`v1`).
///
/// A pinned map is re-used without any check by the kernel, so two layouts must never meet in one directory.
pub const LAYOUT_VERSION: u32 = 1;

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
    /// [`FlowKey`](crate::FlowKey) of redirected traffic -> [`LastRedirect`](crate::LastRedirect).
    pub const REDIRECT_SEEN: &str = "REDIRECT_SEEN";
    /// Outer source -> [`NhrpRate`](crate::NhrpRate).
    pub const NHRP_RATE: &str = "NHRP_RATE";
    /// Drop reason -> [`DropCounter`](crate::DropCounter), per CPU.
    pub const COUNTERS: &str = "COUNTERS";
    /// Peer index -> [`PeerCounters`](crate::PeerCounters), per CPU.
    pub const PEER_COUNTERS: &str = "PEER_COUNTERS";
    /// Ring buffer of [`Event`](crate::Event).
    pub const EVENTS: &str = "EVENTS";

    /// Every map that is pinned.
    pub const ALL: [&str; 10] = [
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
    ];
}

/// Names of the programs in the object.
pub mod program_names {
    /// XDP program of an underlay interface.
    pub const XDP_UNDERLAY: &str = "dmvpn_underlay";
    /// TC egress program of a tunnel interface.
    pub const TC_TUNNEL: &str = "dmvpn_tunnel";
}
