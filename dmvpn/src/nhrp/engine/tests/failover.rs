//! Which of several servers are used.

use super::{bench::*, clouds::*};
use crate::nhrp::engine::{EventKind, MulticastServers, Nhs, NhsState, TunnelConfig};

const NBMA: [&str; 3] = ["192.0.2.101", "192.0.2.102", "192.0.2.103"];

/// Three hubs and a spoke that knows them with these priorities.
fn hubs(priorities: [u8; 3], change: impl FnOnce(&mut TunnelConfig)) -> Bench {
    let mut bench = Bench::default();
    for (name, address, nbma) in
        [("h1", "10.0.0.101/24", NBMA[0]), ("h2", "10.0.0.102/24", NBMA[1]), ("h3", "10.0.0.103/24", NBMA[2])]
    {
        bench.add(name, config(address, nbma));
    }
    let mut spoke = config("10.0.0.1/24", A);
    spoke.registration_interval = Some(seconds(10));
    spoke.nhs = (0..3)
        .map(|index| {
            let server = nhs(&format!("10.0.0.{}", 101 + index), NBMA[index]);
            Nhs { priority: priorities[index], ..server }
        })
        .collect();
    change(&mut spoke);
    bench.add("a", spoke);
    bench.run(seconds(2));
    bench
}

fn states(bench: &Bench) -> [NhsState; 3] {
    [0, 1, 2].map(|index| bench.server("a", index).state)
}

use NhsState::{Probing, Standby, Up};

#[test]
fn all_servers_are_used_unless_there_is_a_bound() {
    let bench = hubs([0, 0, 0], |_| {});
    assert_eq!(states(&bench), [Up, Up, Up]);
}

#[test]
fn the_best_one_is_used_and_the_others_stand_by() {
    let bench = hubs([20, 10, 30], |spoke| spoke.failover.max_connections = [(0, 1)].into());
    assert_eq!(states(&bench), [Standby, Up, Standby]);
    assert_eq!(bench.kind("h1", "10.0.0.1"), None);
    // They are neighbours all the same.
    assert_eq!(bench.neighbour("a", "10.0.0.103"), Some(ip(NBMA[2])));
}

#[test]
fn the_next_one_takes_over_and_the_better_one_comes_back() {
    let mut bench = hubs([0, 1, 2], |spoke| spoke.failover.max_connections = [(0, 1)].into());
    bench.set_alive("h1", false);
    bench.run(seconds(30));
    assert_eq!(states(&bench), [Probing, Up, Standby]);
    bench.set_alive("h2", false);
    bench.run(seconds(30));
    assert_eq!(states(&bench), [Probing, Probing, Up]);
    bench.set_alive("h1", true);
    bench.run(seconds(130));
    assert_eq!(states(&bench), [Up, Standby, Standby]);
    // The one that was given up knows it.
    assert_eq!(bench.kind("h3", "10.0.0.1"), None);
    assert!(bench.node("a").events.contains(&EventKind::NhsReleased { nbma: ip(NBMA[2]) }));
}

#[test]
fn the_better_one_has_to_prove_itself_for_the_fallback_time() {
    let mut bench = hubs([0, 1, 2], |spoke| {
        spoke.failover.max_connections.insert(0, 1);
        spoke.failover.fallback = seconds(100);
    });
    bench.set_alive("h1", false);
    bench.run(seconds(30));
    bench.set_alive("h1", true);
    while bench.server("a", 0).state != Up {
        bench.run(seconds(1));
    }
    bench.run(seconds(97));
    assert_eq!(states(&bench), [Up, Up, Standby]);
    bench.run(seconds(5));
    assert_eq!(states(&bench), [Up, Standby, Standby]);
}

#[test]
fn clusters_are_chosen_from_one_by_one() {
    let bench = hubs([0, 0, 0], |spoke| {
        spoke.nhs[2].cluster = 1;
        spoke.failover.max_connections = [(0, 1), (1, 1)].into();
    });
    assert_eq!(states(&bench), [Up, Standby, Up]);
}

#[test]
fn a_server_that_refuses_us_is_replaced() {
    let mut bench = hubs([0, 1, 2], |spoke| spoke.failover.max_connections = [(0, 1)].into());
    let taken = bench.seen(crate::nhrp::wire::PacketKind::RegistrationRequest)[0].packet.clone();
    // Another station holds the address at the first server.
    bench.nodes.remove("h1");
    bench.add("h1", config("10.0.0.101/24", NBMA[0]));
    let mut other = taken;
    other.body.clients_mut().unwrap().request_id ^= 1;
    bench.inject("h1", "192.0.2.66", &other);
    bench.run(seconds(30));
    assert_eq!(states(&bench), [Probing, Up, Standby]);
}

#[test]
fn copies_go_to_the_active_servers_only() {
    let mut bench = hubs([0, 1, 2], |spoke| {
        spoke.failover.max_connections.insert(0, 1);
        spoke.multicast.servers = MulticastServers::Active;
    });
    let copies =
        |bench: &Bench| bench.node("a").kernel.multicast.iter().map(|&(_, nbma)| nbma).collect::<Vec<_>>();
    assert_eq!(copies(&bench), [ip(NBMA[0])]);
    bench.set_alive("h1", false);
    bench.run(seconds(30));
    assert_eq!(copies(&bench), [ip(NBMA[1])]);
}

#[test]
fn copies_go_to_fixed_addresses_whoever_they_are() {
    let bench = hubs([0, 0, 0], |spoke| {
        spoke.multicast.servers = MulticastServers::None;
        spoke.multicast.fixed = vec![ip("192.0.2.150")];
    });
    let copies: Vec<_> = bench.node("a").kernel.multicast.iter().map(|&(_, nbma)| nbma).collect();
    assert_eq!(copies, [ip("192.0.2.150")]);
    assert!(bench.has_peer("a", "192.0.2.150"));
}
