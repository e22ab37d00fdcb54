//! The eBPF programs in the kernel, frame by frame: what goes in, what comes out, what is counted, what is told.
//!
//! Most tests run a program with `BPF_PROG_TEST_RUN` in a network namespace of their own; `live` sends real traffic.
//! They need root.

mod cache;
mod deliver;
mod encapsulate;
mod frames;
mod fuzz;
mod hub;
mod ipv6;
mod lan;
mod live;
mod mss;
mod multicast;
mod namespace;
mod nhrp;
mod policer;
mod programs;
mod redirect;
mod refuse;
mod renewal;
mod resolve;
mod segmentation;
mod segments;
mod size;
mod source;
mod spread;
mod station;
mod tc;
mod transit;
mod vlan;
mod wire;
