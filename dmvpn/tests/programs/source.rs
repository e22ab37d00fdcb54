//! A tunnel that checks whether a packet's source is behind the peer it came from.

use std::fs;

use dmvpn_common::{Control, DropReason, PeerMac, TunnelFlags};

use crate::{
    frames::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Gre, Ip, Ip6, SPOKE_1, SPOKE_2, ethernet},
    hub::Hub,
    namespace::{in_namespace, ip},
    programs::{Outcome, Settings, tc, xdp},
};

fn hub() -> Hub {
    let mut hub = Hub::new(TunnelFlags::CHECK_SOURCE, None, Settings::default());
    // As the agent sets it where sources are checked.
    hub.programs.set_control(Control { source_mask: u32::MAX, ..Control::default() });
    fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
    ip("address add fd00::1/64 dev dmvpn0 nodad");
    let mac = crate::namespace::mac_text(PeerMac::from_index(1).0);
    ip(&format!("neighbour add fd00::11 lladdr {mac} dev dmvpn0 nud permanent"));
    ip("route add fd01::/64 via fd00::11");
    hub
}

/// Through TC and through XDP, and again, where a packet finds what the one before left.
fn everywhere(hub: &Hub, frame: &[u8]) -> [Outcome; 4] {
    let xdp = || hub.programs.receive(frame);
    let tc = || hub.programs.receive_tc(hub.wan, frame);
    [tc(), tc(), xdp(), xdp()]
}

fn assert_spoofed(hub: &Hub, what: &str, frame: &[u8]) {
    let (outcomes, drops) = hub.programs.drops_by(|| everywhere(hub, frame));
    let actions = outcomes.map(|outcome| outcome.action);
    assert_eq!(actions, [tc::SHOT, tc::SHOT, xdp::DROP, xdp::DROP], "{what}");
    assert_eq!(drops, [(DropReason::Spoofed, 4, 4 * frame.len() as u64)], "{what}");
}

fn assert_delivered(hub: &Hub, what: &str, protocol: u16, packet: &[u8]) {
    let frame = Gre { protocol, ..Gre::from(SPOKE_1, packet.to_vec()) }.frame();
    let delivered = ethernet(PeerMac::TUNNEL.0, PeerMac::from_index(1).0, protocol, packet);
    let (outcomes, drops) = hub.programs.drops_by(|| everywhere(hub, &frame));
    for outcome in outcomes {
        assert_eq!(outcome.frame, delivered, "{what}");
    }
    assert_eq!(drops, [], "{what}");
}

#[test]
fn a_packet_from_an_address_of_somebody_else_is_dropped() {
    in_namespace(|| {
        let hub = hub();
        let between = |source, destination| Ip::between(source, destination, 100);
        for (what, packet) in [
            ("another spoke's", between([192, 168, 2, 1], [192, 168, 1, 1])),
            ("another spoke's, to this box", between([192, 168, 2, 1], [10, 0, 0, 1])),
            ("of the LAN here", between([172, 16, 0, 9], [192, 168, 2, 1])),
            ("of this box", between([10, 0, 0, 1], [192, 168, 2, 1])),
            ("of nobody", between([10, 9, 9, 9], [192, 168, 2, 1])),
        ] {
            assert_spoofed(&hub, what, &Gre::from(SPOKE_1, packet.bytes()).frame());
        }
        let packet = Ip6::between("fd02::1", "fd00::1", 60);
        let frame = Gre { protocol: ETHERTYPE_IPV6, ..Gre::from(SPOKE_1, packet.bytes()) }.frame();
        assert_spoofed(&hub, "of nobody, IPv6", &frame);
    });
}

/// What only the kernel may forward or take is checked as any other packet.
#[test]
fn no_oddity_of_a_packet_is_a_way_round_the_check() {
    in_namespace(|| {
        let hub = hub();
        let spoofed = Ip::between([192, 168, 2, 1], [10, 0, 0, 1], 100);
        for (what, packet) in [
            ("last hop", Ip { ttl: 1, ..spoofed.clone() }),
            ("options", Ip { options: vec![1, 1, 1, 0], ..spoofed.clone() }),
            ("multicast", Ip { destination: [224, 0, 0, 5].into(), ..spoofed.clone() }),
            ("broadcast", Ip { destination: [255; 4].into(), ..spoofed }),
        ] {
            assert_spoofed(&hub, what, &Gre::from(SPOKE_1, packet.bytes()).frame());
        }
        for (what, packet) in [
            ("last hop", Ip6 { hop_limit: 1, ..Ip6::between("fd02::1", "fd00::1", 60) }),
            ("hop-by-hop options", Ip6 { next_header: 0, ..Ip6::between("fd02::1", "fd00::1", 60) }),
            ("multicast", Ip6::between("fd02::1", "ff05::1", 60)),
        ] {
            let frame = Gre { protocol: ETHERTYPE_IPV6, ..Gre::from(SPOKE_1, packet.bytes()) }.frame();
            assert_spoofed(&hub, what, &frame);
        }
    });
}

#[test]
fn a_packet_from_an_address_of_its_peer_goes_its_way() {
    in_namespace(|| {
        let hub = hub();
        let packet = Ip::between([192, 168, 1, 1], [192, 168, 2, 1], 100);
        let onward = Gre::to(SPOKE_2, Ip { ttl: 63, ..packet.clone() }.bytes()).frame();
        for outcome in everywhere(&hub, &Gre::from(SPOKE_1, packet.bytes()).frame()) {
            assert_eq!(outcome.frame, onward);
        }
        for (what, packet) in [
            ("for this box", Ip::between([192, 168, 1, 1], [10, 0, 0, 1], 100)),
            ("as long as the tunnel takes", Ip::between([192, 168, 1, 2], [10, 0, 0, 1], 1476)),
            ("longer than that", Ip::between([192, 168, 1, 3], [10, 0, 0, 1], 2000)),
            ("from the peer itself, to a group", Ip::between([10, 0, 0, 11], [224, 0, 0, 5], 64)),
            ("last hop", Ip { ttl: 1, ..packet }),
            // Whoever asks for an address has none yet.
            ("from no address", Ip::between([0; 4], [255; 4], 100)),
        ] {
            assert_delivered(&hub, what, ETHERTYPE_IPV4, &packet.bytes());
        }
        for (what, packet) in [
            ("IPv6", Ip6::between("fd01::1", "fd00::1", 60)),
            ("IPv6, longer than the tunnel takes", Ip6::between("fd01::3", "fd00::1", 2000)),
            ("IPv6, to a group", Ip6::between("fd01::1", "ff05::1", 60)),
            // A routing daemon's.
            ("link-local", Ip6 { hop_limit: 1, ..Ip6::between("fe80::11", "ff02::5", 60) }),
        ] {
            assert_delivered(&hub, what, ETHERTYPE_IPV6, &packet.bytes());
        }
        assert_eq!(hub.programs.drops(), []);
    });
}
