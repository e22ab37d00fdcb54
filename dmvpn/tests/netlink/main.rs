//! The kernel's tables as `dmvpn::netlink` reads and changes them, in network namespaces of each test's own.
//!
//! What is checked is read back with `ip`, `ethtool` and packet sockets, not with the code under test. Needs
//! root and iproute2; every test leaves nothing behind.

mod capture;
mod links;
mod lookup;
mod monitor;
mod namespace;
mod neighbours;
mod routes;
mod selectors;
mod underlay;
