//! The control socket: how `dmvpn show` asks the agent.

pub mod client;
pub mod protocol;
#[cfg(test)]
pub(crate) mod samples;
pub mod server;
