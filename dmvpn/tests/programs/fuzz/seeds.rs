//! Well-formed frames of every kind the programs know.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dmvpn_common::{GRE_PROTOCOL_NHRP, PeerMac};

use super::{
    random::Random,
    world::{Endpoint, HOST_MAC, LAN_MAC, OTHER_MAC, PEERS, VLAN, World, peer_mac},
};
use crate::frames::{
    DF, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, GATEWAY_MAC, GRE, Gre, Ip, Ip6, STRANGER, UDP,
    WAN_MAC, ethernet, gre6, tagged,
};

const TCP: u8 = 6;
const ICMPV6: u8 = 58;

/// A frame from the underlay.
pub(super) fn from_underlay(random: &mut Random, world: &World) -> Vec<u8> {
    let endpoint = random.pick(&world.endpoints);
    let source = nbma(random, world, &endpoint);
    let (protocol, payload) = match random.below(16) {
        0 => (GRE_PROTOCOL_NHRP, bytes(random, 120)),
        1 => (random.pick(&[0, 0x6558, 0x88be, 0x0806]), bytes(random, 60)),
        _ => inner(random),
    };
    let key = if random.once_in(20) { random.pick(&[None, Some(1), Some(42)]) } else { endpoint.key };
    let mut frame = match (source, endpoint.local) {
        (IpAddr::V4(source), IpAddr::V4(local)) => over_ipv4(random, source, local, key, protocol, payload),
        (IpAddr::V6(source), IpAddr::V6(local)) => over_ipv6(random, source, local, key, protocol, &payload),
        _ => return ethernet(WAN_MAC, GATEWAY_MAC, ETHERTYPE_ARP, &bytes(random, 28)),
    };
    // Ethernet's shortest frame (IEEE 802.3, 4.2.3.3).
    if random.once_in(8) && frame.len() < 60 {
        frame.resize(60, 0xee);
    }
    if random.once_in(20) {
        frame[..6].copy_from_slice(&random.pick(&[GATEWAY_MAC, [0xff; 6], [1, 0, 0x5e, 0, 0, 5], OTHER_MAC]));
    }
    if !random.once_in(8) {
        return frame;
    }
    let (vlan, priority) = (random.pick(&[VLAN, VLAN, VLAN, VLAN + 1, 0, 4095]), random.below(16));
    tagged(u16::try_from(priority).unwrap() << 12 | vlan, &frame)
}

/// A frame from the LAN.
pub(super) fn from_lan(random: &mut Random) -> Vec<u8> {
    let (protocol, packet) = inner(random);
    let to = if random.once_in(20) { random.pick(&[[0xff; 6], HOST_MAC]) } else { LAN_MAC };
    let frame = ethernet(to, HOST_MAC, protocol, &packet);
    if random.once_in(20) { tagged(7, &frame) } else { frame }
}

/// A frame that the kernel sends by the tunnel interface.
pub(super) fn from_kernel(random: &mut Random) -> Vec<u8> {
    let from = PeerMac::TUNNEL.0;
    match random.below(12) {
        0 => ethernet([0xff; 6], from, ETHERTYPE_ARP, &arp(random)),
        1 => ethernet([0x33, 0x33, 0xff, 0, 0, 9], from, ETHERTYPE_IPV6, &neighbour_discovery(random)),
        2 => {
            let (protocol, packet) = inner(random);
            let to = random.pick(&[[0xff; 6], [1, 0, 0x5e, 0, 0, 5], [0x33, 0x33, 0, 0, 0, 5]]);
            ethernet(to, from, protocol, &packet)
        }
        3 => ethernet(peer_mac(1), from, random.pick(&[0x8137, 0x8847, 0x8100]), &bytes(random, 60)),
        _ => {
            let (protocol, packet) = inner(random);
            let to = if random.once_in(16) {
                random.pick(&[[2, 0, 0, 0, 0, 1], peer_mac(0), peer_mac(PEERS + 1), peer_mac(9999), from])
            } else {
                peer_mac(1 + u32::try_from(random.below(PEERS as usize)).unwrap())
            };
            ethernet(to, from, protocol, &packet)
        }
    }
}

/// Where it comes from: mostly a peer of the tunnel.
fn nbma(random: &mut Random, world: &World, endpoint: &Endpoint) -> IpAddr {
    if random.once_in(20) {
        return if endpoint.local.is_ipv4() {
            random
                .pick(&[STRANGER, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, Ipv4Addr::new(10, 9, 9, 9)])
                .into()
        } else {
            random.pick(&[Ipv6Addr::UNSPECIFIED, "2001:db8::99".parse().unwrap(), Ipv6Addr::LOCALHOST]).into()
        };
    }
    loop {
        let remote = random.pick(&world.remotes);
        if remote.peer.tunnel == endpoint.tunnel.id {
            return remote.header.remote;
        }
    }
}

fn over_ipv4(
    random: &mut Random,
    source: Ipv4Addr,
    local: Ipv4Addr,
    key: Option<u32>,
    protocol: u16,
    payload: Vec<u8>,
) -> Vec<u8> {
    let mut gre = Gre { key, protocol, ..Gre::from(source, payload) };
    gre.ip.destination = local;
    gre.ip.tos = if random.once_in(2) { random.byte() } else { 0 };
    gre.ip.ttl = random.byte();
    if random.once_in(16) {
        gre.flags = random.pick(&[0x8000, 0x1000, 0x9000, 0x4000, 0x0800, 0x0008, 0x03f8, 0x0001, 0x3001]);
    }
    if random.once_in(24) {
        gre.ip.options = random.pick(&[[1, 1, 1, 0], [7, 3, 4, 0], [148, 4, 0, 0]]).to_vec();
    }
    if random.once_in(24) {
        gre.ip.fragment = random.pick(&[0x2000, 0x00b9, 0x1fff, 0x6000, 0x8000]);
    }
    gre.frame()
}

fn over_ipv6(
    random: &mut Random,
    source: Ipv6Addr,
    local: Ipv6Addr,
    key: Option<u32>,
    protocol: u16,
    payload: &[u8],
) -> Vec<u8> {
    let outer = Ip6 {
        class: if random.once_in(2) { random.byte() } else { 0 },
        next_header: GRE,
        hop_limit: random.byte(),
        source,
        destination: local,
        payload: Vec::new(),
    };
    let mut frame = gre6([WAN_MAC, GATEWAY_MAC], &outer, key, protocol, payload);
    if random.once_in(16) {
        // Flow label, and flags of GRE.
        frame[17] = random.byte();
        frame[54] |= random.pick(&[0x80, 0x10, 0x40, 0x08]);
    }
    frame
}

/// A packet of a site, with its protocol type.
fn inner(random: &mut Random) -> (u16, Vec<u8>) {
    if random.once_in(3) {
        (ETHERTYPE_IPV6, inner_ipv6(random))
    } else {
        (ETHERTYPE_IPV4, inner_ipv4(random))
    }
}

fn inner_ipv4(random: &mut Random) -> Vec<u8> {
    let [source, destination] = [0; 2].map(|_| address(random));
    let mut packet = Ip::between(source, destination, size(random, 20));
    packet.tos = if random.once_in(2) { random.byte() } else { 0 };
    packet.ttl = if random.once_in(8) { random.pick(&[0, 1, 2, 255]) } else { 64 };
    packet.fragment = if random.once_in(2) { DF } else { 0 };
    match random.below(10) {
        0 => packet.options = random.pick(&[[1, 1, 1, 0], [7, 3, 4, 0], [148, 4, 0, 0]]).to_vec(),
        1 => packet.fragment = random.pick(&[0x2000, 0x00b9, 0x1fff]),
        2 | 3 => (packet.protocol, packet.payload) = (TCP, tcp_syn(random)),
        4 => packet.protocol = random.pick(&[1, 89, 103, GRE]),
        _ => {}
    }
    packet.bytes()
}

fn inner_ipv6(random: &mut Random) -> Vec<u8> {
    let [source, destination] = [0; 2].map(|_| address6(random));
    let packet = Ip6 {
        class: if random.once_in(2) { random.byte() } else { 0 },
        hop_limit: if random.once_in(8) { random.pick(&[0, 1, 2, 255]) } else { 64 },
        next_header: if random.once_in(8) { random.pick(&[0, 43, 44, ICMPV6, 59, 89]) } else { UDP },
        ..Ip6::between("::", "::", size(random, 40))
    };
    let mut bytes = Ip6 { source, destination, ..packet }.bytes();
    if random.once_in(4) {
        bytes[2] = random.byte();
    }
    bytes
}

/// The size of a packet whose header has `least` bytes.
fn size(random: &mut Random, least: usize) -> usize {
    match random.below(12) {
        0 => least,
        1 => least + random.below(3),
        2 => random.pick(&[1399, 1400, 1401, 1475, 1476, 1477, 1499, 1500, 1501]),
        3 => least + random.below(1500),
        4 if random.once_in(8) => random.pick(&[2000, 2800]),
        _ => least + random.below(100),
    }
}

/// An address at a site, or one that routers treat specially.
fn address(random: &mut Random) -> [u8; 4] {
    let index = 1 + u8::try_from(random.below(12)).unwrap();
    let host = random.pick(&[1, 1, 1, 2, 99]);
    match random.below(24) {
        0 => {
            random.pick(&[[224, 0, 0, 5], [239, 1, 2, 3], [255; 4], [0; 4], [127, 0, 0, 1], [169, 254, 0, 1]])
        }
        1 => random.pick(&[[10, 0, 0, 1], [192, 0, 2, 1], [172, 16, 0, 1], [10, 0, 0, 255], [240, 0, 0, 1]]),
        2 => random.pick(&[[192, 168, 50, 1], [192, 168, 51, 1], [192, 168, 52, 1], [192, 168, 60, 1]]),
        3 => random.pick(&[[172, 16, 0, 8], [8, 8, 8, 8], [192, 0, 2, 77]]),
        4..7 => [172, 16, 0, 9],
        7 | 8 => [10, 0, 0, 10 + index],
        _ => [192, 168, index, host],
    }
}

fn address6(random: &mut Random) -> Ipv6Addr {
    let index = 1 + random.below(12);
    let text = match random.below(24) {
        0 => random.pick(&["ff02::5", "ff05::1", "::", "::1", "fe80::1", "::192.0.2.1"]),
        1 => random.pick(&["fd00::1", "fd16::1", "2001:db8::1", "fd60::1", "2001:db8:77::1"]),
        2 => random.pick(&["fd16::8", "fd00::", "fec0::1"]),
        3..6 => "fd16::9",
        6 | 7 => return Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 1, u16::try_from(index).unwrap()),
        _ => return Ipv6Addr::new(0xfd01, 0, 0, u16::try_from(index).unwrap(), 0, 0, 0, 1),
    };
    text.parse().unwrap()
}

/// A TCP header that opens a connection, with the options that Linux sends.
fn tcp_syn(random: &mut Random) -> Vec<u8> {
    let mut header =
        vec![0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0xa0, 0x02, 0xfa, 0xf0, 0x12, 0x34, 0, 0];
    header.extend(random.pick(&[
        [2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7],
        [1, 2, 4, 0x05, 0x8c, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [2, 0, 0x05, 0xb4, 4, 0, 8, 255, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7],
    ]));
    header
}

fn arp(random: &mut Random) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, random.pick(&[1, 1, 2])];
    packet.extend(PeerMac::TUNNEL.0);
    packet.extend(random.pick(&[[10, 0, 0, 1], [0; 4]]));
    packet.extend([0; 6]);
    packet.extend(random.pick(&[[10, 0, 0, 77], [10, 0, 0, 1]]));
    packet
}

fn neighbour_discovery(random: &mut Random) -> Vec<u8> {
    let target: Ipv6Addr = "fd00::77".parse().unwrap();
    let mut payload = vec![random.pick(&[133, 135, 135, 136, 143]), 0, 0x12, 0x34, 0, 0, 0, 0];
    payload.extend(target.octets());
    payload.extend([1, 1, 2, 0xd4, 0xff, 0xff, 0xff, 0xff]);
    let source = random.pick(&["fe80::1", "::", "fd00::1"]);
    Ip6 { next_header: ICMPV6, hop_limit: 255, payload, ..Ip6::between(source, "ff02::1:ff00:77", 40) }
        .bytes()
}

fn bytes(random: &mut Random, count: usize) -> Vec<u8> {
    (0..count).map(|_| random.byte()).collect()
}
