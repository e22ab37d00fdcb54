//! The user space side of the data path: loads the eBPF programs, attaches them, fills their maps, reads their events.
//!
//! ```text
//!   agent --> DataPath ---- tunnels, peers (and underlays), drops ----> pinned maps <--- XDP and TC programs
//!         <-- DataPathEvents <------------------ EVENTS ---------------------------------'
//! ```
//!
//! Maps and links are pinned: the kernel forwards on while the agent restarts, and a new agent opens what it finds. It
//! is the only part of the agent that knows of eBPF. See [`dmvpn_common`] for what is in the maps.

mod attach;
mod attach_tc;
mod attach_xdp;
mod cached_counts;
mod capabilities;
mod control;
mod cpus;
mod drops;
mod error;
mod events;
mod header;
mod index_pool;
mod interfaces;
mod link_name;
mod loader;
mod log;
mod map_layout;
mod multicast;
mod peers;
mod pin_directory;
mod policers;
mod spread;
mod stations;
mod tunnels;
mod underlays;
mod upgrade;
mod xdp_status;

pub use attach_tc::{TcAttachment, TcMode};
pub use attach_xdp::XdpAttachment;
pub use capabilities::check as check_capabilities;
pub use control::{ControlTable, RouteSelection};
pub use drops::{DropCounters, DropTotal};
pub use error::DataPathError;
pub use events::{DataPathEvent, DataPathEvents};
pub use header::{DontFragment, OuterHeader, OuterParameters, OuterTos};
pub use interfaces::InterfaceTable;
pub use link_name::{Hook, LinkName};
pub use loader::{DataPath, Options};
pub use log::DataPathLog;
pub use multicast::MulticastTable;
pub use peers::PeerTable;
pub use pin_directory::remove_all_pins;
pub use policers::PolicerTable;
pub use spread::SpreadTable;
pub use stations::StationTable;
pub use tunnels::{Segments, TunnelParameters, TunnelTable};
pub use underlays::{LinkAddresses, NextHop, UnderlayTable, Vlan};
pub use xdp_status::RunningMode;
