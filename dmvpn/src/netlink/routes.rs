//! Routes over a tunnel interface, all in the main table and with our [`PROTOCOL`] number.
//!
//! | route | IPv4 metric | IPv6 metric | why |
//! |---|---|---|---|
//! | shortcut | 0, before its equals | 1 | wins over the route of a routing daemon to the same prefix |
//! | host | 0 | 1 | a next hop outside any connected prefix (host-route addressing) |
//! | static | 50 | 50 | the operator's; a shortcut or a routing daemon's route with a lower metric wins |

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use nix::errno::Errno;
use rtnetlink::{
    packet_core::{NLM_F_CREATE, NLM_F_ECHO},
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        route::{
            RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
            RouteType,
        },
    },
};

use super::{Error, Netlink, PROTOCOL, error::Cause};

/// Metric of static routes, by which they are told from shortcuts.
pub const STATIC_METRIC: u32 = 50;

/// Metric of IPv6 shortcuts and host routes: the kernel takes 0 for "choose one", and would choose 1024.
const IPV6_METRIC: u32 = 1;

/// A route over a tunnel interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TunnelRoute {
    /// A prefix behind a peer, learnt from NHRP (Phase 3).
    Shortcut {
        /// Destination.
        prefix: IpNet,
        /// The peer's protocol address, a neighbour on the interface.
        via: IpAddr,
    },
    /// A peer whose own address no connected prefix covers.
    Host {
        /// The peer's protocol address.
        address: IpAddr,
    },
    /// A route from the configuration.
    Static {
        /// Destination.
        prefix: IpNet,
        /// Protocol address of the next hop.
        via: IpAddr,
    },
}

impl TunnelRoute {
    /// The destination.
    pub fn prefix(&self) -> IpNet {
        match *self {
            Self::Shortcut { prefix, .. } | Self::Static { prefix, .. } => prefix.trunc(),
            Self::Host { address } => IpNet::from(address),
        }
    }

    /// The next hop; `None` for a host route, whose destination is its own next hop.
    pub fn via(&self) -> Option<IpAddr> {
        match *self {
            Self::Shortcut { via, .. } | Self::Static { via, .. } => Some(via),
            Self::Host { .. } => None,
        }
    }

    fn metric(&self) -> u32 {
        match (self, self.prefix()) {
            (Self::Static { .. }, _) => STATIC_METRIC,
            (_, IpNet::V4(_)) => 0,
            (_, IpNet::V6(_)) => IPV6_METRIC,
        }
    }

    fn message(&self, ifindex: u32) -> Result<RouteMessage, Cause> {
        let prefix = self.prefix();
        let mut message = RouteMessage::default();
        message.header.address_family = match prefix {
            IpNet::V4(_) => AddressFamily::Inet,
            IpNet::V6(_) => AddressFamily::Inet6,
        };
        message.header.destination_prefix_length = prefix.prefix_len();
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::from(PROTOCOL);
        message.header.kind = RouteType::Unicast;
        message.attributes = vec![
            RouteAttribute::Destination(route_address(prefix.addr())),
            RouteAttribute::Oif(ifindex),
            RouteAttribute::Priority(self.metric()),
        ];
        match self.via() {
            Some(via) if via.is_ipv4() == prefix.addr().is_ipv4() => {
                // The next hop need not be covered by a connected prefix: a neighbour entry is all it takes.
                message.header.flags = RouteFlags::Onlink;
                message.attributes.push(RouteAttribute::Gateway(route_address(via)));
            }
            Some(via) => {
                return Err(Cause::Conflict(format!(
                    "the next hop {via} is not of the same address family: give one that is"
                )));
            }
            None => message.header.scope = RouteScope::Link,
        }
        Ok(message)
    }
}

impl fmt::Display for TunnelRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shortcut { prefix, via } => write!(f, "shortcut {prefix} via {via}"),
            Self::Host { address } => write!(f, "host route {address}"),
            Self::Static { prefix, via } => write!(f, "static route {prefix} via {via}"),
        }
    }
}

/// Adds `route` over the interface `ifindex`. A route that is there already is no error.
pub async fn add(netlink: &Netlink, ifindex: u32, route: TunnelRoute) -> Result<(), Error> {
    let what = || format!("add {route} to interface number {ifindex}");
    let message = route.message(ifindex).map_err(|cause| Error::new(what(), cause))?;
    // CREATE alone puts the route before those with the same prefix and metric: EXCL would refuse, REPLACE
    // would take somebody else's away, APPEND would put it last.
    match netlink.request(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE).await {
        Ok(_) => Ok(()),
        Err(cause) if cause.errno() == Some(Errno::EEXIST) => Ok(()),
        Err(cause) => Err(Error::new(what(), cause)),
    }
}

/// Removes `route` from the interface `ifindex`. No such route is no error, and neither is no such interface:
/// routes go with their interface.
pub async fn remove(netlink: &Netlink, ifindex: u32, route: TunnelRoute) -> Result<(), Error> {
    let what = || format!("remove {route} from interface number {ifindex}");
    let message = route.message(ifindex).map_err(|cause| Error::new(what(), cause))?;
    match netlink.request(RouteNetlinkMessage::DelRoute(message), NLM_F_ECHO).await {
        Ok(removed) => {
            for message in removed {
                restore_if_another(netlink, ifindex, route, &message).await?;
            }
            Ok(())
        }
        Err(cause) if matches!(cause.errno(), Some(Errno::ESRCH | Errno::ENODEV)) => Ok(()),
        Err(cause) => Err(Error::new(what(), cause)),
    }
}

/// In a removal the kernel reads metric 0 as "any metric" and no gateway as "any gateway". When the route
/// asked for was gone already, that takes another route of ours with the same destination: the kernel echoes
/// what it removed, and here it is put back.
async fn restore_if_another(
    netlink: &Netlink,
    ifindex: u32,
    wanted: TunnelRoute,
    removed: &RouteNetlinkMessage,
) -> Result<(), Error> {
    let RouteNetlinkMessage::DelRoute(message) = removed else { return Ok(()) };
    for other in ours(message, ifindex) {
        if other.prefix() != wanted.prefix()
            || other.via() != wanted.via()
            || other.metric() != wanted.metric()
        {
            add(netlink, ifindex, other).await?;
        }
    }
    Ok(())
}

/// Our routes over the interface `ifindex`: what this program, or one before it, added.
pub async fn list_ours(netlink: &Netlink, ifindex: u32) -> Result<Vec<TunnelRoute>, Error> {
    let mut found = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::from(PROTOCOL);
        message.attributes.push(RouteAttribute::Oif(ifindex));
        let routes = netlink.list(RouteNetlinkMessage::GetRoute(message), |entry| match entry {
            RouteNetlinkMessage::NewRoute(route) => Some(ours(&route, ifindex)),
            _ => None,
        });
        match routes.await {
            Ok(routes) => found.extend(routes.into_iter().flatten()),
            // The table does not exist yet, IPv6 is disabled, or the interface is gone: nothing of ours is
            // there.
            Err(cause)
                if matches!(cause.errno(), Some(Errno::ENOENT | Errno::EAFNOSUPPORT | Errno::ENODEV)) => {}
            Err(cause) => {
                return Err(Error::new(format!("list the routes of interface number {ifindex}"), cause));
            }
        }
    }
    Ok(found)
}

/// The routes in a message that are ours; several when the kernel joined IPv6 routes with equal metrics.
fn ours(message: &RouteMessage, ifindex: u32) -> Vec<TunnelRoute> {
    if message.header.protocol != RouteProtocol::from(PROTOCOL) || message.header.kind != RouteType::Unicast {
        return Vec::new();
    }
    let Some(prefix) = prefix_of(message) else { return Vec::new() };
    let mut metric = 0;
    let mut next_hops = Vec::new();
    let mut single = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Priority(value) => metric = *value,
            RouteAttribute::Oif(index) => single.0 = Some(*index),
            RouteAttribute::Gateway(gateway) => single.1 = ip_address(gateway),
            RouteAttribute::MultiPath(hops) => next_hops.extend(hops.iter().map(|hop| {
                let gateway = hop.attributes.iter().find_map(|attribute| match attribute {
                    RouteAttribute::Gateway(gateway) => ip_address(gateway),
                    _ => None,
                });
                (Some(hop.interface_index), gateway)
            })),
            _ => {}
        }
    }
    if next_hops.is_empty() {
        next_hops.push(single);
    }
    next_hops
        .into_iter()
        .filter(|(index, _)| *index == Some(ifindex))
        .filter_map(|(_, via)| match via {
            Some(via) if metric == STATIC_METRIC => Some(TunnelRoute::Static { prefix, via }),
            Some(via) => Some(TunnelRoute::Shortcut { prefix, via }),
            None if prefix.prefix_len() == prefix.max_prefix_len() => {
                Some(TunnelRoute::Host { address: prefix.addr() })
            }
            None => None,
        })
        .collect()
}

/// The destination of a route; the default route carries no address.
pub(super) fn prefix_of(message: &RouteMessage) -> Option<IpNet> {
    let address = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Destination(address) => ip_address(address),
            _ => None,
        })
        .or(match message.header.address_family {
            AddressFamily::Inet => Some(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)),
            AddressFamily::Inet6 => Some(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED)),
            _ => None,
        })?;
    IpNet::new(address, message.header.destination_prefix_length).ok()
}

pub(super) fn ip_address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

pub(super) fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(ip) => RouteAddress::Inet(ip),
        IpAddr::V6(ip) => RouteAddress::Inet6(ip),
    }
}
