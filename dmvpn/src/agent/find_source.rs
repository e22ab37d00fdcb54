//! Where a tunnel source is: the address of this box that everything is sent from.

use std::net::IpAddr;

use anyhow::{Error, Result, anyhow};

use crate::{
    config::{Source, Tunnel},
    netlink::{
        Netlink,
        interfaces::{self, Interface, InterfaceAddress},
    },
};

/// Where a tunnel source is.
pub(super) struct Found {
    /// The interface that has it.
    pub(super) interface: Interface,
    /// The address.
    pub(super) address: IpAddr,
    /// It is IPv6, and it is not known yet that nobody else has it.
    pub(super) tentative: bool,
}

/// Finds a tunnel source; `None` when this box has not got it. Of an interface it is the address `current` for as
/// long as that is there, else the first one: of the IP version of the tunnel's servers and peers, if the
/// configuration has any by address, else of the current one's, else IPv4 if there is one.
pub(super) async fn find_source(
    netlink: &Netlink,
    tunnel: &Tunnel,
    current: Option<IpAddr>,
) -> Result<Option<Found>> {
    let (of, wanted) = match &tunnel.source {
        Source::Address(address) => (None, Some(*address)),
        Source::Interface(name) => match interfaces::by_name(netlink, name).await? {
            Some(interface) => (Some(interface.index), current),
            None => return Ok(None),
        },
    };
    let addresses = interfaces::addresses(netlink, of).await?;
    let exact = addresses.iter().find(|found| Some(found.address.addr()) == wanted);
    let found = match (exact, of) {
        (Some(found), _) => Some(found),
        (None, Some(_)) => best(&addresses, version(tunnel).or(current.map(|current| current.is_ipv4()))),
        (None, None) => None,
    };
    let Some(found) = found else { return Ok(None) };
    let interface = interfaces::by_index(netlink, found.ifindex).await?;
    let (address, tentative) = (found.address.addr(), found.tentative);
    Ok(interface.map(|interface| Found { interface, address, tentative }))
}

/// The first address that others can send to; one that may be used is better than one that may not yet.
fn best(addresses: &[InterfaceAddress], ipv4: Option<bool>) -> Option<&InterfaceAddress> {
    let is_link_local = |address: IpAddr| match address {
        // What a provider gives, it routes.
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let usable = addresses.iter().filter(|found| !is_link_local(found.address.addr()));
    let usable = usable.filter(|found| ipv4.is_none_or(|ipv4| found.address.addr().is_ipv4() == ipv4));
    // The first of the least.
    usable.min_by_key(|found| (found.address.addr().is_ipv6(), found.tentative))
}

/// Whether the tunnel's servers and peers are IPv4, as far as the configuration says.
fn version(tunnel: &Tunnel) -> Option<bool> {
    let servers = tunnel.nhs.iter().filter_map(|nhs| nhs.nbma.address());
    let peers = tunnel.maps.iter().map(|map| map.nbma).chain(tunnel.multicast.to.iter().copied());
    servers.chain(peers).next().map(|address| address.is_ipv4())
}

/// Why there is no such source, and what there is.
pub(super) async fn missing(netlink: &Netlink, tunnel: &Tunnel) -> Result<Error> {
    Ok(match &tunnel.source {
        Source::Address(address) => anyhow!(
            "the source {address} is not an address of this box: it has {}",
            existing(netlink, address.is_ipv4()).await?
        ),
        Source::Interface(name) if interfaces::by_name(netlink, name).await?.is_some() => {
            let which = match version(tunnel) {
                Some(true) => "IPv4 address",
                Some(false) => "IPv6 address that is not link-local",
                None => "address",
            };
            anyhow!("the source interface {name} has no {which}: give it one")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn on(address: &str, tentative: bool) -> InterfaceAddress {
        InterfaceAddress { ifindex: 2, address: address.parse().unwrap(), ours: false, tentative }
    }

    fn best_of(addresses: &[InterfaceAddress], ipv4: Option<bool>) -> Option<String> {
        best(addresses, ipv4).map(|found| found.address.addr().to_string())
    }

    #[test]
    fn an_address_that_others_can_send_to_is_taken() {
        let both = [
            on("fe80::1/64", false),
            on("2001:db8::1/64", true),
            on("2001:db8::2/64", false),
            on("192.0.2.1/24", false),
            on("192.0.2.2/24", false),
        ];
        assert_eq!(best_of(&both, None).unwrap(), "192.0.2.1");
        assert_eq!(best_of(&both, Some(true)).unwrap(), "192.0.2.1");
        assert_eq!(best_of(&both, Some(false)).unwrap(), "2001:db8::2");
        assert_eq!(best_of(&both[..2], None).unwrap(), "2001:db8::1");
        assert_eq!(best_of(&both[..1], None), None);
        assert_eq!(best_of(&both[..3], Some(true)), None);
    }

    #[test]
    fn the_peers_of_the_configuration_decide_on_the_version() {
        for (more, expected) in [
            ("", None),
            ("nhs: [{address: dynamic, nbma: hub.example.net}]", None),
            ("nhs: [{address: dynamic, nbma: '2001:db8::9'}]", Some(false)),
            ("maps: [{address: 10.0.0.2, nbma: 192.0.2.9}]", Some(true)),
            ("multicast: {to: ['2001:db8::9']}", Some(false)),
        ] {
            let text =
                format!("tunnels:\n  - name: a\n    address: 10.0.0.1/24\n    source: eth0\n    {more}\n");
            let config = Config::parse(text.as_bytes()).unwrap();
            assert_eq!(version(&config.tunnels[0]), expected, "{more}");
        }
    }
}
