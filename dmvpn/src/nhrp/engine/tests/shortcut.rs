//! Redirects and shortcuts (Phase 3), purges, adoption.

use std::time::Duration;

use super::{bench::*, clouds::*};
use crate::nhrp::{
    engine::{CacheKind, EventKind, Fault, Input, Reason, Secret, ShortcutState},
    wire::{Body, CieCode, ExtensionKind, Flags, PacketKind},
};

#[test]
fn traffic_moves_from_the_hub_to_a_shortcut_without_loss() {
    let mut bench = ready();
    assert_eq!(bench.data("a", "192.168.1.5", "192.168.2.5").unwrap(), ["a", "hub", "b"]);
    assert_eq!(bench.data_for(seconds(1), "a", "192.168.1.5", "192.168.2.5"), ["a", "b"]);
    let shortcuts = bench.shortcuts("a");
    assert_eq!(shortcuts.len(), 1);
    assert_eq!(shortcuts[0].prefix, net("192.168.2.0/24"));
    assert_eq!((shortcuts[0].via, shortcuts[0].nbma), (Some(ip("10.0.0.2")), Some(ip(B))));
    assert!(shortcuts[0].used);
    let up = EventKind::ShortcutUp { prefix: net("192.168.2.0/24"), via: ip("10.0.0.2"), nbma: ip(B) };
    assert!(bench.node("a").events.contains(&up));
    assert_eq!(bench.data_for(seconds(1), "b", "192.168.2.5", "192.168.1.5"), ["b", "a"]);
}

#[test]
fn the_indication_has_ciscos_form() {
    let mut bench = cloud(|_, config| config.authentication = Some(Secret::new("secret")));
    bench.run(seconds(1));
    bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
    let indications = bench.seen(PacketKind::TrafficIndication);
    assert_eq!(indications.len(), 1);
    let packet = &indications[0].packet;
    assert_eq!((indications[0].to, packet.hop_count, packet.flags), (ip(A), 255, Flags(0)));
    assert_eq!(packet.source_protocol, Some(ip("10.0.0.100")));
    assert_eq!(packet.destination_protocol, Some(ip("192.168.1.5")));
    let kinds: Vec<_> =
        packet.extensions.as_ref().unwrap().list.iter().map(|extension| extension.value.kind().0).collect();
    assert_eq!(kinds, [4, 5, 7, 9]);
    let Body::TrafficIndication(body) = &packet.body else { unreachable!() };
    assert_eq!((body.code, body.head.len()), (0, 28));
}

#[test]
fn the_answer_names_the_egress_and_its_prefix() {
    let bench = with_shortcut();
    let request = &bench.seen(PacketKind::ResolutionRequest)[0].packet;
    assert_eq!(request.destination_protocol, Some(ip("192.168.2.5")));
    let reply = &bench.seen(PacketKind::ResolutionReply)[0].packet;
    let cie = &reply.body.clients().unwrap().cies[0];
    assert_eq!((cie.prefix_length, cie.nbma, cie.protocol), (24, Some(ip(B)), Some(ip("10.0.0.2"))));
}

#[test]
fn redirects_are_limited_and_go_to_clients_only() {
    let mut bench = cloud(|_, config| config.policy.redirect_interval = seconds(4));
    bench.run(seconds(1));
    let mut head = vec![0x45; 28];
    head[12..16].copy_from_slice(&[192, 168, 1, 5]);
    head[16..20].copy_from_slice(&[192, 168, 2, 5]);
    for _ in 0..10 {
        bench.input("hub", Input::Redirect { tunnel: TUNNEL, source: ip(A), head: &head });
    }
    assert_eq!(bench.seen(PacketKind::TrafficIndication).len(), 1);
    assert_eq!(bench.node("hub").engine.counters(TUNNEL).unwrap().redirects_suppressed, 9);
    bench.run(seconds(5));
    bench.input("hub", Input::Redirect { tunnel: TUNNEL, source: ip(A), head: &head });
    assert_eq!(bench.seen(PacketKind::TrafficIndication).len(), 2);
    bench.input("hub", Input::Redirect { tunnel: TUNNEL, source: ip("192.0.2.66"), head: &head });
    assert_eq!(bench.seen(PacketKind::TrafficIndication).len(), 2);
    assert_eq!(bench.fault("hub", Fault::UnknownSource), 1);
    bench.input("hub", Input::Redirect { tunnel: TUNNEL, source: ip(A), head: &head[..19] });
    assert_eq!(bench.fault("hub", Fault::Malformed), 1);
}

#[test]
fn one_request_is_enough_for_many_indications() {
    let mut bench = ready();
    for port in 0..20 {
        let _ = port;
        bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
        bench.run(Duration::from_millis(2));
    }
    let from_a =
        bench.seen(PacketKind::ResolutionRequest).into_iter().filter(|seen| seen.from == ip(A)).count();
    assert_eq!(from_a, 1);
}

#[test]
fn no_shortcut_for_what_is_local_or_without_the_switch() {
    let mut bench = ready();
    bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
    let indication = bench.seen(PacketKind::TrafficIndication)[0].packet.clone();
    bench.flights_clear();
    let redirect = |destination: [u8; 4]| {
        let mut packet = indication.clone();
        let Body::TrafficIndication(body) = &mut packet.body else { unreachable!() };
        let mut head = body.head.to_vec();
        head[16..20].copy_from_slice(&destination);
        body.head = head.into();
        packet
    };
    bench.wire.clear();
    bench.inject("a", HUB, &redirect([192, 168, 1, 9]));
    bench.inject("a", HUB, &redirect([8, 8, 8, 8]));
    assert_eq!(bench.fault("a", Fault::IndicationIgnored), 2);
    bench.inject("a", "192.0.2.66", &redirect([192, 168, 2, 5]));
    assert_eq!(bench.fault("a", Fault::UnknownSource), 1);
    assert!(bench.wire.is_empty());

    let mut bench = cloud(|_, config| config.shortcut = false);
    bench.run(seconds(1));
    assert_eq!(bench.data_for(seconds(1), "a", "192.168.1.5", "192.168.2.5"), ["a", "hub", "b"]);
}

#[test]
fn an_indication_for_a_neighbour_resolves_the_neighbour() {
    let mut bench = cloud(|_, config| config.resolve = config.address.addr() == ip("10.0.0.2"));
    // A relays everything until it is told.
    bench.run(seconds(1));
    assert_eq!(bench.data_for(seconds(1), "a", "10.0.0.1", "10.0.0.2"), ["a", "b"]);
}

#[test]
fn a_used_shortcut_is_renewed_and_an_unused_one_goes() {
    let mut bench = cloud(|_, config| config.holding_time = seconds(60));
    bench.run(seconds(1));
    for _ in 0..200 {
        bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
        bench.run(seconds(1));
    }
    assert_eq!(bench.data("a", "192.168.1.5", "192.168.2.5").unwrap(), ["a", "b"]);
    let events = &bench.node("a").events;
    assert_eq!(events.iter().filter(|event| matches!(event, EventKind::ShortcutUp { .. })).count(), 1);
    bench.run(seconds(61));
    assert!(bench.shortcuts("a").is_empty());
    assert!(!bench.has_peer("a", B));
    let down = EventKind::ShortcutDown { prefix: net("192.168.2.0/24"), reason: Reason::Expired };
    assert!(bench.node("a").events.contains(&down));
    assert_eq!(bench.data("a", "192.168.1.5", "192.168.2.5").unwrap(), ["a", "hub", "b"]);
}

#[test]
fn the_end_of_a_shortcut_loses_nothing() {
    // B stops answering, but not forwarding: the shortcut ends under traffic.
    let mut bench = cloud(|_, config| config.holding_time = seconds(30));
    bench.run(seconds(1));
    assert_eq!(bench.data_for(seconds(1), "a", "192.168.1.5", "192.168.2.5"), ["a", "b"]);
    bench.cut.insert((ip(HUB), ip(B)));
    let path = bench.data_for(seconds(34), "a", "192.168.1.5", "192.168.2.5");
    assert_eq!(path, ["a", "hub", "b"]);
}

#[test]
fn a_pending_shortcut_is_shown_and_given_up() {
    let mut bench = ready();
    bench.cut.insert((ip(HUB), ip(B)));
    bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
    bench.run(seconds(1));
    let shortcuts = bench.shortcuts("a");
    assert_eq!((shortcuts.len(), shortcuts[0].state), (1, ShortcutState::Pending));
    assert_eq!(shortcuts[0].prefix, net("192.168.2.5/32"));
    bench.run(seconds(31));
    assert!(bench.shortcuts("a").is_empty());
    assert_eq!(bench.kind("a", "192.168.2.5"), Some(CacheKind::Negative));
}

/// The shortcut of A after B answered with `prefix_length` where A's own route is `own`.
fn shortcut_for(own: &str, destination: &str, prefix_length: u8) -> Option<ipnet::IpNet> {
    shortcut_beside(false, own, destination, prefix_length)
}

/// The same with A's own route one that gives way to others, or not.
fn shortcut_beside(gives_way: bool, own: &str, destination: &str, prefix_length: u8) -> Option<ipnet::IpNet> {
    let mut bench = ready();
    bench.kernel("a").gives_way = gives_way;
    bench.kernel("a").routes.push((net(own), RouteTo::Tunnel(TUNNEL, Some(ip("10.0.0.100")))));
    bench.kernel("hub").routes.push((net(own), RouteTo::Tunnel(TUNNEL, Some(ip("10.0.0.2")))));
    bench.kernel("b").routes.push((net(own), RouteTo::Lan));
    bench.data("a", "192.168.1.5", destination).unwrap();
    bench.run(Duration::from_millis(35));
    let mut reply = bench.seen(PacketKind::ResolutionReply)[0].packet.clone();
    bench.flights_clear();
    reply.body.clients_mut().unwrap().cies[0].prefix_length = prefix_length;
    bench.inject("a", HUB, &reply);
    bench.shortcuts("a").first().filter(|shortcut| shortcut.via.is_some()).map(|shortcut| shortcut.prefix)
}

#[test]
fn a_shortcut_is_never_wider_than_it_may_be() {
    // As the answer says.
    assert_eq!(shortcut_for("10.0.0.0/7", "10.20.30.40", 16), Some(net("10.20.0.0/16")));
    // Not wider than our own route.
    assert_eq!(shortcut_for("10.20.0.0/16", "10.20.30.40", 8), Some(net("10.20.0.0/16")));
    // An answer that says nothing is good for the host.
    assert_eq!(shortcut_for("10.0.0.0/7", "10.20.30.40", 4), Some(net("10.20.30.40/32")));
    assert_eq!(shortcut_for("10.0.0.0/7", "10.20.30.40", 0xFF), Some(net("10.20.30.40/32")));
    // Never over the way to the underlay.
    assert_eq!(shortcut_for("192.0.0.0/8", "192.0.3.1", 16), Some(net("192.0.3.1/32")));
    assert_eq!(shortcut_for("192.0.0.0/8", B, 32), None);
}

#[test]
fn a_shortcut_leaves_room_for_a_route_that_gives_way() {
    assert_eq!(shortcut_beside(true, "10.20.0.0/16", "10.20.30.40", 16), Some(net("10.20.0.0/17")));
    assert_eq!(shortcut_beside(true, "10.20.0.0/16", "10.20.200.40", 8), Some(net("10.20.128.0/17")));
    assert_eq!(shortcut_beside(true, "10.20.0.0/16", "10.20.30.40", 24), Some(net("10.20.30.0/24")));
    assert_eq!(shortcut_beside(true, "10.20.30.40/31", "10.20.30.40", 24), Some(net("10.20.30.40/32")));
    // A host has no room.
    assert_eq!(shortcut_beside(true, "10.20.30.40/32", "10.20.30.40", 24), None);
    assert_eq!(shortcut_beside(false, "10.20.30.40/32", "10.20.30.40", 24), Some(net("10.20.30.40/32")));
}

#[test]
fn no_shortcut_where_the_routed_path_leads_anyway() {
    let mut bench = ready();
    // What is behind the hub is reached by the hub.
    bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
    let mut indication = bench.seen(PacketKind::TrafficIndication)[0].packet.clone();
    bench.flights_clear();
    let Body::TrafficIndication(body) = &mut indication.body else { unreachable!() };
    let mut head = body.head.to_vec();
    head[16..20].copy_from_slice(&[172, 16, 0, 1]);
    body.head = head.into();
    bench.inject("a", HUB, &indication);
    bench.run(seconds(1));
    assert!(bench.shortcuts("a").is_empty());
    assert_eq!(bench.kind("a", "172.16.0.1"), Some(CacheKind::Negative));
}

#[test]
fn own_routes_that_contradict_a_shortcut_end_it() {
    // The destination is here now.
    let mut bench = with_shortcut();
    bench.kernel("a").routes.push((net("192.168.2.0/25"), RouteTo::Lan));
    bench.input("a", Input::RoutesChanged);
    bench.run(seconds(1));
    let down = EventKind::ShortcutDown { prefix: net("192.168.2.0/24"), reason: Reason::Routes };
    assert!(bench.node("a").events.contains(&down));

    // The routed path is the shortcut now.
    let mut bench = with_shortcut();
    let by_b = RouteTo::Tunnel(TUNNEL, Some(ip("10.0.0.2")));
    bench.kernel("a").routes.push((net("192.168.2.0/24"), by_b));
    bench.input("a", Input::RoutesChanged);
    bench.run(seconds(1));
    assert!(bench.shortcuts("a").is_empty());
    assert_eq!(bench.data("a", "192.168.1.5", "192.168.2.5").unwrap(), ["a", "b"]);
}

#[test]
fn another_routed_path_makes_the_spoke_ask_again_and_keep_the_shortcut_meanwhile() {
    let mut bench = cloud(|name, config| {
        if name != "hub" {
            config.nhs.push(nhs("10.0.0.200", "192.0.2.200"));
        }
    });
    let routes = [
        ("192.168.1.0/24", RouteTo::Tunnel(TUNNEL, Some(ip("10.0.0.1")))),
        ("192.168.2.0/24", RouteTo::Tunnel(TUNNEL, Some(ip("10.0.0.2")))),
    ];
    bench.add_with("hub2", config("10.0.0.200/24", "192.0.2.200"), &routes);
    bench.run(seconds(5));
    assert_eq!(bench.data_for(seconds(1), "a", "192.168.1.5", "192.168.2.5"), ["a", "b"]);
    bench.wire.clear();
    let by_hub2 = RouteTo::Tunnel(TUNNEL, Some(ip("10.0.0.200")));
    bench.kernel("a").routes.push((net("192.168.2.0/23"), by_hub2));
    bench.input("a", Input::RoutesChanged);
    assert_eq!(bench.data_for(seconds(1), "a", "192.168.1.5", "192.168.2.5"), ["a", "b"]);
    let asked = bench.seen(PacketKind::ResolutionRequest);
    assert_eq!((asked[0].from, asked[0].to), (ip(A), ip("192.0.2.200")));
    assert_eq!(bench.shortcuts("a").len(), 1);
}

#[test]
fn a_refused_shortcut_is_not_asked_for_again_at_once() {
    let mut bench = ready();
    bench.kernel("hub").routes.retain(|(prefix, _)| *prefix != net("192.168.2.0/24"));
    bench.data("a", "192.168.1.5", "192.168.2.5").unwrap_err();
    bench.kernel("hub").routes.push((net("192.168.2.0/24"), RouteTo::Tunnel(TUNNEL, Some(ip("10.0.0.2")))));
    bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
    bench.kernel("hub").routes.retain(|(prefix, _)| *prefix != net("192.168.2.0/24"));
    bench.run(seconds(1));
    let reply = &bench.seen(PacketKind::ResolutionReply)[0].packet;
    assert_eq!(reply.body.clients().unwrap().cies[0].code, CieCode::NO_BINDING);
    assert_eq!(bench.kind("a", "192.168.2.5"), Some(CacheKind::Negative));
}

#[test]
fn host_route_addressing_has_shortcuts_too() {
    let mut bench = cloud(|_, config| config.address = config.address.addr().into());
    for name in ["a", "b"] {
        let by_hub = RouteTo::Tunnel(TUNNEL, Some(ip("10.0.0.100")));
        bench.kernel(name).routes.push((net("10.0.0.0/24"), by_hub));
    }
    bench.run(seconds(1));
    assert_eq!(bench.data_for(seconds(1), "a", "192.168.1.5", "192.168.2.5"), ["a", "b"]);
    let routes = &bench.node("a").kernel.shortcuts;
    assert_eq!(routes.get(&(TUNNEL, net("10.0.0.2/32"))), Some(&None));
    assert_eq!(routes.get(&(TUNNEL, net("192.168.2.0/24"))), Some(&Some(ip("10.0.0.2"))));
    // The other spoke's own address: a host that is its own next hop.
    let mut bench = cloud(|_, config| config.address = config.address.addr().into());
    bench.kernel("a").routes.push((net("10.0.0.0/24"), RouteTo::Tunnel(TUNNEL, Some(ip("10.0.0.100")))));
    bench.kernel("hub").routes.push((net("10.0.0.0/24"), RouteTo::Tunnel(TUNNEL, None)));
    bench.run(seconds(1));
    assert_eq!(bench.data_for(seconds(1), "a", "10.0.0.1", "10.0.0.2"), ["a", "b"]);
}

#[test]
fn a_forwarded_indication_finds_its_spoke() {
    // FRR addresses it to the host that sent the data, which may be behind another hop.
    let mut bench = ready();
    bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
    let indication = bench.seen(PacketKind::TrafficIndication)[0].packet.clone();
    bench.flights_clear();
    bench.wire.clear();
    bench.inject("hub", B, &indication);
    assert_eq!(bench.wire[0].to, ip(A));
    let records = bench.wire[0].packet.records(ExtensionKind::FORWARD_TRANSIT).unwrap();
    assert_eq!(records.len(), 1);
    bench.run(seconds(1));
    assert_eq!(bench.data("a", "192.168.1.5", "192.168.2.5").unwrap(), ["a", "b"]);
}

#[test]
fn an_egress_that_answers_with_another_prefix_or_next_hop_moves_the_shortcut() {
    let mut bench = with_shortcut();
    let again = |bench: &mut Bench, change: fn(&mut crate::nhrp::wire::Cie)| {
        bench.wire.clear();
        // Half way through the holding time the spoke asks again, because traffic goes.
        for _ in 0..450 {
            bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
            bench.run(seconds(1));
            let reply = bench
                .wire
                .iter()
                .find(|seen| seen.packet.kind() == PacketKind::ResolutionReply && seen.to == ip(HUB));
            if let Some(mut reply) = reply.map(|seen| seen.packet.clone()) {
                change(&mut reply.body.clients_mut().unwrap().cies[0]);
                return reply;
            }
        }
        panic!("never asked again")
    };
    // Another prefix: the answer to the next request is narrower.
    bench.cut.insert((ip(HUB), ip(A)));
    let narrower = again(&mut bench, |cie| cie.prefix_length = 25);
    bench.inject("a", HUB, &narrower);
    bench.cut.clear();
    let prefixes = |bench: &Bench| {
        let routes = &bench.node("a").kernel.shortcuts;
        routes.iter().map(|(&(_, prefix), &via)| (prefix, via.unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(prefixes(&bench), [(net("192.168.2.0/25"), ip("10.0.0.2"))]);

    // Another next hop.
    bench.cut.insert((ip(HUB), ip(A)));
    let elsewhere = again(&mut bench, |cie| {
        cie.prefix_length = 25;
        cie.protocol = Some(ip("10.0.0.7"));
        cie.nbma = Some(ip("192.0.2.7"));
    });
    bench.inject("a", HUB, &elsewhere);
    assert_eq!(prefixes(&bench), [(net("192.168.2.0/25"), ip("10.0.0.7"))]);
    // The old next hop carries nothing any more: when it goes, the shortcut stays.
    bench.input("a", Input::PeerDown { tunnel: TUNNEL, nbma: ip(B) });
    assert_eq!(prefixes(&bench), [(net("192.168.2.0/25"), ip("10.0.0.7"))]);
    bench.input("a", Input::PeerDown { tunnel: TUNNEL, nbma: ip("192.0.2.7") });
    assert_eq!(prefixes(&bench), []);
}

#[test]
fn an_indication_carries_no_more_of_the_packet_than_it_needs() {
    let mut bench = ready();
    let mut head = vec![0x46; 128];
    head[12..16].copy_from_slice(&[192, 168, 1, 5]);
    head[16..20].copy_from_slice(&[192, 168, 2, 5]);
    bench.input("hub", Input::Redirect { tunnel: TUNNEL, source: ip(A), head: &head });
    let Body::TrafficIndication(body) = &bench.wire[0].packet.body else { panic!() };
    // A header with one word of options, and eight bytes.
    assert_eq!(body.head[..], head[..32]);
}

#[test]
fn a_longer_route_of_our_own_ends_a_shortcut() {
    let mut bench = with_shortcut();
    let by_hub = RouteTo::Tunnel(TUNNEL, Some(ip("10.0.0.100")));
    bench.kernel("a").routes.push((net("192.168.2.0/28"), by_hub));
    bench.input("a", Input::RoutesChanged);
    bench.run(seconds(1));
    assert!(bench.shortcuts("a").is_empty());
}

#[test]
fn a_next_hop_that_is_not_on_the_link_is_not_taken() {
    let mut bench = ready();
    bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
    bench.run(Duration::from_millis(35));
    let mut reply = bench.seen(PacketKind::ResolutionReply)[0].packet.clone();
    bench.flights_clear();
    reply.body.clients_mut().unwrap().cies[0].protocol = Some(ip("10.77.0.2"));
    bench.inject("a", HUB, &reply);
    assert!(bench.shortcuts("a").is_empty());
    assert_eq!(bench.neighbour("a", "10.77.0.2"), None);
}
