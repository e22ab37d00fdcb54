//! Nodes behind NAT.

use super::{bench::*, clouds::*};
use crate::nhrp::{
    engine::{CacheKind, EventKind, Input},
    wire::{Body, Cie, CieCode, ExtensionKind, PacketKind, Value},
};

#[test]
fn a_client_behind_nat_is_reached_at_its_public_address_and_told_so() {
    let mut bench = Bench::default();
    bench.nat.insert(ip("172.20.0.1"), ip("203.0.113.7"));
    bench.add("hub", config("10.0.0.100/24", HUB));
    let mut spoke = config("10.0.0.1/24", "172.20.0.1");
    spoke.nhs = vec![nhs("10.0.0.100", HUB)];
    bench.add("a", spoke);
    bench.run(seconds(1));
    let entry = bench.entry("hub", "10.0.0.1").unwrap();
    assert_eq!(entry.nbma, Some(ip("203.0.113.7")));
    assert_eq!(entry.claimed_nbma, Some(ip("172.20.0.1")));
    assert!(entry.nat);
    let nat =
        bench.seen(PacketKind::RegistrationReply)[0].packet.records(ExtensionKind::NAT_ADDRESS).unwrap();
    assert_eq!(nat.len(), 2);
    assert_eq!((nat[1].nbma, nat[1].protocol), (Some(ip("203.0.113.7")), Some(ip("10.0.0.1"))));
    assert_eq!(bench.server("a", 0).public, Some(ip("203.0.113.7")));
    assert!(bench.node("a").events.contains(&EventKind::Nat { public: Some(ip("203.0.113.7")) }));
}

#[test]
fn nat_is_noticed_without_the_extension_too() {
    let mut bench = cloud(|_, _| {});
    let mut request = bench.seen(PacketKind::RegistrationRequest)[0].packet.clone();
    request.extensions = None;
    request.source_protocol = Some(ip("10.0.0.7"));
    request.source_nbma = Some(ip("172.20.0.1"));
    bench.inject("hub", "203.0.113.7", &request);
    assert_eq!(bench.neighbour("hub", "10.0.0.7"), Some(ip("203.0.113.7")));
    let reply = bench.seen(PacketKind::RegistrationReply).pop().unwrap();
    assert_eq!((reply.to, &reply.packet.extensions), (ip("203.0.113.7"), &None));
}

#[test]
fn several_clients_behind_one_nat_share_a_peer() {
    let mut bench = Bench::default();
    bench.add("hub", config("10.0.0.100/24", HUB));
    bench.add("x", {
        let mut spoke = config("10.0.0.9/24", A);
        spoke.nhs = vec![nhs("10.0.0.100", HUB)];
        spoke
    });
    bench.run(seconds(1));
    let mut request = bench.seen(PacketKind::RegistrationRequest)[0].packet.clone();
    for last in 1..=3 {
        request.source_protocol = Some(ip(&format!("10.0.0.{last}")));
        request.source_nbma = Some(ip(&format!("172.20.0.{last}")));
        bench.inject("hub", "203.0.113.7", &request);
    }
    let peers: Vec<_> = bench.node("hub").engine.peers(TUNNEL, bench.now).collect();
    assert_eq!(peers[1].nbma, ip("203.0.113.7"));
    assert_eq!(peers[1].protocols, [ip("10.0.0.1"), ip("10.0.0.2"), ip("10.0.0.3")]);
    bench.run(seconds(700));
    assert!(!bench.has_peer("hub", "203.0.113.7"));
}

#[test]
fn both_spokes_behind_nat_find_each_other() {
    let mut bench = Bench::default();
    for (inside, outside) in [("172.20.0.1", "203.0.113.1"), ("172.20.0.2", "203.0.113.2")] {
        bench.nat.insert(ip(inside), ip(outside));
    }
    bench.add("hub", config("10.0.0.100/24", HUB));
    for (name, address, nbma) in [("a", "10.0.0.1/24", "172.20.0.1"), ("b", "10.0.0.2/24", "172.20.0.2")] {
        let mut spoke = config(address, nbma);
        spoke.nhs = vec![nhs("10.0.0.100", HUB)];
        bench.add(name, spoke);
    }
    bench.run(seconds(1));
    assert_eq!(bench.data("a", "10.0.0.1", "10.0.0.2").unwrap(), ["a", "hub", "b"]);
    bench.run(seconds(1));
    assert_eq!(bench.data("a", "10.0.0.1", "10.0.0.2").unwrap(), ["a", "b"]);
    assert_eq!(bench.data_for(seconds(1), "b", "10.0.0.2", "10.0.0.1"), ["b", "a"]);
    let entry = bench.entry("a", "10.0.0.2").unwrap();
    assert_eq!((entry.nbma, entry.claimed_nbma), (Some(ip("203.0.113.2")), Some(ip("172.20.0.2"))));
}

#[test]
fn the_hub_fills_in_the_nat_address_that_a_spoke_does_not_know() {
    let mut bench = phase2(|_, _| {});
    // A spoke that leaves the extension empty although it is behind NAT.
    let mut spoke = config("10.0.0.3/24", "172.20.0.3");
    spoke.nhs = vec![nhs("10.0.0.100", HUB)];
    bench.nat.insert(ip("172.20.0.3"), ip("203.0.113.3"));
    bench.add("c", spoke);
    bench.run(seconds(1));
    bench.wire.clear();
    bench.data("c", "10.0.0.3", "10.0.0.2").unwrap();
    let mut request = bench.wire[0].packet.clone();
    request.set_extension(Value::NatAddress(Vec::new()));
    bench.flights_clear();
    bench.inject("hub", "203.0.113.3", &request);
    let sent_on = bench.seen(PacketKind::ResolutionRequest).pop().unwrap();
    let nat = &sent_on.packet.records(ExtensionKind::NAT_ADDRESS).unwrap()[0];
    assert_eq!((nat.nbma, nat.protocol), (Some(ip("203.0.113.3")), Some(ip("10.0.0.3"))));
    bench.run(seconds(1));
    assert!(bench.has_peer("b", "203.0.113.3"));
}

#[test]
fn two_spokes_behind_one_nat_stay_with_the_hub() {
    let mut bench = Bench::default();
    bench.add("hub", config("10.0.0.100/24", HUB));
    for (name, address, nbma) in [("a", "10.0.0.1/24", "172.20.0.1"), ("b", "10.0.0.2/24", "172.20.0.2")] {
        bench.nat.insert(ip(nbma), ip("203.0.113.9"));
        let mut spoke = config(address, nbma);
        spoke.nhs = vec![nhs("10.0.0.100", HUB)];
        bench.add(name, spoke);
        bench.run(seconds(1));
        // What the hub sends to the NAT arrives at one of them only: so one after the other learns its address.
        bench.nat.remove(&ip(nbma));
    }
    bench.wire.clear();
    bench.input("a", Input::Resolve { tunnel: TUNNEL, next_hop: ip("10.0.0.2") });
    let mut request = bench.wire[0].packet.clone();
    bench.flights_clear();
    request.set_extension(Value::ForwardTransit(vec![Cie::binding(ip(HUB), ip("10.0.0.100"))]));
    bench.inject("b", HUB, &request);
    let refusal = bench.wire.last().unwrap().packet.clone();
    assert_eq!(refusal.body.clients().unwrap().cies[0].code, CieCode::PROHIBITED);
    bench.flights_clear();
    // And an answer that leads there is not taken.
    let mut reply = refusal;
    let Body::ResolutionReply(clients) = &mut reply.body else { panic!() };
    clients.cies = vec![Cie { holding_time: 600, ..Cie::binding(ip("172.20.0.2"), ip("10.0.0.2")) }];
    reply.set_extension(Value::NatAddress(vec![Cie::binding(ip("203.0.113.9"), ip("10.0.0.2"))]));
    bench.inject("a", HUB, &reply);
    assert_eq!(bench.neighbour("a", "10.0.0.2"), Some(ip(HUB)));
    assert_eq!(bench.kind("a", "10.0.0.2"), Some(CacheKind::Negative));
}
