//! The engine's state as it is shown: plain values, times relative to now.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

/// Where a cache entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheKind {
    /// An address of this box.
    Local,
    /// The configuration.
    Static,
    /// A next hop server.
    Nhs,
    /// A registration.
    Registered,
    /// A resolution, or what a passing request said of its sender.
    Cached,
    /// Left in the kernel by an earlier agent, not confirmed yet.
    Adopted,
    /// Asked for, not answered yet: traffic goes by the server.
    Incomplete,
    /// Nobody could say where it is: traffic goes by the server, if there is one.
    Negative,
}

/// An entry of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent properties, each shown as a flag of its own")]
pub struct CacheView {
    /// Protocol addresses it is about: one host, or a prefix that a client registered.
    pub protocol: IpNet,
    /// Where the entry comes from.
    pub kind: CacheKind,
    /// Where traffic for it goes; `None` when there is nowhere to send it.
    pub nbma: Option<IpAddr>,
    /// Where the station says it is, when that is different.
    pub claimed_nbma: Option<IpAddr>,
    /// Nobody else may register the address.
    pub unique: bool,
    /// The station is behind NAT.
    pub nat: bool,
    /// Learnt from a request that was sent for something else.
    pub implicit: bool,
    /// Traffic went to its NBMA address since the entry was last confirmed.
    pub used: bool,
    /// A route of ours for it is in the kernel.
    pub route: bool,
    /// It is being asked for.
    pub pending: bool,
    /// MTU the station announced, 0 if none.
    pub mtu: u16,
    /// Time since the entry was made.
    pub created: Duration,
    /// Time until it expires; `None`: never.
    pub expires: Option<Duration>,
}

/// Whether a next hop server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NhsState {
    /// Not used: better ones answer.
    Standby,
    /// Asked, no answer.
    Probing,
    /// Registered and answering.
    Up,
}

/// A next hop server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NhsView {
    /// Its protocol address; `None` while it has to be learnt.
    pub protocol: Option<IpAddr>,
    /// Its protocol address is learnt from it.
    pub dynamic: bool,
    /// Its NBMA address.
    pub nbma: IpAddr,
    /// Its priority, 0 the best.
    pub priority: u8,
    /// Its cluster.
    pub cluster: u8,
    /// Whether it answers.
    pub state: NhsState,
    /// Time in this state.
    pub since: Duration,
    /// Registration requests sent.
    pub requests_sent: u64,
    /// Of those, refused or never answered.
    pub requests_failed: u64,
    /// Registration replies received.
    pub replies_received: u64,
    /// Time since the last reply; `None`: there was none.
    pub last_reply: Option<Duration>,
    /// Time until the next request; `None`: none is planned.
    pub next_request: Option<Duration>,
    /// Our address as it sees it, when that is not ours: we are behind NAT.
    pub public: Option<IpAddr>,
}

/// Whether a shortcut can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShortcutState {
    /// Asked for, nothing installed.
    Pending,
    /// Installed.
    Up,
    /// Installed, and being asked for again before it expires.
    Refreshing,
}

/// A shortcut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShortcutView {
    /// Destination; the host that was asked for while it is pending.
    pub prefix: IpNet,
    /// Next hop; `None` while it is pending.
    pub via: Option<IpAddr>,
    /// Where the next hop is.
    pub nbma: Option<IpAddr>,
    /// Whether it can be used.
    pub state: ShortcutState,
    /// Traffic went to its next hop since it was last confirmed.
    pub used: bool,
    /// Time since it was made.
    pub created: Duration,
    /// Time until it expires.
    pub expires: Option<Duration>,
}

/// A peer: an NBMA address that data is exchanged with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// Where it is.
    pub nbma: IpAddr,
    /// Protocol addresses that are reached there.
    pub protocols: Vec<IpAddr>,
    /// Time since it became a peer.
    pub since: Duration,
    /// It gets copies of multicast packets.
    pub multicast: bool,
}
