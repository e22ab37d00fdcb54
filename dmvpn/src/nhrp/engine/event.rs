//! What an operator may want to know.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

use super::TunnelId;
use crate::nhrp::wire::{CieCode, ErrorCode};

/// Something worth a line in the log: a change, never a packet as such. What strangers can cause at will is
/// reported at a bounded rate; the counters have all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which tunnel.
    pub tunnel: TunnelId,
    /// What happened.
    pub kind: EventKind,
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The network at work: shortcuts and resolutions come and go.
    Debug,
    /// A peer or server came or went in good order.
    Info,
    /// Somebody should look at it.
    Warning,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A next hop server accepted our registration.
    NhsUp {
        /// Its protocol address.
        protocol: IpAddr,
        /// Its NBMA address.
        nbma: IpAddr,
    },
    /// A next hop server stopped answering.
    NhsDown {
        /// Its NBMA address.
        nbma: IpAddr,
        /// Requests in a row without an answer.
        unanswered: u32,
    },
    /// A server is given up: better ones answer, or it is in the list no more.
    NhsReleased {
        /// Its NBMA address.
        nbma: IpAddr,
    },
    /// A next hop server refused our registration.
    NhsRefused {
        /// Its NBMA address.
        nbma: IpAddr,
        /// Why.
        code: CieCode,
    },
    /// A server of ours does not want an alias or a network of ours.
    NotRegistered {
        /// What it was.
        prefix: IpNet,
        /// The server's NBMA address.
        nbma: IpAddr,
        /// Why.
        code: CieCode,
    },
    /// A next hop server sees us at another address than we do: we are behind NAT. `None`: no longer.
    Nat {
        /// Our address as the server sees it.
        public: Option<IpAddr>,
    },
    /// A client registered.
    Registered {
        /// Its protocol address.
        protocol: IpAddr,
        /// Where it is.
        nbma: IpAddr,
        /// Where it says it is, when that is different.
        claimed: Option<IpAddr>,
    },
    /// A client registered from another address.
    Moved {
        /// Its protocol address.
        protocol: IpAddr,
        /// Where it was.
        from: IpAddr,
        /// Where it is.
        to: IpAddr,
    },
    /// A client did not renew its registration.
    Expired {
        /// Its protocol address.
        protocol: IpAddr,
        /// Where it was.
        nbma: IpAddr,
    },
    /// A client took its registration back.
    Deregistered {
        /// Its protocol address.
        protocol: IpAddr,
        /// Where it was.
        nbma: IpAddr,
    },
    /// A registration was refused.
    Refused {
        /// The address it was for.
        protocol: IpAddr,
        /// Where it came from.
        nbma: IpAddr,
        /// Why.
        code: CieCode,
    },
    /// Two stations claim one unique address; the first one keeps it.
    Conflict {
        /// The address.
        protocol: IpAddr,
        /// Who has it.
        holder: IpAddr,
        /// Who wants it.
        claimant: IpAddr,
    },
    /// A next hop is reached directly.
    Resolved {
        /// The next hop.
        protocol: IpAddr,
        /// Where it is.
        nbma: IpAddr,
    },
    /// Nobody could say where an address is. Traffic for it goes by the server, if there is one.
    Unresolved {
        /// The address.
        destination: IpAddr,
    },
    /// Traffic takes a shortcut.
    ShortcutUp {
        /// Destination.
        prefix: IpNet,
        /// Next hop.
        via: IpAddr,
        /// Where the next hop is.
        nbma: IpAddr,
    },
    /// Traffic takes the routed path again.
    ShortcutDown {
        /// Destination.
        prefix: IpNet,
        /// Why.
        reason: Reason,
    },
    /// A packet without the right authentication.
    AuthenticationFailed {
        /// Who sent it.
        source: IpAddr,
    },
    /// A peer found fault with a packet of ours.
    ErrorReceived {
        /// Who says so.
        source: IpAddr,
        /// What is wrong.
        code: ErrorCode,
    },
    /// A packet came round.
    Loop {
        /// Who sent it to us the second time.
        source: IpAddr,
    },
    /// A table has reached its bound; what it should have taken was refused.
    TableFull {
        /// Which one.
        table: Table,
    },
}

/// Why a shortcut ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing used it, or nobody confirmed it in time.
    Expired,
    /// Its egress, or a server, took it back.
    Purged,
    /// Our own routes changed.
    Routes,
    /// Its next hop is gone.
    NextHop,
    /// The answer to the renewal is another one.
    Replaced,
    /// The agent stops.
    Shutdown,
}

/// A bounded table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Cache entries.
    Cache,
    /// Peers.
    Peers,
    /// Cache entries and registered prefixes of one NBMA address.
    EntriesOf(IpAddr),
    /// Pending resolutions.
    Resolutions,
    /// Shortcuts.
    Shortcuts,
    /// Answers given.
    Requesters,
    /// Answers given to one NBMA address.
    RequestersOf(IpAddr),
    /// Pending resolutions that one NBMA address asked for.
    ResolutionsOf(IpAddr),
}

impl EventKind {
    /// How much it matters.
    pub const fn severity(&self) -> Severity {
        match self {
            Self::Resolved { .. } | Self::Unresolved { .. } => Severity::Debug,
            Self::NhsUp { .. }
            | Self::NhsReleased { .. }
            | Self::Nat { .. }
            | Self::Registered { .. }
            | Self::Moved { .. }
            | Self::Expired { .. }
            | Self::Deregistered { .. }
            | Self::ShortcutUp { .. }
            | Self::ShortcutDown { .. } => Severity::Info,
            Self::NhsDown { .. }
            | Self::NhsRefused { .. }
            | Self::NotRegistered { .. }
            | Self::Refused { .. }
            | Self::Conflict { .. }
            | Self::AuthenticationFailed { .. }
            | Self::ErrorReceived { .. }
            | Self::Loop { .. }
            | Self::TableFull { .. } => Severity::Warning,
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NhsUp { protocol, nbma } => write!(f, "registered with server {protocol} at {nbma}"),
            Self::NhsDown { nbma, unanswered } => {
                write!(f, "server at {nbma} did not answer {unanswered} registration requests")
            }
            Self::NhsReleased { nbma } => write!(f, "server at {nbma} released: no longer needed"),
            Self::NhsRefused { nbma, code } => {
                write!(f, "server at {nbma} refused our registration: {code}")
            }
            Self::NotRegistered { prefix, nbma, code } => {
                write!(f, "server at {nbma} refused to register {prefix}: {code}")
            }
            Self::Nat { public: Some(public) } => write!(f, "behind NAT: servers see us at {public}"),
            Self::Nat { public: None } => f.write_str("no longer behind NAT"),
            Self::Registered { protocol, nbma, claimed: None } => {
                write!(f, "client {protocol} registered at {nbma}")
            }
            Self::Registered { protocol, nbma, claimed: Some(claimed) } => {
                write!(f, "client {protocol} registered at {nbma}, behind NAT: calls itself {claimed}")
            }
            Self::Moved { protocol, from, to } => write!(f, "client {protocol} moved from {from} to {to}"),
            Self::Expired { protocol, nbma } => {
                write!(f, "client {protocol} at {nbma} did not renew its registration")
            }
            Self::Deregistered { protocol, nbma } => {
                write!(f, "client {protocol} at {nbma} took its registration back")
            }
            Self::Refused { protocol, nbma, code } => {
                write!(f, "refused to register {protocol} for {nbma}: {code}")
            }
            Self::Conflict { protocol, holder, claimant } => {
                write!(f, "{claimant} claims {protocol}, which {holder} holds as unique; refused")
            }
            Self::Resolved { protocol, nbma } => write!(f, "next hop {protocol} is at {nbma}"),
            Self::Unresolved { destination } => write!(f, "nobody knows where {destination} is"),
            Self::ShortcutUp { prefix, via, nbma } => {
                write!(f, "shortcut to {prefix} via {via} at {nbma}")
            }
            Self::ShortcutDown { prefix, reason } => write!(f, "shortcut to {prefix} ended: {reason}"),
            Self::AuthenticationFailed { source } => {
                write!(f, "packet from {source} without the right authentication")
            }
            Self::ErrorReceived { source, code } => {
                write!(f, "{source} found fault with a packet of ours: {code}")
            }
            Self::Loop { source } => write!(f, "packet from {source} came round a second time"),
            Self::TableFull { table } => write!(f, "table of {table} is full"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "not renewed",
            Self::Purged => "purged",
            Self::Routes => "our routes changed",
            Self::NextHop => "its next hop is gone",
            Self::Replaced => "replaced by a newer answer",
            Self::Shutdown => "the agent stops",
        })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cache => f.write_str("cache entries"),
            Self::Peers => f.write_str("peers"),
            Self::EntriesOf(nbma) => write!(f, "entries of {nbma}"),
            Self::Resolutions => f.write_str("pending resolutions"),
            Self::ResolutionsOf(nbma) => write!(f, "pending resolutions because of {nbma}"),
            Self::Shortcuts => f.write_str("shortcuts"),
            Self::Requesters => f.write_str("answers to take back"),
            Self::RequestersOf(nbma) => write!(f, "answers to {nbma}"),
        }
    }
}
