//! The protocol engine: inputs in, actions out, `now` a parameter.

mod config;
mod counters;
mod event;
mod io;
mod view;

pub use config::{
    Failover, Limits, Multicast, MulticastServers, Nhs, Policy, Secret, StaticMap, TunnelConfig,
};
pub use counters::{Counters, Fault};
pub use event::{Event, EventKind, Reason, Severity, Table};
pub use io::{Action, Environment, Input, Route, Time, TunnelId};
pub use view::{CacheKind, CacheView, NhsState, NhsView, PeerView, ShortcutState, ShortcutView};
