//! What is refused, and how.

use super::{bench::*, clouds::*};
use crate::nhrp::{
    engine::{CacheKind, EventKind, Fault, Input, NhsState, Secret, StaticMap},
    wire::{Body, CieCode, ErrorCode, ExtensionKind, Packet, PacketKind},
};

#[test]
fn a_unique_address_is_not_given_to_another() {
    let mut bench = cloud(|_, _| {});
    bench.run(seconds(1));
    let mut thief = config("10.0.0.1/24", "192.0.2.66");
    thief.nhs = vec![nhs("10.0.0.100", HUB)];
    bench.add("thief", thief);
    bench.run(seconds(20));
    assert_eq!(bench.neighbour("hub", "10.0.0.1"), Some(ip(A)));
    assert!(!bench.has_peer("hub", "192.0.2.66"));
    let refused = EventKind::NhsRefused { nbma: ip(HUB), code: CieCode::ALREADY_REGISTERED };
    assert_eq!(bench.node("thief").events, [refused]);
    assert_ne!(bench.server("thief", 0).state, NhsState::Up);
    let conflict =
        EventKind::Conflict { protocol: ip("10.0.0.1"), holder: ip(A), claimant: ip("192.0.2.66") };
    assert!(bench.node("hub").events.contains(&conflict));
    let reply = bench.seen(PacketKind::RegistrationReply).pop().unwrap();
    let cie = &reply.packet.body.clients().unwrap().cies[0];
    assert_eq!((cie.code, cie.holding_time), (CieCode::ALREADY_REGISTERED, 0));
}

#[test]
fn only_addresses_of_the_network_are_registered() {
    let mut bench = cloud(|_, _| {});
    let template = bench.seen(PacketKind::RegistrationRequest)[0].packet.clone();
    for address in ["10.0.1.1", "10.0.0.100", "10.0.0.255", "10.0.0.0", "224.0.0.5", "0.0.0.0", "127.0.0.1"] {
        let mut request = template.clone();
        request.source_protocol = Some(ip(address));
        bench.inject("hub", "192.0.2.66", &request);
        let reply = bench.seen(PacketKind::RegistrationReply).pop().unwrap();
        assert_eq!(reply.packet.body.clients().unwrap().cies[0].code, CieCode::PROHIBITED, "{address}");
    }
    assert!(!bench.has_peer("hub", "192.0.2.66"));
    assert_eq!(bench.fault("hub", Fault::RegistrationRefused), 7);
}

#[test]
fn the_policy_allows_more_addresses() {
    let mut bench = cloud(|_, config| config.policy.clients = vec![net("10.9.0.0/16")]);
    let mut request = bench.seen(PacketKind::RegistrationRequest)[0].packet.clone();
    request.source_protocol = Some(ip("10.9.3.4"));
    bench.inject("hub", "192.0.2.66", &request);
    assert_eq!(bench.neighbour("hub", "10.9.3.4"), Some(ip("192.0.2.66")));
}

#[test]
fn a_full_table_refuses_with_insufficient_resources() {
    let mut bench = cloud(|_, config| {
        config.max_entries = 3;
        config.limits.registrations_per_nbma = 2;
    });
    bench.run(seconds(1));
    let template = bench.seen(PacketKind::RegistrationRequest)[0].packet.clone();
    let mut codes = Vec::new();
    for (address, nbma) in [("10.0.0.3", A), ("10.0.0.4", A), ("10.0.0.5", "192.0.2.66")] {
        let mut request = template.clone();
        request.source_protocol = Some(ip(address));
        request.source_nbma = Some(ip(nbma));
        bench.inject("hub", nbma, &request);
        let reply = bench.seen(PacketKind::RegistrationReply).pop().unwrap();
        codes.push(reply.packet.body.clients().unwrap().cies[0].code);
    }
    assert_eq!(codes, [CieCode::SUCCESS, CieCode::NO_RESOURCES, CieCode::NO_RESOURCES]);
    // What is there is still renewed.
    bench.inject("hub", A, &template);
    let reply = bench.seen(PacketKind::RegistrationReply).pop().unwrap();
    assert_eq!(reply.packet.body.clients().unwrap().cies[0].code, CieCode::SUCCESS);
    assert_eq!(bench.fault("hub", Fault::TableFull), 2);
}

#[test]
fn a_static_map_is_not_changed_by_a_registration() {
    let mut bench = cloud(|name, config| {
        if name == "hub" {
            config.static_maps = vec![StaticMap { protocol: ip("10.0.0.1"), nbma: ip("192.0.2.77") }];
        }
    });
    assert_eq!(bench.neighbour("hub", "10.0.0.1"), Some(ip("192.0.2.77")));
    bench.run(seconds(5));
    assert_eq!(bench.neighbour("hub", "10.0.0.1"), Some(ip("192.0.2.77")));
    assert_eq!(bench.kind("hub", "10.0.0.1"), Some(CacheKind::Static));
    let refused = EventKind::NhsRefused { nbma: ip(HUB), code: CieCode::PROHIBITED };
    assert!(bench.node("a").events.contains(&refused));
}

#[test]
fn without_the_password_nobody_gets_in_and_nobody_learns_it() {
    let mut bench = cloud(|name, config| {
        config.authentication = Some(Secret::new(if name == "a" { "wrong" } else { "right" }));
    });
    bench.run(seconds(1));
    assert_eq!(bench.kind("hub", "10.0.0.1"), None);
    assert_eq!(bench.kind("hub", "10.0.0.2"), Some(CacheKind::Registered));
    let error = &bench.seen(PacketKind::ErrorIndication)[0];
    assert_eq!(error.to, ip(A));
    assert!(error.packet.authentication().is_none());
    let Body::ErrorIndication(body) = &error.packet.body else { unreachable!() };
    assert_eq!(body.code, ErrorCode::AUTHENTICATION_FAILURE);
    let failed = EventKind::AuthenticationFailed { source: ip(A) };
    assert!(bench.node("hub").events.contains(&failed));
    let told = EventKind::ErrorReceived { source: ip(HUB), code: ErrorCode::AUTHENTICATION_FAILURE };
    assert!(bench.node("a").events.contains(&told));
    // And there is no error about an error.
    assert!(bench.seen(PacketKind::ErrorIndication).iter().all(|seen| seen.from == ip(HUB)));
}

#[test]
fn an_unknown_compulsory_extension_is_answered_with_an_error() {
    use crate::nhrp::wire::{Extension, Value};
    let mut bench = cloud(|_, _| {});
    let mut request = bench.seen(PacketKind::RegistrationRequest)[0].packet.clone();
    let value = Value::Other { kind: ExtensionKind(0x1234), value: vec![1].into() };
    let list = &mut request.extensions.as_mut().unwrap().list;
    list.push(Extension { compulsory: true, value: value.clone() });
    request.source_protocol = Some(ip("10.0.0.7"));
    bench.inject("hub", "192.0.2.66", &request);
    assert_eq!(bench.kind("hub", "10.0.0.7"), None);
    let Body::ErrorIndication(error) = &bench.seen(PacketKind::ErrorIndication)[0].packet.body else {
        unreachable!()
    };
    assert_eq!(error.code, ErrorCode::UNRECOGNIZED_EXTENSION);

    // One that need not be understood comes back as it was.
    request.extensions.as_mut().unwrap().list.last_mut().unwrap().compulsory = false;
    bench.inject("hub", "192.0.2.66", &request);
    assert_eq!(bench.kind("hub", "10.0.0.7"), Some(CacheKind::Registered));
    let reply = bench.seen(PacketKind::RegistrationReply).pop().unwrap();
    assert_eq!(reply.packet.extensions.as_ref().unwrap().list.last().unwrap().value, value);
}

#[test]
fn a_stranger_cannot_take_a_registration_back() {
    let mut bench = cloud(|_, _| {});
    bench.run(seconds(1));
    bench.input("a", Input::Shutdown);
    let mut purge = bench.seen(PacketKind::PurgeRequest)[0].packet.clone();
    bench.flights_clear();
    purge.body.clients_mut().unwrap().request_id ^= 1;
    bench.inject("hub", "192.0.2.66", &purge);
    assert_eq!(bench.kind("hub", "10.0.0.1"), Some(CacheKind::Registered));
    assert_eq!(bench.fault("hub", Fault::PurgeRefused), 1);
}

#[test]
fn a_flood_from_one_source_does_not_keep_others_out() {
    let mut bench = cloud(|_, config| config.limits.packets_per_source = 10);
    let mut request = bench.seen(PacketKind::RegistrationRequest)[0].packet.clone();
    request.source_protocol = Some(ip("172.16.0.1"));
    for _ in 0..1000 {
        bench.inject("hub", "192.0.2.66", &request);
    }
    assert_eq!(bench.fault("hub", Fault::SourceRate), 1000 - 30);
    bench.run(seconds(1));
    assert_eq!(bench.kind("hub", "10.0.0.1"), Some(CacheKind::Registered));
}

#[test]
fn garbage_is_counted_and_nothing_else() {
    let mut bench = cloud(|_, _| {});
    bench.run(seconds(1));
    let before = bench.wire.len();
    let bytes = [0; 3];
    bench.input("hub", Input::Packet { tunnel: TUNNEL, source: ip("192.0.2.66"), bytes: &bytes });
    assert_eq!(bench.fault("hub", Fault::Malformed), 1);
    assert_eq!(bench.wire.len(), before);
}

#[test]
fn packets_of_another_family_are_refused() {
    let mut bench = cloud(|_, _| {});
    let template = bench.seen(PacketKind::RegistrationRequest)[0].packet.clone();
    let request = Packet::new(ip(A), ip("2001:db8::1"), ip("2001:db8::100"), template.body);
    bench.inject("hub", A, &request);
    assert_eq!(bench.fault("hub", Fault::AddressFamily), 1);
}

#[test]
fn there_are_no_more_peers_than_the_data_path_has_room_for() {
    let mut bench = cloud(|_, config| config.limits.peers = 1);
    bench.run(seconds(1));
    assert_eq!(bench.kind("hub", "10.0.0.1"), Some(CacheKind::Registered));
    let refused = EventKind::NhsRefused { nbma: ip(HUB), code: CieCode::NO_RESOURCES };
    assert!(bench.node("b").events.contains(&refused));
    assert_eq!(bench.fault("hub", Fault::TableFull), 1);
}

#[test]
fn a_stranger_cannot_register_somebody_elses_nbma_address() {
    use crate::nhrp::wire::{Cie, Value};
    let mut bench = cloud(|_, _| {});
    bench.run(seconds(1));
    let mut request = bench.seen(PacketKind::RegistrationRequest)[0].packet.clone();
    request.source_protocol = Some(ip("10.0.0.7"));
    request.source_nbma = Some(ip("198.51.100.1"));
    request.set_extension(Value::ForwardTransit(vec![Cie::binding(ip("192.0.2.9"), ip("10.0.0.9"))]));
    bench.inject("hub", "192.0.2.66", &request);
    assert_eq!(bench.neighbour("hub", "10.0.0.7"), Some(ip("192.0.2.66")));
    assert!(!bench.has_peer("hub", "198.51.100.1"));
}

#[test]
fn a_malformed_packet_is_answered_with_the_place_of_its_fault() {
    let mut bench = cloud(|_, config| config.authentication = Some(Secret::new("secret")));
    bench.run(seconds(1));
    let mut bytes = Vec::new();
    bench.seen(PacketKind::RegistrationRequest)[0].packet.encode(&mut bytes).unwrap();
    // The last extension before End, NAT address, gets a type bit that must be zero.
    let place = bytes.len() - 4 - 24;
    assert_eq!(bytes[place..place + 2], [0, 9]);
    bytes[place] |= 0x40;
    fix_checksum(&mut bytes);
    for (source, password) in [(A, true), ("192.0.2.66", false)] {
        bench.input("hub", Input::Packet { tunnel: TUNNEL, source: ip(source), bytes: &bytes });
        let answer = bench.wire.last().unwrap();
        assert_eq!((answer.to, answer.packet.destination_protocol), (ip(source), Some(ip("10.0.0.1"))));
        // Only peers have shown that they know the password.
        assert_eq!(answer.packet.authentication().is_some(), password);
        let Body::ErrorIndication(error) = &answer.packet.body else { panic!("{answer:?}") };
        assert_eq!(error.code, ErrorCode::INVALID_EXTENSION);
        assert_eq!(usize::from(error.offset), place);
        assert_eq!(error.packet[..], bytes[..]);
    }
    // Nothing is believed of a packet with a wrong checksum, and there is no error about an error.
    let sent = bench.wire.len();
    bytes[13] ^= 1;
    bench.input("hub", Input::Packet { tunnel: TUNNEL, source: ip(A), bytes: &bytes });
    bytes[17] = PacketKind::ErrorIndication as u8;
    fix_checksum(&mut bytes);
    bench.input("hub", Input::Packet { tunnel: TUNNEL, source: ip(A), bytes: &bytes });
    assert_eq!(bench.wire.len(), sent);
    assert_eq!(bench.fault("hub", Fault::Malformed), 4);
}

#[test]
fn errors_are_few_however_many_reasons_there_are() {
    let mut bench = cloud(|_, config| config.authentication = Some(Secret::new("secret")));
    let mut request = bench.seen(PacketKind::RegistrationRequest)[0].packet.clone();
    request.extensions.as_mut().unwrap().remove(ExtensionKind::AUTHENTICATION);
    for _ in 0..100 {
        bench.inject("hub", "192.0.2.66", &request);
    }
    assert_eq!(bench.seen(PacketKind::ErrorIndication).len(), 20);
    assert_eq!(bench.fault("hub", Fault::ErrorSuppressed), 80);
    let reports = bench.node("hub").events.len();
    assert_eq!((reports, bench.node("hub").engine.counters(TUNNEL).unwrap().events_suppressed), (10, 90));
}

#[test]
fn a_registration_for_no_time_is_refused() {
    let mut bench = cloud(|_, _| {});
    let mut request = bench.seen(PacketKind::RegistrationRequest)[0].packet.clone();
    request.body.clients_mut().unwrap().cies[0].holding_time = 0;
    bench.inject("hub", A, &request);
    let reply = bench.seen(PacketKind::RegistrationReply).pop().unwrap();
    assert_eq!(reply.packet.body.clients().unwrap().cies[0].code, CieCode::PROHIBITED);
    assert_eq!(bench.kind("hub", "10.0.0.1"), None);
}
