//! The largest segment that TCP connections announce is lowered on every path, and nothing else is changed.

use std::fs;

use dmvpn_common::{FastPath, Interface, InterfaceRole, Peer, PeerMac};

use crate::{
    frames::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Gre, Ip, Ip6, SPOKE_1, SPOKE_2, TCP, ethernet, tcp},
    hub::Hub,
    namespace::{in_namespace, index_of, ip, mac_text},
    programs::{Outcome, Settings, peer, tc, xdp},
};

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

const SITE_1: [u8; 4] = [192, 168, 1, 1];
const SITE_2: [u8; 4] = [192, 168, 2, 1];
const HOST: [u8; 4] = [172, 16, 0, 9];

/// Link-layer addresses on the LAN: ours and that of [`HOST`].
const LAN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x90];
const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

/// What the tunnel allows over IPv4; 20 less over IPv6.
const MOST: u16 = 1360;

/// A hub whose tunnel allows segments of [`MOST`] bytes, and the index of its accelerated LAN.
fn hub(fast_path: FastPath) -> (Hub, u32) {
    let mut hub = Hub::new(0, None, Settings::default());
    fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
    ip(&format!("link set lan0 address {}", mac_text(LAN_MAC)));
    ip(&format!("neighbour add 172.16.0.9 lladdr {} dev lan0 nud permanent", mac_text(HOST_MAC)));
    ip("address add fd00::1/64 dev dmvpn0 nodad");
    for spoke in [1, 2] {
        let mac = mac_text(PeerMac::from_index(spoke).0);
        ip(&format!("neighbour add fd00::1{spoke} lladdr {mac} dev dmvpn0 nud permanent"));
        ip(&format!("route add fd0{spoke}::/64 via fd00::1{spoke}"));
    }
    let lan = index_of("lan0");
    hub.tunnel.fast_path = fast_path;
    hub.tunnel.mss_ipv4 = MOST;
    hub.tunnel.mss_ipv6 = MOST - 20;
    hub.programs.set_up_two_spokes(None, hub.tunnel);
    let tunnel = Interface {
        role: InterfaceRole::Tunnel,
        tunnel: 1,
        fast_path,
        mss_ipv4: MOST,
        mss_ipv6: MOST - 20,
        ..Interface::default()
    };
    hub.programs.set_interface(hub.tunnel.ifindex, tunnel);
    let interface = Interface { role: InterfaceRole::Lan, mac: LAN_MAC, ..Interface::default() };
    hub.programs.set_interface(lan, interface);
    (hub, lan)
}

/// The options of a Linux host that announces segments of this size.
fn options(largest: u16) -> Vec<u8> {
    let [high, low] = largest.to_be_bytes();
    vec![2, 4, high, low, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7]
}

/// A packet with a TCP header that has these flags and options.
fn packet(source: [u8; 4], destination: [u8; 4], flags: u8, options: &[u8]) -> Ip {
    let payload = tcp(source, destination, flags, options);
    Ip { protocol: TCP, payload, ..Ip::between(source, destination, 20) }
}

/// A packet that opens a connection and announces segments of this size.
fn syn(source: [u8; 4], destination: [u8; 4], largest: u16) -> Ip {
    packet(source, destination, SYN, &options(largest))
}

fn from_spoke_1(packet: &Ip) -> Vec<u8> {
    Gre::from(SPOKE_1, packet.bytes()).frame()
}

/// `packet` one hop further, to spoke 2.
fn onward(packet: &Ip) -> Vec<u8> {
    Gre::to(SPOKE_2, Ip { ttl: packet.ttl - 1, ..packet.clone() }.bytes()).frame()
}

fn from_host(packet: &Ip) -> Vec<u8> {
    ethernet(LAN_MAC, HOST_MAC, ETHERTYPE_IPV4, &packet.bytes())
}

fn to_host(packet: &Ip) -> Vec<u8> {
    let packet = Ip { ttl: packet.ttl - 1, ..packet.clone() };
    ethernet(HOST_MAC, LAN_MAC, ETHERTYPE_IPV4, &packet.bytes())
}

fn for_the_kernel(packet: &Ip) -> Vec<u8> {
    ethernet(PeerMac::TUNNEL.0, PeerMac::from_index(1).0, ETHERTYPE_IPV4, &packet.bytes())
}

/// A frame as the kernel sends it to spoke 2.
fn to_spoke_2(packet: &Ip) -> Vec<u8> {
    ethernet(PeerMac::from_index(2).0, PeerMac::TUNNEL.0, ETHERTYPE_IPV4, &packet.bytes())
}

#[track_caller]
fn redirected(outcome: &Outcome, expected: &[u8], what: &str) {
    assert!([xdp::REDIRECT, tc::REDIRECT].contains(&outcome.action), "{what}: {}", outcome.action);
    assert_eq!(outcome.frame, expected, "{what}");
}

#[test]
fn on_every_path_a_connection_that_opens_fits_the_tunnel() {
    in_namespace(|| {
        let (hub, lan) = hub(FastPath::Full);
        let programs = &hub.programs;
        for (flags, largest, expected) in [
            (SYN, 1460, MOST),
            (SYN | ACK, 1460, MOST),
            (SYN, MOST + 1, MOST),
            (SYN, MOST, MOST),
            (SYN, 536, 536),
        ] {
            let with = |from, to, size| packet(from, to, flags, &options(size));
            let before = |from, to| with(from, to, largest);
            let after = |from, to| with(from, to, expected);
            for way in ["long", "short"] {
                let what = format!("{flags:#x} {largest} {way}");
                let (sent, frame) = (onward(&after(SITE_1, SITE_2)), from_spoke_1(&before(SITE_1, SITE_2)));
                redirected(&programs.receive(&frame), &sent, &what);
                redirected(&programs.receive_tc(hub.wan, &frame), &sent, &what);

                let (sent, frame) = (to_host(&after(SITE_1, HOST)), from_spoke_1(&before(SITE_1, HOST)));
                redirected(&programs.receive(&frame), &sent, &what);
                redirected(&programs.receive_tc(hub.wan, &frame), &sent, &what);

                let ours = [10, 0, 0, 1];
                let (sent, frame) =
                    (for_the_kernel(&after(SITE_1, ours)), from_spoke_1(&before(SITE_1, ours)));
                redirected(&programs.receive(&frame), &sent, &what);
                redirected(&programs.receive_tc(hub.wan, &frame), &sent, &what);

                let sent = Gre::to(SPOKE_2, Ip { ttl: 63, ..after(HOST, SITE_2) }.bytes()).frame();
                redirected(&programs.receive_from_lan(lan, &from_host(&before(HOST, SITE_2))), &sent, &what);

                let sent = Gre::to(SPOKE_2, after(HOST, SITE_2).bytes()).frame();
                redirected(
                    &programs.send(hub.tunnel.ifindex, &to_spoke_2(&before(HOST, SITE_2))),
                    &sent,
                    &what,
                );
            }
        }
        assert_eq!(programs.drops(), []);
    });
}

#[test]
fn what_the_kernel_routes_is_lowered_too() {
    in_namespace(|| {
        let (hub, _) = hub(FastPath::Off);
        let frame = from_spoke_1(&syn(SITE_1, SITE_2, 1460));
        let sent = for_the_kernel(&syn(SITE_1, SITE_2, MOST));
        for _ in 0..2 {
            redirected(&hub.programs.receive(&frame), &sent, "XDP");
            redirected(&hub.programs.receive_tc(hub.wan, &frame), &sent, "TC");
        }
    });
}

#[test]
fn connections_over_ipv6_have_a_longer_header() {
    in_namespace(|| {
        let (hub, _) = hub(FastPath::Full);
        let packet = |largest, hop_limit| {
            let mut packet = Ip6::between("fd01::1", "fd02::1", 40);
            packet.next_header = TCP;
            packet.hop_limit = hop_limit;
            packet.payload = tcp(packet.source, packet.destination, SYN, &options(largest));
            packet.bytes()
        };
        let six = |gre: Gre| Gre { protocol: ETHERTYPE_IPV6, ..gre }.frame();
        let frame = six(Gre::from(SPOKE_1, packet(1440, 64)));
        let sent = six(Gre::to(SPOKE_2, packet(MOST - 20, 63)));
        for way in ["long", "short"] {
            redirected(&hub.programs.receive(&frame), &sent, way);
            redirected(&hub.programs.receive_tc(hub.wan, &frame), &sent, way);
        }
        let frame = ethernet(PeerMac::from_index(2).0, PeerMac::TUNNEL.0, ETHERTYPE_IPV6, &packet(1440, 64));
        let sent = six(Gre::to(SPOKE_2, packet(MOST - 20, 64)));
        redirected(&hub.programs.send(hub.tunnel.ifindex, &frame), &sent, "TC egress");
    });
}

/// What a spoke announces bounds what is sent to it; it fits the way to the other one as well.
#[test]
fn a_peer_with_a_smaller_mtu_gets_smaller_segments() {
    in_namespace(|| {
        let (mut hub, lan) = hub(FastPath::Full);
        let outward =
            |largest| Gre::to(SPOKE_2, Ip { ttl: 63, ..syn(HOST, SITE_2, largest) }.bytes()).frame();
        for (narrow, address) in [(1, SPOKE_1), (2, SPOKE_2)] {
            // The routes are in the cache already, the second time: the MTU counts all the same.
            hub.programs.set_up_two_spokes(None, hub.tunnel);
            hub.programs.set_peer(narrow, &Peer { mtu: 1300, ..peer(&hub.tunnel, address, None) });
            let to = |peer| if narrow == peer { 1260 } else { MOST };
            let what = format!("spoke {narrow} is narrow");
            let frame = from_spoke_1(&syn(SITE_1, SITE_2, 1460));
            redirected(&hub.programs.receive(&frame), &onward(&syn(SITE_1, SITE_2, 1260)), &what);
            let frame = from_spoke_1(&syn(SITE_1, HOST, 1460));
            redirected(&hub.programs.receive(&frame), &to_host(&syn(SITE_1, HOST, to(1))), &what);
            let frame = from_host(&syn(HOST, SITE_2, 1460));
            redirected(&hub.programs.receive_from_lan(lan, &frame), &outward(to(2)), &what);
            let frame = to_spoke_2(&syn(HOST, SITE_2, 1460));
            let sent = Gre::to(SPOKE_2, syn(HOST, SITE_2, to(2)).bytes()).frame();
            redirected(&hub.programs.send(hub.tunnel.ifindex, &frame), &sent, &what);
        }
    });
}

/// From one tunnel to another the stricter of both counts, and none does where there is none.
#[test]
fn each_tunnel_has_its_own_limit() {
    in_namespace(|| {
        let (mut hub, _) = hub(FastPath::Full);
        for (there, here, expected) in
            [(1200, MOST, 1200), (MOST, 1200, 1200), (0, MOST, MOST), (1200, 0, 1200), (0, 0, 1460)]
        {
            // Another number for the tunnel of spoke 1, so that both of them have a tunnel to themselves.
            let mut first = hub.tunnel;
            (first.id, first.mss_ipv4) = (2, here);
            hub.programs.set_up_two_spokes(None, first);
            hub.programs.set_peer(2, &peer(&hub.tunnel, SPOKE_2, None));
            let interface =
                Interface { role: InterfaceRole::Tunnel, mss_ipv4: there, ..Interface::default() };
            hub.programs.set_interface(hub.tunnel.ifindex, interface);
            hub.programs.forget_routes();
            let frame = from_spoke_1(&syn(SITE_1, SITE_2, 1460));
            let sent = onward(&syn(SITE_1, SITE_2, expected));
            for way in ["long", "short"] {
                redirected(&hub.programs.receive(&frame), &sent, &format!("{here} {there} {way}"));
            }
        }
    });
}

/// Everything here looks like a connection that opens, and is none, or none that anybody could read.
#[test]
fn leaves_everything_else_as_it_is() {
    in_namespace(|| {
        let (hub, _) = hub(FastPath::Full);
        let whole = syn(SITE_1, SITE_2, 1460);
        let with = |options: &[u8]| packet(SITE_1, SITE_2, SYN, options);
        let mut udp = whole.clone();
        udp.protocol = 17;
        let mut later = whole.clone();
        later.fragment = 0x0001;
        let mut short = whole.clone();
        short.payload.truncate(22);
        let mut longer_than_it_is = whole.clone();
        longer_than_it_is.payload[12] = 0xf0;
        let mut too_short = whole.clone();
        too_short.payload[12] = 0x40;
        for (what, packet) in [
            ("no SYN", packet(SITE_1, SITE_2, ACK, &options(1460))),
            ("UDP", udp),
            ("a later fragment", later),
            ("cut off", short),
            ("a header that is longer than the packet", longer_than_it_is),
            ("a header that is shorter than any", too_short),
            ("no option", with(&[])),
            ("fillers", with(&[1; 40])),
            ("behind the end", with(&[0, 0, 0, 0, 2, 4, 0x05, 0xb4])),
            ("an option without length", with(&[8, 0, 2, 4, 0x05, 0xb4, 0, 0])),
            ("an option that is too long", with(&[8, 41, 2, 4, 0x05, 0xb4, 0, 0])),
            ("another length", with(&[2, 3, 0x05, 0xb4])),
        ] {
            let frame = from_spoke_1(&packet);
            for way in ["long", "short"] {
                redirected(&hub.programs.receive(&frame), &onward(&packet), &format!("{what} {way}"));
                redirected(
                    &hub.programs.receive_tc(hub.wan, &frame),
                    &onward(&packet),
                    &format!("{what} {way}"),
                );
            }
            let sent = Gre::to(SPOKE_2, packet.bytes()).frame();
            redirected(&hub.programs.send(hub.tunnel.ifindex, &to_spoke_2(&packet)), &sent, what);
        }
        // Behind options of IP there is something else where the flags would be.
        let mut options_of_ip = syn(SITE_1, SITE_2, 1460);
        options_of_ip.options = vec![1; 8];
        redirected(
            &hub.programs.receive(&from_spoke_1(&options_of_ip)),
            &for_the_kernel(&options_of_ip),
            "options",
        );
        assert_eq!(hub.programs.drops(), []);
    });
}

#[test]
fn finds_the_option_wherever_it_is() {
    in_namespace(|| {
        let (hub, _) = hub(FastPath::Full);
        for fillers in 0..=36 {
            let with = |largest: u16| {
                let mut options = vec![1; fillers];
                options.extend([&[2, 4], &largest.to_be_bytes()[..]].concat());
                options.resize(40, 0);
                packet(SITE_1, SITE_2, SYN, &options)
            };
            let (frame, sent) = (from_spoke_1(&with(1460)), onward(&with(MOST)));
            redirected(&hub.programs.receive(&frame), &sent, &format!("XDP, {fillers} fillers"));
            redirected(&hub.programs.receive_tc(hub.wan, &frame), &sent, &format!("TC, {fillers} fillers"));
        }
        // The first of several fragments has the header.
        let mut before = syn(SITE_1, SITE_2, 1460);
        before.fragment = 0x2000;
        let mut after = syn(SITE_1, SITE_2, MOST);
        after.fragment = 0x2000;
        redirected(&hub.programs.receive(&from_spoke_1(&before)), &onward(&after), "first fragment");
    });
}

#[test]
fn nothing_is_lowered_where_the_operator_does_not_want_it() {
    in_namespace(|| {
        let hub = Hub::plain();
        let packet = syn(SITE_1, SITE_2, u16::MAX);
        for _ in 0..2 {
            redirected(&hub.programs.receive(&from_spoke_1(&packet)), &onward(&packet), "XDP");
            redirected(&hub.programs.receive_tc(hub.wan, &from_spoke_1(&packet)), &onward(&packet), "TC");
        }
        let sent = Gre::to(SPOKE_2, packet.bytes()).frame();
        redirected(&hub.programs.send(hub.tunnel.ifindex, &to_spoke_2(&packet)), &sent, "TC egress");
    });
}
