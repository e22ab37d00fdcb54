//! The configuration of one agent, as a test wants it.

use std::{
    fmt::{self, Write as _},
    net::IpAddr,
    path::PathBuf,
};

use ipnet::IpNet;

/// One tunnel and the agent around it. Written as YAML, the way an operator would.
#[derive(Clone, Debug)]
pub struct Config {
    /// Unix socket of `dmvpn show`.
    pub control_socket: PathBuf,
    /// Where maps and links are pinned.
    pub pin_directory: PathBuf,
    /// Where the agent saves its state.
    pub state_directory: PathBuf,
    /// Most peers; `None` for the agent's default.
    pub max_peers: Option<u32>,
    /// Which CPUs share the work, as YAML; `None` for the agent's default.
    pub spread: Option<&'static str>,
    /// Level of the agent's log; not in the file, but on its command line.
    pub log: &'static str,
    /// Our protocol address, with the length of the tunnel's subnet.
    pub address: IpNet,
    /// Our NBMA address, or the name of the interface that has it.
    pub source: String,
    /// GRE key.
    pub key: Option<u32>,
    /// Cisco's phase, 1 to 3.
    pub phase: u8,
    /// NHRP authentication.
    pub authentication: Option<String>,
    /// In seconds.
    pub holding_time: u16,
    /// In seconds.
    pub registration_interval: u16,
    /// How XDP is attached: `auto`, `native` or `generic`.
    pub xdp: &'static str,
    /// Protocol and NBMA address of the server.
    pub nhs: Option<(IpAddr, IpAddr)>,
    /// Routes over the tunnel: destination and next hop.
    pub routes: Vec<(IpNet, IpAddr)>,
    /// Further lines of the tunnel, as YAML that begins in the first column.
    pub more: String,
    /// Further tunnels: items of the list, as YAML that begins in the first column.
    pub further_tunnels: String,
}

/// Name of the tunnel interface in every lab.
pub const TUNNEL: &str = "dmvpn0";

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "control-socket: {}", self.control_socket.display())?;
        writeln!(f, "pin-directory: {}", self.pin_directory.display())?;
        writeln!(f, "state-directory: {}", self.state_directory.display())?;
        if let Some(peers) = self.max_peers {
            writeln!(f, "max-peers: {peers}")?;
        }
        if let Some(spread) = self.spread {
            writeln!(f, "spread: {spread}")?;
        }
        writeln!(f, "tunnels:")?;
        writeln!(f, "  - name: {TUNNEL}")?;
        writeln!(f, "    address: {}", self.address)?;
        writeln!(f, "    source: {}", self.source)?;
        if let Some(key) = self.key {
            writeln!(f, "    key: {key}")?;
        }
        writeln!(f, "    phase: {}", self.phase)?;
        if let Some(secret) = &self.authentication {
            writeln!(f, "    authentication: {secret}")?;
        }
        writeln!(f, "    holding-time: {}", self.holding_time)?;
        writeln!(f, "    registration-interval: {}", self.registration_interval)?;
        writeln!(f, "    xdp: {}", self.xdp)?;
        if let Some((address, nbma)) = self.nhs {
            writeln!(f, "    nhs:\n      - address: {address}\n        nbma: {nbma}")?;
        }
        let mut routes = String::new();
        for (prefix, via) in &self.routes {
            write!(routes, "\n      - prefix: {prefix}\n        via: {via}")?;
        }
        if !routes.is_empty() {
            writeln!(f, "    routes:{routes}")?;
        }
        self.more.lines().try_for_each(|line| writeln!(f, "    {line}"))?;
        self.further_tunnels.lines().try_for_each(|line| writeln!(f, "  {line}"))
    }
}
