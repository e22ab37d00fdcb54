//! Multicast and broadcast by the tunnel interface: one copy for each receiver.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, UdpSocket},
};

use dmvpn_common::{DropReason, Peer, PeerMac, PeerState, Underlay, UnderlayState};

use crate::{
    frames::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, GATEWAY_MAC, Gre, Ip, UDP, WAN_MAC, ethernet},
    hub::Hub,
    namespace::{in_namespace, index_of, ip, mac_text},
    programs::{Outcome, Settings, next_hop, peer, tc},
    wire::Wire,
};

/// OSPF, RIP, EIGRP and PIM by their groups; each with the protocol it has.
const IPV4_GROUPS: [(Ipv4Addr, u8); 5] = [
    (Ipv4Addr::new(224, 0, 0, 5), 89),
    (Ipv4Addr::new(224, 0, 0, 9), UDP),
    (Ipv4Addr::new(224, 0, 0, 10), 88),
    (Ipv4Addr::new(224, 0, 0, 13), 103),
    (Ipv4Addr::new(239, 1, 2, 3), UDP),
];

/// NBMA address of the peer with index `peer`.
fn nbma(peer: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 0).to_bits() + peer)
}

/// A hub with `peers` peers, all of them receivers, and its underlay interface, on which copies are seen.
fn hub(peers: u32) -> (Hub, Wire) {
    hub_with(peers, None)
}

fn hub_with(peers: u32, key: Option<u32>) -> (Hub, Wire) {
    // Multicast of IPv6's own would be seen, too.
    for conf in ["all", "default"] {
        fs::write(format!("/proc/sys/net/ipv6/conf/{conf}/disable_ipv6"), "1").unwrap();
    }
    let mut hub = Hub::new(0, key, Settings { max_peers: peers.max(8), ..Settings::default() });
    for index in 1..=peers {
        hub.programs.set_peer(index, &peer(&hub.tunnel, nbma(index), key));
    }
    let receivers: Vec<u32> = (1..=peers).collect();
    hub.programs.set_receivers(&hub.tunnel, &receivers);
    let wan = index_of("wan0");
    hub.programs.set_next_hop(1, Underlay { ifindex: wan, route_ifindex: wan, ..next_hop() });
    hub.programs.attach_tunnel("dmvpn0");
    (hub, Wire::open("wan0"))
}

/// The group's own link-layer address (RFC 1112, 6.4).
fn group_mac(group: Ipv4Addr) -> [u8; 6] {
    let [_, b, c, d] = group.octets();
    [0x01, 0, 0x5e, b & 0x7f, c, d]
}

fn to_group(group: Ipv4Addr, protocol: u8) -> Vec<u8> {
    Ip { ttl: 1, tos: 0xc0, protocol, ..Ip::between([10, 0, 0, 1], group.octets(), 64) }.bytes()
}

/// An IPv6 packet to `ff02::5`, where OSPF version 3 says hello.
fn to_ipv6_group() -> Vec<u8> {
    let mut packet = vec![0x6c, 0, 0, 0, 0, 24, 89, 1];
    packet.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
    packet.extend(0..24);
    packet
}

/// The frame a peer is to get.
fn copy_for(peer: u32, protocol: u16, packet: &[u8], key: Option<u32>) -> Vec<u8> {
    let mut gre = Gre { key, protocol, ..Gre::to(nbma(peer), packet.to_vec()) };
    gre.ip.tos = 0xc0;
    gre.frame()
}

/// The program finishes the frame itself for the last receiver; the others get copies on the wire.
#[test]
fn every_receiver_gets_the_packet_with_its_own_outer_header() {
    for key in [None, Some(42)] {
        in_namespace(|| {
            let (hub, wire) = hub_with(3, key);
            let mut packets: Vec<_> = IPV4_GROUPS
                .into_iter()
                .map(|(group, protocol)| (group_mac(group), ETHERTYPE_IPV4, to_group(group, protocol)))
                .collect();
            packets.push(([0x33, 0x33, 0, 0, 0, 5], ETHERTYPE_IPV6, to_ipv6_group()));
            for address in [[255; 4], [10, 0, 0, 255]] {
                packets.push(([0xff; 6], ETHERTYPE_IPV4, to_group(address.into(), UDP)));
            }
            let count = packets.len() as u64;
            for (mac, protocol, packet) in packets {
                let frame = ethernet(mac, PeerMac::TUNNEL.0, protocol, &packet);
                let last = Outcome { action: tc::REDIRECT, frame: copy_for(3, protocol, &packet, key) };
                assert_eq!(hub.programs.send(hub.tunnel.ifindex, &frame), last);
                let expected = [1, 2].map(|peer| copy_for(peer, protocol, &packet, key));
                assert_eq!(wire.frames(), expected, "{mac:x?}");
            }
            for peer in 1..=3 {
                assert_eq!(hub.programs.counters(peer).sent().packets, count);
            }
            assert_eq!(hub.programs.drops(), []);
        });
    }
}

/// The kernel fills in the link-layer addresses, as for any other packet.
#[test]
fn copies_go_by_the_kernel_while_the_next_hop_is_not_known() {
    in_namespace(|| {
        let (mut hub, wire) = hub(3);
        let wan = index_of("wan0");
        let state = UnderlayState::Unresolved;
        hub.programs.set_next_hop(1, Underlay { state, ifindex: wan, route_ifindex: wan, ..next_hop() });
        ip(&format!("link set wan0 address {}", mac_text(WAN_MAC)));
        ip("route add 198.18.0.0/15 via 192.0.2.254");
        ip(&format!("neighbour add 192.0.2.254 lladdr {} dev wan0 nud permanent", mac_text(GATEWAY_MAC)));
        ip("route add 224.0.0.0/4 dev dmvpn0");
        assert_eq!(copies_of_a_datagram(&wire), (1..=3).map(|peer| (nbma(peer), 1)).collect());
        assert_eq!(hub.programs.drops(), []);
    });
}

/// How many copies each peer gets of one datagram that a program of this box sends to a group.
fn copies_of_a_datagram(wire: &Wire) -> BTreeMap<Ipv4Addr, u32> {
    let socket = UdpSocket::bind("10.0.0.1:0").unwrap();
    socket.send_to(b"hello", "224.0.0.9:520").unwrap();
    let mut copies = BTreeMap::new();
    for frame in wire.frames() {
        *copies.entry(Ipv4Addr::from(<[u8; 4]>::try_from(&frame[30..34]).unwrap())).or_default() += 1;
    }
    copies
}

#[test]
fn each_of_ten_thousand_receivers_gets_one_copy() {
    for peers in [1, 3, 1_000, 10_000] {
        in_namespace(|| {
            let (hub, wire) = hub(peers);
            ip("route add 224.0.0.0/4 dev dmvpn0");
            let begin = std::time::Instant::now();
            let copies = copies_of_a_datagram(&wire);
            println!("{peers} receivers: {:?} with capturing", begin.elapsed());
            let expected: BTreeMap<_, _> = (1..=peers).map(|peer| (nbma(peer), 1)).collect();
            assert!(
                copies == expected,
                "{} of {peers} got {} copies",
                copies.len(),
                copies.values().sum::<u32>()
            );
            for peer in [1, peers / 2 + 1, peers] {
                assert_eq!(hub.programs.counters(peer).sent().packets, 1, "peer {peer}");
            }
            assert_eq!(hub.programs.drops(), []);
        });
    }
}

#[test]
fn a_receiver_that_is_down_keeps_nobody_else_from_a_copy() {
    in_namespace(|| {
        let (mut hub, wire) = hub(4);
        ip("route add 224.0.0.0/4 dev dmvpn0");
        for down in 1..=4 {
            hub.programs
                .set_peer(down, &Peer { state: PeerState::Down, ..peer(&hub.tunnel, nbma(down), None) });
            let (copies, drops) = hub.programs.drops_by(|| copies_of_a_datagram(&wire));
            let expected: BTreeMap<_, _> =
                (1..=4).filter(|&peer| peer != down).map(|peer| (nbma(peer), 1)).collect();
            assert_eq!(copies, expected, "{down} is down");
            assert_eq!(drops, [(DropReason::PeerDown, 1, 14 + 28 + 5)]);
            hub.programs.set_peer(down, &peer(&hub.tunnel, nbma(down), None));
        }
    });
}

#[test]
fn without_receivers_it_is_dropped_and_counted() {
    in_namespace(|| {
        let (mut hub, wire) = hub(2);
        hub.programs.set_receivers(&hub.tunnel, &[]);
        let frame = ethernet(
            group_mac(Ipv4Addr::new(224, 0, 0, 5)),
            PeerMac::TUNNEL.0,
            ETHERTYPE_IPV4,
            &to_group(Ipv4Addr::new(224, 0, 0, 5), 89),
        );
        assert_eq!(hub.programs.send(hub.tunnel.ifindex, &frame).action, tc::SHOT);
        assert_eq!(hub.programs.drops(), [(DropReason::NoMulticastReceiver, 1, frame.len() as u64)]);
        assert!(wire.frames().is_empty());
    });
}

/// A list that leads back into itself, which only a defect makes, ends after as many steps as there can be peers.
#[test]
fn a_list_without_an_end_ends() {
    in_namespace(|| {
        let (mut hub, wire) = hub(3);
        ip("route add 224.0.0.0/4 dev dmvpn0");
        hub.programs.set_receivers(&hub.tunnel, &[1, 2, 1]);
        let copies: u32 = copies_of_a_datagram(&wire).values().sum();
        assert_eq!(copies, 8 + 1);
    });
}

/// What comes from a peer goes to this box, and not to other peers.
#[test]
fn what_a_peer_sends_is_not_copied_to_others() {
    in_namespace(|| {
        let (mut hub, wire) = hub(3);
        let known = peer(&hub.tunnel, nbma(1), None);
        hub.programs.add_peer(1, &known);
        let packet = to_group(Ipv4Addr::new(224, 0, 0, 5), 89);
        let outcome = hub.programs.receive(&Gre::from(nbma(1), packet.clone()).frame());
        assert_eq!(outcome.frame[..6], PeerMac::TUNNEL.0);
        assert_eq!(outcome.frame[14..], packet);
        assert!(wire.frames().is_empty());
    });
}
