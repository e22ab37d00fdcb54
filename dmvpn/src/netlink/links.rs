//! The tunnel interface: a veth pair of which one end carries the tunnel's address and the other end is only
//! a door.
//!
//! ```text
//!  routing, FRR, BIRD          dmvpn0  <=== veth ===>  dmvpn0-x        what XDP redirects into the far
//!  and applications use it     address, ARP            nothing         end arrives on dmvpn0
//! ```
//!
//! The pair stays when the agent ends, so that no route and no adjacency goes; the next agent adopts it.
//! Adoption writes only what differs: no address is taken away and put back, and no end goes down.
//!
//! Left as the operator has it: `rp_filter` (packets arrive on the interface that the route back leaves by,
//! so strict mode works too), queue lengths and offloads other than receive offload on `dmvpn0`, which native
//! XDP needs to redirect into the far end.

use std::net::{IpAddr, Ipv6Addr};

use dmvpn_common::PeerMac;
use ipnet::{IpNet, Ipv6Net};
use nix::errno::Errno;
use rtnetlink::{
    packet_core::{NLM_F_CREATE, NLM_F_EXCL},
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressProtocol, AddressScope},
        link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    },
};

use super::{
    Error, Netlink, PROTOCOL,
    error::Cause,
    ethtool,
    interfaces::{self, Interface},
    sysctl::Setting,
};

/// Longest name of a tunnel interface in bytes: the kernel's 15, less the two of the far end's suffix.
pub const MAX_NAME_LENGTH: usize = 13;

/// What a tunnel interface shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelSpec {
    /// Its name, at most [`MAX_NAME_LENGTH`] bytes.
    pub name: String,
    /// Our protocol address and the length of the tunnel's subnet.
    pub address: IpNet,
    /// With IPv6: the link-local address, which no other node of the network has. The kernel sends neighbour
    /// solicitations for forwarded packets from one, and routing daemons speak from it and name it as next hop.
    pub link_local: Option<Ipv6Addr>,
    /// MTU in bytes.
    pub mtu: u32,
}

/// A tunnel interface that is as it shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelLink {
    /// Interface index.
    pub ifindex: u32,
    /// Interface index of the far end: a frame sent there arrives on the tunnel interface.
    pub far_ifindex: u32,
    /// What had to be changed, a line each; empty when everything was in place.
    pub changes: Vec<String>,
    /// What the operator may want to change elsewhere, a line each.
    pub advice: Vec<String>,
}

/// Name of the far end of the tunnel interface `name`.
pub fn far_end_name(name: &str) -> String {
    format!("{name}-x")
}

/// Creates the tunnel interface, or adopts the one an earlier agent left. An interface of that name that is
/// not ours is an error.
pub async fn create_or_adopt(netlink: &Netlink, spec: &TunnelSpec) -> Result<TunnelLink, Error> {
    let TunnelSpec { name, mtu, .. } = spec;
    let far_name = far_end_name(name);
    let mut changes = Vec::new();
    let mut pair = find_pair(netlink, name).await?;
    if pair.is_none() {
        create_pair(netlink, name, *mtu).await?;
        changes.push(format!("created veth pair {name} and {far_name}"));
        pair = find_pair(netlink, name).await?;
    }
    let (near, far) = pair.ok_or_else(|| {
        let cause = Cause::Conflict("somebody removes it as soon as it is made: find out who".to_owned());
        Error::new(format!("create interface {name}"), cause)
    })?;

    // Settings come before "up", so that no address is ever generated.
    changes.extend(settings(name, &far_name, spec.address)?);
    let gro = ethtool::enable_gro(name)
        .map_err(|error| Error::new(format!("switch generic receive offload on for {name}"), error))?;
    if gro {
        changes.push(format!("{name}: generic receive offload on"));
    }
    ensure_addresses(netlink, &near, spec, &mut changes).await?;
    // The far end first: it must take whatever the tunnel interface may send.
    ensure_link(netlink, &far, &far_end(&far, *mtu), &mut changes).await?;
    ensure_link(netlink, &near, &near_end(*mtu), &mut changes).await?;

    let mut advice = advice(name, spec.address)?;
    advice.extend(other_addresses(netlink, &near, spec).await?);
    Ok(TunnelLink { ifindex: near.index, far_ifindex: far.index, changes, advice })
}

/// Removes the tunnel interface `name` with its addresses, neighbours and routes; whether there was one. An
/// interface of that name that is not ours is an error.
pub async fn delete_tunnel(netlink: &Netlink, name: &str) -> Result<bool, Error> {
    let Some((near, _)) = find_pair(netlink, name).await? else { return Ok(false) };
    let mut message = LinkMessage::default();
    message.header.index = near.index;
    match netlink.request(RouteNetlinkMessage::DelLink(message), 0).await {
        Ok(_) => Ok(true),
        Err(cause) if cause.errno() == Some(Errno::ENODEV) => Ok(false),
        Err(cause) => Err(Error::new(format!("delete interface {name}"), cause)),
    }
}

/// Both ends of our pair, or `None` when neither exists.
async fn find_pair(netlink: &Netlink, name: &str) -> Result<Option<(Interface, Interface)>, Error> {
    let far_name = far_end_name(name);
    let conflict =
        |text: String| Err(Error::new(format!("use {name} as tunnel interface"), Cause::Conflict(text)));
    if name.len() > MAX_NAME_LENGTH {
        return conflict(format!("the name is longer than {MAX_NAME_LENGTH} bytes: choose a shorter one"));
    }
    let near = interfaces::by_name(netlink, name).await?;
    let far = interfaces::by_name(netlink, &far_name).await?;
    match (near, far) {
        (None, None) => Ok(None),
        (Some(near), Some(far)) if paired(&near, &far) => Ok(Some((near, far))),
        (Some(near), _) if near.kind.as_deref() != Some("veth") => {
            let kind = near.kind.as_deref().unwrap_or("physical");
            conflict(format!(
                "a {kind} interface of that name exists: give the tunnel another name, or remove it"
            ))
        }
        (Some(_), _) => conflict(format!(
            "a veth interface of that name exists, but its other end is not {far_name} in this network namespace: \
             give the tunnel another name, or remove it with: ip link delete {name}"
        )),
        (None, Some(_)) => conflict(format!(
            "{far_name}, the name of its far end, is taken: give the tunnel another name, or remove it with: \
             ip link delete {far_name}"
        )),
    }
}

fn paired(near: &Interface, far: &Interface) -> bool {
    let veth = |end: &Interface| end.kind.as_deref() == Some("veth") && !end.below_elsewhere;
    veth(near) && veth(far) && near.below == Some(far.index) && far.below == Some(near.index)
}

/// Creates the pair, both ends down.
async fn create_pair(netlink: &Netlink, name: &str, mtu: u32) -> Result<(), Error> {
    let end = |name: String, mac: PeerMac| {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name),
            LinkAttribute::Address(mac.0.to_vec()),
            LinkAttribute::Mtu(mtu),
        ];
        message
    };
    let far_name = far_end_name(name);
    let far = end(far_name.clone(), PeerMac::FAR_END);
    let mut near = end(name.to_owned(), PeerMac::TUNNEL);
    near.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(far))),
    ]));
    match netlink.request(RouteNetlinkMessage::NewLink(near), NLM_F_CREATE | NLM_F_EXCL).await {
        Ok(_) => Ok(()),
        Err(cause) => Err(Error::new(format!("create veth pair {name} and {far_name}"), cause)),
    }
}

/// What one end of the pair shall be.
struct End {
    mac: PeerMac,
    mtu: u32,
    arp: bool,
}

fn near_end(mtu: u32) -> End {
    End { mac: PeerMac::TUNNEL, mtu, arp: true }
}

/// The far end takes at least what the tunnel interface sends.
fn far_end(far: &Interface, mtu: u32) -> End {
    End { mac: PeerMac::FAR_END, mtu: far.mtu.max(mtu), arp: false }
}

/// Writes what differs between `interface` and `wanted`, in one message.
async fn ensure_link(
    netlink: &Netlink,
    interface: &Interface,
    wanted: &End,
    changes: &mut Vec<String>,
) -> Result<(), Error> {
    let Interface { index, name, .. } = interface;
    let mut message = LinkMessage::default();
    message.header.index = *index;
    let mut differences = Vec::new();
    if interface.mac != Some(wanted.mac.0) {
        message.attributes.push(LinkAttribute::Address(wanted.mac.0.to_vec()));
        differences.push(format!("{name}: link-layer address {}", mac_text(wanted.mac.0)));
    }
    if interface.mtu != wanted.mtu {
        message.attributes.push(LinkAttribute::Mtu(wanted.mtu));
        differences.push(format!("{name}: MTU {}", wanted.mtu));
    }
    let mut flag = |flag: LinkFlags, set: bool, text: &str| {
        message.header.change_mask |= flag;
        message.header.flags.set(flag, set);
        differences.push(format!("{name}: {text}"));
    };
    if interface.arp != wanted.arp {
        flag(LinkFlags::Noarp, !wanted.arp, if wanted.arp { "ARP on" } else { "ARP off" });
    }
    if !interface.multicast {
        flag(LinkFlags::Multicast, true, "multicast on");
    }
    if !interface.up {
        flag(LinkFlags::Up, true, "up");
    }
    if differences.is_empty() {
        return Ok(());
    }
    match netlink.request(RouteNetlinkMessage::SetLink(message), 0).await {
        Ok(_) => {
            changes.append(&mut differences);
            Ok(())
        }
        Err(cause) => Err(Error::new(format!("change {}", differences.join(", ")), cause)),
    }
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Writes the settings of both ends below `/proc/sys/net`; what was changed.
fn settings(name: &str, far_name: &str, address: IpNet) -> Result<Vec<String>, Error> {
    let ipv4 = [
        (name, "forwarding", "1"),
        // A packet that goes back into the tunnel is normal here, and NHRP does what ICMP redirects would.
        (name, "send_redirects", "0"),
        (name, "accept_redirects", "0"),
        (far_name, "forwarding", "0"),
    ];
    // No address that nobody asked for: all tunnel interfaces have one link-layer address, so that every box
    // would generate the same.
    let ipv6 = [
        (name, "addr_gen_mode", "1"),
        (name, "accept_ra", "0"),
        (name, "autoconf", "0"),
        (name, "accept_redirects", "0"),
        (far_name, "addr_gen_mode", "1"),
        (far_name, "accept_ra", "0"),
        (far_name, "autoconf", "0"),
        (far_name, "forwarding", "0"),
        (far_name, "disable_ipv6", "1"),
    ];
    let ipv6_tunnel = [(name, "disable_ipv6", "0"), (name, "forwarding", "1"), (name, "accept_dad", "0")];
    let ipv6_tunnel = if address.addr().is_ipv6() { &ipv6_tunnel[..] } else { &[] };

    let ipv4 = ipv4.iter().map(|setting| ("ipv4/conf", setting));
    let ipv6 = ipv6.iter().chain(ipv6_tunnel).map(|setting| ("ipv6/conf", setting));
    let mut changes = Vec::new();
    for (section, (interface, setting, value)) in ipv4.chain(ipv6) {
        changes.extend(Setting::of_interface(section, interface, setting).ensure(value)?);
    }
    Ok(changes)
}

/// Settings of the whole box that keep a tunnel from working as one expects. They are the operator's, so they
/// are only named.
fn advice(name: &str, address: IpNet) -> Result<Vec<String>, Error> {
    let all = |section, setting, value| -> Result<bool, Error> {
        Ok(Setting::of_interface(section, "all", setting).read()?.is_some_and(|current| current == value))
    };
    let mut advice = Vec::new();
    match address {
        IpNet::V4(_) => {
            if all("ipv4/conf", "forwarding", "0")? {
                advice.push(format!(
                    "packets from other interfaces are not forwarded into {name}; to route for a LAN: \
                     sysctl -w net.ipv4.ip_forward=1"
                ));
            }
            if all("ipv4/conf", "send_redirects", "1")? {
                advice.push(format!(
                    "net.ipv4.conf.all.send_redirects=1 overrules the 0 of {name}: the kernel may send ICMP redirects \
                     into the tunnel; to stop it: sysctl -w net.ipv4.conf.all.send_redirects=0"
                ));
            }
        }
        IpNet::V6(_) => {
            if all("ipv6/conf", "forwarding", "0")? {
                advice.push(format!(
                    "IPv6 packets are not forwarded into or out of {name}; to route for a LAN: \
                     sysctl -w net.ipv6.conf.all.forwarding=1"
                ));
            }
        }
    }
    Ok(advice)
}

/// The addresses the tunnel interface shall have.
fn wanted_addresses(spec: &TunnelSpec) -> Vec<IpNet> {
    let link_local = spec.link_local.and_then(|address| Ipv6Net::new(address, 64).ok());
    std::iter::once(spec.address).chain(link_local.map(IpNet::V6)).collect()
}

/// Adds the addresses that are missing, and removes those of ours that an earlier configuration asked for.
async fn ensure_addresses(
    netlink: &Netlink,
    interface: &Interface,
    spec: &TunnelSpec,
    changes: &mut Vec<String>,
) -> Result<(), Error> {
    let Interface { index, name, .. } = interface;
    let wanted = wanted_addresses(spec);
    for present in interfaces::addresses(netlink, Some(*index)).await? {
        let other_length = wanted.iter().any(|wanted| wanted.addr() == present.address.addr());
        if !wanted.contains(&present.address) && (present.ours || other_length) {
            let message = RouteNetlinkMessage::DelAddress(address_message(*index, present.address));
            netlink.request(message, 0).await.map_err(|cause| {
                Error::new(format!("remove address {} from {name}", present.address), cause)
            })?;
            changes.push(format!("{name}: removed address {}", present.address));
        }
    }
    // Listed anew: the kernel takes secondary addresses away with the primary one.
    let present = interfaces::addresses(netlink, Some(*index)).await?;
    for wanted in wanted {
        if present.iter().any(|present| present.address == wanted) {
            continue;
        }
        let message = RouteNetlinkMessage::NewAddress(address_message(*index, wanted));
        netlink
            .request(message, NLM_F_CREATE | NLM_F_EXCL)
            .await
            .map_err(|cause| Error::new(format!("add address {wanted} to {name}"), cause))?;
        changes.push(format!("{name}: added address {wanted}"));
    }
    Ok(())
}

fn address_message(ifindex: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = ifindex;
    message.header.prefix_len = address.prefix_len();
    message.attributes = vec![
        AddressAttribute::Local(address.addr()),
        AddressAttribute::Address(address.addr()),
        AddressAttribute::Protocol(AddressProtocol::from(PROTOCOL)),
    ];
    match address.addr() {
        IpAddr::V4(_) => message.header.family = AddressFamily::Inet,
        IpAddr::V6(ip) => {
            message.header.family = AddressFamily::Inet6;
            // Nobody but NHRP can tell whether another box has the address.
            message.header.flags = AddressHeaderFlags::Nodad;
            if ip.is_unicast_link_local() {
                message.header.scope = AddressScope::Link;
            }
        }
    }
    message
}

/// Addresses on the tunnel interface that neither the configuration nor we account for.
async fn other_addresses(
    netlink: &Netlink,
    interface: &Interface,
    spec: &TunnelSpec,
) -> Result<Vec<String>, Error> {
    let wanted = wanted_addresses(spec);
    let present = interfaces::addresses(netlink, Some(interface.index)).await?;
    let others = present.into_iter().map(|present| present.address).filter(|other| !wanted.contains(other));
    Ok(others
        .map(|other| {
            let name = &interface.name;
            format!(
                "{name} has the address {other}, which is not configured; if it is not wanted: \
                 ip address del {other} dev {name}"
            )
        })
        .collect())
}
