//! What a tunnel needs from this box, found out before anything is made: so that a configuration that cannot work
//! fails without leaving a trace.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, anyhow, bail};
use ipnet::IpNet;

use crate::{
    config::{Config, Source, Tunnel},
    netlink::{
        Netlink,
        interfaces::{self, Interface},
    },
};

/// Outer IPv4 header in bytes.
const IPV4_HEADER: u32 = 20;
/// GRE header in bytes, without and with a key.
const GRE_HEADER: [u32; 2] = [4, 8];

/// A tunnel whose source is known.
pub(super) struct Plan {
    /// What the operator wants.
    pub(super) config: Tunnel,
    /// Our NBMA address.
    pub(super) source: Ipv4Addr,
    /// The interface that has it.
    pub(super) underlay: Interface,
    /// MTU of the tunnel interface in bytes.
    pub(super) mtu: u32,
}

/// Plans every tunnel, or says what is wrong with the first that cannot be.
pub(super) async fn plan(netlink: &Netlink, config: &Config) -> Result<Vec<Plan>> {
    let mut plans = Vec::with_capacity(config.tunnels.len());
    for tunnel in &config.tunnels {
        let made = plan_tunnel(netlink, tunnel).await.with_context(|| format!("tunnel {}", tunnel.name))?;
        plans.push(made);
    }
    Ok(plans)
}

async fn plan_tunnel(netlink: &Netlink, config: &Tunnel) -> Result<Plan> {
    let (underlay, source) = match &config.source {
        Source::Address(address) => (owner(netlink, *address).await?, *address),
        Source::Interface(name) => interface_source(netlink, name).await?,
    };
    let IpAddr::V4(source) = source else {
        bail!("the source {source} is an IPv6 address: only IPv4 underlays are supported so far");
    };
    let IpNet::V4(_) = config.address else {
        bail!("the address {} is IPv6: only IPv4 tunnels are supported so far", config.address);
    };
    let overhead = overhead(config.key);
    let mtu = config.mtu.map_or_else(|| underlay.mtu.saturating_sub(overhead), u32::from);
    if mtu < 68 {
        bail!("interface {} has an MTU of {}: too small to carry a tunnel", underlay.name, underlay.mtu);
    }
    Ok(Plan { config: config.clone(), source, underlay, mtu })
}

/// Bytes an outer header takes.
pub(super) fn overhead(key: Option<u32>) -> u32 {
    IPV4_HEADER + GRE_HEADER[usize::from(key.is_some())]
}

/// The interface that has an address.
async fn owner(netlink: &Netlink, address: IpAddr) -> Result<Interface> {
    match interfaces::address_owner(netlink, address).await? {
        Some(interface) => Ok(interface),
        None => bail!(
            "the source {address} is not an address of this box: it has {}",
            existing(netlink, address.is_ipv4()).await?
        ),
    }
}

/// An interface and the first address on it.
async fn interface_source(netlink: &Netlink, name: &str) -> Result<(Interface, IpAddr)> {
    let Some(interface) = interfaces::by_name(netlink, name).await? else {
        let names: Vec<_> = interfaces::list(netlink).await?.into_iter().map(|found| found.name).collect();
        bail!("the source interface {name} does not exist: there is {}", names.join(", "));
    };
    let addresses = interfaces::addresses(netlink, Some(interface.index)).await?;
    let first = addresses.iter().map(|found| found.address.addr()).find(IpAddr::is_ipv4);
    let address =
        first.ok_or_else(|| anyhow!("the source interface {name} has no IPv4 address: give it one"))?;
    Ok((interface, address))
}

/// The addresses this box does have, for an error.
async fn existing(netlink: &Netlink, ipv4: bool) -> Result<String> {
    let mut found: Vec<_> = interfaces::addresses(netlink, None)
        .await?
        .into_iter()
        .map(|found| found.address.addr())
        .filter(|address| address.is_ipv4() == ipv4 && !address.is_loopback())
        .collect();
    found.sort_unstable();
    if found.is_empty() {
        return Ok("none of that family".to_owned());
    }
    Ok(found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}
