//! IPv6 inside, outside, and both.

use std::{fs, net::Ipv6Addr};

use dmvpn_common::{DropReason, EventKind, Peer, PeerMac, Tunnel};

use crate::{
    cache::on_one_processor,
    frames::{
        ETHERTYPE_IPV4, ETHERTYPE_IPV6, GATEWAY_MAC, Gre, Ip, Ip6, SPOKE_1, SPOKE_2, WAN_MAC, ethernet, gre6,
    },
    hub::Hub,
    namespace::{in_namespace, ip, mac_text},
    programs::{Outcome, Settings, Told, peer, peer_of, tc, xdp},
};

/// Our NBMA address, and those of the spokes 3 and 4, which have IPv6 outside.
const LOCAL: &str = "2001:db8::1";
const SPOKE_3: &str = "2001:db8:3::3";
const SPOKE_4: &str = "2001:db8:4::4";

fn nbma(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// A hub that has IPv6 inside, two spokes with IPv4 outside (1 and 2) and two with IPv6 (3 and 4), all on one tunnel
/// interface. The site of spoke `n` is `fd0n::/64` and `192.168.n.0/24`.
fn hub(key: Option<u32>) -> Hub {
    let mut hub = Hub::new(0, key, Settings::default());
    fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
    ip("address add fd00::1/64 dev dmvpn0 nodad");
    for spoke in 1..=4 {
        let mac = mac_text(PeerMac::from_index(spoke).0);
        for next_hop in [format!("fd00::1{spoke}"), format!("10.0.0.1{spoke}")] {
            ip(&format!("neighbour replace {next_hop} lladdr {mac} dev dmvpn0 nud permanent extern_learn"));
        }
        ip(&format!("route add fd0{spoke}::/64 via fd00::1{spoke}"));
        ip(&format!("route replace 192.168.{spoke}.0/24 via 10.0.0.1{spoke}"));
    }
    let six = Tunnel { id: 2, ..hub.tunnel };
    hub.programs.add_tunnel(nbma(LOCAL), key, six);
    hub.programs.add_peer(3, &peer_of(nbma(LOCAL), &six, nbma(SPOKE_3), key));
    hub.programs.add_peer(4, &peer_of(nbma(LOCAL), &six, nbma(SPOKE_4), key));
    hub
}

/// A packet from the site of one spoke to that of another, in either family.
fn inner(six: bool, from: u8, to: u8, hops: u8) -> (u16, Vec<u8>) {
    if six {
        let packet = Ip6::between(&format!("fd0{from}::1"), &format!("fd0{to}::1"), 100);
        (ETHERTYPE_IPV6, Ip6 { hop_limit: hops, ..packet }.bytes())
    } else {
        let packet = Ip::between([192, 168, from, 1], [192, 168, to, 1], 100);
        (ETHERTYPE_IPV4, Ip { ttl: hops, ..packet }.bytes())
    }
}

fn outer6(source: &str, destination: &str, hops: u8) -> Ip6 {
    Ip6 { hop_limit: hops, ..Ip6::between(source, destination, 40) }
}

/// What comes from spoke `number`.
fn from(number: u8, key: Option<u32>, (protocol, payload): (u16, Vec<u8>)) -> Vec<u8> {
    match number {
        1 => Gre { key, protocol, ..Gre::from(SPOKE_1, payload) }.frame(),
        3 => gre6([WAN_MAC, GATEWAY_MAC], &outer6(SPOKE_3, LOCAL, 60), key, protocol, &payload),
        other => panic!("spoke {other}"),
    }
}

/// What goes to spoke `number`.
fn to(number: u8, key: Option<u32>, (protocol, payload): (u16, Vec<u8>)) -> Vec<u8> {
    match number {
        2 => Gre { key, protocol, ..Gre::to(SPOKE_2, payload) }.frame(),
        4 => gre6([GATEWAY_MAC, WAN_MAC], &outer6(LOCAL, SPOKE_4, 255), key, protocol, &payload),
        other => panic!("spoke {other}"),
    }
}

#[test]
fn goes_from_spoke_to_spoke_whatever_is_inside_and_outside() {
    for key in [None, Some(42)] {
        in_namespace(|| {
            let hub = hub(key);
            for (source, destination) in [(1, 2), (1, 4), (3, 2), (3, 4)] {
                for six in [false, true] {
                    let frame = from(source, key, inner(six, source, destination, 64));
                    let onward = to(destination, key, inner(six, source, destination, 63));
                    for way in ["long", "short"] {
                        let expected = Outcome { action: xdp::REDIRECT, frame: onward.clone() };
                        let outcome = hub.programs.receive(&frame);
                        assert_eq!(outcome, expected, "{source} to {destination}, {six}, {key:?}, {way} way");
                    }
                }
            }
            let (three, four) = (hub.programs.counters(3), hub.programs.counters(4));
            assert_eq!((three.received_xdp.packets, three.received_xdp.bytes), (8, 800));
            assert_eq!((four.transit_xdp.packets, four.transit_xdp.bytes), (8, 800));
            assert_eq!(hub.programs.drops(), []);
        });
    }
}

/// Spoke 3 was known by the index 3, and is known by the index 1 now.
#[test]
fn who_had_an_address_is_asked_for_anew_when_he_is_there_no_more() {
    on_one_processor(|| {
        let mut hub = hub(None);
        let six = Tunnel { id: 2, ..hub.tunnel };
        let frame = from(3, None, inner(true, 3, 2, 64));
        hub.programs.receive(&frame);
        hub.programs.set_peer(3, &peer_of(nbma(LOCAL), &six, nbma("2001:db8:3::4"), None));
        hub.programs.add_peer(1, &peer_of(nbma(LOCAL), &six, nbma(SPOKE_3), None));
        hub.programs.forget_routes();
        assert_eq!(hub.programs.receive(&frame).action, xdp::REDIRECT);
        assert_eq!([1, 3].map(|peer| hub.programs.counters(peer).received_xdp.packets), [1, 1]);
    });
}

#[test]
fn the_outer_class_is_copied_and_marks_are_combined() {
    in_namespace(|| {
        let hub = hub(None);
        for (outer, inside, expected) in
            [(0, 0xb8, 0xb8), (3, 0xb8 | 2, 0xb8 | 3), (1, 0xb8 | 2, 0xb8 | 1), (0, 3, 3), (0xff, 1, 3)]
        {
            let packet = Ip6 { class: inside, ..Ip6::between("fd03::1", "fd04::1", 80) };
            let arriving = Ip6 { class: outer, ..outer6(SPOKE_3, LOCAL, 60) };
            let frame = gre6([WAN_MAC, GATEWAY_MAC], &arriving, None, ETHERTYPE_IPV6, &packet.bytes());
            let packet = Ip6 { class: expected, hop_limit: 63, ..packet };
            let leaving = Ip6 { class: expected, ..outer6(LOCAL, SPOKE_4, 255) };
            let onward = gre6([GATEWAY_MAC, WAN_MAC], &leaving, None, ETHERTYPE_IPV6, &packet.bytes());
            let outcome = hub.programs.receive(&frame);
            assert_eq!(outcome, Outcome { action: xdp::REDIRECT, frame: onward }, "{outer:#x} {inside:#x}");
        }
        let marked = Ip6 { class: 3, ..outer6(SPOKE_3, LOCAL, 60) };
        let (protocol, packet) = inner(true, 3, 4, 64);
        let frame = gre6([WAN_MAC, GATEWAY_MAC], &marked, None, protocol, &packet);
        assert_eq!(hub.programs.receive(&frame).action, xdp::DROP);
        assert_eq!(hub.programs.drops(), [(DropReason::Congestion, 1, frame.len() as u64)]);
    });
}

#[test]
fn leaves_to_the_kernel_what_a_router_has_to_look_at() {
    in_namespace(|| {
        let hub = hub(None);
        let plain = Ip6::between("fd03::1", "fd04::1", 80);
        let address = |text: &str| text.parse().unwrap();
        for (what, packet) in [
            ("hop limit 1", Ip6 { hop_limit: 1, ..plain.clone() }),
            ("hop limit 0", Ip6 { hop_limit: 0, ..plain.clone() }),
            ("hop-by-hop options", Ip6 { next_header: 0, ..plain.clone() }),
            ("multicast", Ip6 { destination: address("ff02::5"), ..plain.clone() }),
            ("link-local destination", Ip6 { destination: address("fe80::1"), ..plain.clone() }),
            ("link-local source", Ip6 { source: address("fe80::1"), ..plain.clone() }),
            ("from nowhere", Ip6 { source: address("::"), ..plain.clone() }),
            ("for this box", Ip6 { destination: address("fd00::1"), ..plain.clone() }),
            ("without a route", Ip6 { destination: address("fd77::1"), ..plain.clone() }),
            ("longer than the interface allows", Ip6::between("fd03::1", "fd04::1", 1477)),
        ] {
            let frame = from(3, None, (ETHERTYPE_IPV6, packet.bytes()));
            let delivered =
                ethernet(PeerMac::TUNNEL.0, PeerMac::from_index(3).0, ETHERTYPE_IPV6, &packet.bytes());
            for _ in 0..2 {
                let outcome = hub.programs.receive(&frame);
                assert_eq!(outcome, Outcome { action: xdp::REDIRECT, frame: delivered.clone() }, "{what}");
            }
        }
        assert_eq!(hub.programs.drops(), []);
    });
}

#[test]
fn outer_extension_headers_are_for_the_kernel() {
    in_namespace(|| {
        let hub = hub(None);
        let mut frame = from(3, None, inner(true, 3, 4, 64));
        for next_header in [0, 43, 44, 60] {
            frame[20] = next_header;
            let passed = Outcome { action: xdp::PASS, frame: frame.clone() };
            assert_eq!(hub.programs.receive(&frame), passed, "{next_header}");
        }
        assert_eq!(hub.programs.drops(), []);
    });
}

#[test]
fn drops_over_ipv6_what_it_drops_over_ipv4() {
    in_namespace(|| {
        let hub = hub(None);
        let stranger = outer6("2001:db8:9::9", LOCAL, 60);
        let (protocol, packet) = inner(true, 3, 4, 64);
        let macs = [WAN_MAC, GATEWAY_MAC];
        let whole = from(3, None, inner(true, 3, 4, 64));
        for (what, frame, reason) in [
            ("stranger", gre6(macs, &stranger, None, protocol, &packet), DropReason::UnknownPeer),
            ("wrong key", from(3, Some(1), inner(true, 3, 4, 64)), DropReason::WrongKey),
            ("cut off", whole[..whole.len() - 1].to_vec(), DropReason::Truncated),
        ] {
            let (outcome, drops) = hub.programs.drops_by(|| hub.programs.receive(&frame));
            assert_eq!(outcome, Outcome { action: xdp::DROP, frame: frame.clone() }, "{what}");
            assert_eq!(drops, [(reason, 1, frame.len() as u64)], "{what}");
        }
    });
}

#[test]
fn the_tunnel_program_sends_over_ipv6() {
    for key in [None, Some(42)] {
        in_namespace(|| {
            let hub = hub(key);
            for six in [false, true] {
                let (protocol, packet) = inner(six, 1, 4, 64);
                let frame = ethernet(PeerMac::from_index(4).0, PeerMac::TUNNEL.0, protocol, &packet);
                let expected = Outcome { action: tc::REDIRECT, frame: to(4, key, (protocol, packet)) };
                assert_eq!(hub.programs.send(hub.tunnel.ifindex, &frame), expected, "{six} {key:?}");
            }
            assert_eq!(hub.programs.counters(4).sent_tc.packets, 2);
            assert_eq!(hub.programs.drops(), []);
        });
    }
}

/// A peer over IPv4 of the same box: the policies for outer headers.
#[test]
fn dont_fragment_and_class_follow_the_peers_policy() {
    in_namespace(|| {
        let mut hub = hub(None);
        let mut copying = peer(&hub.tunnel, SPOKE_2, None);
        copying.header[6] = 0;
        copying.header_sum = folded(u32::from(copying.header_sum) + u32::from(!0x4000_u16));
        copying.df_mask = 0x40;
        (copying.tos, copying.tos_mask) = (0x28, 3);
        hub.programs.set_peer(2, &copying);
        for (fragment, tos) in [(0x4000, 0xb8), (0, 0xb9), (0x4000, 0)] {
            let packet = Ip { tos, fragment, ..Ip::between([192, 168, 1, 1], [192, 168, 2, 1], 100) };
            let mut onward = Gre::to(SPOKE_2, Ip { ttl: 63, ..packet.clone() }.bytes());
            (onward.ip.fragment, onward.ip.tos) = (fragment, 0x28 | tos & 3);
            let outcome = hub.programs.receive(&from(1, None, (ETHERTYPE_IPV4, packet.bytes())));
            let expected = Outcome { action: xdp::REDIRECT, frame: onward.frame() };
            assert_eq!(outcome, expected, "{fragment:#x} {tos:#x}");
        }
        // Never, whatever the inner packet says.
        hub.programs.set_peer(2, &Peer { df_mask: 0, ..copying });
        let packet = Ip { fragment: 0x4000, ..Ip::between([192, 168, 1, 1], [192, 168, 2, 1], 100) };
        let mut onward = Gre::to(SPOKE_2, Ip { ttl: 63, ..packet.clone() }.bytes());
        (onward.ip.fragment, onward.ip.tos) = (0, 0x28);
        let outcome = hub.programs.receive(&from(1, None, (ETHERTYPE_IPV4, packet.bytes())));
        assert_eq!(outcome, Outcome { action: xdp::REDIRECT, frame: onward.frame() });
        hub.programs.change_peer(4, |peer| (peer.tos, peer.tos_mask) = (0x28, 3));
        let packet = |hop_limit| Ip6 { class: 0xb9, hop_limit, ..Ip6::between("fd03::1", "fd04::1", 80) };
        let outer = Ip6 { class: 0x29, ..outer6(LOCAL, SPOKE_4, 255) };
        let onward = gre6([GATEWAY_MAC, WAN_MAC], &outer, None, ETHERTYPE_IPV6, &packet(63).bytes());
        let outcome = hub.programs.receive(&from(3, None, (ETHERTYPE_IPV6, packet(64).bytes())));
        assert_eq!(outcome, Outcome { action: xdp::REDIRECT, frame: onward }, "the class of IPv6");
    });
}

fn folded(sum: u32) -> u16 {
    u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap()
}

/// The agent learns who has the address; the kernel gets the packet.
#[test]
fn a_link_local_source_is_told_of_for_each_peer_once_in_the_interval() {
    in_namespace(|| {
        let mut hub = hub(None);
        let hello = Ip6::between("fe80::5", "ff02::5", 80);
        let told = |number: u8, packet: &Ip6| Told {
            kind: EventKind::LinkLocal as u32,
            ifindex: hub.tunnel.ifindex,
            address: if number == 1 { SPOKE_1.into() } else { nbma(SPOKE_3).into() },
            head: packet.bytes()[..40].to_vec(),
        };
        let (one, three) = (told(1, &hello), told(3, &hello));
        for _ in 0..3 {
            for number in [1, 3] {
                let outcome = hub.programs.receive(&from(number, None, (ETHERTYPE_IPV6, hello.bytes())));
                assert_eq!(outcome.action, xdp::REDIRECT);
            }
        }
        assert_eq!(hub.programs.events(), [one, three]);
        // Another address of a peer that was told of.
        let other = Ip6::between("fe80::6", "fd00::1", 80);
        let expected = Told { head: other.bytes()[..40].to_vec(), ..told(1, &other) };
        hub.programs.receive(&from(1, None, (ETHERTYPE_IPV6, other.bytes())));
        assert_eq!(hub.programs.events(), [expected]);
        for source in ["fd01::1", "ff02::1", "::"] {
            let packet = Ip6::between(source, "fd00::1", 80);
            hub.programs.receive(&from(1, None, (ETHERTYPE_IPV6, packet.bytes())));
            assert_eq!(hub.programs.events(), [], "{source}");
        }
    });
}
