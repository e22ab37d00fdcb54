//! Servers that come and go while the agent runs.

use super::{bench::*, clouds::*};
use crate::nhrp::engine::{CacheKind, Input, MulticastServers, Nhs, NhsState};

const OTHER: &str = "192.0.2.101";

/// A hub, another one, and a spoke that has not been told of any.
fn two_hubs(servers: MulticastServers) -> Bench {
    let mut bench = Bench::default();
    bench.add("hub", config("10.0.0.100/24", HUB)).add("other", config("10.0.0.101/24", OTHER));
    let mut spoke = config("10.0.0.1/24", A);
    spoke.multicast.servers = servers;
    bench.add("a", spoke);
    bench
}

impl Bench {
    fn set_servers(&mut self, servers: &[Nhs]) {
        self.input("a", Input::Servers { tunnel: TUNNEL, servers });
        self.run(seconds(2));
    }

    fn server_states(&self) -> Vec<(Option<std::net::IpAddr>, NhsState)> {
        let views = self.node("a").engine.servers(TUNNEL, self.now);
        views.map(|view| (view.protocol, view.state)).collect()
    }
}

#[test]
fn a_server_that_comes_is_registered_with() {
    for servers in [MulticastServers::All, MulticastServers::Active, MulticastServers::None] {
        let mut bench = two_hubs(servers);
        bench.set_servers(&[nhs("dynamic", HUB)]);
        assert_eq!(bench.server_states(), [(Some(ip("10.0.0.100")), NhsState::Up)]);
        assert_eq!(bench.kind("hub", "10.0.0.1"), Some(CacheKind::Registered));
        let copies = bench.node("a").kernel.multicast.contains(&(TUNNEL, ip(HUB)));
        assert_eq!(copies, servers != MulticastServers::None);
    }
}

#[test]
fn a_server_that_goes_is_told_and_nothing_of_it_is_left() {
    for servers in [MulticastServers::All, MulticastServers::Active, MulticastServers::None] {
        for server in [nhs("dynamic", HUB), nhs("10.0.0.100", HUB)] {
            let mut bench = two_hubs(servers);
            bench.set_servers(&[server]);
            // Traffic that goes by it until somebody answers.
            bench.input("a", Input::Resolve { tunnel: TUNNEL, next_hop: ip("10.0.0.9") });
            assert_eq!(bench.neighbour("a", "10.0.0.9"), Some(ip(HUB)));
            bench.set_servers(&[]);
            assert_eq!(bench.kind("hub", "10.0.0.1"), None);
            assert!(bench.is_clean("a"));
            // Nor does it come back.
            bench.run(seconds(3600));
            assert!(bench.is_clean("a") && bench.server_states().is_empty());
        }
    }
}

#[test]
fn a_server_that_got_another_address_is_followed_without_a_gap() {
    for protocol in ["dynamic", "10.0.0.100"] {
        let mut bench = two_hubs(MulticastServers::All);
        bench.set_servers(&[nhs(protocol, HUB)]);
        bench.input("a", Input::Resolve { tunnel: TUNNEL, next_hop: ip("10.0.0.9") });
        // The hub of the same protocol address now is where the other one was.
        bench.set_alive("other", false);
        bench.renumber("hub", ip("192.0.2.102"));
        bench.set_servers(&[nhs(protocol, "192.0.2.102")]);
        assert_eq!(bench.server_states(), [(Some(ip("10.0.0.100")), NhsState::Up)]);
        assert_eq!(bench.neighbour("a", "10.0.0.100"), Some(ip("192.0.2.102")));
        assert_eq!(bench.neighbour("a", "10.0.0.9"), Some(ip("192.0.2.102")));
        assert!(!bench.has_peer("a", HUB));
    }
}

#[test]
fn servers_that_stay_are_not_disturbed() {
    let mut bench = two_hubs(MulticastServers::All);
    bench.set_servers(&[nhs("dynamic", HUB)]);
    let before = bench.server("a", 0);
    bench.set_servers(&[nhs("10.0.0.101", OTHER), Nhs { priority: 7, ..nhs("dynamic", HUB) }]);
    let after = bench.server("a", 1);
    assert_eq!((after.requests_sent, after.state), (before.requests_sent, NhsState::Up));
    assert_eq!(after.priority, 7);
    assert_eq!(bench.server("a", 0).protocol, Some(ip("10.0.0.101")), "the operator's order");

    // Of two, one goes: its timers and the other's are not mixed up.
    bench.set_servers(&[nhs("dynamic", HUB)]);
    let sent = bench.server("a", 0).requests_sent;
    bench.run(seconds(200));
    assert_eq!(bench.server("a", 0).requests_sent, sent + 1);
    assert_eq!(bench.server_states(), [(Some(ip("10.0.0.100")), NhsState::Up)]);
    assert_eq!(bench.kind("other", "10.0.0.1"), None);
    assert_eq!(bench.node("a").kernel.multicast.len(), 1);
}

#[test]
fn one_server_takes_the_place_of_another_in_a_cluster() {
    let mut bench = Bench::default();
    bench.add("hub", config("10.0.0.100/24", HUB)).add("other", config("10.0.0.101/24", OTHER));
    let mut spoke = config("10.0.0.1/24", A);
    spoke.failover.max_connections.insert(0, 1);
    bench.add("a", spoke);
    let better = Nhs { priority: 1, ..nhs("dynamic", HUB) };
    let worse = Nhs { priority: 2, ..nhs("10.0.0.101", OTHER) };
    bench.set_servers(&[better, worse.clone()]);
    assert_eq!(bench.server_states()[1].1, NhsState::Standby);
    bench.set_servers(&[worse]);
    assert_eq!(bench.server_states(), [(Some(ip("10.0.0.101")), NhsState::Up)]);
    assert_eq!(bench.kind("hub", "10.0.0.1"), None);
}

#[test]
fn a_hub_that_answers_from_another_address_gets_the_traffic_there() {
    let mut bench = Bench::default();
    // The hub is asked at an address that it shares, and answers from its own.
    bench.nat.insert(ip(HUB), ip("203.0.113.50"));
    let mut hub = config("10.0.0.100/24", HUB);
    hub.redirect = false;
    bench.add_with("hub", hub, &[]);
    for (name, address, nbma) in [("a", "10.0.0.1/24", A), ("b", "10.0.0.2/24", B)] {
        let mut spoke = config(address, nbma);
        spoke.nhs = vec![nhs("dynamic", HUB)];
        bench.add_with(name, spoke, &[]);
    }
    bench.run(seconds(1));
    assert_eq!(bench.server("a", 0).state, NhsState::Up);
    assert_eq!(bench.neighbour("a", "10.0.0.100"), Some(ip("203.0.113.50")));
    assert!(bench.has_peer("a", HUB));
    assert_eq!(bench.data("a", "10.0.0.1", "10.0.0.2").unwrap(), ["a", "hub", "b"]);
    assert_eq!(bench.data_for(seconds(1), "a", "10.0.0.1", "10.0.0.2"), ["a", "b"]);
    // It is gone: we ask where we always do, and take down what we learnt.
    bench.set_alive("hub", false);
    bench.run(seconds(400));
    assert_eq!(bench.neighbour("a", "10.0.0.100"), None);
    bench.set_alive("hub", true);
    bench.run(seconds(100));
    assert_eq!(bench.neighbour("a", "10.0.0.100"), Some(ip("203.0.113.50")));
    bench.input("a", Input::Shutdown);
    assert!(bench.is_clean("a"));
}
