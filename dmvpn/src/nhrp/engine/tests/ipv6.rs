//! IPv6 in the overlay, in the underlay, and link-local next hops.

use std::net::IpAddr;

use super::{bench::*, clouds::*};
use crate::nhrp::{
    engine::{Input, LINK_LOCAL_SEEN, NhsState, TunnelConfig, random::Random},
    wire::{IpFamily, PacketKind},
};

/// A hub `2001:db8::100` and two spokes: `2001:db8::1` with `2001:db8:1::/48`, and the same with 2.
fn cloud6(underlay: [&str; 3], change: impl Fn(&mut TunnelConfig)) -> Bench {
    let mut bench = Bench::default();
    let by = |next_hop: &str| RouteTo::Tunnel(TUNNEL, Some(ip(next_hop)));
    let mut hub = config("2001:db8::100/64", underlay[0]);
    hub.link_local = Some("fe80::100".parse().unwrap());
    change(&mut hub);
    let routes = [("2001:db8:1::/48", by("2001:db8::1")), ("2001:db8:2::/48", by("2001:db8::2"))];
    bench.add_with("hub", hub, &routes);
    for (index, name) in [(1, "a"), (2, "b")] {
        let mut spoke = config(&format!("2001:db8::{index}/64"), underlay[index]);
        spoke.link_local = Some(format!("fe80::{index}").parse().unwrap());
        spoke.nhs = vec![nhs("2001:db8::100", underlay[0])];
        change(&mut spoke);
        let lan = format!("2001:db8:{index}::/48");
        bench.add_with(name, spoke, &[(&lan, RouteTo::Lan), ("2001:db8::/32", by("2001:db8::100"))]);
    }
    bench.run(seconds(2));
    bench
}

const V4: [&str; 3] = [HUB, A, B];
const V6: [&str; 3] = ["2001:db8:ffff::100", "2001:db8:ffff::1", "2001:db8:ffff::2"];

#[test]
fn phase_3_works_over_ipv4_and_over_ipv6() {
    for (underlay, family) in [(V4, IpFamily::V4), (V6, IpFamily::V6)] {
        let mut bench = cloud6(underlay, |_| {});
        assert_eq!(bench.server("a", 0).state, NhsState::Up);
        let request = &bench.seen(PacketKind::RegistrationRequest)[0].packet;
        assert_eq!((request.nbma_family, request.protocol.family()), (family, IpFamily::V6));
        assert_eq!(request.body.clients().unwrap().cies[0].prefix_length, 128);
        let path = bench.data_for(seconds(1), "a", "2001:db8:1::5", "2001:db8:2::5");
        assert_eq!(path, ["a", "b"]);
        assert_eq!(bench.shortcuts("a")[0].prefix, net("2001:db8:2::/48"));
    }
}

#[test]
fn link_local_addresses_are_registered_and_exchanged() {
    let bench = cloud6(V4, |_| {});
    assert_eq!(bench.neighbour("hub", "fe80::1"), Some(ip(A)));
    assert_eq!(bench.neighbour("a", "fe80::100"), Some(ip(HUB)));
    let requests = bench.seen(PacketKind::RegistrationRequest);
    assert_eq!(requests.iter().filter(|seen| seen.from == ip(A)).count(), 2);
}

#[test]
fn a_link_local_next_hop_is_resolved() {
    let mut bench = cloud6(V4, |_| {});
    bench.input("a", Input::Resolve { tunnel: TUNNEL, next_hop: ip("fe80::2") });
    // Routers do not pass on what goes to a link-local address: the hub is no relay for it.
    assert_eq!(bench.neighbour("a", "fe80::2"), None);
    bench.run(seconds(1));
    assert_eq!(bench.neighbour("a", "fe80::2"), Some(ip(B)));
    let request = &bench.seen(PacketKind::ResolutionRequest)[0].packet;
    assert_eq!(request.source_protocol, Some(ip("fe80::1")));
    assert!(bench.has_peer("b", A));
}

#[test]
fn nobody_asks_again_and_again_for_a_link_local_address_that_is_nobodys() {
    let mut bench = cloud6(V4, |_| {});
    bench.wire.clear();
    for _ in 0..20 {
        bench.input("a", Input::Resolve { tunnel: TUNNEL, next_hop: ip("fe80::77") });
        bench.run(seconds(1));
    }
    assert_eq!(bench.neighbour("a", "fe80::77"), None);
    let asked = bench.seen(PacketKind::ResolutionRequest).iter().filter(|seen| seen.from == ip(A)).count();
    assert!((1..=5).contains(&asked), "{asked}");
}

#[test]
fn phase_1_asks_for_no_link_local_next_hop() {
    let mut bench = cloud6(V4, |config| config.resolve = false);
    bench.wire.clear();
    bench.input("a", Input::Resolve { tunnel: TUNNEL, next_hop: ip("fe80::2") });
    bench.run(seconds(1));
    assert_eq!(bench.neighbour("a", "fe80::2"), None);
    assert!(bench.seen(PacketKind::ResolutionRequest).is_empty());
}

#[test]
fn a_server_that_knows_no_link_local_addresses_is_a_server_all_the_same() {
    let mut bench = cloud6(V4, |config| {
        if config.nhs.is_empty() {
            config.link_local = None;
        }
    });
    bench.run(seconds(60));
    assert_eq!(bench.server("a", 0).state, NhsState::Up);
    assert_eq!(bench.neighbour("hub", "fe80::1"), None);
    let sent = bench.server("a", 0).requests_sent;
    assert!(sent <= 6, "{sent}");
}

#[test]
fn a_spoke_that_stops_takes_its_link_local_address_back() {
    let mut bench = cloud6(V4, |_| {});
    bench.input("a", Input::Shutdown);
    assert!(bench.is_clean("a"));
    bench.run(seconds(1));
    assert_eq!(bench.neighbour("hub", "fe80::1"), None);
    assert_eq!(bench.neighbour("hub", "2001:db8::1"), None);
    assert!(!bench.has_peer("hub", A));
}

#[test]
fn a_link_local_address_is_forgotten_with_its_server() {
    let mut bench = cloud6(V4, |config| config.registration_interval = Some(seconds(10)));
    bench.set_alive("hub", false);
    bench.run(seconds(30));
    assert_eq!(bench.neighbour("a", "fe80::100"), None);
    bench.set_alive("hub", true);
    bench.run(seconds(130));
    assert_eq!(bench.neighbour("a", "fe80::100"), Some(ip(HUB)));
}

#[test]
fn host_routes_are_for_global_addresses() {
    let bench = cloud6(V4, |config| config.address = config.address.addr().into());
    let routes: Vec<_> = bench.node("a").kernel.shortcuts.keys().map(|&(_, prefix)| prefix).collect();
    assert_eq!(routes, [net("2001:db8::100/128")]);
}

#[test]
fn a_link_local_source_is_learnt_for_the_peer_it_was_seen_from() {
    let mut bench = cloud6(V4, |config| config.link_local = None);
    let seen = |bench: &mut Bench, nbma: &str, address: &str| {
        let address = address.parse().unwrap();
        bench.input("hub", Input::LinkLocalSeen { tunnel: TUNNEL, nbma: ip(nbma), address });
    };
    seen(&mut bench, A, "fe80::a");
    assert_eq!(bench.neighbour("hub", "fe80::a"), Some(ip(A)));
    seen(&mut bench, B, "fe80::a");
    assert_eq!(bench.neighbour("hub", "fe80::a"), Some(ip(A)));
    seen(&mut bench, "198.51.100.66", "fe80::66");
    assert_eq!(bench.neighbour("hub", "fe80::66"), None);
    // The first one is silent for long enough: it may have given the address up.
    bench.run(LINK_LOCAL_SEEN);
    assert_eq!(bench.neighbour("hub", "fe80::a"), None);
    seen(&mut bench, B, "fe80::a");
    assert_eq!(bench.neighbour("hub", "fe80::a"), Some(ip(B)));
}

#[test]
fn what_was_seen_makes_nobody_a_peer() {
    let mut bench = cloud6(V4, |config| config.link_local = None);
    bench.run(seconds(600));
    let address = "fe80::a".parse().unwrap();
    bench.input("hub", Input::LinkLocalSeen { tunnel: TUNNEL, nbma: ip(A), address });
    bench.input("a", Input::Shutdown);
    bench.run(seconds(1));
    assert_eq!(bench.neighbour("hub", "fe80::a"), None);
    assert!(!bench.has_peer("hub", A));
}

#[test]
fn whatever_is_seen_the_kernel_stays_consistent_and_is_left_clean() {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let mut choose = |most: usize| usize::try_from(random.next() % most as u64).unwrap();
        let mut bench = cloud6(V4, |config| {
            config.holding_time = seconds(60);
            config.limits.registrations_per_nbma = 3;
        });
        for _ in 0..200 {
            let name = ["hub", "a", "b"][choose(3)];
            let nbma = ip([HUB, A, B, "198.51.100.66"][choose(4)]);
            let address = format!("fe80::{}", choose(6)).parse().unwrap();
            match choose(8) {
                0 => bench.set_alive(name, false),
                1 => bench.set_alive(name, true),
                2 => bench.input(name, Input::PeerDown { tunnel: TUNNEL, nbma }),
                3 => bench.input(name, Input::Resolve { tunnel: TUNNEL, next_hop: IpAddr::V6(address) }),
                _ => bench.input(name, Input::LinkLocalSeen { tunnel: TUNNEL, nbma, address }),
            }
            bench.run(seconds(choose(40) as u64));
        }
        for name in ["hub", "a", "b"] {
            bench.input(name, Input::Shutdown);
            assert!(bench.is_clean(name), "seed {seed}: {name}");
        }
    }
}
