//! For whom a frame is: an interface may hear frames for others, one of whom may have our NBMA address.

use std::net::Ipv6Addr;

use dmvpn_common::{Station, Tunnel};

use crate::{
    frames::{ETHERTYPE_IPV4, GATEWAY_MAC, Gre, Ip, Ip6, SPOKE_1, WAN_MAC, gre6, tagged},
    hub::Hub,
    namespace::in_namespace,
    programs::{Outcome, Programs, peer_of, tc, xdp},
};

const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 0x81];
const GROUPS: [[u8; 6]; 2] = [[0xff; 6], [1, 0, 0x5e, 0, 0, 5]];

fn to(mac: [u8; 6]) -> Gre {
    let packet = Ip::between([192, 168, 1, 1], [192, 168, 2, 1], 100).bytes();
    Gre { to: mac, ..Gre::from(SPOKE_1, packet) }
}

fn station(mac: [u8; 6], vlan: u16) -> Station {
    Station { mac, vlan }
}

/// Everything with the outer addresses of a tunnel: accepted data, what is for the slow path, what would be dropped.
fn kinds(mac: [u8; 6]) -> Vec<Vec<u8>> {
    let with_options = |gre: Gre| Gre { ip: Ip { options: vec![1, 1, 1, 0], ..gre.ip }, ..gre };
    let from_nobody = |gre: Gre| Gre { ip: Ip { source: [0; 4].into(), ..gre.ip }, ..gre };
    let data = || to(mac);
    vec![
        data().frame(),
        Gre { key: Some(7), ..data() }.frame(),
        Gre { flags: 0x4000, ..data() }.frame(),
        Gre { protocol: 0x6558, ..data() }.frame(),
        from_nobody(with_options(data())).frame(),
        data().frame()[..60].to_vec(),
        {
            let outer = Ip6::between("2001:db8::2", "2001:db8::1", 40);
            gre6([mac, GATEWAY_MAC], &outer, None, ETHERTYPE_IPV4, &data().payload)
        },
    ]
}

#[test]
fn frames_for_others_are_passed_on_as_they_came() {
    in_namespace(|| {
        let mut hub = Hub::plain();
        let (local, spoke): (Ipv6Addr, Ipv6Addr) =
            ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        let six = Tunnel { id: 2, ..hub.tunnel };
        hub.programs.add_tunnel(local, None, six);
        hub.programs.add_peer(3, &peer_of(local, &six, spoke, None));
        // Also when its like is remembered.
        for _ in 0..2 {
            assert_eq!(hub.programs.receive(&to(WAN_MAC).frame()).action, xdp::REDIRECT);
            assert_eq!(hub.programs.receive_tc(hub.wan, &to(WAN_MAC).frame()).action, tc::REDIRECT);
        }
        hub.programs.set_stations(&[station(WAN_MAC, 0)]);
        for mac in [OTHER].into_iter().chain(GROUPS) {
            for frame in kinds(mac) {
                let passed = |action| Outcome { action, frame: frame.clone() };
                assert_eq!(hub.programs.receive(&frame), passed(xdp::PASS), "{frame:02x?}");
                assert_eq!(hub.programs.receive_tc(hub.wan, &frame), passed(tc::UNSPEC), "{frame:02x?}");
            }
        }
        assert_eq!(hub.programs.drops(), []);
        assert_eq!(hub.programs.receive(&to(WAN_MAC).frame()).action, xdp::REDIRECT);
        assert_eq!(hub.programs.receive_tc(hub.wan, &to(WAN_MAC).frame()).action, tc::REDIRECT);
    });
}

/// On another VLAN the same address is another station's.
#[test]
fn a_vlan_of_others_is_none_of_its_business() {
    let mut programs = Programs::with_two_spokes();
    let mut own: Vec<_> = (1..16).map(|vlan| station(WAN_MAC, vlan)).collect();
    own.push(station(OTHER, 4094));
    programs.set_stations(&own);
    for (frame, action) in [
        (tagged(1, &to(WAN_MAC).frame()), xdp::REDIRECT),
        (tagged(15, &to(WAN_MAC).frame()), xdp::REDIRECT),
        (tagged(4094, &to(OTHER).frame()), xdp::REDIRECT),
        // Priority and drop eligibility are no part of it.
        (tagged(0xf000 | 15, &to(WAN_MAC).frame()), xdp::REDIRECT),
        (tagged(16, &to(WAN_MAC).frame()), xdp::PASS),
        (tagged(15, &to(OTHER).frame()), xdp::PASS),
        (tagged(4094, &to(WAN_MAC).frame()), xdp::PASS),
        (to(WAN_MAC).frame(), xdp::PASS),
        (tagged(0, &to(WAN_MAC).frame()), xdp::PASS),
    ] {
        for _ in 0..2 {
            assert_eq!(programs.receive(&frame).action, action, "{:02x?}", &frame[..18]);
        }
    }
    // A tag with no VLAN has only a priority (IEEE 802.1Q, 9.6).
    programs.set_stations(&[station(WAN_MAC, 0)]);
    assert_eq!(programs.receive(&tagged(0xe000, &to(WAN_MAC).frame())).action, xdp::REDIRECT);
}

/// As it was before there was such a map, until the agent has said which addresses are ours.
#[test]
fn every_frame_is_taken_while_nobody_said_for_whom() {
    let programs = Programs::with_two_spokes();
    for frame in [to(OTHER).frame(), tagged(9, &to(OTHER).frame())] {
        assert_eq!(programs.receive(&frame).action, xdp::REDIRECT);
    }
}
