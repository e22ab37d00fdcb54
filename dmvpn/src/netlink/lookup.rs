//! "How would the kernel route this?", answered at once: the engine asks in the middle of its work. A question costs a few
//! microseconds.

use std::net::IpAddr;

use ipnet::IpNet;
use nix::errno::Errno;
use rtnetlink::{
    packet_core::{NLM_F_DUMP, NlasIterator, Parseable},
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        route::{
            RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHopFlags, RouteType, RouteVia,
        },
    },
};

use super::{
    Error, PROTOCOL,
    direct::{Direct, malformed},
    error::Cause,
    routes::{STATIC_METRIC, ip_address, prefix_of, route_address},
};

/// How often a listing is started again after a change interrupted it.
const LISTING_ATTEMPTS: usize = 3;

// linux/rtnetlink.h
const RTM_NEWROUTE: u16 = 24;
const RTA_DST: u16 = 1;
/// Size of `struct rtmsg`.
const ROUTE_HEADER_SIZE: usize = 12;

/// How the kernel routes a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// An address of this box.
    Local {
        /// The route that says so: the address itself, or more (127.0.0.0/8).
        prefix: IpNet,
    },
    /// It leaves by an interface.
    Via {
        /// Which interface.
        ifindex: u32,
        /// The next hop, of either family; `None` when the destination is on the link.
        gateway: Option<IpAddr>,
        /// The most specific route that covers the destination.
        prefix: IpNet,
        /// Source address the route prefers.
        preferred_source: Option<IpAddr>,
        /// Who installed the route (`RTPROT_*`).
        protocol: u8,
    },
    /// No route, a route that refuses (blackhole, unreachable, prohibit), or a broadcast or multicast
    /// destination.
    Unreachable,
}

/// A socket to ask on.
#[derive(Debug)]
pub struct Lookup {
    socket: Direct,
}

impl Lookup {
    /// Opens the socket, in the network namespace of the calling thread.
    pub fn open() -> Result<Self, Error> {
        let socket =
            Direct::open().map_err(|cause| Error::new("open a netlink socket for route lookups", cause))?;
        Ok(Self { socket })
    }

    /// How the kernel routes `destination` now.
    pub fn route(&self, destination: IpAddr) -> Result<Routing, Error> {
        let what = || format!("look up the route to {destination}");
        let found = self.find(destination).map_err(|cause| Error::new(what(), cause))?;
        found.map_or(Ok(Routing::Unreachable), |found| {
            self.routing(destination, &found).map_err(|cause| Error::new(what(), cause))
        })
    }

    /// How the kernel would route `destination` without the shortcuts and host routes that this program
    /// added; static routes count.
    ///
    /// When one of ours covers the destination this costs a listing of its table (a millisecond per ten
    /// thousand routes), and policy rules that come after that table are not followed.
    pub fn route_without_shortcuts(&self, destination: IpAddr) -> Result<Routing, Error> {
        let what = || format!("look up the route to {destination} without shortcuts");
        let found = self.find(destination).and_then(|found| match found {
            Some(found) if found.is_shortcut() => self.next_best(destination, found.table),
            other => Ok(other),
        });
        let found = found.map_err(|cause| Error::new(what(), cause))?;
        found.map_or(Ok(Routing::Unreachable), |found| {
            self.routing(destination, &found).map_err(|cause| Error::new(what(), cause))
        })
    }

    /// The route that covers `destination`, as it is in the table; `None` when there is none or it refuses.
    fn find(&self, destination: IpAddr) -> Result<Option<Found>, Cause> {
        let mut message = question(destination);
        message.header.flags = RouteFlags::FibMatch;
        self.ask(message)
    }

    fn ask(&self, message: RouteMessage) -> Result<Option<Found>, Cause> {
        let mut found = None;
        let asked = self.exchange(message, 0, |route| {
            found = Found::decode(route)?;
            Ok(())
        });
        match asked {
            Ok(()) => Ok(found),
            Err(cause) if is_refusal(&cause) => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    /// The most specific route of `table` to `destination` that is no shortcut; among equals the one with the
    /// lowest metric, among those the first in the kernel's own order.
    fn next_best(&self, destination: IpAddr, table: u32) -> Result<Option<Found>, Cause> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(destination);
        match u8::try_from(table) {
            Ok(table) => message.header.table = table,
            Err(_) => message.attributes.push(RouteAttribute::Table(table)),
        }
        for _ in 0..LISTING_ATTEMPTS {
            let mut best: Option<Found> = None;
            let listing = self.exchange(message.clone(), NLM_F_DUMP, |route| {
                // Most routes do not; to decode them all would take far longer.
                if !covers(route, destination) {
                    return Ok(());
                }
                if let Some(route) = Found::decode(route)?
                    && !route.is_shortcut()
                    && !route.dead
                    && best.as_ref().is_none_or(|best| route.beats(best))
                {
                    best = Some(route);
                }
                Ok(())
            });
            match listing {
                Ok(()) => return Ok(best),
                Err(Cause::Interrupted) => {}
                Err(cause) => return Err(cause),
            }
        }
        Err(Cause::Interrupted)
    }

    fn routing(&self, destination: IpAddr, found: &Found) -> Result<Routing, Cause> {
        let Found { prefix, preferred_source, protocol, .. } = *found;
        match found.kind {
            RouteType::Local | RouteType::Anycast => Ok(Routing::Local { prefix }),
            RouteType::Unicast => {
                let next_hop = match found.next_hop {
                    Some(next_hop) => Some(next_hop),
                    // A nexthop object, with net.ipv4.nexthop_compat_mode=0: only a packet's route has the
                    // particulars.
                    None => self.ask(question(destination))?.and_then(|route| route.next_hop),
                };
                Ok(next_hop.map_or(Routing::Unreachable, |(ifindex, gateway)| Routing::Via {
                    ifindex,
                    gateway,
                    prefix,
                    preferred_source,
                    protocol,
                }))
            }
            _ => Ok(Routing::Unreachable),
        }
    }

    /// Sends a question and hands every route of the answer, undecoded, to `receive`.
    pub(super) fn exchange(
        &self,
        message: RouteMessage,
        flags: u16,
        mut receive: impl FnMut(&[u8]) -> Result<(), Cause>,
    ) -> Result<(), Cause> {
        self.socket.exchange(RouteNetlinkMessage::GetRoute(message), flags, |answer| {
            if answer.message_type() == RTM_NEWROUTE { receive(answer.payload()) } else { Ok(()) }
        })
    }
}

/// How the kernel reports that a destination cannot be reached: no route; unreachable; prohibit; blackhole;
/// throw.
pub(super) fn is_refusal(cause: &Cause) -> bool {
    matches!(
        cause.errno(),
        Some(Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EACCES | Errno::EINVAL | Errno::EAGAIN)
    )
}

/// Whether the route in a message covers `destination`.
fn covers(route: &[u8], destination: IpAddr) -> bool {
    let (Some(length), Some(attributes)) = (route.get(1), route.get(ROUTE_HEADER_SIZE..)) else {
        return false;
    };
    let network = NlasIterator::new(attributes)
        .map_while(Result::ok)
        .find(|attribute| attribute.kind() == RTA_DST)
        .and_then(|attribute| match destination {
            IpAddr::V4(_) => <[u8; 4]>::try_from(attribute.value()).ok().map(IpAddr::from),
            IpAddr::V6(_) => <[u8; 16]>::try_from(attribute.value()).ok().map(IpAddr::from),
        });
    match network {
        Some(network) => IpNet::new(network, *length).is_ok_and(|prefix| prefix.contains(&destination)),
        // The default route carries no address.
        None => *length == 0,
    }
}

/// "How is a packet to `destination` routed?"
pub(super) fn question(destination: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(destination);
    message.header.destination_prefix_length = IpNet::from(destination).prefix_len();
    message.attributes.push(RouteAttribute::Destination(route_address(destination)));
    message
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// What matters of a route.
#[derive(Debug)]
struct Found {
    prefix: IpNet,
    kind: RouteType,
    table: u32,
    protocol: u8,
    metric: u32,
    preferred_source: Option<IpAddr>,
    /// Interface and gateway; of several next hops the first that lives.
    next_hop: Option<(u32, Option<IpAddr>)>,
    /// No next hop lives.
    dead: bool,
}

impl Found {
    /// Decodes a message; `None` for a route of another kind.
    fn decode(route: &[u8]) -> Result<Option<Self>, Cause> {
        RouteMessage::parse(route).map(|message| Self::from_message(&message)).map_err(malformed)
    }

    fn from_message(message: &RouteMessage) -> Option<Self> {
        let RouteHeader { table, protocol, kind, flags, .. } = message.header;
        let mut found = Self {
            prefix: prefix_of(message)?,
            kind,
            table: table.into(),
            protocol: protocol.into(),
            metric: 0,
            preferred_source: None,
            next_hop: None,
            dead: flags.contains(RouteFlags::Dead),
        };
        let mut next_hops: &[_] = &[];
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Table(table) => found.table = *table,
                RouteAttribute::Priority(metric) => found.metric = *metric,
                RouteAttribute::PrefSource(source) => found.preferred_source = ip_address(source),
                RouteAttribute::MultiPath(hops) => next_hops = hops,
                _ => {}
            }
        }
        found.next_hop = interface_and_gateway(&message.attributes);
        let living = next_hops.iter().find(|hop| !hop.flags.contains(RouteNextHopFlags::Dead));
        match living {
            Some(hop) => found.next_hop = Some((hop.interface_index, gateway(&hop.attributes))),
            None => found.dead |= !next_hops.is_empty(),
        }
        Some(found)
    }

    fn is_shortcut(&self) -> bool {
        self.protocol == PROTOCOL && self.metric != STATIC_METRIC
    }

    fn beats(&self, other: &Self) -> bool {
        let (own, others) = (self.prefix.prefix_len(), other.prefix.prefix_len());
        own > others || (own == others && self.metric < other.metric)
    }
}

fn interface_and_gateway(attributes: &[RouteAttribute]) -> Option<(u32, Option<IpAddr>)> {
    let interface = attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })?;
    Some((interface, gateway(attributes)))
}

/// The gateway of a route or of one of its next hops. An IPv4 route may have an IPv6 gateway (RFC 5549).
pub(super) fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(gateway) => ip_address(gateway),
        RouteAttribute::Via(RouteVia::Inet(ip)) => Some(IpAddr::V4(*ip)),
        RouteAttribute::Via(RouteVia::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    })
}
