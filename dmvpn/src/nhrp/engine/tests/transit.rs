//! Packets on their way through servers.

use std::time::Duration;

use super::{bench::*, clouds::*};
use crate::nhrp::{
    engine::{Action, CacheKind, EventKind, Fault, Input},
    wire::{Body, Cie, CieCode, ErrorCode, ExtensionKind, Packet, PacketKind, Value},
};

#[test]
fn a_stranger_cannot_bounce_packets_off_a_server() {
    let mut bench = phase2(|_, _| {});
    bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
    let request = bench.wire[0].packet.clone();
    bench.flights_clear();
    let sent = bench.wire.len();
    bench.inject("hub", "192.0.2.66", &request);
    assert_eq!(bench.wire.len(), sent);
    assert_eq!(bench.fault("hub", Fault::UnknownSource), 1);
}

#[test]
fn hop_count_and_loops_are_answered_with_errors() {
    let mut bench = phase2(|_, _| {});
    bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
    let request = bench.wire[0].packet.clone();
    bench.flights_clear();
    let code = |bench: &Bench| match &bench.wire.last().unwrap().packet.body {
        Body::ErrorIndication(error) => error.code,
        other => panic!("{other:?}"),
    };
    let mut tired = request.clone();
    tired.hop_count = 0;
    bench.inject("hub", A, &tired);
    assert_eq!(code(&bench), ErrorCode::HOP_COUNT_EXCEEDED);
    let mut round = request.clone();
    round.set_extension(Value::ForwardTransit(vec![Cie::binding(ip(HUB), ip("10.0.0.100"))]));
    bench.inject("hub", A, &round);
    assert_eq!(code(&bench), ErrorCode::LOOP_DETECTED);
    assert!(bench.node("hub").events.contains(&EventKind::Loop { source: ip(A) }));
    // The asker takes the error for an answer.
    bench.run(seconds(1));
    assert_eq!(bench.kind("a", "10.0.0.2"), Some(CacheKind::Negative));
    assert_eq!(bench.data("a", "192.168.1.5", "192.168.2.5").unwrap(), ["a", "hub", "b"]);
}

#[test]
fn a_packet_with_an_unknown_compulsory_extension_is_sent_on_untouched() {
    use crate::nhrp::wire::Extension;
    let mut bench = phase2(|_, _| {});
    bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
    let mut request = bench.wire[0].packet.clone();
    bench.flights_clear();
    let value = Value::Other { kind: ExtensionKind(0x1234), value: vec![1].into() };
    request.extensions.as_mut().unwrap().list.push(Extension { compulsory: true, value });
    bench.inject("hub", A, &request);
    let sent_on = bench.wire.last().unwrap();
    assert_eq!(sent_on.to, ip(B));
    assert_eq!(sent_on.packet, Packet { hop_count: 254, ..request });
    // The destination has to understand it.
    bench.run(Duration::from_millis(15));
    let Body::ErrorIndication(error) = &bench.wire.last().unwrap().packet.body else { panic!() };
    assert_eq!(error.code, ErrorCode::UNRECOGNIZED_EXTENSION);
}

#[test]
fn a_hub_may_answer_for_its_clients() {
    let mut bench = phase2(|_, config| config.policy.answer_for_clients = true);
    bench.run(seconds(100));
    bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
    bench.run(seconds(1));
    let requests = bench.seen(PacketKind::ResolutionRequest);
    assert_eq!((requests.len(), requests[0].to), (1, ip(HUB)));
    let reply = &bench.seen(PacketKind::ResolutionReply)[0].packet;
    let cie = &reply.body.clients().unwrap().cies[0];
    assert_eq!((cie.nbma, cie.protocol), (Some(ip(B)), Some(ip("10.0.0.2"))));
    assert!((400..520).contains(&cie.holding_time), "what is left: {}", cie.holding_time);
    assert_eq!(reply.records(ExtensionKind::RESPONDER_ADDRESS).unwrap()[0].nbma, Some(ip(HUB)));
    assert_eq!(bench.neighbour("a", "10.0.0.2"), Some(ip(B)));

    // When the client goes, those who were told are told again.
    bench.input("b", Input::Shutdown);
    bench.run(seconds(1));
    assert_ne!(bench.neighbour("a", "10.0.0.2"), Some(ip(B)));
    assert_eq!(bench.seen(PacketKind::PurgeReply).len(), 1);
}

#[test]
fn hubs_in_a_chain_find_each_others_spokes() {
    let mut bench = Bench::default();
    let mut second = config("10.0.0.200/24", "192.0.2.200");
    second.nhs = vec![nhs("10.0.0.100", HUB)];
    let mut first = config("10.0.0.100/24", HUB);
    first.nhs = vec![nhs("10.0.0.200", "192.0.2.200")];
    bench.add("hub", first).add("hub2", second);
    for (name, address, nbma, server) in [
        ("a", "10.0.0.1/24", A, nhs("10.0.0.100", HUB)),
        ("b", "10.0.0.2/24", B, nhs("10.0.0.200", "192.0.2.200")),
    ] {
        let mut spoke = config(address, nbma);
        spoke.nhs = vec![server];
        bench.add(name, spoke);
    }
    bench.run(seconds(2));
    assert_eq!(bench.data("a", "10.0.0.1", "10.0.0.2").unwrap(), ["a", "hub", "hub2", "b"]);
    bench.run(seconds(2));
    assert_eq!(bench.data("a", "10.0.0.1", "10.0.0.2").unwrap(), ["a", "b"]);
    assert_eq!(bench.data_for(seconds(1), "b", "10.0.0.2", "10.0.0.1"), ["b", "a"]);
    // Nobody has it: the question must not go round between the hubs.
    bench.wire.clear();
    bench.input("a", Input::Resolve { tunnel: TUNNEL, next_hop: ip("10.0.0.77") });
    bench.run(seconds(60));
    assert_eq!(bench.kind("a", "10.0.0.77"), Some(CacheKind::Negative));
    assert!(bench.wire.len() < 10, "{}", bench.wire.len());
}

#[test]
fn networks_are_separate_unless_their_number_is_the_same() {
    use crate::nhrp::engine::{Engine, TunnelId};
    // Two tunnels on one hub; the request comes by the first, the route leads into the second.
    for (network_id, sent_on) in [(1, true), (2, false)] {
        let mut bench = phase2(|_, _| {});
        bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
        let mut request = bench.wire[0].packet.clone();
        request.destination_protocol = Some(ip("10.1.0.9"));
        let mut bytes = Vec::new();
        request.encode(&mut bytes).unwrap();

        let mut second = config("10.1.0.100/24", "192.0.2.101");
        second.id = TunnelId(2);
        second.network_id = network_id;
        second.static_maps = vec![crate::nhrp::engine::StaticMap { protocol: ip("10.1.0.9"), nbma: ip(B) }];
        let mut first = config("10.0.0.100/24", HUB);
        first.static_maps = vec![crate::nhrp::engine::StaticMap { protocol: ip("10.0.0.1"), nbma: ip(A) }];
        let mut kernel = Kernel::default();
        kernel.routes.push((net("10.1.0.0/24"), RouteTo::Tunnel(TunnelId(2), None)));
        let mut engine = Engine::new(vec![first, second], 1);
        let mut out = Vec::new();
        engine.start(bench.now, &kernel, &mut out);
        out.clear();
        let input = Input::Packet { tunnel: TUNNEL, source: ip(A), bytes: &bytes };
        engine.handle(bench.now, input, &kernel, &mut out);
        let [.., Action::Send { tunnel, to, bytes }] = out.as_slice() else { panic!("{out:?}") };
        let kind = Packet::decode(bytes).unwrap().kind();
        if sent_on {
            assert_eq!((*tunnel, *to, kind), (TunnelId(2), ip(B), PacketKind::ResolutionRequest));
        } else {
            // The other network begins here, so we are the egress.
            assert_eq!((*tunnel, *to, kind), (TUNNEL, ip(A), PacketKind::ResolutionReply));
        }
    }
}

#[test]
fn those_who_were_told_of_a_client_are_told_when_it_moves() {
    let mut bench = phase2(|_, config| {
        config.policy.answer_for_clients = true;
        config.unique = false;
    });
    bench.accept_any = true;
    bench.data_for(seconds(1), "a", "192.168.1.5", "192.168.2.5");
    assert_eq!(bench.neighbour("a", "10.0.0.2"), Some(ip(B)));
    bench.wire.clear();
    bench.renumber("b", ip("192.0.2.52"));
    bench.run(seconds(1));
    let purges = bench.seen(PacketKind::PurgeRequest);
    assert!(purges.iter().any(|seen| seen.from == ip(HUB) && seen.to == ip(A)));
    assert_eq!(bench.data_for(seconds(1), "a", "192.168.1.5", "192.168.2.5"), ["a", "b"]);
    assert_eq!(bench.neighbour("a", "10.0.0.2"), Some(ip("192.0.2.52")));
}

#[test]
fn a_question_never_goes_back_to_where_it_came_from() {
    // Two servers each take the other for the way to everything.
    let mut bench = phase2(|_, _| {});
    let by_a = RouteTo::Tunnel(TUNNEL, Some(ip("10.0.0.1")));
    bench.kernel("hub").routes.push((net("172.31.0.0/16"), by_a));
    bench.input("a", Input::Resolve { tunnel: TUNNEL, next_hop: ip("10.0.0.2") });
    let mut request = bench.wire[0].packet.clone();
    bench.flights_clear();
    request.destination_protocol = Some(ip("172.31.0.1"));
    bench.inject("hub", A, &request);
    let answer = bench.wire.last().unwrap();
    assert_eq!((answer.to, answer.packet.kind()), (ip(A), PacketKind::ResolutionReply));
    assert_eq!(answer.packet.body.clients().unwrap().cies[0].code, CieCode::NO_BINDING);
    // Nor is somebody told where itself is: there is a binding, but not for whoever is at the same address.
    request.destination_protocol = request.source_protocol;
    bench.inject("hub", A, &request);
    assert_eq!(bench.wire.last().unwrap().packet.body.clients().unwrap().cies[0].code, CieCode::PROHIBITED);
}

#[test]
fn what_is_for_somebody_else_is_not_taken_for_ours() {
    let mut bench = phase2(|_, _| {});
    // A purge whose destination is a host of the LAN here: we are no proxy for it.
    bench.input("a", Input::Shutdown);
    let mut purge = bench.seen(PacketKind::PurgeRequest)[0].packet.clone();
    bench.flights_clear();
    purge.destination_protocol = Some(ip("172.16.0.9"));
    bench.inject("hub", A, &purge);
    assert_eq!(bench.kind("hub", "10.0.0.1"), Some(CacheKind::Registered));
    let Body::ErrorIndication(error) = &bench.wire.last().unwrap().packet.body else { panic!() };
    assert_eq!(error.code, ErrorCode::PROTOCOL_ADDRESS_UNREACHABLE);
}

#[test]
fn a_packet_of_our_own_that_comes_back_is_dropped() {
    let mut bench = phase2(|_, _| {});
    bench.input("a", Input::Resolve { tunnel: TUNNEL, next_hop: ip("10.0.0.2") });
    let request = bench.wire[0].packet.clone();
    bench.flights_clear();
    bench.inject("hub", HUB, &request);
    assert_eq!(bench.fault("hub", Fault::Loop), 1);
    assert_eq!(bench.wire.len(), 1);
}
