//! NHRP (RFC 2332 and what Cisco added to it), without any input or output: no socket, no clock, no thread.

pub mod engine;
pub mod ip;
pub mod render;
pub mod wire;
