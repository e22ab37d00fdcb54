//! The configuration file.

mod model;
mod options;

pub use model::{
    Accept, Config, DEFAULT_CONTROL_SOCKET, DEFAULT_PIN_DIRECTORY, NAME_LENGTH, Nhs, NhsAddress, Phase,
    Source, StaticMap, StaticRoute, Tunnel, XdpMode,
};
pub use options::{BpfLog, RunOptions};
