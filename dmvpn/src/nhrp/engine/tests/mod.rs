//! The engine's behaviour, seen from outside.

mod bench;
mod chaos;
mod failover;
mod frr;
mod ipv6;
mod registration;
mod resolution;
mod scale;
mod servers;
mod shortcut;
