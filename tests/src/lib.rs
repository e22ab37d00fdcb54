//! Network-namespace labs: an underlay, a hub, spokes with a LAN each, real agents and real packets.
//!
//! [`lab`] builds the network, [`agent`] starts `dmvpn` in it, [`traffic`] sends packets and accounts for every one
//! of them, [`poll`] waits for a condition. What a lab makes is gone when it is dropped, also after a panic or a
//! signal ([`undo`]); what a killed process left is removed by the next lab.

pub mod agent;
pub mod bench;
pub mod bpf;
pub mod command;
pub mod config;
pub mod crowd;
pub mod exit;
pub mod lab;
pub mod labs;
pub mod namespace;
pub mod peer;
pub mod poll;
pub mod sim;
mod target;
pub mod traffic;
pub mod undo;
pub mod vm;
pub mod wire;
