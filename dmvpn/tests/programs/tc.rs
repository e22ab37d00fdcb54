//! The underlay program at TC: the same decisions as in XDP, on socket buffers.

use std::net::Ipv6Addr;

use dmvpn_common::{DropReason, GRE_PROTOCOL_NHRP, PeerMac, Tunnel};

use crate::{
    frames::{
        ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, GATEWAY_MAC, Gre, Ip, Ip6, SPOKE_1, SPOKE_2, STRANGER,
        WAN_MAC, ethernet, gre6,
    },
    hub::Hub,
    namespace::in_namespace,
    programs::{Outcome, Programs, Settings, peer, peer_of, tc, tunnel},
};

fn inner() -> Ip {
    Ip::between([192, 168, 1, 1], [192, 168, 2, 1], 100)
}

fn delivered(ether_type: u16, payload: &[u8]) -> Outcome {
    let frame = ethernet(PeerMac::TUNNEL.0, PeerMac::from_index(1).0, ether_type, payload);
    Outcome { action: tc::REDIRECT, frame }
}

#[test]
fn from_spoke_to_spoke_with_a_header_of_the_same_or_another_length() {
    for (key_in, key_out) in [(None, None), (Some(42), Some(42)), (None, Some(7)), (Some(7), None)] {
        in_namespace(|| {
            let mut hub = Hub::new(0, key_in, Settings::default());
            hub.programs.set_peer(2, &peer(&Tunnel { id: 2, ..hub.tunnel }, SPOKE_2, key_out));
            let frame = Gre { key: key_in, ..Gre::from(SPOKE_1, inner().bytes()) }.frame();
            let packet = Ip { ttl: 63, ..inner() }.bytes();
            let onward = Gre { key: key_out, ..Gre::to(SPOKE_2, packet) }.frame();
            for way in ["long", "short"] {
                let expected = Outcome { action: tc::REDIRECT, frame: onward.clone() };
                assert_eq!(
                    hub.programs.receive_tc(hub.wan, &frame),
                    expected,
                    "{key_in:?} {key_out:?} {way}"
                );
            }
            let (from, to) = (hub.programs.counters(1), hub.programs.counters(2));
            assert_eq!((from.received_tc.packets, from.received_tc.bytes), (2, 200));
            assert_eq!((to.transit_tc.packets, to.transit_tc.bytes), (2, 200));
            assert_eq!((from.received_xdp.packets, to.transit_xdp.packets), (0, 0));
            assert_eq!(hub.programs.drops(), []);
        });
    }
}

#[test]
fn delivers_what_is_for_the_kernel() {
    in_namespace(|| {
        let hub = Hub::plain();
        for packet in [
            Ip::between([192, 168, 1, 1], [10, 0, 0, 1], 100),
            Ip::between([192, 168, 1, 1], [10, 0, 0, 1], 21),
            Ip { ttl: 1, ..inner() },
            Ip { options: vec![1, 1, 1, 0], ..inner() },
            Ip::between([192, 168, 1, 1], [192, 168, 2, 1], 1477),
        ] {
            for _ in 0..2 {
                let outcome = hub.programs.receive_tc(hub.wan, &Gre::from(SPOKE_1, packet.bytes()).frame());
                assert_eq!(outcome, delivered(ETHERTYPE_IPV4, &packet.bytes()), "{packet:?}");
            }
        }
        let packet = Ip6::between("fd01::1", "fd77::1", 60).bytes();
        let frame = Gre { protocol: ETHERTYPE_IPV6, ..Gre::from(SPOKE_1, packet.clone()) }.frame();
        assert_eq!(hub.programs.receive_tc(hub.wan, &frame), delivered(ETHERTYPE_IPV6, &packet));
        assert_eq!(hub.programs.drops(), []);
    });
}

/// A short IPv4 packet out of an IPv6 one is shorter than the header it came in.
#[test]
fn delivers_what_came_over_ipv6() {
    in_namespace(|| {
        let mut hub = Hub::plain();
        let (local, spoke) =
            ("2001:db8::1".parse::<Ipv6Addr>().unwrap(), "2001:db8::2".parse::<Ipv6Addr>().unwrap());
        let six = Tunnel { id: 2, ..hub.tunnel };
        hub.programs.add_tunnel(local, None, six);
        hub.programs.add_peer(1, &peer_of(local, &six, spoke, None));
        let outer = Ip6::between("2001:db8::2", "2001:db8::1", 40);
        for size in [21, 28, 100] {
            let packet = Ip::between([192, 168, 1, 1], [10, 0, 0, 1], size).bytes();
            let frame = gre6([WAN_MAC, GATEWAY_MAC], &outer, None, ETHERTYPE_IPV4, &packet);
            assert_eq!(
                hub.programs.receive_tc(hub.wan, &frame),
                delivered(ETHERTYPE_IPV4, &packet),
                "{size}"
            );
        }
        assert_eq!(hub.programs.drops(), []);
    });
}

#[test]
fn passes_and_drops_what_xdp_passes_and_drops() {
    in_namespace(|| {
        let hub = Hub::plain();
        let data = Gre::from(SPOKE_1, inner().bytes());
        let nhrp = Gre { protocol: GRE_PROTOCOL_NHRP, ..Gre::from(STRANGER, vec![0xab; 40]) };
        let mut fragment = data.clone();
        fragment.ip.fragment = 0x2000;
        for (what, frame) in [
            ("ARP", ethernet(WAN_MAC, GATEWAY_MAC, ETHERTYPE_ARP, &[0; 28])),
            ("NHRP", nhrp.frame()),
            ("fragment", fragment.frame()),
            ("GRE checksum", Gre { flags: 0x8000, ..data.clone() }.frame()),
        ] {
            let passed = Outcome { action: tc::UNSPEC, frame: frame.clone() };
            assert_eq!(hub.programs.receive_tc(hub.wan, &frame), passed, "{what}");
        }
        assert_eq!(hub.programs.drops(), []);
        for (what, frame, reason) in [
            ("stranger", Gre::from(STRANGER, inner().bytes()).frame(), DropReason::UnknownPeer),
            ("wrong key", Gre { key: Some(1), ..data.clone() }.frame(), DropReason::WrongKey),
            ("cut off", data.frame()[..120].to_vec(), DropReason::Truncated),
        ] {
            let (outcome, drops) = hub.programs.drops_by(|| hub.programs.receive_tc(hub.wan, &frame));
            assert_eq!(outcome.action, tc::SHOT, "{what}");
            assert_eq!(drops, [(reason, 1, frame.len() as u64)], "{what}");
        }
    });
}

/// The tunnel's own interface is where the far end leads; nothing else is needed for that.
#[test]
fn needs_no_routes_to_deliver() {
    let programs = Programs::with_two_spokes();
    let packet = Ip::between([10, 0, 0, 11], [10, 0, 0, 1], 100);
    // The loopback interface has no link-layer address.
    let frame = Gre { to: [0; 6], ..Gre::from(SPOKE_1, packet.bytes()) }.frame();
    let outcome = programs.receive_tc(1, &frame);
    assert_eq!(outcome, delivered(ETHERTYPE_IPV4, &packet.bytes()));
    assert_eq!(programs.counters(1).received_tc.packets, 1, "{:?}", tunnel());
}
