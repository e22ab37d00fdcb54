//! From spoke to spoke through the hub's underlay program, and when that is not for it to do.

use std::fs;

use dmvpn_common::{DropReason, Peer, PeerMac, PeerState, Tunnel, Underlay, UnderlayState};

use crate::{
    frames::{ETHERTYPE_IPV4, Gre, Ip, SPOKE_1, SPOKE_2, ethernet},
    hub::{Hub, add_neighbour},
    namespace::{in_namespace, index_of, ip, mac_text},
    programs::{Outcome, Programs, Settings, next_hop, peer, xdp},
};

/// A packet from the site of spoke 1 to the site of spoke 2.
fn inner() -> Ip {
    Ip::between([192, 168, 1, 1], [192, 168, 2, 1], 100)
}

fn from_spoke_1(inner: &Ip) -> Gre {
    Gre::from(SPOKE_1, inner.bytes())
}

fn forwarded(gre: &Gre) -> Outcome {
    Outcome { action: xdp::REDIRECT, frame: gre.frame() }
}

fn delivered(inner: &Ip) -> Outcome {
    let frame = ethernet(PeerMac::TUNNEL.0, PeerMac::from_index(1).0, ETHERTYPE_IPV4, &inner.bytes());
    Outcome { action: xdp::REDIRECT, frame }
}

#[test]
fn gets_a_new_outer_header_and_one_hop_less() {
    for key in [None, Some(42)] {
        in_namespace(|| {
            let hub = Hub::new(0, key, Settings::default());
            let outcome = hub.programs.receive(&Gre { key, ..from_spoke_1(&inner()) }.frame());
            let onward = Gre { key, ..Gre::to(SPOKE_2, Ip { ttl: 63, ..inner() }.bytes()) };
            assert_eq!(outcome, forwarded(&onward), "{key:?}");

            let (from, to) = (hub.programs.counters(1), hub.programs.counters(2));
            assert_eq!((from.received().packets, from.received().bytes, from.sent().packets), (1, 100, 0));
            assert_eq!((to.sent().packets, to.sent().bytes, to.received().packets), (1, 100, 0));
            assert_eq!((to.transit().packets, to.transit().bytes, from.transit().packets), (1, 100, 0));
            assert_eq!(hub.programs.drops(), []);
        });
    }
}

#[test]
fn goes_between_a_tunnel_with_and_one_without_key() {
    for (from, to) in [(None, Some(7)), (Some(7), None)] {
        in_namespace(|| {
            let mut hub = Hub::new(0, from, Settings::default());
            // Spoke 2 is a peer of another tunnel that has the same interface, which is all that matters here.
            hub.programs.set_peer(2, &peer(&Tunnel { id: 2, ..hub.tunnel }, SPOKE_2, to));
            let outcome = hub.programs.receive(&Gre { key: from, ..from_spoke_1(&inner()) }.frame());
            let onward = Gre { key: to, ..Gre::to(SPOKE_2, Ip { ttl: 63, ..inner() }.bytes()) };
            assert_eq!(outcome, forwarded(&onward), "{from:?} to {to:?}");
        });
    }
}

#[test]
fn leaves_by_the_interface_it_came_in_by_without_a_redirect() {
    in_namespace(|| {
        let mut hub = Hub::plain();
        hub.programs.set_next_hop(1, Underlay { ifindex: hub.wan, ..next_hop() });
        let frame = from_spoke_1(&inner()).frame();
        let onward = Gre::to(SPOKE_2, Ip { ttl: 63, ..inner() }.bytes()).frame();
        let on_wan = hub.programs.receive_on(hub.wan, &frame);
        assert_eq!(on_wan, Outcome { action: xdp::TX, frame: onward.clone() });
        let elsewhere = hub.programs.receive_on(index_of("lan0"), &frame);
        assert_eq!(elsewhere, Outcome { action: xdp::REDIRECT, frame: onward });
    });
}

#[test]
fn the_outer_header_copies_the_type_of_service() {
    in_namespace(|| {
        let hub = Hub::plain();
        // Outer mark on the way in, inner and outer type of service on the way out (RFC 6040).
        for (outer, inside, expected) in [
            (0, 0xb8, 0xb8),
            (0xb8, 0, 0),
            (0, 0xb8 | 2, 0xb8 | 2),
            (3, 0xb8 | 2, 0xb8 | 3),
            (1, 0xb8 | 2, 0xb8 | 1),
            (0, 0xb8 | 3, 0xb8 | 3),
        ] {
            let mut gre = from_spoke_1(&Ip { tos: inside, ..inner() });
            gre.ip.tos = outer;
            let mut onward = Gre::to(SPOKE_2, Ip { ttl: 63, tos: expected, ..inner() }.bytes());
            onward.ip.tos = expected;
            assert_eq!(hub.programs.receive(&gre.frame()), forwarded(&onward), "{outer:#x} {inside:#x}");
        }
    });
}

#[test]
fn padding_of_a_short_frame_stays_padding() {
    in_namespace(|| {
        let hub = Hub::plain();
        let short = Ip::between([192, 168, 1, 1], [192, 168, 2, 1], 21);
        let mut frame = from_spoke_1(&short).frame();
        frame.push(0xee);
        let mut onward = Gre::to(SPOKE_2, Ip { ttl: 63, ..short }.bytes()).frame();
        onward.push(0xee);
        assert_eq!(hub.programs.receive(&frame), Outcome { action: xdp::REDIRECT, frame: onward });
    });
}

#[test]
fn goes_back_to_the_spoke_it_came_from_when_the_route_says_so() {
    in_namespace(|| {
        let hub = Hub::plain();
        let packet = Ip::between([192, 168, 1, 1], [192, 168, 1, 2], 100);
        let onward = Gre::to(SPOKE_1, Ip { ttl: 63, ..packet.clone() }.bytes());
        assert_eq!(hub.programs.receive(&from_spoke_1(&packet).frame()), forwarded(&onward));
    });
}

/// Everything here is the kernel's, unchanged: it answers, asks, routes or refuses.
#[test]
fn leaves_what_it_cannot_finish_to_the_kernel() {
    in_namespace(|| {
        let mut hub = Hub::plain();
        ip("route add unreachable 192.168.50.0/24");
        ip("route add prohibit 192.168.51.0/24");
        ip("route add 192.168.52.0/24 via 10.0.0.99");
        ip("route add 192.168.53.0/24 via 172.16.0.9");
        ip("route add 192.168.54.0/24 via 10.0.0.14");
        ip("route add default via 10.0.0.12");
        add_neighbour("10.0.0.14", 4);
        // On an ordinary interface, an address that looks like one of ours means nothing.
        let look_alike = mac_text(PeerMac::from_index(2).0);
        ip(&format!("neighbour add 172.16.0.8 lladdr {look_alike} dev lan0 nud permanent"));
        hub.programs.set_peer(3, &Peer { mtu: 1400, ..peer(&hub.tunnel, SPOKE_2, None) });
        add_neighbour("10.0.0.13", 3);

        let to = |destination| Ip { destination: <[u8; 4]>::into(destination), ..inner() };
        for (what, packet) in [
            ("time to live 1", Ip { ttl: 1, ..inner() }),
            ("time to live 0", Ip { ttl: 0, ..inner() }),
            ("for this box", to([10, 0, 0, 1])),
            ("for this box, another interface", to([192, 0, 2, 1])),
            ("unreachable route", to([192, 168, 50, 1])),
            ("prohibit route", to([192, 168, 51, 1])),
            ("next hop without neighbour", to([192, 168, 52, 1])),
            ("to the LAN, by a gateway", to([192, 168, 53, 1])),
            ("to the LAN", to([172, 16, 0, 9])),
            ("to the LAN, look-alike neighbour", to([172, 16, 0, 8])),
            ("neighbour without peer", to([192, 168, 54, 1])),
            ("longer than the interface allows", Ip::between([192, 168, 1, 1], [192, 168, 2, 1], 1477)),
            ("longer than the peer allows", Ip::between([192, 168, 1, 1], [10, 0, 0, 13], 1401)),
            ("options", Ip { options: vec![1, 1, 1, 0], ..inner() }),
            ("multicast, with a default route", to([224, 0, 0, 5])),
            ("broadcast, with a default route", to([255, 255, 255, 255])),
            ("from nowhere", Ip { source: [0; 4].into(), ..inner() }),
            ("from loopback", Ip { source: [127, 0, 0, 1].into(), ..inner() }),
        ] {
            assert_eq!(hub.programs.receive(&from_spoke_1(&packet).frame()), delivered(&packet), "{what}");
        }
        let longest = Ip::between([192, 168, 1, 1], [10, 0, 0, 13], 1400);
        let onward = Gre::to(SPOKE_2, Ip { ttl: 63, ..longest.clone() }.bytes());
        assert_eq!(
            hub.programs.receive(&from_spoke_1(&longest).frame()),
            forwarded(&onward),
            "as long as allowed"
        );
        assert_eq!(hub.programs.drops(), []);
    });
}

#[test]
fn leaves_it_to_the_kernel_while_the_next_hop_is_not_known() {
    in_namespace(|| {
        let mut hub = Hub::plain();
        let frame = from_spoke_1(&inner()).frame();
        for state in [UnderlayState::Unresolved, UnderlayState::Free] {
            hub.programs.set_next_hop(1, Underlay { state, ..next_hop() });
            assert_eq!(hub.programs.receive(&frame), delivered(&inner()), "{state:?}");
        }
        hub.programs.set_next_hop(1, next_hop());
        let onward = Gre::to(SPOKE_2, Ip { ttl: 63, ..inner() }.bytes());
        assert_eq!(hub.programs.receive(&frame), forwarded(&onward));
        for underlay in [0, 999] {
            hub.programs.set_peer(2, &Peer { underlay, ..peer(&hub.tunnel, SPOKE_2, None) });
            assert_eq!(hub.programs.receive(&frame), delivered(&inner()), "next hop {underlay}");
        }
        assert_eq!(hub.programs.drops(), []);
    });
}

#[test]
fn forwards_nothing_while_forwarding_is_off() {
    in_namespace(|| {
        let hub = Hub::plain();
        fs::write("/proc/sys/net/ipv4/conf/dmvpn0/forwarding", "0").unwrap();
        assert_eq!(hub.programs.receive(&from_spoke_1(&inner()).frame()), delivered(&inner()));
    });
}

#[test]
fn drops_what_must_not_be_forwarded() {
    in_namespace(|| {
        let mut hub = Hub::plain();
        ip("route add blackhole 192.168.60.0/24");
        ip("route add 192.168.61.0/24 via 10.0.0.13");
        add_neighbour("10.0.0.13", 3);
        hub.programs.set_peer(3, &Peer { state: PeerState::Down, ..peer(&hub.tunnel, SPOKE_2, None) });
        let to =
            |third| Gre::from(SPOKE_1, Ip { destination: [192, 168, third, 1].into(), ..inner() }.bytes());
        let mut wrong = inner().bytes();
        wrong[10] ^= 1;
        let mut total = Vec::new();
        for (what, gre, reason) in [
            ("blackhole route", to(60), DropReason::RouteRefused),
            ("peer that is down", to(61), DropReason::PeerDown),
            ("wrong checksum", Gre::from(SPOKE_1, wrong), DropReason::InnerMalformed),
        ] {
            assert_eq!(hub.programs.receive(&gre.frame()).action, xdp::DROP, "{what}");
            total.push((reason, 1, gre.frame().len() as u64));
        }
        total.sort_by_key(|&(reason, ..)| reason as u32);
        assert_eq!(hub.programs.drops(), total);
    });
}

/// Without a tunnel interface in the namespace there is no route at all; nothing is forwarded by accident.
#[test]
fn forwards_nothing_without_a_route() {
    in_namespace(|| {
        let programs = Programs::with_two_spokes();
        assert_eq!(programs.receive(&from_spoke_1(&inner()).frame()), delivered(&inner()));
    });
}
