//! The user space side of the data path, with real maps, programs and interfaces. Needs root and a BPF file system.

mod attach;
mod events;
mod multicast;
mod open;
mod spread;
mod tables;
mod testbed;
mod upgrade;
