//! The configuration file: text (`yaml`) -> keys (`draft`, `parts`, `section`, `kinds`) -> rules (`validate`) -> [`Config`].
//!
//! Read by hand rather than derived with serde, so that one run reports everything that is wrong, each with its
//! line and column.

mod draft;
mod kinds;
mod load;
mod model;
mod options;
mod parts;
mod problem;
mod section;
#[cfg(test)]
mod tests;
mod validate;
mod yaml;

pub use model::{
    Accept, Config, DEFAULT_CONTROL_SOCKET, DEFAULT_PIN_DIRECTORY, DEFAULT_STATE_DIRECTORY, Df, FastPath,
    Group, HIDDEN_SECRET, Limits, MssClamp, Multicast, MulticastServers, NAME_LENGTH, Nhs, NhsAddress,
    NhsCluster, NhsNbma, Phase, Source, Spread, StaticMap, StaticRoute, Tos, Tunnel, XdpMode,
};
pub use options::{BpfLog, RunOptions};
pub use problem::{ConfigError, Position, Problem};
