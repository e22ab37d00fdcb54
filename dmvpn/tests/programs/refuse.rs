//! What the underlay program leaves alone, and what it drops.

use dmvpn_common::{DropReason, Peer, PeerState, Tunnel, TunnelFlags};

use crate::{
    frames::{
        ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, GATEWAY_MAC, Gre, Ip, LOCAL, SPOKE_1, SPOKE_2,
        STRANGER, WAN_MAC, ethernet, ipv6,
    },
    programs::{FAR_IFINDEX, Outcome, Programs, Settings, peer, tunnel, xdp},
};

/// A packet from a site behind spoke 1 to one behind spoke 2.
fn inner() -> Vec<u8> {
    Ip::between([192, 168, 1, 1], [192, 168, 2, 1], 100).bytes()
}

/// Data from spoke 1 that would be accepted.
fn data() -> Gre {
    Gre::from(SPOKE_1, inner())
}

/// `data` with another outer header.
fn data_in(outer: impl FnOnce(Ip) -> Ip) -> Gre {
    Gre { ip: outer(data().ip), ..data() }
}

#[test]
fn passes_what_is_none_of_its_business() {
    let programs = Programs::with_two_spokes();
    let udp = Ip::between(SPOKE_1.octets(), LOCAL.octets(), 100);
    let elsewhere = |gre: Gre| Gre { ip: Ip { destination: [192, 0, 2, 9].into(), ..gre.ip.clone() }, ..gre };
    for (what, frame) in [
        ("ARP", ethernet(WAN_MAC, GATEWAY_MAC, ETHERTYPE_ARP, &[0; 28])),
        ("IPv6", ethernet(WAN_MAC, GATEWAY_MAC, ETHERTYPE_IPV6, &ipv6(0))),
        ("UDP", ethernet(WAN_MAC, GATEWAY_MAC, ETHERTYPE_IPV4, &udp.bytes())),
        ("no room for headers", ethernet(WAN_MAC, GATEWAY_MAC, ETHERTYPE_IPV4, &udp.bytes()[..20])),
        ("GRE for another address", elsewhere(data()).frame()),
        ("with a key, for another address", elsewhere(Gre { key: Some(1), ..data() }).frame()),
        ("PPTP for another address", elsewhere(Gre { flags: 0x3001, ..data() }).frame()),
        ("damaged on the way", {
            let mut frame = data().frame();
            frame[14 + 8] ^= 0x40;
            frame
        }),
        ("the key cut off, for another address", {
            elsewhere(Gre { key: Some(1), payload: Vec::new(), ..data() }).frame()[..40].to_vec()
        }),
    ] {
        let passed = Outcome { action: xdp::PASS, frame: frame.clone() };
        assert_eq!(programs.receive(&frame), passed, "{what}");
    }
    assert_eq!(programs.drops(), []);
}

#[test]
fn leaves_the_slow_path_to_the_kernel() {
    let programs = Programs::with_two_spokes();
    for (what, gre) in [
        ("options", data_in(|ip| Ip { options: vec![1, 1, 1, 0], ..ip })),
        // They add nothing to the checksum, so that of the rest is right.
        ("options of zeros", data_in(|ip| Ip { options: vec![0; 4], ..ip })),
        ("first fragment", data_in(|ip| Ip { fragment: 0x2000, ..ip })),
        ("later fragment", data_in(|ip| Ip { fragment: 0x00b9, ..ip })),
        ("GRE checksum", Gre { flags: 0x8000, ..data() }),
        ("GRE sequence number", Gre { flags: 0x1000, ..data() }),
        ("GRE key and sequence number", Gre { flags: 0x1000, key: Some(1), ..data() }),
    ] {
        let frame = gre.frame();
        let passed = Outcome { action: xdp::PASS, frame: frame.clone() };
        assert_eq!(programs.receive(&frame), passed, "{what}");
    }
    assert_eq!(programs.drops(), []);
}

/// The kernel would drop what comes from such a source, and nobody would know of it.
#[test]
fn drops_and_counts_everything_from_a_source_that_is_none() {
    let mut programs = Programs::load();
    programs.set_up_two_spokes(None, Tunnel { flags: TunnelFlags::ACCEPT_ANY, ..tunnel() });
    for source in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 5], [239, 1, 1, 1], [255, 255, 255, 255]] {
        for (what, gre) in [
            ("plain", data()),
            ("options", data_in(|ip| Ip { options: vec![1, 1, 1, 0], ..ip })),
            ("fragment", data_in(|ip| Ip { fragment: 0x2000, ..ip })),
            ("GRE checksum", Gre { flags: 0x8000, ..data() }),
            ("NHRP", Gre { protocol: 0x2001, ..data() }),
            ("NHRP with a checksum", Gre { flags: 0x8000, protocol: 0x2001, ..data() }),
        ] {
            let from_nobody = |ip: Ip| Ip { source: source.into(), ..ip };
            let frame = Gre { ip: from_nobody(gre.ip.clone()), ..gre }.frame();
            let (outcome, drops) = programs.drops_by(|| programs.receive(&frame));
            assert_eq!(outcome.action, xdp::DROP, "{what} from {source:?}");
            assert_eq!(drops, [(DropReason::UnknownPeer, 1, frame.len() as u64)], "{what} from {source:?}");
        }
        // Not our business.
        let elsewhere = data_in(|ip| Ip {
            source: source.into(),
            destination: [192, 0, 2, 9].into(),
            options: vec![1, 1, 1, 0],
            ..ip
        });
        assert_eq!(programs.receive(&elsewhere.frame()).action, xdp::PASS);
    }
}

#[test]
fn private_addresses_are_addresses_of_peers_like_any_other() {
    for source in [[10, 1, 2, 3], [172, 31, 0, 1], [192, 168, 0, 1], [100, 64, 0, 1]] {
        let mut programs = Programs::with_two_spokes();
        programs.add_peer(3, &peer(&tunnel(), source.into(), None));
        let frame = |gre: Gre| Gre { ip: Ip { source: source.into(), ..gre.ip }, ..gre }.frame();
        assert_eq!(programs.receive(&frame(data())).action, xdp::REDIRECT, "{source:?}");
        assert_eq!(programs.counters(3).received().packets, 1);
        assert_eq!(programs.receive(&frame(Gre { flags: 0x8000, ..data() })).action, xdp::PASS, "{source:?}");
    }
}

#[test]
fn drops_and_counts_what_it_must_not_accept() {
    let mut programs = Programs::with_two_spokes();
    programs.set_peer(2, &Peer { state: PeerState::Down, ..peer(&tunnel(), SPOKE_2, None) });
    let cut = |gre: Gre, bytes: usize| gre.frame()[..bytes].to_vec();
    let inner_with = |change: &dyn Fn(Ip) -> Ip| {
        let inner = change(Ip::between([192, 168, 1, 1], [192, 168, 2, 1], 100));
        Gre { payload: inner.bytes(), ..data() }.frame()
    };
    for (what, frame, reason) in [
        ("stranger", Gre::from(STRANGER, inner()).frame(), DropReason::UnknownPeer),
        ("peer that is down", Gre::from(SPOKE_2, inner()).frame(), DropReason::PeerDown),
        ("unexpected key", Gre { key: Some(1), ..data() }.frame(), DropReason::WrongKey),
        ("key zero where there is none", Gre { key: Some(0), ..data() }.frame(), DropReason::WrongKey),
        ("PPTP", Gre { flags: 0x3001, ..data() }.frame(), DropReason::GreVersion),
        ("source routing", Gre { flags: 0x4000, ..data() }.frame(), DropReason::GreVersion),
        ("keepalive", Gre { protocol: 0, ..data() }.frame(), DropReason::GreProtocol),
        ("bridged Ethernet", Gre { protocol: 0x6558, ..data() }.frame(), DropReason::GreProtocol),
        ("frame shorter than the outer packet", cut(data(), 137), DropReason::Truncated),
        ("key cut off", cut(Gre { key: Some(1), payload: Vec::new(), ..data() }, 40), DropReason::Truncated),
        (
            "outer packet that ends in the GRE header",
            data_in(|ip| Ip { length: Some(23), ..ip }).frame(),
            DropReason::Truncated,
        ),
        ("no inner header", Gre { payload: inner()[..19].to_vec(), ..data() }.frame(), DropReason::Truncated),
        (
            "inner packet longer than the outer one",
            inner_with(&|ip| Ip { length: Some(101), ..ip }),
            DropReason::InnerMalformed,
        ),
        (
            "inner packet shorter than its header",
            inner_with(&|ip| Ip { length: Some(19), ..ip }),
            DropReason::InnerMalformed,
        ),
        (
            "IPv4 of another version",
            {
                let mut payload = inner();
                payload[0] = 0x65;
                Gre { payload, ..data() }.frame()
            },
            DropReason::InnerMalformed,
        ),
        ("IPv6 that says it is IPv4", Gre { payload: ipv6(0), ..data() }.frame(), DropReason::InnerMalformed),
        (
            "IPv4 that says it is IPv6",
            Gre { protocol: ETHERTYPE_IPV6, ..data() }.frame(),
            DropReason::InnerMalformed,
        ),
        (
            "IPv6 longer than the outer packet",
            Gre { protocol: ETHERTYPE_IPV6, payload: ipv6(0)[..63].to_vec(), ..data() }.frame(),
            DropReason::InnerMalformed,
        ),
        (
            "no IPv6 header",
            Gre { protocol: ETHERTYPE_IPV6, payload: ipv6(0)[..39].to_vec(), ..data() }.frame(),
            DropReason::Truncated,
        ),
        (
            "congestion, which the sender does not understand",
            data_in(|ip| Ip { tos: 3, ..ip }).frame(),
            DropReason::Congestion,
        ),
    ] {
        let (outcome, drops) = programs.drops_by(|| programs.receive(&frame));
        assert_eq!(outcome, Outcome { action: xdp::DROP, frame: frame.clone() }, "{what}");
        assert_eq!(drops, [(reason, 1, frame.len() as u64)], "{what}");
    }
    assert_eq!(programs.counters(1).received().packets, 0);
}

#[test]
fn a_tunnel_with_a_key_wants_that_key() {
    let mut programs = Programs::load();
    programs.set_up_two_spokes(Some(42), tunnel());
    for (key, action) in [(Some(42), xdp::REDIRECT), (Some(43), xdp::DROP), (None, xdp::DROP)] {
        assert_eq!(programs.receive(&Gre { key, ..data() }.frame()).action, action, "{key:?}");
    }
    assert_eq!(
        programs.drops().into_iter().map(|(reason, packets, _)| (reason, packets)).collect::<Vec<_>>(),
        [(DropReason::WrongKey, 2)]
    );
}

#[test]
fn tunnels_on_one_address_differ_by_key() {
    let mut programs = Programs::load();
    programs.set_up_two_spokes(Some(42), tunnel());
    // The same spoke is peer 3 of the other tunnel.
    let other = Tunnel { id: 2, far_ifindex: FAR_IFINDEX + 10, ..tunnel() };
    programs.add_tunnel(LOCAL, None, other);
    programs.add_peer(3, &peer(&other, SPOKE_1, None));
    programs.receive(&Gre { key: Some(42), ..data() }.frame());
    programs.receive(&data().frame());
    programs.receive(&data().frame());
    assert_eq!((programs.counters(1).received().packets, programs.counters(3).received().packets), (1, 2));
    assert_eq!(programs.drops(), []);
}

#[test]
fn accepts_a_stranger_where_anyone_is_welcome() {
    let mut programs = Programs::load();
    programs.set_up_two_spokes(None, Tunnel { flags: TunnelFlags::ACCEPT_ANY, ..tunnel() });
    assert_eq!(programs.receive(&Gre::from(STRANGER, inner()).frame()).action, xdp::REDIRECT);
    assert_eq!(programs.drops(), []);
}

#[test]
fn ignores_reserved_bits_that_have_to_be_ignored() {
    let programs = Programs::with_two_spokes();
    assert_eq!(programs.receive(&Gre { flags: 0x0208, ..data() }.frame()).action, xdp::REDIRECT);
}

#[test]
fn counts_what_only_a_defect_of_the_agent_causes() {
    let mut programs = Programs::with_two_spokes();
    // Known by its address, but the slot is free.
    programs.set_peer(1, &Peer { state: PeerState::Free, ..peer(&tunnel(), SPOKE_1, None) });
    assert_eq!(programs.receive(&data().frame()).action, xdp::DROP);
    assert_eq!(programs.drops()[0].0, DropReason::MapInconsistent);
}

/// What passes is never logged, at any level: a log line costs more than the packet.
#[test]
fn a_drop_is_logged_at_level_debug() {
    let (off, info, debug, trace) = (0, 3, 4, 5);
    for (log_level, expected) in [(off, 0), (info, 0), (debug, 1), (trace, 1)] {
        let mut programs = Programs::load_with(Settings { log_level, ..Settings::default() });
        programs.set_up_two_spokes(None, tunnel());
        programs.receive(&data().frame());
        programs.receive(&Gre::from(STRANGER, inner()).frame());
        let records = programs.log_records();
        assert_eq!(records.len(), expected, "level {log_level}");
        for record in records {
            let text = String::from_utf8_lossy(&record).into_owned();
            assert!(text.contains(": dropped, reason "), "{text:?}");
        }
    }
}
