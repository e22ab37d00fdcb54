//! Reading interfaces and addresses.

use std::net::IpAddr;

use ipnet::IpNet;
use nix::errno::Errno;
use rtnetlink::packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage},
    link::{
        InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
        VlanProtocol,
    },
};

use super::{Error, Netlink, PROTOCOL, error::Cause};

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the kernel's own flags, each independent of the others")]
pub struct Interface {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Link-layer address of an Ethernet-like interface; `None` for any other (PPP, TUN, loopback).
    pub mac: Option<[u8; 6]>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Has a carrier: frames can leave.
    pub carrier: bool,
    /// Resolves neighbours (ARP, ND).
    pub arp: bool,
    /// Sends and receives multicast.
    pub multicast: bool,
    /// Kind of a virtual interface (`veth`, `vlan`, ...); `None` for a physical one.
    pub kind: Option<String>,
    /// Its VLAN identifier, when it is a VLAN device (802.1Q).
    pub vlan: Option<u16>,
    /// Index of the interface below it, or the other end of a veth pair.
    pub below: Option<u32>,
    /// The interface in [`below`](Self::below) is in another network namespace.
    pub below_elsewhere: bool,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceAddress {
    /// Interface index.
    pub ifindex: u32,
    /// The address and the length of its subnet.
    pub address: IpNet,
    /// This program put it there: it carries [`PROTOCOL`] (kernels from 5.18 keep that).
    pub ours: bool,
    /// IPv6: nobody may use it yet, as it is not known that nobody else has it; or never, as somebody has.
    pub tentative: bool,
}

/// The interface called `name`, or `None` when there is none.
pub async fn by_name(netlink: &Netlink, name: &str) -> Result<Option<Interface>, Error> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    get(netlink, message).await.map_err(|cause| Error::new(format!("look up interface {name}"), cause))
}

/// The interface with the index `index`, or `None` when there is none.
pub async fn by_index(netlink: &Netlink, index: u32) -> Result<Option<Interface>, Error> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    get(netlink, message)
        .await
        .map_err(|cause| Error::new(format!("look up interface number {index}"), cause))
}

/// Every interface.
pub async fn list(netlink: &Netlink) -> Result<Vec<Interface>, Error> {
    let message = RouteNetlinkMessage::GetLink(LinkMessage::default());
    netlink
        .list(message, |entry| match entry {
            RouteNetlinkMessage::NewLink(link) => Some(Interface::from(link)),
            _ => None,
        })
        .await
        .map_err(|cause| Error::new("list the interfaces", cause))
}

/// Every address of the interface `ifindex`, or of every interface.
pub async fn addresses(netlink: &Netlink, ifindex: Option<u32>) -> Result<Vec<InterfaceAddress>, Error> {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Unspec;
    message.header.index = ifindex.unwrap_or_default();
    netlink
        .list(RouteNetlinkMessage::GetAddress(message), |entry| match entry {
            RouteNetlinkMessage::NewAddress(address) => {
                interface_address(&address).filter(|found| ifindex.is_none_or(|index| index == found.ifindex))
            }
            _ => None,
        })
        .await
        .map_err(|cause| Error::new("list the addresses", cause))
}

/// The interface that has the address `address`, or `None` when no interface has it.
pub async fn address_owner(netlink: &Netlink, address: IpAddr) -> Result<Option<Interface>, Error> {
    let found = addresses(netlink, None).await?.into_iter().find(|entry| entry.address.addr() == address);
    match found {
        Some(entry) => by_index(netlink, entry.ifindex).await,
        None => Ok(None),
    }
}

async fn get(netlink: &Netlink, message: LinkMessage) -> Result<Option<Interface>, Cause> {
    match netlink.request(RouteNetlinkMessage::GetLink(message), 0).await {
        Ok(answers) => Ok(answers.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(link) => Some(Interface::from(link)),
            _ => None,
        })),
        Err(cause) if cause.errno() == Some(Errno::ENODEV) => Ok(None),
        Err(cause) => Err(cause),
    }
}

impl From<LinkMessage> for Interface {
    fn from(message: LinkMessage) -> Self {
        let flags = message.header.flags;
        let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
        let mut interface = Self {
            index: message.header.index,
            name: String::new(),
            mac: None,
            mtu: 0,
            up: flags.contains(LinkFlags::Up),
            carrier: flags.contains(LinkFlags::LowerUp),
            arp: !flags.contains(LinkFlags::Noarp),
            multicast: flags.contains(LinkFlags::Multicast),
            kind: None,
            vlan: None,
            below: None,
            below_elsewhere: false,
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => interface.name = name,
                LinkAttribute::Mtu(mtu) => interface.mtu = mtu,
                LinkAttribute::Address(bytes) if ethernet => interface.mac = bytes.try_into().ok(),
                LinkAttribute::Link(index) => interface.below = Some(index),
                LinkAttribute::LinkNetNsId(_) => interface.below_elsewhere = true,
                LinkAttribute::LinkInfo(information) => {
                    for item in information {
                        match item {
                            LinkInfo::Kind(InfoKind::Other(kind)) => interface.kind = Some(kind),
                            LinkInfo::Kind(kind) => interface.kind = Some(kind.to_string()),
                            LinkInfo::Data(InfoData::Vlan(data)) => interface.vlan = vlan_id(&data),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        interface
    }
}

/// The identifier of a VLAN device, unless it is one of the other kind (802.1ad).
fn vlan_id(data: &[InfoVlan]) -> Option<u16> {
    let is_other = |item: &InfoVlan| matches!(item, InfoVlan::Protocol(protocol) if *protocol != VlanProtocol::Ieee8021Q);
    if data.iter().any(is_other) {
        return None;
    }
    data.iter().find_map(|item| match item {
        InfoVlan::Id(id) => Some(*id),
        _ => None,
    })
}

/// The address in a message; `None` for a message without one.
pub(super) fn interface_address(message: &AddressMessage) -> Option<InterfaceAddress> {
    // IFA_LOCAL is our own address; IFA_ADDRESS is the peer's on a point-to-point link and is all that IPv6
    // has.
    let mut local = None;
    let mut address = None;
    let mut ours = false;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Protocol(protocol) => ours = u8::from(*protocol) == PROTOCOL,
            _ => {}
        }
    }
    let address = IpNet::new(local.or(address)?, message.header.prefix_len).ok()?;
    // RFC 4862 5.4.
    let unusable = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed;
    let tentative = message.header.flags.intersects(unusable);
    Some(InterfaceAddress { ifindex: message.header.index, address, ours, tentative })
}
