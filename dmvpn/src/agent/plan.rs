//! What a tunnel needs from this box, found out before anything is made: so that a configuration that cannot work
//! fails without leaving a trace.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Error, Result, anyhow, bail};
use ipnet::IpNet;

use super::link_local;
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
    /// Our link-local address in an IPv6 tunnel.
    pub(super) link_local: Option<Ipv6Addr>,
    /// Our NBMA address.
    pub(super) source: Ipv4Addr,
    /// The interface that has it.
    pub(super) underlay: Interface,
    /// MTU of the tunnel interface in bytes.
    pub(super) mtu: u32,
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
    if let Source::Address(IpAddr::V6(source)) = config.source {
        bail!("the source {source} is an IPv6 address: only IPv4 underlays are supported so far");
    }
    let Some(Found { interface: underlay, address: source }) =
        find_source(netlink, &config.source, None).await?
    else {
        return Err(missing(netlink, &config.source).await?);
    };
    if own.contains(&underlay.name.as_str()) {
        bail!(
            "the source {source} is on the tunnel interface {}: expected an address of the underlay",
            underlay.name
        );
    }
    let overhead = overhead(config.key);
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

/// Bytes an outer header takes.
pub(super) fn overhead(key: Option<u32>) -> u32 {
    IPV4_HEADER + GRE_HEADER[usize::from(key.is_some())]
}

/// Where a tunnel source is.
pub(super) struct Found {
    /// The interface that has it.
    pub(super) interface: Interface,
    /// The address.
    pub(super) address: Ipv4Addr,
}

/// Finds a tunnel source; `None` when this box has not got it. Of an interface it is the address `current` for as
/// long as that is there, else the first one.
pub(super) async fn find_source(
    netlink: &Netlink,
    source: &Source,
    current: Option<Ipv4Addr>,
) -> Result<Option<Found>> {
    let found = match source {
        Source::Address(address) => {
            interfaces::address_owner(netlink, *address).await?.map(|interface| (interface, *address))
        }
        Source::Interface(name) => match interfaces::by_name(netlink, name).await? {
            Some(interface) => {
                let addresses = interfaces::addresses(netlink, Some(interface.index)).await?;
                let addresses: Vec<_> = addresses.iter().map(|found| found.address.addr()).collect();
                let current = current.map(IpAddr::V4).filter(|current| addresses.contains(current));
                let first = addresses.into_iter().find(IpAddr::is_ipv4);
                current.or(first).map(|address| (interface, address))
            }
            None => None,
        },
    };
    Ok(found.and_then(|(interface, address)| match address {
        IpAddr::V4(address) => Some(Found { interface, address }),
        IpAddr::V6(_) => None,
    }))
}

/// Why there is no such source, and what there is.
async fn missing(netlink: &Netlink, source: &Source) -> Result<Error> {
    Ok(match source {
        Source::Address(address) => anyhow!(
            "the source {address} is not an address of this box: it has {}",
            existing(netlink, address.is_ipv4()).await?
        ),
        Source::Interface(name) if interfaces::by_name(netlink, name).await?.is_some() => {
            anyhow!("the source interface {name} has no IPv4 address: give it one")
        }
        Source::Interface(name) => {
            let names: Vec<_> =
                interfaces::list(netlink).await?.into_iter().map(|found| found.name).collect();
            anyhow!("the source interface {name} does not exist: there is {}", names.join(", "))
        }
    })
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
