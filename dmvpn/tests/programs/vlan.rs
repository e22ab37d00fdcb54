//! An underlay whose frames carry a VLAN tag (802.1Q).

use dmvpn_common::Underlay;

use crate::{
    frames::{ETHERTYPE_IPV4, Gre, Ip, SPOKE_1, SPOKE_2, ethernet, tagged},
    hub::Hub,
    namespace::in_namespace,
    programs::{Outcome, next_hop, xdp},
};

fn inner() -> Ip {
    Ip::between([192, 168, 1, 1], [192, 168, 2, 1], 100)
}

fn from_spoke_1() -> Vec<u8> {
    Gre::from(SPOKE_1, inner().bytes()).frame()
}

fn onward() -> Vec<u8> {
    Gre::to(SPOKE_2, Ip { ttl: 63, ..inner() }.bytes()).frame()
}

/// The long way and the short one.
#[test]
fn the_tag_goes_off_on_and_over() {
    in_namespace(|| {
        let mut hub = Hub::plain();
        for (in_by, out_by) in [(None, Some(7)), (Some(100), None), (Some(100), Some(4094)), (None, None)] {
            hub.programs.set_next_hop(1, Underlay { vlan: out_by.unwrap_or(0), ..next_hop() });
            let with = |vlan: Option<u16>, frame: Vec<u8>| match vlan {
                Some(vlan) => tagged(vlan, &frame),
                None => frame,
            };
            let expected = Outcome { action: xdp::REDIRECT, frame: with(out_by, onward()) };
            for way in ["long", "short"] {
                let outcome = hub.programs.receive(&with(in_by, from_spoke_1()));
                assert_eq!(outcome, expected, "{in_by:?} to {out_by:?}, {way} way");
            }
        }
        assert_eq!(hub.programs.drops(), []);
    });
}

#[test]
fn a_delivered_frame_has_no_tag() {
    in_namespace(|| {
        let hub = Hub::plain();
        let packet = Ip::between([192, 168, 1, 1], [10, 0, 0, 1], 100).bytes();
        let frame = tagged(100, &Gre::from(SPOKE_1, packet.clone()).frame());
        for way in ["long", "short"] {
            let outcome = hub.programs.receive(&frame);
            let to = dmvpn_common::PeerMac::TUNNEL.0;
            let from = dmvpn_common::PeerMac::from_index(1).0;
            let frame = ethernet(to, from, ETHERTYPE_IPV4, &packet);
            assert_eq!(outcome, Outcome { action: xdp::REDIRECT, frame }, "{way} way");
        }
    });
}

#[test]
fn two_tags_are_none_of_its_business() {
    in_namespace(|| {
        let hub = Hub::plain();
        let frame = tagged(1, &tagged(2, &from_spoke_1()));
        assert_eq!(hub.programs.receive(&frame), Outcome { action: xdp::PASS, frame: frame.clone() });
        let cut = &tagged(1, &from_spoke_1())[..17];
        assert_eq!(hub.programs.receive(cut).action, xdp::PASS);
        assert_eq!(hub.programs.drops(), []);
    });
}
