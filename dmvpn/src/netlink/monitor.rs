//! What others change in the kernel, from the multicast groups of rtnetlink, joined to small batches.
//!
//! A routing daemon that loads a table changes thousands of routes a second; all that matters here is that
//! routes changed, and what they depend on. So route and rule messages are not even decoded, the others are joined by object, and a
//! batch is handed out at most every [`BATCH_TIME`].

use std::{
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    io,
    net::IpAddr,
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::{
    MulticastGroup,
    packet_core::{NetlinkBuffer, NetlinkMessage, NetlinkPayload},
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage},
        link::LinkMessage,
        neighbour::NeighbourMessage,
    },
    proto::sys::{AsyncSocket, TokioSocket},
    sys::{SocketAddr, protocols::NETLINK_ROUTE},
};
use tokio::time::{Instant, sleep_until};

use super::{
    Error,
    error::Cause,
    interfaces::{Interface, interface_address},
    neighbours::protocol_address,
    selectors::{self, Selectors},
    underlay::usable_address,
};

/// How long changes are gathered before they are handed out.
pub const BATCH_TIME: Duration = Duration::from_millis(30);

/// Most objects in a batch; more of them become [`Change::Everything`].
const MAX_BATCH: usize = 4096;

/// Receive buffer of the socket. When it overflows nothing is lost but detail: [`Change::Everything`].
const RECEIVE_BUFFER: usize = 1024 * 1024;

/// Largest datagram the kernel sends.
const DATAGRAM_SIZE: usize = 64 * 1024;

// Message types (linux/rtnetlink.h).
const RTM_NEWLINK: u16 = 16;
const RTM_DELADDR: u16 = 21;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;

const GROUPS: [MulticastGroup; 8] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv6Rule,
];

/// Whether frames can leave by an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Up, with a carrier.
    Up,
    /// Down or without a carrier.
    Down,
    /// The interface is no more.
    Removed,
}

/// What is different now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Messages were lost: anything may be different. Comes alone.
    Everything,
    /// An interface; also on changes that do not show here.
    Link {
        /// Interface index.
        ifindex: u32,
        /// Name.
        name: String,
        /// Whether frames can leave by it.
        state: LinkState,
        /// Link-layer address, of an Ethernet-like interface.
        mac: Option<[u8; 6]>,
        /// MTU in bytes.
        mtu: u32,
    },
    /// An address of this box.
    Address {
        /// Interface index.
        ifindex: u32,
        /// The address.
        address: IpAddr,
        /// The interface has it; `false`: no more.
        present: bool,
    },
    /// A neighbour, on an interface whose neighbours are not ignored.
    Neighbour {
        /// Interface index.
        ifindex: u32,
        /// Protocol address.
        address: IpAddr,
        /// Link-layer address; `None`: not known (any more).
        mac: Option<[u8; 6]>,
    },
    /// Routes or nexthop objects, ours included.
    Routes {
        /// What the new ones depend on.
        by: Selectors,
    },
    /// Policy rules.
    Rules,
}

/// A subscription to changes. Open it before reading the tables, so that nothing falls between.
pub struct Monitor {
    socket: TokioSocket,
    buffer: Vec<u8>,
    ignored: BTreeSet<u32>,
    batch: Batch,
    due: Option<Instant>,
}

impl Monitor {
    /// Subscribes, in the network namespace of the calling thread. Must be called inside a tokio runtime with
    /// I/O and time.
    pub fn open() -> Result<Self, Error> {
        let open = || -> Result<TokioSocket, Cause> {
            let mut asynchronous = TokioSocket::new(NETLINK_ROUTE)?;
            let socket = asynchronous.socket_mut();
            // Beyond the system's limit with CAP_NET_ADMIN, else up to it: a smaller buffer only overflows
            // sooner.
            if setsockopt(&*socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
                setsockopt(&*socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
            }
            let groups = GROUPS.iter().fold(0, |groups, group| groups | 1 << (*group as u32 - 1));
            socket.bind(&SocketAddr::new(0, groups))?;
            // Kernels before 5.3 have no nexthop objects.
            match socket.add_membership(MulticastGroup::Nexthop as u32) {
                Err(error) if error.raw_os_error() != Some(libc::EINVAL) => return Err(error.into()),
                _ => {}
            }
            Ok(asynchronous)
        };
        let socket = open().map_err(|cause| Error::new("subscribe to changes in the kernel", cause))?;
        Ok(Self {
            socket,
            buffer: vec![0; DATAGRAM_SIZE],
            ignored: BTreeSet::new(),
            batch: Batch::default(),
            due: None,
        })
    }

    /// Reports no neighbours of the interface `ifindex` from now on: those of a tunnel interface are our own.
    pub fn ignore_neighbours_of(&mut self, ifindex: u32) {
        self.ignored.insert(ifindex);
    }

    /// Waits for changes; at least one. Can be dropped and called again without losing any (`select!`).
    pub async fn next(&mut self) -> Result<Vec<Change>, Error> {
        loop {
            if let Some(due) = self.due {
                tokio::select! {
                    biased;
                    () = sleep_until(due) => {
                        self.due = None;
                        return Ok(std::mem::take(&mut self.batch).into_changes());
                    }
                    read = self.read() => read,
                }
            } else {
                self.read().await
            }
            .map_err(|error| Error::new("receive changes from the kernel", error))?;
            if self.due.is_none() && !self.batch.is_empty() {
                self.due = Some(Instant::now() + BATCH_TIME);
            }
        }
    }

    /// Waits for one datagram.
    async fn read(&mut self) -> io::Result<()> {
        let Self { socket, buffer, ignored, batch, .. } = self;
        let size = buffer.len();
        let mut space = &mut buffer[..];
        match poll_fn(|context| socket.poll_recv(context, &mut space)).await {
            Ok(()) => {
                let length = size - space.len();
                batch.add_datagram(buffer.get(..length).unwrap_or_default(), ignored);
                Ok(())
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR) => Ok(()),
                Some(libc::ENOBUFS) => {
                    batch.lose_detail();
                    Ok(())
                }
                _ => Err(error),
            },
        }
    }
}

/// What has changed since the last batch, the latest state by object.
#[derive(Debug, Default)]
struct Batch {
    everything: bool,
    routes: Option<Selectors>,
    rules: bool,
    links: BTreeMap<u32, Change>,
    addresses: BTreeMap<(u32, IpAddr), bool>,
    neighbours: BTreeMap<(u32, IpAddr), Option<[u8; 6]>>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        !self.everything && self.routes.is_none() && !self.rules && self.objects() == 0
    }

    fn objects(&self) -> usize {
        self.links.len() + self.addresses.len() + self.neighbours.len()
    }

    fn lose_detail(&mut self) {
        *self = Self { everything: true, ..Self::default() };
    }

    fn into_changes(self) -> Vec<Change> {
        if self.everything {
            return vec![Change::Everything];
        }
        let addresses = self.addresses.into_iter().map(|((ifindex, address), present)| Change::Address {
            ifindex,
            address,
            present,
        });
        let neighbours = self.neighbours.into_iter().map(|((ifindex, address), mac)| Change::Neighbour {
            ifindex,
            address,
            mac,
        });
        let routes = self.routes.map(|by| Change::Routes { by });
        let rules = self.rules.then_some(Change::Rules);
        self.links.into_values().chain(addresses).chain(neighbours).chain(routes).chain(rules).collect()
    }

    fn add_datagram(&mut self, datagram: &[u8], ignored: &BTreeSet<u32>) {
        let mut rest = datagram;
        while !rest.is_empty() && !self.everything {
            let Ok(header) = NetlinkBuffer::new_checked(rest) else { return self.lose_detail() };
            let length = usize::try_from(header.length()).unwrap_or(usize::MAX);
            match header.message_type() {
                RTM_NEWROUTE => self.add_routes(selectors::of_route(header.payload())),
                // A nexthop object that becomes a group tells of its routes, too.
                RTM_DELROUTE | RTM_NEWNEXTHOP | RTM_DELNEXTHOP => self.add_routes(Selectors::default()),
                RTM_NEWRULE | RTM_DELRULE => self.rules = true,
                RTM_NEWLINK..=RTM_DELADDR | RTM_NEWNEIGH | RTM_DELNEIGH => {
                    match NetlinkMessage::deserialize(rest.get(..length).unwrap_or(rest)) {
                        Ok(message) => self.add_message(message, ignored),
                        // Something did change.
                        Err(_) => self.lose_detail(),
                    }
                }
                _ => {}
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            if self.objects() > MAX_BATCH {
                self.lose_detail();
            }
        }
    }

    fn add_routes(&mut self, by: Selectors) {
        self.routes = Some(self.routes.unwrap_or_default() | by);
    }

    fn add_message(&mut self, message: NetlinkMessage<RouteNetlinkMessage>, ignored: &BTreeSet<u32>) {
        let NetlinkPayload::InnerMessage(message) = message.payload else { return };
        match message {
            RouteNetlinkMessage::NewLink(link) => self.add_link(link, false),
            RouteNetlinkMessage::DelLink(link) => self.add_link(link, true),
            RouteNetlinkMessage::NewAddress(address) => self.add_address(&address, true),
            RouteNetlinkMessage::DelAddress(address) => self.add_address(&address, false),
            RouteNetlinkMessage::NewNeighbour(entry) => self.add_neighbour(&entry, true, ignored),
            RouteNetlinkMessage::DelNeighbour(entry) => self.add_neighbour(&entry, false, ignored),
            _ => {}
        }
    }

    fn add_link(&mut self, message: LinkMessage, removed: bool) {
        // A bridge reports its ports with its own address family; a port that leaves is no interface that
        // goes.
        if message.header.interface_family != AddressFamily::Unspec {
            return;
        }
        let Interface { index: ifindex, name, up, carrier, mac, mtu, .. } = message.into();
        let state = match (removed, up && carrier) {
            (true, _) => LinkState::Removed,
            (false, true) => LinkState::Up,
            (false, false) => LinkState::Down,
        };
        self.links.insert(ifindex, Change::Link { ifindex, name, state, mac, mtu });
    }

    fn add_address(&mut self, message: &AddressMessage, present: bool) {
        let Some(found) = interface_address(message) else { return };
        // An IPv6 address is announced when it is proposed and again when nobody else has it; only then it
        // can be used.
        if present && (is_tentative(message) || message.header.flags.contains(AddressHeaderFlags::Dadfailed))
        {
            return;
        }
        self.addresses.insert((found.ifindex, found.address.addr()), present);
    }

    fn add_neighbour(&mut self, message: &NeighbourMessage, present: bool, ignored: &BTreeSet<u32>) {
        let ifindex = message.header.ifindex;
        if ignored.contains(&ifindex) {
            return;
        }
        // Entries of a bridge's forwarding table come by the same group and have no protocol address.
        let Some(address) = protocol_address(message) else { return };
        self.neighbours.insert((ifindex, address), if present { usable_address(message) } else { None });
    }
}

fn is_tentative(message: &AddressMessage) -> bool {
    let flags = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Flags(flags) => Some(*flags),
        _ => None,
    });
    match flags {
        Some(flags) => flags.contains(AddressFlags::Tentative) && !flags.contains(AddressFlags::Optimistic),
        None => message.header.flags.contains(AddressHeaderFlags::Tentative),
    }
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourState};

    use super::*;

    fn datagram(message: RouteNetlinkMessage) -> Vec<u8> {
        let mut message = NetlinkMessage::from(message);
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }

    /// A datagram with the neighbours 10.0.0.0 + `numbers`.
    fn neighbours(numbers: std::ops::Range<u32>) -> Vec<u8> {
        let messages = numbers.map(|number| {
            let mut entry = NeighbourMessage::default();
            entry.header.family = AddressFamily::Inet;
            entry.header.ifindex = 2;
            entry.header.state = NeighbourState::Reachable;
            entry.attributes = vec![
                NeighbourAttribute::Destination(IpAddr::V4((0x0a00_0000 + number).into()).into()),
                NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 1]),
            ];
            datagram(RouteNetlinkMessage::NewNeighbour(entry))
        });
        messages.flatten().collect()
    }

    #[test]
    fn more_objects_than_a_batch_holds_are_everything() {
        let mut batch = Batch::default();
        let limit = u32::try_from(MAX_BATCH).unwrap();
        batch.add_datagram(&neighbours(0..limit), &BTreeSet::new());
        batch.add_datagram(&neighbours(0..limit), &BTreeSet::new());
        assert_eq!(batch.objects(), MAX_BATCH, "the same ones again take no room");
        batch.add_datagram(&neighbours(limit..limit + 1), &BTreeSet::new());
        assert_eq!(batch.objects(), 0);
        assert_eq!(batch.into_changes(), [Change::Everything]);
    }

    #[test]
    fn a_message_that_makes_no_sense_is_everything() {
        let whole = neighbours(0..1);
        for length in 1..whole.len() {
            let mut batch = Batch::default();
            batch.add_datagram(&whole[..length], &BTreeSet::new());
            assert_eq!(batch.into_changes(), [Change::Everything], "{length} of {} bytes", whole.len());
        }
    }

    #[test]
    fn messages_of_other_kinds_are_no_change() {
        let mut other = neighbours(0..1);
        // RTM_NEWQDISC
        other[4] = 36;
        let mut batch = Batch::default();
        batch.add_datagram(&other, &BTreeSet::new());
        assert!(batch.is_empty());
    }

    #[test]
    fn a_port_that_leaves_a_bridge_is_no_interface_that_goes() {
        let mut port = LinkMessage::default();
        port.header.index = 2;
        let mut batch = Batch::default();
        port.header.interface_family = AddressFamily::Bridge;
        batch.add_datagram(&datagram(RouteNetlinkMessage::DelLink(port.clone())), &BTreeSet::new());
        assert!(batch.is_empty());
        port.header.interface_family = AddressFamily::Unspec;
        batch.add_datagram(&datagram(RouteNetlinkMessage::DelLink(port)), &BTreeSet::new());
        assert!(matches!(batch.into_changes()[..], [Change::Link { state: LinkState::Removed, .. }]));
    }
}
