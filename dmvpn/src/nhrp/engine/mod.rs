//! The protocol engine: inputs in, actions out, `now` a parameter.

mod config;
mod io;

pub use config::{Nhs, Secret, StaticMap, TunnelConfig};
pub use io::{Action, Environment, Event, Input, Route, Time, TunnelId};
