//! Real agents in a network of namespaces. Needs root; `cargo xtask test lab` runs it with a fresh `dmvpn`.

mod bulk;
mod capture;
mod demo;
mod host_names;
mod imported;
mod ipv6;
mod ipv6_underlay;
mod leftovers;
mod many_peers;
mod maps;
mod multicast;
mod path_mtu;
mod phase1;
mod phase2;
mod phase3;
mod receivers;
mod recursion;
mod refusals;
mod registration;
mod restart;
mod signals;
mod slow_path;
mod source;
mod spread;
mod state;
mod strangers;
