//! Next hops that are asked for (Phase 2), answers, and packets on their way through servers.

use std::time::Duration;

use super::{bench::*, clouds::*};
use crate::nhrp::{
    engine::{CacheKind, EventKind, Fault, Input, Route, Secret},
    wire::{Cie, CieCode, ExtensionKind, Flags, Packet, PacketKind, Value},
};

#[test]
fn traffic_goes_by_the_hub_until_the_next_hop_is_resolved() {
    let mut bench = phase2(|_, _| {});
    assert_eq!(bench.data("a", "192.168.1.5", "192.168.2.5").unwrap(), ["a", "hub", "b"]);
    let path = bench.data_for(seconds(2), "a", "192.168.1.5", "192.168.2.5");
    assert_eq!(path, ["a", "b"]);
    assert_eq!(bench.neighbour("a", "10.0.0.2"), Some(ip(B)));
    assert_eq!(bench.kind("a", "10.0.0.2"), Some(CacheKind::Cached));
    assert_eq!(bench.seen(PacketKind::ResolutionRequest).len(), 2);
    // The answerer asks for itself, when it has something to send.
    assert_eq!(bench.kind("b", "10.0.0.1"), None);
    assert_eq!(bench.data_for(seconds(2), "b", "192.168.2.5", "192.168.1.5"), ["b", "a"]);
    assert_eq!(bench.seen(PacketKind::ResolutionRequest).len(), 4);
}

#[test]
fn nothing_is_lost_on_the_way_back_before_the_asker_knows_the_answerer() {
    // The answerer has something to send before it is asked, while its reply is on the way, and later; the first
    // reply gets lost, or not.
    for begin in [0, 22, 500] {
        for reply_is_lost in [false, true] {
            let mut bench = phase2(|_, _| {});
            bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
            bench.run(Duration::from_millis(begin));
            let reply = (ip(B), ip(HUB));
            if reply_is_lost {
                bench.cut.insert(reply);
            }
            for _ in 0..400 {
                bench.data("b", "192.168.2.5", "192.168.1.5").unwrap();
                bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
                bench.run(Duration::from_millis(5));
                if !bench.seen(PacketKind::ResolutionReply).is_empty() {
                    bench.cut.remove(&reply);
                }
            }
            bench.run(seconds(5));
            assert_eq!(bench.data("b", "192.168.2.5", "192.168.1.5").unwrap(), ["b", "a"]);
            assert_eq!(bench.data("a", "192.168.1.5", "192.168.2.5").unwrap(), ["a", "b"]);
        }
    }
}

#[test]
fn a_node_without_servers_learns_where_the_asker_is() {
    let mut bench = phase2(|_, _| {});
    bench.kernel("hub").routes.push((net("172.17.0.0/16"), RouteTo::Lan));
    bench.input("a", Input::Resolve { tunnel: TUNNEL, next_hop: ip("10.0.0.2") });
    let mut request = bench.wire[0].packet.clone();
    bench.flights_clear();
    // A client of another hub asks for what is behind ours.
    request.source_protocol = Some(ip("10.0.0.9"));
    request.source_nbma = Some(ip("192.0.2.9"));
    request.destination_protocol = Some(ip("172.17.0.1"));
    request.set_extension(Value::ForwardTransit(vec![Cie::binding(ip(B), ip("10.0.0.2"))]));
    bench.inject("hub", B, &request);
    let entry = bench.entry("hub", "10.0.0.9").unwrap();
    assert!(entry.implicit);
    assert_eq!((entry.kind, entry.nbma), (CacheKind::Cached, Some(ip("192.0.2.9"))));
}

#[test]
fn request_and_reply_have_ciscos_form_and_carry_the_hubs_record() {
    let mut bench = phase2(|_, config| config.authentication = Some(Secret::new("secret")));
    bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
    bench.run(seconds(1));
    let requests = bench.seen(PacketKind::ResolutionRequest);
    let (first, second) = (&requests[0].packet, &requests[1].packet);
    assert_eq!((first.flags, first.hop_count, second.hop_count), (Flags(0xC802), 255, 254));
    assert_eq!(first.destination_protocol, Some(ip("10.0.0.2")));
    let kinds = |packet: &Packet| {
        let list = &packet.extensions.as_ref().unwrap().list;
        list.iter().map(|extension| extension.value.kind().0).collect::<Vec<_>>()
    };
    assert_eq!((kinds(first), kinds(second)), (vec![3, 4, 5, 7, 9], vec![3, 4, 5, 7, 9]));
    let cie = &first.body.clients().unwrap().cies[0];
    assert_eq!((cie.prefix_length, cie.mtu, cie.holding_time, cie.nbma), (0, 1472, 600, None));
    assert_eq!(first.records(ExtensionKind::FORWARD_TRANSIT), Some(&Vec::new()));
    let record = &second.records(ExtensionKind::FORWARD_TRANSIT).unwrap()[0];
    assert_eq!((record.nbma, record.protocol), (Some(ip(HUB)), Some(ip("10.0.0.100"))));

    let replies = bench.seen(PacketKind::ResolutionReply);
    let reply = &replies[1].packet;
    assert_eq!((replies[0].to, replies[1].to), (ip(HUB), ip(A)));
    assert_eq!((reply.flags, reply.hop_count), (Flags(0xF802), 254));
    assert_eq!(
        (reply.source_protocol, reply.destination_protocol),
        (Some(ip("10.0.0.1")), Some(ip("10.0.0.2")))
    );
    let cie = &reply.body.clients().unwrap().cies[0];
    assert_eq!((cie.code, cie.prefix_length, cie.holding_time), (CieCode::SUCCESS, 32, 600));
    assert_eq!((cie.nbma, cie.protocol), (Some(ip(B)), Some(ip("10.0.0.2"))));
    let responder = &reply.records(ExtensionKind::RESPONDER_ADDRESS).unwrap()[0];
    assert_eq!(responder.nbma, Some(ip(B)));
    assert_eq!(reply.records(ExtensionKind::REVERSE_TRANSIT).unwrap()[0].nbma, Some(ip(HUB)));
    assert_eq!(reply.records(ExtensionKind::FORWARD_TRANSIT).unwrap()[0].nbma, Some(ip(HUB)));
    assert!(reply.authentication().is_some());
}

#[test]
fn a_phase_1_spoke_never_asks() {
    let mut bench = phase2(|_, config| config.resolve = false);
    let path = bench.data_for(seconds(3), "a", "192.168.1.5", "192.168.2.5");
    assert_eq!(path, ["a", "hub", "b"]);
    assert!(bench.seen(PacketKind::ResolutionRequest).is_empty());
    // Nor does it stop when the entry ends.
    bench.run(seconds(700));
    assert_eq!(bench.data("a", "192.168.1.5", "192.168.2.5").unwrap(), ["a", "hub", "b"]);
}

#[test]
fn a_used_next_hop_is_asked_for_again_before_it_expires() {
    let mut bench = phase2(|_, config| config.holding_time = seconds(30));
    for _ in 0..100 {
        bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
        bench.run(seconds(1));
    }
    assert_eq!(bench.data("a", "192.168.1.5", "192.168.2.5").unwrap(), ["a", "b"]);
    let from_a =
        bench.seen(PacketKind::ResolutionRequest).into_iter().filter(|seen| seen.from == ip(A)).count();
    assert!((4..=7).contains(&from_a), "{from_a}");
    let resolved = EventKind::Resolved { protocol: ip("10.0.0.2"), nbma: ip(B) };
    assert_eq!(bench.node("a").events.iter().filter(|&event| *event == resolved).count(), 1);
}

#[test]
fn an_unused_next_hop_expires() {
    let mut bench = phase2(|_, config| config.holding_time = seconds(30));
    bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
    bench.run(seconds(1));
    assert!(bench.has_peer("a", B));
    bench.run(seconds(40));
    assert_eq!(bench.kind("a", "10.0.0.2"), None);
    assert!(!bench.has_peer("a", B));
    assert_eq!(bench.seen(PacketKind::ResolutionRequest).len(), 2);
}

#[test]
fn requests_are_repeated_then_given_up_while_the_hub_relays() {
    let mut bench = phase2(|_, _| {});
    // Data gets through to B and back, NHRP from the hub does not.
    bench.cut.insert((ip(HUB), ip(B)));
    bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
    bench.run(seconds(29));
    let from_a = |bench: &Bench| {
        let seen = bench.seen(PacketKind::ResolutionRequest);
        seen.into_iter().filter(|seen| seen.from == ip(A)).map(|seen| seen.packet.clone()).collect::<Vec<_>>()
    };
    let sent = from_a(&bench);
    assert_eq!(sent.len(), 7);
    assert!(sent.iter().all(|packet| *packet == sent[0]), "same id, same content");
    assert_eq!(bench.kind("a", "10.0.0.2"), Some(CacheKind::Incomplete));
    bench.run(seconds(2));
    assert_eq!(bench.kind("a", "10.0.0.2"), Some(CacheKind::Negative));
    assert!(bench.node("a").events.contains(&EventKind::Unresolved { destination: ip("10.0.0.2") }));
    assert_eq!(bench.data("a", "192.168.1.5", "192.168.2.5").unwrap(), ["a", "hub", "b"]);
    // After the negative time traffic starts another attempt.
    bench.run(seconds(61));
    bench.cut.clear();
    assert_eq!(bench.data("a", "192.168.1.5", "192.168.2.5").unwrap(), ["a", "hub", "b"]);
    bench.run(seconds(1));
    assert_eq!(bench.data("a", "192.168.1.5", "192.168.2.5").unwrap(), ["a", "b"]);
    assert_eq!(from_a(&bench).len(), 8);
}

#[test]
fn what_nobody_has_is_refused_and_not_asked_for_again_for_a_while() {
    let mut bench = phase2(|_, _| {});
    bench.input("a", Input::Resolve { tunnel: TUNNEL, next_hop: ip("10.0.0.77") });
    bench.run(seconds(1));
    let reply = &bench.seen(PacketKind::ResolutionReply)[0].packet;
    let cies = &reply.body.clients().unwrap().cies;
    assert_eq!((cies.len(), cies[0].code, cies[0].holding_time), (1, CieCode::NO_BINDING, 0));
    assert_eq!(bench.kind("a", "10.0.0.77"), Some(CacheKind::Negative));
    bench.input("a", Input::Resolve { tunnel: TUNNEL, next_hop: ip("10.0.0.77") });
    bench.run(seconds(50));
    assert_eq!(bench.seen(PacketKind::ResolutionRequest).len(), 1);
    bench.run(seconds(20));
    assert_eq!(bench.kind("a", "10.0.0.77"), None);
    assert_eq!(bench.fault("hub", Fault::Unreachable), 1);
}

#[test]
fn a_hub_asks_nobody_for_an_unknown_next_hop() {
    let mut bench = phase2(|_, _| {});
    for _ in 0..3 {
        bench.input("hub", Input::Resolve { tunnel: TUNNEL, next_hop: ip("10.0.0.77") });
    }
    bench.run(seconds(5));
    assert!(bench.wire.is_empty());
    assert_eq!(bench.kind("hub", "10.0.0.77"), Some(CacheKind::Negative));
    // Once it registers it is there at once.
    let mut late = config("10.0.0.77/24", "192.0.2.77");
    late.nhs = vec![nhs("10.0.0.100", HUB)];
    bench.add("late", late);
    bench.run(seconds(1));
    assert_eq!(bench.kind("hub", "10.0.0.77"), Some(CacheKind::Registered));
    assert_eq!(bench.neighbour("hub", "10.0.0.77"), Some(ip("192.0.2.77")));
}

#[test]
fn a_question_for_a_known_next_hop_is_answered_again() {
    let mut bench = phase2(|_, _| {});
    bench.kernel("a").neighbours.clear();
    bench.input("a", Input::Resolve { tunnel: TUNNEL, next_hop: ip("10.0.0.100") });
    assert_eq!(bench.neighbour("a", "10.0.0.100"), Some(ip(HUB)));
    assert!(bench.wire.is_empty());
}

#[test]
fn a_requester_that_does_not_want_to_be_cached_is_not() {
    for change in [0, 1] {
        let mut bench = phase2(|_, _| {});
        bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
        let mut request = bench.wire[0].packet.clone();
        bench.flights_clear();
        if change == 0 {
            request.flags = request.flags.without(Flags::RESOLUTION_SOURCE_STABLE);
        } else {
            request.body.clients_mut().unwrap().cies[0].holding_time = 0;
        }
        bench.inject("hub", A, &request);
        bench.run(seconds(1));
        // Its data is taken all the same, because it was answered.
        assert_eq!(bench.data("a", "192.168.1.5", "192.168.2.5").unwrap(), ["a", "b"]);
    }
}

#[test]
fn a_stranger_does_not_become_a_peer_by_asking() {
    let mut bench = phase2(|_, _| {});
    bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
    let mut request = bench.wire[0].packet.clone();
    bench.flights_clear();
    request.source_nbma = Some(ip("192.0.2.66"));
    bench.inject("b", "192.0.2.66", &request);
    assert_eq!(bench.kind("b", "10.0.0.1"), None);
    assert!(!bench.has_peer("b", "192.0.2.66"));
    let reply = &bench.wire.last().unwrap().packet;
    assert_eq!(reply.body.clients().unwrap().cies[0].code, CieCode::PROHIBITED);
}

#[test]
fn a_stranger_with_the_password_is_answered() {
    let mut bench = phase2(|_, config| config.authentication = Some(Secret::new("secret")));
    bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
    let mut request = bench.wire[0].packet.clone();
    bench.flights_clear();
    request.source_nbma = Some(ip("192.0.2.66"));
    bench.inject("b", "192.0.2.66", &request);
    assert!(bench.has_peer("b", "192.0.2.66"));
    bench.run(seconds(620));
    assert!(!bench.has_peer("b", "192.0.2.66"));
}

#[test]
fn replies_that_cannot_be_true_are_ignored() {
    type Change = fn(&mut Packet);
    let changes: [Change; 6] = [
        |packet| packet.body.clients_mut().unwrap().request_id ^= 1,
        |packet| packet.destination_protocol = Some(ip("10.0.0.3")),
        |packet| packet.body.clients_mut().unwrap().cies[0].nbma = Some(ip(A)),
        |packet| packet.body.clients_mut().unwrap().cies[0].nbma = Some(ip("224.0.0.1")),
        |packet| packet.body.clients_mut().unwrap().cies[0].protocol = Some(ip("10.0.0.1")),
        |packet| packet.body.clients_mut().unwrap().cies[0].holding_time = 0,
    ];
    let mut bench = phase2(|_, _| {});
    bench.cut.insert((ip(HUB), ip(A)));
    bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
    bench.run(Duration::from_millis(500));
    let reply = bench.seen(PacketKind::ResolutionReply).pop().unwrap().packet.clone();
    for (index, change) in changes.iter().enumerate() {
        let mut bad = reply.clone();
        change(&mut bad);
        bench.inject("a", HUB, &bad);
        assert_eq!(bench.neighbour("a", "10.0.0.2"), Some(ip(HUB)), "change {index}");
        assert_eq!(bench.fault("a", Fault::UnexpectedReply), index as u64 + 1);
    }
    // Nobody but the one we asked, a peer, or the answer itself has a say.
    let mut relayed = reply.clone();
    relayed.set_extension(Value::ReverseTransit(vec![Cie::binding(ip(HUB), ip("10.0.0.100"))]));
    bench.inject("a", "192.0.2.66", &relayed);
    assert_eq!(bench.neighbour("a", "10.0.0.2"), Some(ip(HUB)));
    bench.inject("a", HUB, &reply);
    assert_eq!(bench.neighbour("a", "10.0.0.2"), Some(ip(B)));
}

#[test]
fn a_reply_straight_from_the_egress_counts_too() {
    let mut bench = phase2(|_, _| {});
    bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
    bench.run(Duration::from_millis(25));
    let reply = bench.seen(PacketKind::ResolutionReply).pop().unwrap().packet.clone();
    bench.flights_clear();
    bench.inject("a", B, &reply);
    assert_eq!(bench.neighbour("a", "10.0.0.2"), Some(ip(B)));
}

#[test]
fn of_several_answers_the_best_is_taken() {
    let mut bench = phase2(|_, _| {});
    bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
    bench.run(Duration::from_millis(25));
    let mut reply = bench.seen(PacketKind::ResolutionReply).pop().unwrap().packet.clone();
    bench.flights_clear();
    let clients = reply.body.clients_mut().unwrap();
    let cie = clients.cies[0].clone();
    clients.cies = vec![
        Cie { code: CieCode::PROHIBITED, preference: 9, ..cie.clone() },
        Cie { nbma: Some(ip("192.0.2.21")), preference: 1, ..cie.clone() },
        Cie { nbma: Some(ip("192.0.2.22")), preference: 5, ..cie.clone() },
        Cie { nbma: Some(ip("192.0.2.23")), preference: 5, ..cie },
    ];
    bench.inject("a", HUB, &reply);
    assert_eq!(bench.neighbour("a", "10.0.0.2"), Some(ip("192.0.2.22")));
}

#[test]
fn another_server_relays_when_the_first_one_is_gone() {
    let mut bench = Bench::default();
    bench.add("hub", config("10.0.0.100/24", HUB)).add("hub2", config("10.0.0.200/24", "192.0.2.200"));
    for (name, address, nbma) in [("a", "10.0.0.1/24", A), ("b", "10.0.0.2/24", B)] {
        let mut spoke = config(address, nbma);
        spoke.resolve = false;
        spoke.shortcut = false;
        spoke.registration_interval = Some(seconds(10));
        spoke.nhs = vec![nhs("10.0.0.100", HUB), nhs("10.0.0.200", "192.0.2.200")];
        bench.add(name, spoke);
    }
    bench.run(seconds(1));
    assert_eq!(bench.data("a", "10.0.0.1", "10.0.0.2").unwrap(), ["a", "hub", "b"]);
    bench.set_alive("hub", false);
    bench.run(seconds(25));
    assert_eq!(bench.data("a", "10.0.0.1", "10.0.0.2").unwrap(), ["a", "hub2", "b"]);
}

#[test]
fn pending_resolutions_are_bounded() {
    let mut bench = phase2(|_, config| config.limits.pending_resolutions = 5);
    bench.set_alive("hub", false);
    for last in 50..70 {
        bench.input("a", Input::Resolve { tunnel: TUNNEL, next_hop: ip(&format!("10.0.0.{last}")) });
    }
    assert_eq!(bench.seen(PacketKind::ResolutionRequest).len(), 5);
    assert_eq!(bench.fault("a", Fault::TableFull), 15);
    let ids: std::collections::BTreeSet<_> =
        bench.wire.iter().map(|seen| seen.packet.body.clients().unwrap().request_id).collect();
    assert_eq!(ids.len(), 5);
}

#[test]
fn the_test_kernel_routes_by_the_longest_prefix() {
    use crate::nhrp::engine::Environment;
    let bench = phase2(|_, _| {});
    assert!(matches!(bench.node("a").kernel.route(ip("192.168.1.5")), Route::Elsewhere { .. }));
    assert!(matches!(bench.node("a").kernel.route(ip("8.8.8.8")), Route::None));
}

#[test]
fn what_a_client_registered_is_not_changed_by_its_requests() {
    let mut bench = phase2(|_, _| {});
    // The hub is the egress here; the request is brought by a peer, and claims another place.
    bench.input("a", Input::Resolve { tunnel: TUNNEL, next_hop: ip("10.0.0.2") });
    let mut request = bench.wire[0].packet.clone();
    bench.flights_clear();
    request.destination_protocol = Some(ip("172.16.0.1"));
    request.source_nbma = Some(ip("192.0.2.66"));
    request.set_extension(Value::ForwardTransit(vec![Cie::binding(ip(B), ip("10.0.0.2"))]));
    bench.inject("hub", B, &request);
    assert_eq!(bench.neighbour("hub", "10.0.0.1"), Some(ip(A)));
    assert_eq!(bench.kind("hub", "10.0.0.1"), Some(CacheKind::Registered));
}

#[test]
fn a_used_next_hop_that_is_not_confirmed_is_relayed_again_without_a_gap() {
    let mut bench = phase2(|_, config| config.holding_time = seconds(30));
    bench.data_for(seconds(1), "a", "192.168.1.5", "192.168.2.5");
    bench.cut.insert((ip(HUB), ip(B)));
    bench.data_for(seconds(28), "a", "192.168.1.5", "192.168.2.5");
    bench.run(seconds(3));
    assert_eq!(bench.neighbour("a", "10.0.0.2"), Some(ip(HUB)));
}

#[test]
fn a_peer_can_not_speak_for_another_address() {
    let mut bench = phase2(|_, _| {});
    bench.data_for(seconds(1), "a", "192.168.1.5", "192.168.2.5");
    // A is a peer of B now. It asks in another's name, straight and not through a server.
    let mut request = bench.seen(PacketKind::ResolutionRequest)[0].packet.clone();
    request.source_protocol = Some(ip("10.0.0.9"));
    bench.inject("b", A, &request);
    assert_eq!(bench.kind("b", "10.0.0.9"), None);
}

#[test]
fn a_default_route_is_answered_with_the_host() {
    let mut bench = phase2(|_, _| {});
    bench.kernel("b").routes.push((net("0.0.0.0/0"), RouteTo::Lan));
    bench.input("a", Input::Resolve { tunnel: TUNNEL, next_hop: ip("10.0.0.2") });
    let mut request = bench.wire[0].packet.clone();
    bench.flights_clear();
    request.destination_protocol = Some(ip("203.0.113.80"));
    bench.inject("b", HUB, &request);
    let reply = &bench.wire.last().unwrap().packet;
    assert_eq!(reply.body.clients().unwrap().cies[0].prefix_length, 32);
}

#[test]
fn what_was_refused_a_moment_ago_is_not_asked_for_again() {
    let mut bench = phase2(|_, _| {});
    bench.input("hub", Input::Resolve { tunnel: TUNNEL, next_hop: ip("10.0.0.77") });
    // The hub gets a server of its own. What it did not know a moment ago it does not ask for at once.
    bench.input("hub", Input::Servers { tunnel: TUNNEL, servers: &[nhs("10.0.0.200", "192.0.2.200")] });
    bench.wire.clear();
    bench.input("hub", Input::Resolve { tunnel: TUNNEL, next_hop: ip("10.0.0.77") });
    assert!(bench.seen(PacketKind::ResolutionRequest).is_empty());
    bench.run(seconds(61));
    bench.input("hub", Input::Resolve { tunnel: TUNNEL, next_hop: ip("10.0.0.77") });
    assert_eq!(bench.seen(PacketKind::ResolutionRequest).len(), 1);
}
