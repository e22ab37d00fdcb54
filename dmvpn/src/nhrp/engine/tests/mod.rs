//! The engine's behaviour, seen from outside.

mod adopt;
mod announce;
mod bench;
mod chaos;
mod clouds;
mod failover;
mod frr;
mod ipv6;
mod nat;
mod purge;
mod refusal;
mod registration;
mod reinstall;
mod resolution;
mod restore;
mod scale;
mod servers;
mod shortcut;
mod transit;
