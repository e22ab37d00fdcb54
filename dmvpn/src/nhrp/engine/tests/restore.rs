//! What is saved by one agent and restored by the next.

use super::{bench::*, clouds::*};
use crate::nhrp::{
    engine::{CacheKind, EventKind, Input, NhsState, Registration, TunnelConfig},
    wire::{Body, Flags, PacketKind},
};

fn hub_config() -> TunnelConfig {
    let mut config = config("10.0.0.100/24", HUB);
    config.policy.client_prefixes = vec![net("192.168.0.0/16")];
    config
}

/// A hub, a spoke behind NAT, and one that registered a prefix, after 100 of 600 seconds.
fn two_clients() -> Bench {
    let mut bench = Bench::default();
    bench.nat.insert(ip("172.20.0.1"), ip("203.0.113.7"));
    bench.add("hub", hub_config());
    for (name, address, nbma) in [("a", "10.0.0.1/24", "172.20.0.1"), ("b", "10.0.0.2/24", B)] {
        let mut spoke = config(address, nbma);
        spoke.nhs = vec![nhs("10.0.0.100", HUB)];
        spoke.unique = name == "a";
        bench.add(name, spoke);
    }
    bench.run(seconds(1));
    let mut request = bench.seen(PacketKind::RegistrationRequest)[1].packet.clone();
    request.flags = Flags::NAT;
    let clients = request.body.clients_mut().unwrap();
    clients.cies[0].protocol = Some(ip("192.168.2.0"));
    clients.cies[0].prefix_length = 24;
    bench.inject("hub", B, &request);
    bench.run(seconds(99));
    bench
}

impl Bench {
    fn saved(&self, name: &str) -> Vec<Registration> {
        self.node(name).engine.registrations(TUNNEL, self.now).collect()
    }

    /// Reboots the hub and restores what it saved, as it is a hundred seconds later.
    fn reboot_hub(&mut self, config: TunnelConfig) {
        let mut saved = self.saved("hub");
        self.run(seconds(100));
        for registration in &mut saved {
            registration.remaining -= seconds(100);
        }
        self.reboot("hub", config, None);
        self.input("hub", Input::Restore { tunnel: TUNNEL, registrations: &saved });
    }
}

#[test]
fn a_hub_knows_its_clients_after_a_reboot() {
    let mut bench = two_clients();
    let [a, b] = ["10.0.0.1", "10.0.0.2"].map(|client| bench.entry("hub", client).unwrap());
    bench.set_alive("a", false);
    bench.set_alive("b", false);
    bench.reboot_hub(hub_config());
    for (client, before) in [("10.0.0.1", a), ("10.0.0.2", b)] {
        let mut after = bench.entry("hub", client).unwrap();
        assert_eq!(after.expires.unwrap() + seconds(100), before.expires.unwrap());
        (after.expires, after.created) = (before.expires, before.created);
        assert_eq!(after, before);
    }
    let routes = &bench.node("hub").kernel.shortcuts;
    assert_eq!(routes.get(&(TUNNEL, net("192.168.2.0/24"))), Some(&Some(ip("10.0.0.2"))));
    assert_eq!(bench.node("hub").kernel.multicast.len(), 2);
    // They end when they would have ended.
    bench.run(seconds(398));
    assert_eq!(bench.kind("hub", "10.0.0.1"), Some(CacheKind::Registered));
    bench.run(seconds(3));
    assert!(bench.is_clean("hub"));
}

#[test]
fn a_restored_registration_is_as_unique_as_it_was() {
    let mut bench = two_clients();
    bench.reboot_hub(hub_config());
    let mut other = config("10.0.0.1/24", "192.0.2.66");
    other.nhs = vec![nhs("10.0.0.100", HUB)];
    bench.add("other", other.clone());
    bench.run(seconds(1));
    assert_eq!(bench.server("other", 0).state, NhsState::Probing);
    assert_eq!(bench.neighbour("hub", "10.0.0.1"), Some(ip("203.0.113.7")));
    // Its owner may take it back; nobody says that it came, as it never went.
    let came = |kind: &EventKind| matches!(kind, EventKind::Registered { .. });
    bench.run(seconds(200));
    assert!(!bench.node("hub").events[3..].iter().any(came), "{:?}", bench.node("hub").events);
    bench.input("a", Input::Shutdown);
    bench.run(seconds(1));
    assert_eq!(bench.kind("hub", "10.0.0.1"), None);
}

#[test]
fn what_is_known_or_not_allowed_is_not_restored() {
    let mut bench = two_clients();
    let mut strict = hub_config();
    strict.policy.client_prefixes.clear();
    strict.address = net("10.0.0.100/31");
    bench.reboot_hub(strict);
    assert!(bench.is_clean("hub"));

    let mut bench = two_clients();
    let mut saved = bench.saved("hub");
    let before = bench.entry("hub", "10.0.0.1");
    for registration in &mut saved {
        registration.nbma = ip("192.0.2.99");
    }
    bench.input("hub", Input::Restore { tunnel: TUNNEL, registrations: &saved });
    assert_eq!(bench.entry("hub", "10.0.0.1"), before);

    let mut bench = two_clients();
    let mut few = hub_config();
    few.limits.registrations_per_nbma = 1;
    let mut saved = bench.saved("hub");
    saved[1].nbma = saved[0].nbma;
    saved[2].remaining = seconds(0);
    bench.reboot("hub", few, None);
    bench.input("hub", Input::Restore { tunnel: TUNNEL, registrations: &saved });
    assert_eq!(bench.node("hub").kernel.neighbours.len(), 1);
}

#[test]
fn a_spoke_that_kept_its_ids_takes_its_unique_registration_to_another_address() {
    for keeps in [true, false] {
        let mut bench = cloud(|_, _| {});
        bench.run(seconds(1));
        let saved = bench.node("a").engine.request_ids(TUNNEL).filter(|_| keeps);
        let mut again = config("10.0.0.1/24", "192.0.2.51");
        again.nhs = vec![nhs("10.0.0.100", HUB)];
        bench.reboot("a", again, saved);
        bench.run(seconds(5));
        let expected = if keeps { "192.0.2.51" } else { A };
        assert_eq!(bench.neighbour("hub", "10.0.0.1"), Some(ip(expected)));
    }
}

#[test]
fn no_id_stands_for_two_requests() {
    let mut bench = cloud(|_, _| {});
    bench.run(seconds(1));
    let mut seen = Vec::new();
    for round in 0..3 {
        for last in 0..20 {
            let next_hop = ip(&format!("10.0.0.{}", 10 + round * 20 + last));
            bench.input("a", Input::Resolve { tunnel: TUNNEL, next_hop });
        }
        let ids = bench.seen(PacketKind::ResolutionRequest).into_iter().map(|seen| match &seen.packet.body {
            Body::ResolutionRequest(clients) => clients.request_id,
            other => panic!("{other:?}"),
        });
        let ids: Vec<_> = ids.collect();
        assert!(ids.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{ids:?}");
        seen.extend(ids);
        bench.wire.clear();
        // Saved before the last ones were sent.
        let mut saved = bench.node("a").engine.request_ids(TUNNEL).unwrap();
        saved.next = saved.next.wrapping_sub(10);
        let mut again = config("10.0.0.1/24", A);
        again.nhs = vec![nhs("10.0.0.100", HUB)];
        bench.flights_clear();
        bench.reboot("a", again, Some(saved));
    }
    assert_eq!(seen.len(), 60);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 60);
}

#[test]
fn the_revision_changes_with_what_is_worth_saving() {
    let mut bench = Bench::default();
    bench.add("hub", hub_config());
    let revision = |bench: &Bench| bench.node("hub").engine.revision();
    let none = revision(&bench);
    let mut spoke = config("10.0.0.1/24", A);
    spoke.nhs = vec![nhs("10.0.0.100", HUB)];
    bench.add("a", spoke);
    bench.run(seconds(1));
    let registered = revision(&bench);
    assert_ne!(registered, none);
    bench.data("hub", "10.0.0.100", "10.0.0.1").unwrap();
    bench.run(seconds(10));
    assert_eq!(revision(&bench), registered);
    bench.run(seconds(200));
    let renewed = revision(&bench);
    assert_ne!(renewed, registered);
    bench.input("a", Input::Shutdown);
    bench.run(seconds(1));
    assert_ne!(revision(&bench), renewed);
}
