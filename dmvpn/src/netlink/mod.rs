//! The kernel's own tables: links, addresses, neighbours and routes, over rtnetlink.
//!
//! "The neighbour table is the NHRP table": what the engine knows is installed here as ordinary neighbours
//! and routes of an ordinary interface, so that `ip neigh` and `ip route` show it. Everything this program
//! installs carries the protocol number [`PROTOCOL`]; nothing else is ever removed.
//!
//! | file | job |
//! |---|---|
//! | [`connection`] | the request sockets |
//! | [`direct`] | one that blocks, for what is answered at once |
//! | [`interfaces`] | reading interfaces and addresses |
//! | [`links`] | the tunnel interface: create, adopt, delete |
//! | [`neighbours`] | resolved next hops |
//! | [`routes`] | shortcut, host and static routes |
//! | [`lookup`] | "how would the kernel route this?", answered at once |
//! | [`selectors`] | what routes depend on beside the destination |
//! | [`underlay`] | the way to an NBMA address, and keeping it fresh |
//! | [`monitor`] | what others change in the kernel |
//!
//! A socket belongs to the network namespace of the thread that opened it, for good.

pub mod connection;
mod direct;
mod error;
mod ethtool;
pub mod interfaces;
pub mod links;
pub mod lookup;
pub mod monitor;
pub mod neighbours;
pub mod routes;
pub mod selectors;
mod sysctl;
pub mod underlay;

pub use connection::Netlink;
pub use error::{Cause, Error};

/// Protocol number of the routes, neighbours and addresses we install: NHRP's IP protocol number (RFC 2332
/// 5), free in the kernel's list of route protocols. `ip route show proto 54` lists them.
pub const PROTOCOL: u8 = 54;
