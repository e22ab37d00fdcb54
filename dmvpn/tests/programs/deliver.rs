//! What the underlay program hands to the kernel as a frame for the tunnel interface.

use dmvpn_common::{DropReason, PeerMac, Tunnel, TunnelFlags};

use crate::{
    frames::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Gre, Ip, LOCAL, SPOKE_1, STRANGER, ethernet, ipv6},
    programs::{Outcome, Programs, tunnel, xdp},
};

/// `payload` as the tunnel interface gets it from the peer with index `peer`.
fn delivered(peer: u32, ether_type: u16, payload: &[u8]) -> Outcome {
    let frame = ethernet(PeerMac::TUNNEL.0, PeerMac::from_index(peer).0, ether_type, payload);
    Outcome { action: xdp::REDIRECT, frame }
}

fn inner() -> Ip {
    Ip::between([10, 0, 0, 11], [10, 0, 0, 1], 100)
}

#[test]
fn strips_the_outer_headers() {
    for key in [None, Some(42)] {
        let mut programs = Programs::load();
        programs.set_up_two_spokes(key, tunnel());
        let gre = Gre { key, ..Gre::from(SPOKE_1, inner().bytes()) };
        assert_eq!(programs.receive(&gre.frame()), delivered(1, ETHERTYPE_IPV4, &inner().bytes()), "{key:?}");
        let counters = programs.counters(1);
        assert_eq!((counters.received().packets, counters.received().bytes), (1, 100));
        assert_eq!((counters.sent().packets, counters.transit().packets), (0, 0));
        assert_eq!(programs.drops(), []);
    }
}

#[test]
fn delivers_what_a_router_has_to_look_at() {
    let programs = Programs::with_two_spokes();
    for (what, packet) in [
        ("options", Ip { options: vec![7, 3, 4, 0], ..inner() }),
        ("multicast", Ip { destination: [224, 0, 0, 5].into(), ..inner() }),
        ("broadcast", Ip { destination: [255; 4].into(), ..inner() }),
        ("time to live 1", Ip { ttl: 1, ..inner() }),
        ("fragment", Ip { fragment: 0x2010, ..inner() }),
    ] {
        let gre = Gre::from(SPOKE_1, packet.bytes());
        assert_eq!(programs.receive(&gre.frame()), delivered(1, ETHERTYPE_IPV4, &packet.bytes()), "{what}");
    }
    assert_eq!(programs.drops(), []);
}

#[test]
fn delivers_ipv6() {
    let programs = Programs::with_two_spokes();
    let gre = Gre { protocol: ETHERTYPE_IPV6, ..Gre::from(SPOKE_1, ipv6(0xb8)) };
    assert_eq!(programs.receive(&gre.frame()), delivered(1, ETHERTYPE_IPV6, &ipv6(0xb8)));
    assert_eq!(programs.counters(1).received().bytes, 64);
}

/// A frame has at least 60 bytes, so a short packet has padding behind it.
#[test]
fn padding_does_no_harm() {
    let programs = Programs::with_two_spokes();
    let packet = Ip::between([10, 0, 0, 11], [10, 0, 0, 1], 21).bytes();
    let mut frame = Gre::from(SPOKE_1, packet.clone()).frame();
    frame.push(0xee);
    let expected = delivered(1, ETHERTYPE_IPV4, &[&packet[..], &[0xee]].concat());
    assert_eq!(programs.receive(&frame), expected);
    assert_eq!(programs.counters(1).received().bytes, 21);
}

/// A packet longer than a page lies in several buffers, of which only the first can be reached.
#[test]
fn a_frame_in_several_buffers_is_delivered_whole() {
    let programs = Programs::with_two_spokes();
    let packet = Ip::between([10, 0, 0, 11], [10, 0, 0, 1], 9000).bytes();
    let frame = Gre::from(SPOKE_1, packet.clone()).frame();
    assert_eq!(programs.receive(&frame), delivered(1, ETHERTYPE_IPV4, &packet));
    // One byte less than the outer header says.
    assert_eq!(programs.receive(&frame[..frame.len() - 1]).action, xdp::DROP);
    assert_eq!(programs.drops(), [(DropReason::Truncated, 1, frame.len() as u64 - 1)]);
}

/// RFC 6040: a mark on the outer header reaches the receiver.
#[test]
fn carries_a_congestion_mark_inside() {
    let programs = Programs::with_two_spokes();
    let mut gre = Gre::from(SPOKE_1, Ip { tos: 0xb8 | 2, ..inner() }.bytes());
    gre.ip.tos = 0xb8 | 3;
    let marked = Ip { tos: 0xb8 | 3, ..inner() }.bytes();
    assert_eq!(programs.receive(&gre.frame()), delivered(1, ETHERTYPE_IPV4, &marked));

    let mut gre = Gre { protocol: ETHERTYPE_IPV6, ..Gre::from(SPOKE_1, ipv6(1)) };
    gre.ip.tos = 3;
    assert_eq!(programs.receive(&gre.frame()), delivered(1, ETHERTYPE_IPV6, &ipv6(3)));
}

#[test]
fn a_stranger_has_no_index() {
    let mut programs = Programs::load();
    programs.add_tunnel(LOCAL, None, Tunnel { flags: TunnelFlags::ACCEPT_ANY, ..tunnel() });
    let gre = Gre::from(STRANGER, inner().bytes());
    assert_eq!(programs.receive(&gre.frame()), delivered(0, ETHERTYPE_IPV4, &inner().bytes()));
}
