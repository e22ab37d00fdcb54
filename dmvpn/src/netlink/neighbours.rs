//! Resolved next hops: neighbours of a tunnel interface whose link-layer address holds the peer index.
//!
//! They are *permanent* (never probed, never aged), *extern-learned* (outside the neighbour table's size
//! limit) and carry our [`PROTOCOL`] number.

use std::net::IpAddr;

use dmvpn_common::PeerMac;
use nix::errno::Errno;
use rtnetlink::{
    packet_core::{NLM_F_CREATE, NLM_F_REPLACE},
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
        route::RouteProtocol,
    },
};

use super::{Error, Netlink, PROTOCOL};

/// A resolved next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The next hop's protocol address.
    pub address: IpAddr,
    /// Its peer index ([`PeerMac::index_of`]).
    pub peer: u32,
}

/// Makes frames to the next hop `address` on the tunnel interface `ifindex` carry `mac`. Creates or replaces
/// the entry; packets the kernel queued while it was unresolved leave at once.
pub fn set(netlink: &Netlink, ifindex: u32, address: IpAddr, mac: PeerMac) -> Result<(), Error> {
    let mut message = entry(ifindex, address);
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::ExtLearned;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    message.attributes.push(NeighbourAttribute::Protocol(RouteProtocol::from(PROTOCOL)));
    netlink
        .change(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
        .map_err(|cause| Error::new(format!("set neighbour {address} on interface number {ifindex}"), cause))
}

/// Forgets the next hop `address` on the interface `ifindex`. No entry is no error.
pub fn remove(netlink: &Netlink, ifindex: u32, address: IpAddr) -> Result<(), Error> {
    match netlink.change(RouteNetlinkMessage::DelNeighbour(entry(ifindex, address)), 0) {
        Ok(()) => Ok(()),
        Err(cause) if cause.errno() == Some(Errno::ENOENT) => Ok(()),
        Err(cause) => {
            Err(Error::new(format!("remove neighbour {address} on interface number {ifindex}"), cause))
        }
    }
}

/// The next hops on the interface `ifindex` that this program, or one before it, resolved.
pub async fn list_ours(netlink: &Netlink, ifindex: u32) -> Result<Vec<Neighbour>, Error> {
    let mut found = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut message = NeighbourMessage::default();
        message.header.family = family;
        message.attributes.push(NeighbourAttribute::IfIndex(ifindex));
        let entries = netlink.list(RouteNetlinkMessage::GetNeighbour(message), |entry| match entry {
            RouteNetlinkMessage::NewNeighbour(entry) if entry.header.ifindex == ifindex => resolved(&entry),
            _ => None,
        });
        match entries.await {
            Ok(entries) => found.extend(entries),
            // IPv6 is disabled.
            Err(cause) if cause.errno() == Some(Errno::EAFNOSUPPORT) => {}
            Err(cause) => {
                return Err(Error::new(format!("list the neighbours of interface number {ifindex}"), cause));
            }
        }
    }
    Ok(found)
}

/// A message about one entry.
pub(super) fn entry(ifindex: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.ifindex = ifindex;
    message.attributes.push(NeighbourAttribute::Destination(address.into()));
    message
}

/// The next hop in an entry, when its link-layer address is that of a peer.
fn resolved(message: &NeighbourMessage) -> Option<Neighbour> {
    let mac = link_layer_address(message)?;
    if mac == PeerMac::TUNNEL.0 || mac == PeerMac::FAR_END.0 {
        return None;
    }
    Some(Neighbour { address: protocol_address(message)?, peer: PeerMac::index_of(mac)? })
}

/// The protocol address of an entry.
pub(super) fn protocol_address(message: &NeighbourMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    })
}

/// The six-byte link-layer address of an entry.
pub(super) fn link_layer_address(message: &NeighbourMessage) -> Option<[u8; 6]> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => bytes.as_slice().try_into().ok(),
        _ => None,
    })
}
