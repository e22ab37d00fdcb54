//! What a tunnel needs from this box, found out before anything is made: so that a configuration that cannot work
//! fails without leaving a trace.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use dmvpn_common::FastPath;
use ipnet::IpNet;
use tokio::time::sleep;

use super::{
    find_source::{Found, find_source, missing},
    link_local,
};
use crate::{
    config::{self, Config, Tunnel},
    netlink::{Netlink, interfaces::Interface, links::TunnelSpec},
};

/// Outer IP header in bytes: IPv4 and IPv6.
const IP_HEADER: [u32; 2] = [20, 40];
/// GRE header in bytes, without and with a key.
const GRE_HEADER: [u32; 2] = [4, 8];

/// Longest wait for a new IPv6 address to be usable. Linux takes one to two seconds to find out.
const DUPLICATE_DETECTION: Duration = Duration::from_secs(5);

/// A tunnel whose source is known.
pub(super) struct Plan {
    /// What the operator wants.
    pub(super) config: Tunnel,
    /// Our link-local address in an IPv6 tunnel.
    pub(super) link_local: Option<Ipv6Addr>,
    /// Our NBMA address.
    pub(super) source: IpAddr,
    /// The interface that has it.
    pub(super) underlay: Interface,
    /// MTU of the tunnel interface in bytes.
    pub(super) mtu: u32,
}

impl Plan {
    /// The interface.
    pub(super) fn link(&self) -> TunnelSpec {
        TunnelSpec {
            name: self.config.name.clone(),
            address: self.config.address,
            link_local: self.link_local,
            mtu: self.mtu,
        }
    }

    /// What the operator wants to bypass the kernel's stack.
    pub(super) fn fast_path(&self) -> FastPath {
        match self.config.fast_path {
            config::FastPath::Off => FastPath::Off,
            config::FastPath::Hairpin => FastPath::Hairpin,
            config::FastPath::Full => FastPath::Full,
        }
    }
}

/// Plans every tunnel, or says what is wrong with the first that cannot be.
pub(super) async fn plan(netlink: &Netlink, config: &Config) -> Result<Vec<Plan>> {
    let mut plans: Vec<Plan> = Vec::with_capacity(config.tunnels.len());
    let own: Vec<_> = config.tunnels.iter().map(|tunnel| tunnel.name.as_str()).collect();
    for tunnel in &config.tunnels {
        let context = || format!("tunnel {}", tunnel.name);
        let made = plan_tunnel(netlink, tunnel, &own).await.with_context(context)?;
        // Written differently in the file, the check of which could not know that they are the same.
        let same = |other: &&Plan| (other.source, other.config.key) == (made.source, made.config.key);
        if let Some(other) = plans.iter().find(same) {
            let other = &other.config.name;
            return Err(anyhow!("the source {} with the same key is that of tunnel {other}", made.source))
                .with_context(context);
        }
        plans.push(made);
    }
    Ok(plans)
}

/// `own` are the names of all tunnel interfaces.
async fn plan_tunnel(netlink: &Netlink, config: &Tunnel, own: &[&str]) -> Result<Plan> {
    let Found { interface: underlay, address: source, .. } = settled_source(netlink, config).await?;
    if own.contains(&underlay.name.as_str()) {
        bail!(
            "the source {source} is on the tunnel interface {}: expected an address of the underlay",
            underlay.name
        );
    }
    let overhead = overhead(source, config.key);
    let mtu = config.mtu.map_or_else(|| underlay.mtu.saturating_sub(overhead), u32::from);
    let (version, smallest) = if config.address.addr().is_ipv4() { (4, 68) } else { (6, 1280) };
    if mtu < smallest {
        bail!(
            "interface {} has an MTU of {}: an IPv{version} tunnel needs {}",
            underlay.name,
            underlay.mtu,
            smallest + overhead
        );
    }
    let link_local = match config.address {
        IpNet::V4(_) => None,
        IpNet::V6(address) => Some(config.link_local.unwrap_or_else(|| link_local::of(address))),
    };
    Ok(Plan { config: config.clone(), link_local, source, underlay, mtu })
}

/// The source of a tunnel, waiting a little for an address that is new to this box.
async fn settled_source(netlink: &Netlink, config: &Tunnel) -> Result<Found> {
    let deadline = Instant::now() + DUPLICATE_DETECTION;
    loop {
        let Some(found) = find_source(netlink, config, None).await? else {
            return Err(missing(netlink, config).await?);
        };
        if !found.tentative {
            return Ok(found);
        }
        if Instant::now() > deadline {
            let (address, interface) = (found.address, found.interface.name);
            bail!("the source {address} of interface {interface} cannot be used: another node may have it");
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Bytes an outer header takes.
pub(super) fn overhead(source: IpAddr, key: Option<u32>) -> u32 {
    IP_HEADER[usize::from(source.is_ipv6())] + GRE_HEADER[usize::from(key.is_some())]
}
