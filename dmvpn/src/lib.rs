//! dmvpn: a DMVPN hub or spoke for Linux.
//!
//! Data flows one way: bytes -> typed packet ([`nhrp::wire`]) -> engine ([`nhrp::engine`]) -> actions -> kernel
//! ([`datapath`], [`netlink`]). [`agent`] is the only part that does all of it; `nhrp` depends on nothing of ours but
//! [`checksum`].

pub mod agent;
pub mod btf;
pub mod capture;
pub mod checksum;
pub mod cli;
pub mod config;
pub mod control;
pub mod datapath;
pub mod gre;
pub mod import;
pub mod netlink;
pub mod nhrp;
pub mod state;
