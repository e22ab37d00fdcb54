//! Two hosts on one wire:
//!
//! ```text
//!        a                          b
//!        198.18.0.1 ---- wire ---- 198.18.0.2      underlay0 at both ends
//!        10.0.0.1                  10.0.0.2        in the tunnel: a is the hub
//! ```
//!
//! The wire is a veth pair that behaves like two NICs without offloads: complete packets of at most the MTU, in both
//! directions. That is what XDP needs (see [`crate::wire`]), and whatever is compared has the same wire.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::Result;
use ipnet::Ipv4Net;

use crate::{
    agent::Agent,
    config::Config,
    lab::{self, Node},
    namespace::Namespace,
    poll,
    undo::Undo,
    wire::UNDERLAY,
};

/// The two hosts. Dropping it removes them and whatever runs in them.
#[derive(Debug)]
pub struct Hosts {
    /// The hub.
    pub a: Node,
    /// The spoke.
    pub b: Node,
    _undo: Undo,
}

impl Hosts {
    /// Makes them.
    pub fn new() -> Result<Self> {
        let name = lab::fresh_name();
        let undo = lab::claim(&name)?;
        let node = |letter: &str, number: u8| -> Result<Node> {
            Ok(Node {
                name: letter.to_owned(),
                namespace: Namespace::create(&format!("{name}-{letter}"))?,
                address: Ipv4Addr::new(10, 0, 0, number),
                nbma: Ipv4Addr::new(198, 18, 0, number),
                lan: None,
                files: lab::files_of(&name),
                pins: lab::pins_of(&name, letter),
            })
        };
        let (a, b) = (node("a", 1)?, node("b", 2)?);
        let other = b.namespace.name();
        a.namespace
            .command(&format!("ip link add {UNDERLAY} type veth peer name {UNDERLAY} netns {other}"))?;
        for host in [&a, &b] {
            let namespace = &host.namespace;
            namespace.command(&format!("ip address add {}/24 dev {UNDERLAY}", host.nbma))?;
            namespace.command(&format!("ethtool -K {UNDERLAY} tx off tso off gso off"))?;
            namespace.command(&format!("ip link set {UNDERLAY} up"))?;
        }
        for host in [&a, &b] {
            poll::until_matches(
                &format!("the carrier of {}", host.name),
                Duration::from_secs(10),
                || host.namespace.command(&format!("ip -o link show {UNDERLAY}")),
                |link| link.contains(" state UP "),
            )?;
        }
        Ok(Self { a, b, _undo: undo })
    }

    /// What the agent of a host is told; `a` is the hub.
    pub fn config(&self, host: &Node) -> Config {
        let is_hub = host.name == self.a.name;
        Config {
            control_socket: host.files.join(format!("{}.sock", host.name)),
            pin_directory: host.pins.clone(),
            state_directory: host.files.join(format!("{}.state", host.name)),
            max_peers: None,
            spread: None,
            log: "info",
            address: Ipv4Net::new_assert(host.address, 24).into(),
            source: host.nbma.to_string(),
            key: Some(42),
            phase: 3,
            authentication: None,
            holding_time: 600,
            registration_interval: 200,
            xdp: "native",
            nhs: (!is_hub).then_some((self.a.address.into(), self.a.nbma.into())),
            routes: Vec::new(),
            more: String::new(),
            further_tunnels: String::new(),
        }
    }

    /// Starts both agents and waits until `b` is registered.
    pub fn start_agents(&self) -> Result<[Agent; 2]> {
        let hub = Agent::start(&self.a, &self.config(&self.a))?;
        let spoke = Agent::start(&self.b, &self.config(&self.b))?;
        spoke.wait_registered()?;
        hub.wait_cached(&self.b)?;
        Ok([hub, spoke])
    }
}
