//! NHRP reaches the kernel, and so the agent's socket, but not at any rate.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use dmvpn_common::{DropReason, GRE_PROTOCOL_NHRP, Peer, PeerState};

use crate::{
    frames::{Gre, SPOKE_1, STRANGER},
    programs::{Outcome, Programs, Settings, peer, tunnel, xdp},
};

fn nhrp_from(source: Ipv4Addr) -> Vec<u8> {
    Gre { protocol: GRE_PROTOCOL_NHRP, ..Gre::from(source, vec![0xab; 40]) }.frame()
}

#[test]
fn passes_from_anyone_as_it_came() {
    let mut programs = Programs::with_two_spokes();
    let down = Peer { state: PeerState::Down, ..peer(&tunnel(), SPOKE_1, None) };
    programs.set_peer(1, &down);
    for (what, frame) in [("stranger", nhrp_from(STRANGER)), ("peer that is down", nhrp_from(SPOKE_1))] {
        assert_eq!(programs.receive(&frame), Outcome { action: xdp::PASS, frame: frame.clone() }, "{what}");
    }
    assert_eq!(programs.drops(), []);
}

#[test]
fn a_source_above_its_rate_is_cut_off_for_the_rest_of_the_second() {
    let mut programs = Programs::load_with(Settings { nhrp_source_limit: 3, ..Settings::default() });
    programs.set_up_two_spokes(None, tunnel());
    let flood = |programs: &Programs| {
        (0..5).map(|_| programs.receive(&nhrp_from(STRANGER)).action).collect::<Vec<_>>()
    };
    let limited = [xdp::PASS, xdp::PASS, xdp::PASS, xdp::DROP, xdp::DROP];

    let start = Instant::now();
    assert_eq!(flood(&programs), limited);
    assert_eq!(programs.receive(&nhrp_from(SPOKE_1)).action, xdp::PASS, "others are not concerned");
    let [(reason, packets, _)] = programs.drops()[..] else { panic!("{:?}", programs.drops()) };
    assert_eq!((reason, packets), (DropReason::NhrpRateLimit, 2));

    while programs.receive(&nhrp_from(STRANGER)).action == xdp::DROP {
        assert!(start.elapsed() < Duration::from_secs(5), "the second never ends");
        std::thread::sleep(Duration::from_millis(20));
    }
    // One has just passed in the new second.
    assert_eq!(flood(&programs), [xdp::PASS, xdp::PASS, xdp::DROP, xdp::DROP, xdp::DROP]);
    assert!(start.elapsed() > Duration::from_millis(900), "the second was too short");
}

#[test]
fn limit_zero_is_no_limit() {
    let mut programs = Programs::load_with(Settings { nhrp_source_limit: 0, ..Settings::default() });
    programs.set_up_two_spokes(None, tunnel());
    for _ in 0..1000 {
        assert_eq!(programs.receive(&nhrp_from(STRANGER)).action, xdp::PASS);
    }
}
