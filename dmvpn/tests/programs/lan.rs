//! Between a tunnel and a LAN whose interface is accelerated.

use std::fs;

use dmvpn_common::{FastPath, Interface, InterfaceRole, Peer, PeerMac, PeerState, Underlay, UnderlayState};

use crate::{
    frames::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Gre, Ip, Ip6, SPOKE_1, ethernet, tagged},
    hub::Hub,
    namespace::{in_namespace, index_of, ip, mac_text},
    programs::{Outcome, Settings, next_hop, peer, xdp},
};

/// Link-layer addresses on the LAN: ours and that of the host 172.16.0.9.
const LAN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x90];
const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

/// A hub whose tunnel has the given fast path, and the index of its LAN, which is accelerated.
fn hub(fast_path: FastPath) -> (Hub, u32) {
    let mut hub = Hub::new(0, None, Settings::default());
    ip(&format!("link set lan0 address {}", mac_text(LAN_MAC)));
    // The kernel forgot its neighbours with the old address.
    ip(&format!("neighbour add 172.16.0.9 lladdr {} dev lan0 nud permanent", mac_text(HOST_MAC)));
    let lan = index_of("lan0");
    hub.tunnel.fast_path = fast_path;
    hub.programs.set_up_two_spokes(None, hub.tunnel);
    let tunnel = Interface { role: InterfaceRole::Tunnel, tunnel: 1, fast_path, ..Interface::default() };
    hub.programs.set_interface(hub.tunnel.ifindex, tunnel);
    let interface = Interface { role: InterfaceRole::Lan, mac: LAN_MAC, ..Interface::default() };
    hub.programs.set_interface(lan, interface);
    (hub, lan)
}

fn outward() -> Ip {
    Ip::between([172, 16, 0, 9], [192, 168, 1, 1], 100)
}

fn inward() -> Ip {
    Ip::between([192, 168, 1, 1], [172, 16, 0, 9], 100)
}

fn from_host(packet: &Ip) -> Vec<u8> {
    ethernet(LAN_MAC, HOST_MAC, ETHERTYPE_IPV4, &packet.bytes())
}

fn delivered(packet: &Ip) -> Outcome {
    let frame = ethernet(PeerMac::TUNNEL.0, PeerMac::from_index(1).0, ETHERTYPE_IPV4, &packet.bytes());
    Outcome { action: xdp::REDIRECT, frame }
}

#[test]
fn a_packet_for_a_peer_leaves_at_once() {
    in_namespace(|| {
        let (hub, lan) = hub(FastPath::Full);
        let sent = Gre::to(SPOKE_1, Ip { ttl: 63, ..outward() }.bytes()).frame();
        for way in ["long", "short"] {
            let outcome = hub.programs.receive_from_lan(lan, &from_host(&outward()));
            assert_eq!(outcome, Outcome { action: xdp::REDIRECT, frame: sent.clone() }, "{way} way");
        }
        let counters = hub.programs.counters(1);
        assert_eq!((counters.sent_xdp.packets, counters.sent_xdp.bytes), (2, 200));
        assert_eq!(counters.transit().packets, 0);
        assert_eq!(hub.programs.drops(), []);
    });
}

#[test]
fn a_packet_from_a_peer_goes_to_its_host_at_once() {
    in_namespace(|| {
        let (hub, _) = hub(FastPath::Full);
        let sent = ethernet(HOST_MAC, LAN_MAC, ETHERTYPE_IPV4, &Ip { ttl: 63, ..inward() }.bytes());
        for way in ["long", "short"] {
            let outcome = hub.programs.receive(&Gre::from(SPOKE_1, inward().bytes()).frame());
            assert_eq!(outcome, Outcome { action: xdp::REDIRECT, frame: sent.clone() }, "{way} way");
        }
        // A neighbour that nobody knows yet is the kernel's.
        let unknown = Ip { destination: [172, 16, 0, 8].into(), ..inward() };
        let outcome = hub.programs.receive(&Gre::from(SPOKE_1, unknown.bytes()).frame());
        assert_eq!(outcome, delivered(&unknown));
        assert_eq!(hub.programs.counters(1).received_xdp.packets, 3);
        assert_eq!(hub.programs.drops(), []);
    });
}

#[test]
fn ipv6_goes_both_ways() {
    in_namespace(|| {
        let (hub, lan) = hub(FastPath::Full);
        fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        ip("address add fd00::1/64 dev dmvpn0 nodad");
        ip("address add fd16::1/64 dev lan0 nodad");
        let mac = mac_text(PeerMac::from_index(1).0);
        ip(&format!("neighbour add fd00::11 lladdr {mac} dev dmvpn0 nud permanent"));
        ip(&format!("neighbour add fd16::9 lladdr {} dev lan0 nud permanent", mac_text(HOST_MAC)));
        ip("route add fd01::/64 via fd00::11");
        let (out, back) = (Ip6::between("fd16::9", "fd01::1", 80), Ip6::between("fd01::1", "fd16::9", 80));
        let hop = |packet: &Ip6| Ip6 { hop_limit: 63, ..packet.clone() }.bytes();
        for way in ["long", "short"] {
            let frame = ethernet(LAN_MAC, HOST_MAC, ETHERTYPE_IPV6, &out.bytes());
            let sent = Gre { protocol: ETHERTYPE_IPV6, ..Gre::to(SPOKE_1, hop(&out)) }.frame();
            let outcome = hub.programs.receive_from_lan(lan, &frame);
            assert_eq!(outcome, Outcome { action: xdp::REDIRECT, frame: sent }, "{way} way out");

            let frame = Gre { protocol: ETHERTYPE_IPV6, ..Gre::from(SPOKE_1, back.bytes()) }.frame();
            let sent = ethernet(HOST_MAC, LAN_MAC, ETHERTYPE_IPV6, &hop(&back));
            let outcome = hub.programs.receive(&frame);
            assert_eq!(outcome, Outcome { action: xdp::REDIRECT, frame: sent }, "{way} way in");
        }
    });
}

#[test]
fn the_fast_path_is_as_long_as_the_operator_wants_it() {
    for (fast_path, transit, lan_in, lan_out) in [
        (FastPath::Off, false, false, false),
        (FastPath::Hairpin, true, false, false),
        (FastPath::Full, true, true, true),
    ] {
        in_namespace(|| {
            let (hub, lan) = hub(fast_path);
            let through = Ip::between([192, 168, 1, 1], [192, 168, 2, 1], 100);
            for _ in 0..2 {
                let outcome = hub.programs.receive(&Gre::from(SPOKE_1, through.bytes()).frame());
                assert_eq!(outcome != delivered(&through), transit, "{fast_path:?}");
                let outcome = hub.programs.receive(&Gre::from(SPOKE_1, inward().bytes()).frame());
                assert_eq!(outcome != delivered(&inward()), lan_in, "{fast_path:?}");
                let frame = from_host(&outward());
                let passed = Outcome { action: xdp::PASS, frame: frame.clone() };
                assert_eq!(hub.programs.receive_from_lan(lan, &frame) != passed, lan_out, "{fast_path:?}");
            }
            assert_eq!(hub.programs.drops(), []);
        });
    }
}

/// Everything here is the kernel's, unchanged, although another packet went this way a moment ago.
#[test]
fn leaves_to_the_kernel_what_is_not_plain() {
    in_namespace(|| {
        let (mut hub, lan) = hub(FastPath::Full);
        hub.programs.receive_from_lan(lan, &from_host(&outward()));
        let to = |destination: [u8; 4]| Ip { destination: destination.into(), ..outward() };
        let mut wrong = outward().bytes();
        wrong[10] ^= 1;
        let for_others = ethernet(HOST_MAC, LAN_MAC, ETHERTYPE_IPV4, &outward().bytes());
        for (what, frame) in [
            ("ARP", ethernet([0xff; 6], HOST_MAC, ETHERTYPE_ARP, &[0; 28])),
            ("for others", for_others),
            ("broadcast", ethernet([0xff; 6], HOST_MAC, ETHERTYPE_IPV4, &outward().bytes())),
            ("VLAN", tagged(5, &from_host(&outward()))),
            ("time to live 1", from_host(&Ip { ttl: 1, ..outward() })),
            ("options", from_host(&Ip { options: vec![1, 1, 1, 0], ..outward() })),
            ("wrong checksum", ethernet(LAN_MAC, HOST_MAC, ETHERTYPE_IPV4, &wrong)),
            ("cut off", from_host(&outward())[..80].to_vec()),
            ("multicast", from_host(&to([224, 0, 0, 5]))),
            ("for this box", from_host(&to([172, 16, 0, 1]))),
            ("next hop without neighbour", from_host(&to([10, 0, 0, 77]))),
            ("back to the LAN", from_host(&to([172, 16, 0, 9]))),
            ("longer than the tunnel", from_host(&Ip::between([172, 16, 0, 9], [192, 168, 1, 1], 1477))),
        ] {
            for _ in 0..2 {
                let passed = Outcome { action: xdp::PASS, frame: frame.clone() };
                assert_eq!(hub.programs.receive_from_lan(lan, &frame), passed, "{what}");
            }
        }
        let frame = from_host(&outward());
        let passed = Outcome { action: xdp::PASS, frame: frame.clone() };
        hub.programs.set_next_hop(1, Underlay { state: UnderlayState::Unresolved, ..next_hop() });
        assert_eq!(hub.programs.receive_from_lan(lan, &frame), passed, "next hop not known");
        hub.programs.set_next_hop(1, next_hop());
        hub.programs.set_peer(1, &Peer { state: PeerState::Down, ..peer(&hub.tunnel, SPOKE_1, None) });
        assert_eq!(hub.programs.receive_from_lan(lan, &frame), passed, "peer that is down");
        assert_eq!(hub.programs.drops(), []);
        assert_eq!(
            hub.programs.receive_from_lan(hub.wan, &frame),
            passed,
            "an interface that is not accelerated"
        );
    });
}

#[test]
fn no_more_than_the_lan_takes() {
    in_namespace(|| {
        let (hub, _) = hub(FastPath::Full);
        ip("link set lan0 mtu 1000");
        let (short, long) = (inward(), Ip::between([192, 168, 1, 1], [172, 16, 0, 9], 1001));
        for _ in 0..2 {
            let outcome = hub.programs.receive(&Gre::from(SPOKE_1, short.bytes()).frame());
            assert_ne!(outcome, delivered(&short));
            let outcome = hub.programs.receive(&Gre::from(SPOKE_1, long.bytes()).frame());
            assert_eq!(outcome, delivered(&long));
        }
    });
}
