//! The control socket: how `dmvpn show` asks the agent.

pub mod client;
pub mod protocol;
pub mod server;
