//! Clients and servers.

use super::{bench::*, clouds::*};
use crate::nhrp::{
    engine::{Action, CacheKind, Environment, EventKind, Input, NhsState, Secret},
    wire::{CieCode, ExtensionKind, Flags, PacketKind},
};

#[test]
fn a_spoke_registers_and_both_sides_know() {
    let mut bench = cloud(|_, _| {});
    bench.run(seconds(1));
    let entry = bench.entry("hub", "10.0.0.1").unwrap();
    assert_eq!(
        (entry.kind, entry.nbma, entry.unique, entry.nat),
        (CacheKind::Registered, Some(ip(A)), true, false)
    );
    assert_eq!(entry.mtu, 1472);
    assert_eq!(bench.neighbour("hub", "10.0.0.1"), Some(ip(A)));
    assert_eq!(bench.server("a", 0).state, NhsState::Up);
    assert_eq!(bench.node("a").events, [EventKind::NhsUp { protocol: ip("10.0.0.100"), nbma: ip(HUB) }]);
    assert!(bench.node("hub").kernel.multicast.contains(&(TUNNEL, ip(A))));
    assert!(bench.node("a").kernel.multicast.contains(&(TUNNEL, ip(HUB))));
}

#[test]
fn the_request_has_ciscos_form() {
    let mut bench = cloud(|_, config| config.authentication = Some(Secret::new("NHRPAUTH")));
    bench.run(seconds(1));
    let request = &bench.seen(PacketKind::RegistrationRequest)[0].packet;
    assert_eq!((request.hop_count, request.flags), (255, Flags(0x8002)));
    let kinds: Vec<_> =
        request.extensions.as_ref().unwrap().list.iter().map(|extension| extension.value.kind().0).collect();
    assert_eq!(kinds, [3, 4, 5, 7, 9]);
    let cie = &request.body.clients().unwrap().cies[0];
    assert_eq!((cie.prefix_length, cie.mtu, cie.holding_time), (32, 1472, 600));
    assert_eq!((cie.nbma, cie.protocol), (None, None));
    let nat = &request.records(ExtensionKind::NAT_ADDRESS).unwrap()[0];
    assert_eq!((nat.nbma, nat.protocol), (Some(ip(HUB)), Some(ip("10.0.0.100"))));
    assert_eq!((nat.prefix_length, nat.mtu, nat.holding_time), (32, 1472, 0));

    let reply = &bench.seen(PacketKind::RegistrationReply)[0].packet;
    assert_eq!(
        (reply.source_protocol, reply.destination_protocol),
        (Some(ip("10.0.0.1")), Some(ip("10.0.0.100")))
    );
    let responder = &reply.records(ExtensionKind::RESPONDER_ADDRESS).unwrap()[0];
    assert_eq!((responder.nbma, responder.protocol), (Some(ip(HUB)), Some(ip("10.0.0.100"))));
    assert_eq!(reply.records(ExtensionKind::NAT_ADDRESS), Some(&vec![nat.clone()]));
    assert_eq!(reply.body.clients().unwrap().cies[0].code, CieCode::SUCCESS);
    assert!(reply.authentication().is_some());
}

#[test]
fn mappings_are_installed_before_the_reply_is_sent() {
    let mut bench = cloud(|_, _| {});
    bench.run(seconds(1));
    let request = bench.seen(PacketKind::RegistrationRequest)[0].packet.clone();
    let mut bytes = Vec::new();
    request.encode(&mut bytes).unwrap();
    let mut fresh = Bench::default();
    fresh.add("hub", config("10.0.0.100/24", HUB));
    let node = fresh.nodes.get_mut("hub").unwrap();
    let mut out = Vec::new();
    let input = Input::Packet { tunnel: TUNNEL, source: ip(A), bytes: &bytes };
    node.engine.handle(fresh.now, input, &node.kernel, &mut out);
    let place = |wanted: fn(&Action) -> bool| out.iter().position(wanted).unwrap();
    let peer = place(|action| matches!(action, Action::AddPeer { .. }));
    let neighbour = place(|action| matches!(action, Action::SetNeighbour { .. }));
    let reply = place(|action| matches!(action, Action::Send { .. }));
    assert!(peer < neighbour && neighbour < reply);
}

#[test]
fn a_renewal_changes_nothing_in_the_kernel() {
    let mut bench = cloud(|_, config| config.registration_interval = Some(seconds(10)));
    bench.run(seconds(1));
    let requests = bench.seen(PacketKind::RegistrationRequest).len();
    // The bench fails on a peer that is added or removed twice; entries are compared here.
    let before = bench.entry("hub", "10.0.0.1").unwrap();
    let events = bench.node("hub").events.len();
    bench.run(seconds(60));
    let after = bench.entry("hub", "10.0.0.1").unwrap();
    assert!(bench.seen(PacketKind::RegistrationRequest).len() >= requests + 10);
    assert_eq!(after.created, before.created + seconds(60));
    assert!(after.expires.unwrap() > seconds(585));
    assert_eq!(bench.node("hub").events.len(), events);
}

#[test]
fn an_unanswered_request_is_repeated_ever_more_slowly() {
    let mut bench = Bench::default();
    let mut spoke = config("10.0.0.1/24", A);
    spoke.nhs = vec![nhs("10.0.0.100", HUB)];
    bench.add("a", spoke);
    let mut sent = Vec::new();
    for second in 0..400 {
        bench.run(seconds(1));
        sent.resize(bench.wire.len(), second);
    }
    let gaps: Vec<_> = sent.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (gap, span) in gaps.iter().zip([2, 4, 8, 16, 32, 64, 64]) {
        assert!(*gap >= span * 3 / 4 - 1 && *gap <= span + 1, "{gaps:?}");
    }
    let ids: std::collections::BTreeSet<_> =
        bench.wire.iter().map(|seen| seen.packet.body.clients().unwrap().request_id).collect();
    assert_eq!(ids.len(), 1);
    let down = EventKind::NhsDown { nbma: ip(HUB), unanswered: 3 };
    assert_eq!(bench.node("a").events, [down]);
    // The server is a neighbour all the same, as with a static map.
    assert_eq!(bench.neighbour("a", "10.0.0.100"), Some(ip(HUB)));
}

#[test]
fn a_server_that_went_away_is_noticed_and_found_again() {
    let mut bench = cloud(|_, config| config.registration_interval = Some(seconds(20)));
    bench.run(seconds(1));
    bench.set_alive("hub", false);
    bench.run(seconds(40));
    assert_eq!(bench.server("a", 0).state, NhsState::Probing);
    assert!(bench.node("a").events.contains(&EventKind::NhsDown { nbma: ip(HUB), unanswered: 3 }));
    bench.set_alive("hub", true);
    bench.run(seconds(130));
    assert_eq!(bench.server("a", 0).state, NhsState::Up);
}

#[test]
fn a_registration_that_is_not_renewed_expires() {
    let mut bench = cloud(|_, _| {});
    bench.run(seconds(1));
    bench.set_alive("a", false);
    bench.run(seconds(590));
    assert_eq!(bench.kind("hub", "10.0.0.1"), Some(CacheKind::Registered));
    bench.run(seconds(15));
    assert_eq!(bench.kind("hub", "10.0.0.1"), None);
    assert!(!bench.has_peer("hub", A));
    assert!(bench.node("hub").events.contains(&EventKind::Expired { protocol: ip("10.0.0.1"), nbma: ip(A) }));
    assert_eq!(bench.kind("hub", "10.0.0.2"), Some(CacheKind::Registered));
}

#[test]
fn the_address_of_a_dynamic_server_is_learnt() {
    let mut bench = cloud(|name, config| {
        if name == "a" {
            config.nhs = vec![nhs("dynamic", HUB)];
        }
    });
    let request = &bench.seen(PacketKind::RegistrationRequest)[0].packet;
    assert_eq!(request.destination_protocol, Some(ip("10.0.0.1")));
    assert_eq!(request.records(ExtensionKind::NAT_ADDRESS).unwrap()[0].protocol, Some(ip("0.0.0.0")));
    bench.run(seconds(1));
    assert_eq!(bench.server("a", 0).protocol, Some(ip("10.0.0.100")));
    assert_eq!(bench.neighbour("a", "10.0.0.100"), Some(ip(HUB)));
    assert_eq!(bench.server("a", 0).state, NhsState::Up);
}

#[test]
fn a_dynamic_server_that_is_gone_is_forgotten_and_asked_by_broadcast_too() {
    let mut bench = cloud(|_, config| {
        config.registration_interval = Some(seconds(20));
        for server in &mut config.nhs {
            server.protocol = None;
        }
    });
    bench.run(seconds(1));
    bench.set_alive("hub", false);
    bench.wire.clear();
    bench.run(seconds(200));
    assert_eq!(bench.server("a", 0).protocol, None);
    assert_eq!(bench.neighbour("a", "10.0.0.100"), None);
    let from_a = bench.wire.iter().filter(|seen| seen.from == ip(A));
    let asked: Vec<_> = from_a.map(|seen| seen.packet.destination_protocol.unwrap()).collect();
    assert!(asked.contains(&ip("10.0.0.255")) && asked.contains(&ip("10.0.0.1")), "{asked:?}");
}

#[test]
fn a_hub_takes_a_registration_for_the_broadcast_address() {
    let mut bench = cloud(|_, _| {});
    bench.run(seconds(1));
    let mut request = bench.seen(PacketKind::RegistrationRequest)[0].packet.clone();
    request.destination_protocol = Some(ip("10.0.0.255"));
    request.source_protocol = Some(ip("10.0.0.7"));
    request.hop_count = 0;
    bench.inject("hub", A, &request);
    assert_eq!(bench.kind("hub", "10.0.0.7"), Some(CacheKind::Registered));
}

#[test]
fn an_address_that_is_not_unique_moves() {
    let mut bench = cloud(|_, config| config.unique = false);
    bench.run(seconds(1));
    let mut other = config("10.0.0.1/24", "192.0.2.66");
    other.unique = false;
    other.nhs = vec![nhs("10.0.0.100", HUB)];
    bench.set_alive("a", false);
    bench.add("other", other);
    bench.run(seconds(1));
    assert_eq!(bench.neighbour("hub", "10.0.0.1"), Some(ip("192.0.2.66")));
    assert!(!bench.has_peer("hub", A));
    let moved = EventKind::Moved { protocol: ip("10.0.0.1"), from: ip(A), to: ip("192.0.2.66") };
    assert!(bench.node("hub").events.contains(&moved));
}

#[test]
fn a_spoke_that_got_another_address_takes_its_unique_registration_with_it() {
    let mut bench = cloud(|_, _| {});
    bench.run(seconds(1));
    bench.renumber("a", ip("192.0.2.51"));
    bench.run(seconds(1));
    assert_eq!(bench.neighbour("hub", "10.0.0.1"), Some(ip("192.0.2.51")));
    assert_eq!(bench.server("a", 0).state, NhsState::Up);
    assert!(!bench.has_peer("hub", A));
}

#[test]
fn a_source_that_is_back_makes_a_spoke_ask_again_at_once() {
    let mut bench = cloud(|_, spoke| spoke.registration_interval = Some(seconds(10)));
    bench.run(seconds(2));
    bench.cut.insert((ip(A), ip(HUB)));
    bench.run(seconds(300));
    assert_eq!(bench.server("a", 0).state, NhsState::Probing);
    bench.cut.clear();
    bench.input("a", Input::LocalNbma { tunnel: TUNNEL, nbma: ip(A) });
    bench.run(seconds(1));
    assert_eq!(bench.server("a", 0).state, NhsState::Up);
    // When nothing was missed, nothing is asked.
    let sent = bench.server("a", 0).requests_sent;
    bench.input("a", Input::LocalNbma { tunnel: TUNNEL, nbma: ip(A) });
    assert_eq!(bench.server("a", 0).requests_sent, sent);
}

#[test]
fn a_purge_of_the_old_address_does_not_hurt_the_new_registration_that_overtakes_it() {
    let mut bench = cloud(|_, _| {});
    bench.run(seconds(1));
    bench.wire.clear();
    bench.renumber("a", ip("192.0.2.51"));
    let purge = bench.seen(PacketKind::PurgeRequest)[0].packet.clone();
    bench.run(seconds(5));
    bench.inject("hub", "192.0.2.51", &purge);
    assert_eq!(bench.neighbour("hub", "10.0.0.1"), Some(ip("192.0.2.51")));
}

#[test]
fn a_lost_purge_of_the_old_address_is_repeated() {
    let mut bench = cloud(|_, _| {});
    bench.run(seconds(1));
    // Both the purge that the move sends and the one after the first refusal are lost.
    bench.renumber("a", ip("192.0.2.51"));
    let register = bench.seen(PacketKind::RegistrationRequest).pop().unwrap().packet.clone();
    bench.flights_clear();
    bench.inject("hub", "192.0.2.51", &register);
    bench.run(std::time::Duration::from_millis(15));
    bench.flights_clear();
    bench.run(seconds(70));
    assert_eq!(bench.neighbour("hub", "10.0.0.1"), Some(ip("192.0.2.51")));
}

#[test]
fn a_refusal_for_uniqueness_is_recovered_from_with_the_old_id() {
    let mut bench = cloud(|_, _| {});
    bench.run(seconds(1));
    // The node restarts with another address and its old seed, and cannot know what the server has of it.
    bench.set_alive("a", false);
    let mut again = config("10.0.0.1/24", "192.0.2.51");
    again.nhs = vec![nhs("10.0.0.100", HUB)];
    bench.nodes.remove("a");
    bench.add("a", again);
    bench.run(seconds(1));
    assert_eq!(bench.neighbour("hub", "10.0.0.1"), None);
    bench.run(seconds(3));
    assert_eq!(bench.neighbour("hub", "10.0.0.1"), Some(ip("192.0.2.51")));
    assert_eq!(bench.server("a", 0).state, NhsState::Up);
}

#[test]
fn a_prefix_is_registered_only_where_the_policy_allows_it() {
    let mut bench = cloud(|_, config| config.policy.client_prefixes = vec![net("192.168.0.0/16")]);
    bench.run(seconds(1));
    let mut request = bench.seen(PacketKind::RegistrationRequest)[0].packet.clone();
    request.flags = Flags::NAT;
    let cie = request.body.clients().unwrap().cies[0].clone();
    let clients = request.body.clients_mut().unwrap();
    clients.cies = ["192.168.1.0", "172.31.0.0"]
        .map(|prefix| crate::nhrp::wire::Cie { prefix_length: 24, protocol: Some(ip(prefix)), ..cie.clone() })
        .to_vec();
    bench.inject("hub", A, &request);
    let reply = bench.seen(PacketKind::RegistrationReply).pop().unwrap();
    let codes: Vec<_> = reply.packet.body.clients().unwrap().cies.iter().map(|cie| cie.code).collect();
    assert_eq!(codes, [CieCode::SUCCESS, CieCode::PROHIBITED]);
    let routes = &bench.node("hub").kernel.shortcuts;
    assert_eq!(routes.get(&(TUNNEL, net("192.168.1.0/24"))), Some(&Some(ip("10.0.0.1"))));
    assert_eq!(routes.len(), 1);
    assert_eq!(bench.kind("hub", "192.168.1.0/24"), Some(CacheKind::Registered));
    // It goes with the client.
    bench.input("a", Input::Shutdown);
    bench.run(seconds(1));
    assert!(bench.node("hub").kernel.shortcuts.is_empty());
}

#[test]
fn a_host_route_comes_and_goes_with_its_neighbour() {
    let mut bench = cloud(|_, config| config.address = config.address.addr().into());
    bench.run(seconds(1));
    let host = (TUNNEL, net("10.0.0.1/32"));
    assert_eq!(bench.node("hub").kernel.shortcuts.get(&host), Some(&None));
    assert_eq!(bench.node("a").kernel.shortcuts.get(&(TUNNEL, net("10.0.0.100/32"))), Some(&None));
    bench.input("a", Input::Shutdown);
    bench.run(seconds(1));
    assert_eq!(bench.node("hub").kernel.shortcuts.get(&host), None);
    assert!(bench.is_clean("a"));
}

#[test]
fn a_spoke_that_stops_is_forgotten_at_once() {
    let mut bench = cloud(|_, _| {});
    bench.run(seconds(1));
    bench.input("a", Input::Shutdown);
    assert!(bench.is_clean("a"));
    bench.run(seconds(1));
    assert_eq!(bench.kind("hub", "10.0.0.1"), None);
    assert!(!bench.has_peer("hub", A));
    let gone = EventKind::Deregistered { protocol: ip("10.0.0.1"), nbma: ip(A) };
    assert!(bench.node("hub").events.contains(&gone));
    let sent = bench.wire.len();
    bench.run(seconds(300));
    assert!(bench.wire[sent..].iter().all(|seen| seen.from != ip(A)));
}

#[test]
fn one_seed_and_the_same_inputs_give_the_same_actions() {
    let trace = || {
        let mut bench = cloud(|_, _| {});
        bench.run(seconds(3));
        let _ = bench.data("a", "192.168.1.5", "192.168.2.5");
        bench.run(seconds(2000));
        let packets: Vec<_> =
            bench.wire.iter().map(|seen| (seen.from, seen.to, seen.packet.clone())).collect();
        (packets, bench.node("a").events.clone(), bench.node("a").kernel.route(ip("10.0.0.1")))
    };
    assert_eq!(trace(), trace());
}

#[test]
fn a_registration_for_another_address_of_ours_is_answered_under_that_address() {
    let mut bench = cloud(|_, _| {});
    bench.run(seconds(1));
    bench.kernel("hub").routes.push((net("10.0.0.200/32"), RouteTo::Local));
    let mut request = bench.seen(PacketKind::RegistrationRequest)[0].packet.clone();
    request.destination_protocol = Some(ip("10.0.0.200"));
    bench.inject("hub", A, &request);
    let reply = bench.seen(PacketKind::RegistrationReply).pop().unwrap();
    assert_eq!(reply.packet.destination_protocol, Some(ip("10.0.0.200")));
    assert_eq!(reply.packet.body.clients().unwrap().cies[0].code, CieCode::SUCCESS);
}

#[test]
fn tables_say_how_full_they_are() {
    let mut bench = cloud(|_, _| {});
    bench.run(seconds(1));
    let tables: Vec<_> = bench.node("hub").engine.tables(TUNNEL).collect();
    let entries = |name| tables.iter().find(|table| table.name == name).map(|table| table.entries);
    assert_eq!((entries("cache"), entries("peers"), entries("shortcuts")), (Some(2), Some(2), Some(0)));
    assert!(tables.iter().all(|table| table.entries <= table.bound && table.bound > 0));
}

#[test]
fn a_reply_counts_once() {
    let mut bench = cloud(|_, _| {});
    bench.run(seconds(1));
    let reply = bench.seen(PacketKind::RegistrationReply)[0].packet.clone();
    bench.inject("a", HUB, &reply);
    assert_eq!(bench.server("a", 0).replies_received, 1);
    assert_eq!(bench.fault("a", crate::nhrp::engine::Fault::UnexpectedReply), 1);
}
