//! What the tunnel program sends, and what it drops.

use dmvpn_common::{DropReason, Peer, PeerMac, PeerState, Tunnel, Underlay, UnderlayState};

use crate::{
    frames::{DF, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Gre, Ip, SPOKE_1, SPOKE_2, ethernet, ipv6},
    hub::Hub,
    namespace::{in_namespace, index_of},
    programs::{Outcome, Settings, next_hop, peer, tc},
};

fn inner() -> Ip {
    Ip::between([192, 168, 0, 1], [192, 168, 2, 1], 100)
}

/// A frame as the kernel sends it to the peer with index `peer`.
fn to_peer(peer: u32, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    ethernet(PeerMac::from_index(peer).0, PeerMac::TUNNEL.0, ether_type, payload)
}

fn sent(gre: &Gre) -> Outcome {
    Outcome { action: tc::REDIRECT, frame: gre.frame() }
}

#[test]
fn puts_the_peers_header_in_front() {
    for key in [None, Some(42), Some(0), Some(u32::MAX)] {
        in_namespace(|| {
            let hub = Hub::new(0, key, Settings::default());
            for size in [20, 21, 100, 1000, 1472] {
                let packet = Ip::between([192, 168, 0, 1], [192, 168, 2, 1], size).bytes();
                let frame = to_peer(2, ETHERTYPE_IPV4, &packet);
                let expected = Gre { key, ..Gre::to(SPOKE_2, packet) };
                assert_eq!(hub.programs.send(hub.tunnel.ifindex, &frame), sent(&expected), "{key:?} {size}");
            }
            let counters = hub.programs.counters(2);
            assert_eq!((counters.sent().packets, counters.sent().bytes), (5, 20 + 21 + 100 + 1000 + 1472));
            assert_eq!((counters.received().packets, counters.transit().packets), (0, 0));
            assert_eq!(hub.programs.counters(1).sent().packets, 0);
            assert_eq!(hub.programs.drops(), []);
        });
    }
}

#[test]
fn copies_the_type_of_service() {
    in_namespace(|| {
        let hub = Hub::plain();
        for tos in [0, 0x10, 0xb8, 0xc0, 0xb8 | 1, 0xff] {
            let packet = Ip { tos, ..inner() }.bytes();
            let mut expected = Gre::to(SPOKE_2, packet.clone());
            expected.ip.tos = tos;
            let frame = to_peer(2, ETHERTYPE_IPV4, &packet);
            assert_eq!(hub.programs.send(hub.tunnel.ifindex, &frame), sent(&expected), "{tos:#x}");

            let mut expected = Gre { protocol: ETHERTYPE_IPV6, ..Gre::to(SPOKE_2, ipv6(tos)) };
            expected.ip.tos = tos;
            let frame = to_peer(2, ETHERTYPE_IPV6, &ipv6(tos));
            assert_eq!(hub.programs.send(hub.tunnel.ifindex, &frame), sent(&expected), "IPv6 {tos:#x}");
        }
    });
}

/// The kernel fills in the link-layer addresses; the rest of the packet is finished.
#[test]
fn leaves_an_unknown_next_hop_to_the_kernel() {
    in_namespace(|| {
        let mut hub = Hub::plain();
        hub.programs.set_next_hop(1, Underlay { state: UnderlayState::Unresolved, ..next_hop() });
        let packet = inner().bytes();
        let outcome = hub.programs.send(hub.tunnel.ifindex, &to_peer(2, ETHERTYPE_IPV4, &packet));
        assert_eq!(outcome.action, tc::REDIRECT);
        assert_eq!(outcome.frame[14..], Gre::to(SPOKE_2, packet).frame()[14..]);
        assert_eq!(hub.programs.counters(2).sent().packets, 1);
        assert_eq!(hub.programs.drops(), []);
    });
}

#[test]
fn drops_and_counts_what_has_no_receiver() {
    in_namespace(|| {
        let mut hub = Hub::plain();
        let spoke_1 = peer(&hub.tunnel, SPOKE_1, None);
        let elsewhere = Tunnel { ifindex: index_of("lan0"), ..hub.tunnel };
        hub.programs.set_peer(3, &Peer { state: PeerState::Down, ..spoke_1 });
        hub.programs.set_peer(4, &peer(&elsewhere, SPOKE_1, None));
        hub.programs.set_peer(6, &Peer { underlay: 0, ..spoke_1 });
        hub.programs.set_peer(7, &Peer { underlay: 999, ..spoke_1 });

        let packet = inner().bytes();
        let to = |mac: [u8; 6]| ethernet(mac, PeerMac::TUNNEL.0, ETHERTYPE_IPV4, &packet);
        let to_index = |index| to(PeerMac::from_index(index).0);
        for (what, frame, reason) in [
            ("foreign address", to([2, 0, 0, 0, 0, 1]), DropReason::NoSuchPeer),
            ("free index", to_index(5), DropReason::NoSuchPeer),
            ("index beyond the table", to_index(9), DropReason::NoSuchPeer),
            ("the tunnel itself", to(PeerMac::TUNNEL.0), DropReason::NoSuchPeer),
            ("peer of another interface", to_index(4), DropReason::NoSuchPeer),
            ("peer that is down", to_index(3), DropReason::PeerDown),
            ("peer without route", to_index(6), DropReason::NoUnderlayRoute),
            ("peer with a bad next hop", to_index(7), DropReason::MapInconsistent),
            ("multicast", to([0x01, 0, 0x5e, 0, 0, 5]), DropReason::NoMulticastReceiver),
            ("broadcast", to([0xff; 6]), DropReason::NoMulticastReceiver),
            ("IPX", to_peer(1, 0x8137, &packet), DropReason::GreProtocol),
        ] {
            let (outcome, drops) = hub.programs.drops_by(|| hub.programs.send(hub.tunnel.ifindex, &frame));
            assert_eq!(outcome, Outcome { action: tc::SHOT, frame: frame.clone() }, "{what}");
            assert_eq!(drops, [(reason, 1, frame.len() as u64)], "{what}");
        }
        assert_eq!(hub.programs.events(), []);
    });
}

/// The frame comes out at the far end as it is, for the agent.
#[test]
fn leaves_what_is_too_long_to_the_agent() {
    in_namespace(|| {
        let mut hub = Hub::plain();
        hub.programs.set_peer(2, &Peer { mtu: 1300, ..peer(&hub.tunnel, SPOKE_2, None) });
        let ipv4 =
            |size, fragment| Ip { fragment, ..Ip::between([192, 168, 0, 1], [192, 168, 2, 1], size) }.bytes();
        let mut ipv6_too_long = ipv6(0);
        ipv6_too_long.resize(1301, 0);
        for (what, protocol, packet, dropped) in [
            ("may be cut", ETHERTYPE_IPV4, ipv4(1301, 0), false),
            ("must not be cut", ETHERTYPE_IPV4, ipv4(1301, DF), true),
            ("IPv6", ETHERTYPE_IPV6, ipv6_too_long, true),
        ] {
            let frame = to_peer(2, protocol, &packet);
            let (outcome, drops) = hub.programs.drops_by(|| hub.programs.send(hub.tunnel.ifindex, &frame));
            assert_eq!(outcome, Outcome { action: tc::OK, frame: frame.clone() }, "{what}");
            let counted = [(DropReason::TooLong, 1, frame.len() as u64)];
            assert_eq!(drops, counted[..usize::from(dropped)], "{what}");
        }
        for fragment in [0, DF] {
            let frame = to_peer(2, ETHERTYPE_IPV4, &ipv4(1300, fragment));
            assert_eq!(hub.programs.send(hub.tunnel.ifindex, &frame).action, tc::REDIRECT, "just fits");
        }
        assert_eq!(hub.programs.counters(2).sent().packets, 2);
    });
}
