//! What a spoke registers beside its own address.

use super::{bench::*, clouds::*};
use crate::nhrp::{
    engine::{CacheKind, Input},
    wire::PacketKind,
};

/// A cloud without routing: spoke A registers the network behind it, and an alias.
fn announcing() -> Bench {
    let mut bench = cloud(|name, config| match name {
        "hub" => config.policy.client_prefixes = vec![net("192.168.0.0/16")],
        "a" => {
            config.networks = vec![net("192.168.1.0/24")];
            config.aliases = vec![ip("10.0.0.11")];
        }
        _ => {}
    });
    bench.kernel("hub").routes.retain(|(prefix, _)| *prefix != net("192.168.1.0/24"));
    bench
}

#[test]
fn a_registered_network_is_reached_without_routing() {
    let mut bench = announcing();
    bench.run(seconds(1));
    assert_eq!(bench.kind("hub", "192.168.1.0/24"), Some(CacheKind::Registered));
    assert_eq!(bench.neighbour("hub", "10.0.0.11"), Some(ip(A)));
    assert_eq!(bench.data("b", "192.168.2.5", "192.168.1.5").unwrap(), ["b", "hub", "a"]);
    assert_eq!(bench.data_for(seconds(1), "b", "192.168.2.5", "192.168.1.5"), ["b", "a"]);
    // It outlives its holding time, as it is renewed, and not its client.
    bench.run(seconds(1300));
    assert_eq!(bench.kind("hub", "192.168.1.0/24"), Some(CacheKind::Registered));
    bench.input("a", Input::Shutdown);
    bench.run(seconds(1));
    assert_eq!(bench.kind("hub", "192.168.1.0/24"), None);
    assert_eq!(bench.neighbour("hub", "10.0.0.11"), None);
}

#[test]
fn what_is_announced_is_repeated_until_it_is_answered() {
    let mut bench = announcing();
    bench.run(std::time::Duration::from_millis(15));
    // The reply to its own registration is on the way; what it asks for then gets lost.
    bench.cut.insert((ip(A), ip(HUB)));
    bench.run(seconds(2));
    assert_eq!(bench.kind("hub", "192.168.1.0/24"), None);
    bench.cut.clear();
    bench.run(seconds(8));
    assert_eq!(bench.kind("hub", "192.168.1.0/24"), Some(CacheKind::Registered));
    assert_eq!(bench.neighbour("hub", "10.0.0.11"), Some(ip(A)));
    // Then there is nothing to ask for until the renewal.
    bench.wire.clear();
    bench.run(seconds(150));
    let requests = bench.seen(PacketKind::RegistrationRequest);
    assert!(requests.iter().all(|seen| seen.from != ip(A)));
}

#[test]
fn a_server_that_refuses_what_is_announced_is_a_server_all_the_same() {
    let mut bench = cloud(|name, config| {
        if name == "a" {
            config.networks = vec![net("192.168.1.0/24")];
        }
    });
    bench.run(seconds(60));
    assert_eq!(bench.kind("hub", "192.168.1.0/24"), None);
    assert_eq!(bench.neighbour("hub", "10.0.0.1"), Some(ip(A)));
    let requests = bench.seen(PacketKind::RegistrationRequest);
    assert_eq!(requests.iter().filter(|seen| seen.from == ip(A)).count(), 2);
}
