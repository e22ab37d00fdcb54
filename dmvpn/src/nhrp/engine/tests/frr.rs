//! What FRR's nhrpd sends, recorded from a hub (10.0.0.1 at 192.0.2.2) and two spokes (10.0.0.11 at 198.51.100.2 with
//! 172.16.1.0/24, 10.0.0.12 at 203.0.113.2 with 172.16.2.0/24), with this engine in the place of each.

use super::bench::*;
use crate::nhrp::{
    engine::{CacheKind, NhsState},
    wire::{ExtensionKind, Packet, PacketKind},
};

const HUB: &str = "192.0.2.2";
const A: &str = "198.51.100.2";
const B: &str = "203.0.113.2";

const REGISTRATION_REQUEST: &str = "00010800000000000001005ce56d0034010304000404000200000001c63364020a00000b0a00000b\
    002000000000003c0000000080040000800500008003000000090014002000000000000004000400c00002020000000080000000";
const REGISTRATION_REPLY: &str = "00010800000000000040007010d00034010404000404000200000001c63364020a00000b0a000001\
    002000000000003c00000000800400008005000080030014000000000000003c04000400c00002020a000001000900140020000000000000\
    04000400c00002020000000080000000";
const TRAFFIC_INDICATION: &str = "00010800000000000001007c75600000010804000404000000000000c00002020a000001ac100101\
    45000054a2a240003f013de4ac100101ac100201080015c801280001751b006b00000000a7b5050000000000101112131415161718191a1b\
    1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637";
const REQUEST_TO_HUB: &str = "00010800000000000040004832a50034010104000404c80200000002cb0071020a00000cac100101\
    002000000000003c000000008004000080050000800300000009000080000000";
const REQUEST_FROM_HUB: &str = "0001080000000000003f005c5e3e0034010104000404c80200000002cb0071020a00000cac100101\
    002000000000003c0000000080040014000000000000003c04000400c00002020a00000180050000800300000009000080000000";
const REPLY_TO_HUB: &str = "000108000000000000400078b281003c010204000404e80000000002c63364020a00000bac100201\
    001800000000003c04000400cb0071020a00000c80040014000000000000003c04000400c00002020a000001800500008003001400000000\
    0000003c04000400cb0071020a00000c0009000080000000";
const REPLY_FROM_HUB: &str = "0001080000000000003f008cde1a003c010204000404e80000000002c63364020a00000bac100201\
    001800000000003c04000400cb0071020a00000c80040014000000000000003c04000400c00002020a00000180050014000000000000003c\
    04000400c00002020a00000180030014000000000000003c04000400cb0071020a00000c0009000080000000";

fn packet(hex: &str) -> Packet {
    let bytes: Vec<_> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    Packet::decode(&bytes).unwrap()
}

/// The recorded reply, as if it were one to our request.
fn reply_to(request: &Packet, hex: &str) -> Packet {
    let mut reply = packet(hex);
    reply.body.clients_mut().unwrap().request_id = request.body.clients().unwrap().request_id;
    reply
}

fn by(next_hop: &str) -> RouteTo {
    RouteTo::Tunnel(TUNNEL, Some(ip(next_hop)))
}

fn spoke() -> Bench {
    let mut bench = Bench::default();
    let mut spoke = config("10.0.0.11/32", A);
    spoke.nhs = vec![nhs("dynamic", HUB)];
    let routes = [("172.16.1.0/24", RouteTo::Lan), ("0.0.0.0/0", by("10.0.0.1"))];
    bench.add_with("a", spoke, &routes);
    let request = bench.wire[0].packet.clone();
    bench.inject("a", HUB, &reply_to(&request, REGISTRATION_REPLY));
    bench.wire.clear();
    bench
}

fn hub() -> Bench {
    let mut bench = Bench::default();
    let routes = [("172.16.1.0/24", by("10.0.0.11")), ("172.16.2.0/24", by("10.0.0.12"))];
    bench.add_with("hub", config("10.0.0.1/32", HUB), &routes);
    let registration = packet(REGISTRATION_REQUEST);
    bench.inject("hub", A, &registration);
    let mut other = registration;
    other.source_nbma = Some(ip(B));
    other.source_protocol = Some(ip("10.0.0.12"));
    other.destination_protocol = Some(ip("10.0.0.12"));
    bench.inject("hub", B, &other);
    bench
}

#[test]
fn its_spokes_can_register_and_learn_our_address() {
    let bench = hub();
    assert_eq!(bench.kind("hub", "10.0.0.11"), Some(CacheKind::Registered));
    let ours = &bench.seen(PacketKind::RegistrationReply)[0].packet;
    let theirs = packet(REGISTRATION_REPLY);
    assert_eq!(ours.destination_protocol, theirs.destination_protocol);
    assert_eq!(ours.source_protocol, theirs.source_protocol);
    assert_eq!(ours.records(ExtensionKind::NAT_ADDRESS), theirs.records(ExtensionKind::NAT_ADDRESS));
    let responder = |packet: &Packet| packet.records(ExtensionKind::RESPONDER_ADDRESS).unwrap()[0].protocol;
    assert_eq!(responder(ours), responder(&theirs));
}

#[test]
fn its_hub_is_learnt_from_its_reply() {
    let bench = spoke();
    let server = bench.server("a", 0);
    assert_eq!((server.state, server.protocol), (NhsState::Up, Some(ip("10.0.0.1"))));
    assert_eq!(bench.neighbour("a", "10.0.0.1"), Some(ip(HUB)));
}

#[test]
fn its_packets_are_carried_between_its_spokes() {
    let mut bench = hub();
    bench.inject("hub", B, &packet(REQUEST_TO_HUB));
    let sent = bench.wire.last().unwrap().clone();
    let theirs = packet(REQUEST_FROM_HUB);
    assert_eq!(sent.to, ip(A));
    assert_eq!(sent.packet.hop_count, theirs.hop_count);
    let record = |packet: &Packet, kind| {
        let records = packet.records(kind).unwrap();
        records.iter().map(|cie| (cie.nbma, cie.protocol)).collect::<Vec<_>>()
    };
    let forward = ExtensionKind::FORWARD_TRANSIT;
    assert_eq!(record(&sent.packet, forward), record(&theirs, forward));

    bench.inject("hub", B, &packet(REPLY_TO_HUB));
    let sent = bench.wire.last().unwrap().clone();
    let theirs = packet(REPLY_FROM_HUB);
    assert_eq!((sent.to, sent.packet.body.clone()), (ip(A), theirs.body.clone()));
    let reverse = ExtensionKind::REVERSE_TRANSIT;
    assert_eq!(record(&sent.packet, reverse), record(&theirs, reverse));
}

#[test]
fn its_indication_and_its_reply_make_a_shortcut() {
    let mut bench = spoke();
    bench.inject("a", HUB, &packet(TRAFFIC_INDICATION));
    let request = bench.wire.last().unwrap().clone();
    assert_eq!((request.to, request.packet.destination_protocol), (ip(HUB), Some(ip("172.16.2.1"))));
    bench.inject("a", HUB, &reply_to(&request.packet, REPLY_FROM_HUB));
    let routes = &bench.node("a").kernel.shortcuts;
    assert_eq!(routes.get(&(TUNNEL, net("172.16.2.0/24"))), Some(&Some(ip("10.0.0.12"))));
    assert_eq!(bench.neighbour("a", "10.0.0.12"), Some(ip(B)));
}

#[test]
fn its_request_is_answered_as_it_would_answer() {
    let mut bench = spoke();
    bench.inject("a", HUB, &packet(REQUEST_FROM_HUB));
    let sent = bench.wire.last().unwrap();
    assert_eq!((sent.to, sent.packet.kind()), (ip(HUB), PacketKind::ResolutionReply));
    let cie = &sent.packet.body.clients().unwrap().cies[0];
    assert_eq!((cie.nbma, cie.protocol, cie.prefix_length), (Some(ip(A)), Some(ip("10.0.0.11")), 24));
    assert!(bench.has_peer("a", B));
}
