//! What of a packet decides on its route, beside its destination: selectors of policy rules, routes for some sources
//! or types of service only, routes with several next hops.
//!
//! The data path asks the kernel (`bpf_fib_lookup`) and remembers answers, so it has to know what an answer depends on.
//! The interface a packet came in by, and with it the VRF, is in the question and in the key of what is remembered. The
//! rest of a rule either does not differ between forwarded packets (outgoing interface, user, tunnel id, realm) or is
//! about the route found (`suppress_prefixlength`).

use std::ops::BitOr;

use rtnetlink::{
    packet_core::{NLM_F_DUMP, Nla as _, NlasIterator},
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        route::RouteMessage,
        rule::{RuleAttribute, RuleMessage},
    },
};

use nix::errno::Errno;

use super::{Error, Netlink, error::Cause, lookup::Lookup};

// linux/fib_rules.h, newer than the library.
const FRA_DSCP: u16 = 25;
const FRA_DSCP_MASK: u16 = 30;

// linux/rtnetlink.h
const RTA_OIF: u16 = 4;
const RTA_MULTIPATH: u16 = 9;
const RTA_NH_ID: u16 = 30;
/// Size of `struct rtmsg`.
const ROUTE_HEADER_SIZE: usize = 12;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// How often a listing is started again after a change interrupted it.
const LISTING_ATTEMPTS: usize = 3;

/// What decides on routes beside the destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selectors {
    /// The source address. A route with several next hops is one, too: the kernel chooses by a hash over source and
    /// destination, or (`fib_multipath_hash_policy` 1) over ports as well. The data path asks without ports and
    /// remembers by source and destination, so both ways a pair of hosts keeps to one next hop, and no flow is torn
    /// apart.
    pub source: bool,
    /// Type of service or protocol. Both are in the data path's question, but not in the key of what it remembers.
    pub class: bool,
    /// What the data path does not ask by: ports, flow label, and the mark that netfilter sets, before which the data
    /// path works; and whatever newer kernels select by.
    pub unseen: bool,
}

impl BitOr for Selectors {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            source: self.source | other.source,
            class: self.class | other.class,
            unseen: self.unseen | other.unseen,
        }
    }
}

/// What the policy rules of both families select by.
pub async fn of_rules(netlink: &Netlink) -> Result<Selectors, Error> {
    let mut found = Selectors::default();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut message = RuleMessage::default();
        message.header.family = family;
        let rules = netlink.list(RouteNetlinkMessage::GetRule(message), |entry| match entry {
            RouteNetlinkMessage::NewRule(rule) => Some(of_rule(&rule)),
            _ => None,
        });
        match rules.await {
            Ok(rules) => found = rules.into_iter().fold(found, BitOr::bitor),
            // The kernel has no IPv6, or no policy rules.
            Err(cause) if matches!(cause.errno(), Some(Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP)) => {}
            Err(cause) => return Err(Error::new("list the policy rules", cause)),
        }
    }
    Ok(found)
}

fn of_rule(rule: &RuleMessage) -> Selectors {
    let mut found =
        Selectors { source: rule.header.src_len != 0, class: rule.header.tos != 0, unseen: false };
    for attribute in &rule.attributes {
        match attribute {
            RuleAttribute::IpProtocol(_) => found.class = true,
            RuleAttribute::Other(other) if matches!(other.kind(), FRA_DSCP | FRA_DSCP_MASK) => {
                found.class = true;
            }
            RuleAttribute::SourcePortRange(_)
            | RuleAttribute::DestinationPortRange(_)
            | RuleAttribute::FwMark(_)
            | RuleAttribute::FwMask(_)
            | RuleAttribute::Other(_) => found.unseen = true,
            _ => {}
        }
    }
    found
}

/// What a route, as the kernel tells of it (`struct rtmsg` and attributes), depends on. Without decoding it: there may
/// be a million.
pub(super) fn of_route(route: &[u8]) -> Selectors {
    let [family @ (AF_INET | AF_INET6), _, source_length, tos, ..] = *route else {
        return Selectors::default();
    };
    let attributes = NlasIterator::new(route.get(ROUTE_HEADER_SIZE..).unwrap_or_default());
    let (mut several, mut object, mut interface) = (false, false, false);
    for attribute in attributes.map_while(Result::ok) {
        match attribute.kind() {
            RTA_MULTIPATH => several = true,
            RTA_NH_ID => object = true,
            RTA_OIF => interface = true,
            _ => {}
        }
    }
    Selectors {
        // A nexthop object whose particulars the kernel does not tell (`nexthop_compat_mode` 0) may be a group.
        source: source_length != 0 || several || (object && !interface),
        // IPv6 has the field, too, and does not use it.
        class: family == AF_INET && tos != 0,
        unseen: false,
    }
}

impl Lookup {
    /// What the routes of both families, in all tables, depend on. Costs a listing: a tenth of a second per 100,000.
    pub fn selectors_of_routes(&self) -> Result<Selectors, Error> {
        let mut found = Selectors::default();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let listed = self.list_selectors(family, &mut found);
            match listed {
                Err(cause) if matches!(cause.errno(), Some(Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP)) => {}
                listed => listed.map_err(|cause| Error::new("list the routes", cause))?,
            }
        }
        Ok(found)
    }

    fn list_selectors(&self, family: AddressFamily, found: &mut Selectors) -> Result<(), Cause> {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        for _ in 0..LISTING_ATTEMPTS {
            let listing = self.exchange(message.clone(), NLM_F_DUMP, |route| {
                *found = *found | of_route(route);
                Ok(())
            });
            match listing {
                Err(Cause::Interrupted) => {}
                other => return other,
            }
        }
        Err(Cause::Interrupted)
    }
}
