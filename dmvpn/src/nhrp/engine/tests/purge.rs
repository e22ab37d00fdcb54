//! What is taken back.

use std::time::Duration;

use super::{bench::*, clouds::*};
use crate::nhrp::{
    engine::{CacheKind, EventKind, Input, Reason},
    wire::PacketKind,
};

#[test]
fn an_egress_that_lost_the_destination_takes_its_answer_back() {
    let mut bench = with_shortcut();
    let lan =
        bench.kernel("b").routes.iter().position(|(prefix, _)| *prefix == net("192.168.2.0/24")).unwrap();
    bench.kernel("b").routes.remove(lan);
    bench.input("b", Input::RoutesChanged);
    bench.run(seconds(1));
    assert_eq!(bench.seen(PacketKind::PurgeRequest).len(), 1);
    assert_eq!(bench.seen(PacketKind::PurgeReply).len(), 1);
    assert!(bench.shortcuts("a").is_empty());
    let down = EventKind::ShortcutDown { prefix: net("192.168.2.0/24"), reason: Reason::Purged };
    assert!(bench.node("a").events.contains(&down));
}

#[test]
fn an_egress_takes_its_answer_back_though_it_still_has_an_address_there() {
    let mut bench = with_shortcut();
    // The LAN interface goes down: its network is gone, its address is not.
    let kernel = bench.kernel("b");
    kernel.routes.retain(|(prefix, _)| *prefix != net("192.168.2.0/24"));
    kernel.routes.push((net("192.168.2.1/32"), RouteTo::Local));
    bench.input("b", Input::RoutesChanged);
    bench.run(seconds(1));
    assert_eq!(bench.seen(PacketKind::PurgeRequest).len(), 1);
    assert!(bench.shortcuts("a").is_empty());
}

#[test]
fn an_egress_takes_its_answer_back_though_it_has_a_default_route() {
    let mut bench = with_shortcut();
    bench.kernel("b").routes.push((net("0.0.0.0/0"), RouteTo::Lan));
    bench.input("b", Input::RoutesChanged);
    bench.run(seconds(1));
    assert_eq!(bench.shortcuts("a").len(), 1, "the network is still there");
    // Nothing else is: not even the way back to the hub.
    let lan = ip("192.168.2.5");
    bench.kernel("b").routes.retain(|(prefix, _)| prefix.prefix_len() == 0 || !prefix.contains(&lan));
    bench.input("b", Input::RoutesChanged);
    bench.run(seconds(1));
    assert_eq!(bench.seen(PacketKind::PurgeRequest).len(), 1);
    assert!(bench.shortcuts("a").is_empty());
}

#[test]
fn a_purge_is_repeated_until_it_is_answered() {
    let mut bench = with_shortcut();
    bench.cut.insert((ip(B), ip(A)));
    let lan =
        bench.kernel("b").routes.iter().position(|(prefix, _)| *prefix == net("192.168.2.0/24")).unwrap();
    bench.kernel("b").routes.remove(lan);
    bench.input("b", Input::RoutesChanged);
    bench.run(seconds(60));
    assert_eq!(bench.seen(PacketKind::PurgeRequest).len(), 4);
}

#[test]
fn what_is_sent_to_an_egress_that_takes_its_answer_back_is_not_lost() {
    let mut bench = with_shortcut();
    // The network behind B moves behind the hub.
    let lan = |(prefix, _): &(ipnet::IpNet, RouteTo)| *prefix == net("192.168.2.0/24");
    bench.kernel("b").routes.retain(|route| !lan(route));
    let hub = bench.kernel("hub");
    hub.routes.retain(|route| !lan(route));
    hub.routes.push((net("192.168.2.0/24"), RouteTo::Lan));
    bench.cut.insert((ip(B), ip(A)));
    bench.input("b", Input::RoutesChanged);
    assert_eq!(bench.data_for(seconds(6), "a", "192.168.1.5", "192.168.2.5"), ["a", "b", "hub"]);
    assert_eq!(bench.data("a", "10.0.0.1", "10.0.0.2").unwrap(), ["a", "b"]);
    bench.cut.clear();
    assert_eq!(bench.data_for(seconds(2), "a", "192.168.1.5", "192.168.2.5"), ["a", "hub"]);
    assert_eq!(bench.data("a", "10.0.0.1", "10.0.0.2").unwrap(), ["a", "hub", "b"]);
    // Routes that change again find nobody to tell.
    bench.wire.clear();
    bench.input("b", Input::RoutesChanged);
    bench.run(seconds(1));
    assert!(bench.seen(PacketKind::PurgeRequest).is_empty());
}

#[test]
fn only_the_egress_or_a_server_can_purge_a_shortcut() {
    let mut bench = with_shortcut();
    bench.input("b", Input::Shutdown);
    let purge = bench.seen(PacketKind::PurgeRequest).into_iter().find(|seen| seen.to == ip(A)).unwrap();
    let purge = purge.packet.clone();
    bench.flights_clear();
    bench.inject("a", "192.0.2.66", &purge);
    assert_eq!(bench.shortcuts("a").len(), 1);
    bench.inject("a", B, &purge);
    assert!(bench.shortcuts("a").is_empty());
}

#[test]
fn a_spoke_that_stops_tells_everyone_and_leaves_nothing() {
    let mut bench = with_shortcut();
    bench.input("b", Input::Shutdown);
    assert!(bench.is_clean("b"));
    bench.run(seconds(1));
    assert!(bench.shortcuts("a").is_empty());
    bench.input("a", Input::Shutdown);
    bench.input("hub", Input::Shutdown);
    assert!(bench.is_clean("a") && bench.is_clean("hub"));
    bench.run(seconds(1000));
}

#[test]
fn a_spoke_that_moved_is_found_again_by_those_it_answered() {
    let mut bench = with_shortcut();
    bench.renumber("b", ip("192.0.2.52"));
    bench.run(seconds(1));
    assert!(bench.shortcuts("a").is_empty());
    assert_eq!(bench.data_for(seconds(1), "a", "192.168.1.5", "192.168.2.5"), ["a", "b"]);
    assert_eq!(bench.neighbour("a", "10.0.0.2"), Some(ip("192.0.2.52")));
}

#[test]
fn a_spoke_that_moved_is_known_there_by_those_it_sends_to() {
    let mut bench = with_shortcut();
    bench.data("a", "10.0.0.1", "10.0.0.2").unwrap();
    bench.run(seconds(1));
    bench.renumber("a", ip("192.0.2.51"));
    // Only the hub has to hear of it before traffic goes on, by the hub first.
    bench.run(Duration::from_millis(15));
    assert_eq!(bench.data("a", "192.168.1.5", "192.168.2.5").unwrap(), ["a", "hub", "b"]);
    assert_eq!(bench.data_for(seconds(1), "a", "192.168.1.5", "192.168.2.5"), ["a", "b"]);
    assert_eq!(bench.data("a", "10.0.0.1", "10.0.0.2").unwrap(), ["a", "b"]);
    assert!(bench.has_peer("b", "192.0.2.51"));
}

#[test]
fn a_spoke_that_moved_unnoticed_and_asks_is_not_sent_to_before_it_knows_us() {
    let mut bench = with_shortcut();
    assert_eq!(bench.data_for(seconds(1), "b", "192.168.2.5", "192.168.1.5"), ["b", "a"]);
    // It comes back elsewhere, without a good-bye: its earlier self could tell nobody.
    let mut spoke = config("10.0.0.1/24", "192.0.2.51");
    spoke.nhs = vec![nhs("10.0.0.100", HUB)];
    let ids = bench.node("a").engine.request_ids(TUNNEL);
    bench.reboot("a", spoke, ids);
    bench.run(seconds(5));
    assert_eq!(bench.neighbour("hub", "10.0.0.1"), Some(ip("192.0.2.51")));
    assert!(bench.data("b", "192.168.2.5", "192.168.1.5").unwrap_err().contains("nobody"));
    bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
    // The indication comes, its question arrives at B, and the answer gets lost.
    bench.cut.insert((ip(B), ip(HUB)));
    bench.run(Duration::from_millis(35));
    assert_eq!(bench.data("b", "192.168.2.5", "192.168.1.5").unwrap(), ["b", "hub", "a"]);
    bench.cut.clear();
    assert_eq!(bench.data_for(seconds(3), "b", "192.168.2.5", "192.168.1.5"), ["b", "a"]);
    assert_eq!(bench.data("a", "192.168.1.5", "192.168.2.5").unwrap(), ["a", "b"]);
}

#[test]
fn wrong_ids_of_others_do_not_keep_a_spoke_that_moved_out() {
    let mut bench = ready();
    bench.input("a", Input::Shutdown);
    let mut purge = bench.seen(PacketKind::PurgeRequest)[0].packet.clone();
    bench.flights_clear();
    for id in 0..1000 {
        purge.body.clients_mut().unwrap().request_id = id;
        bench.inject("hub", "192.0.2.66", &purge);
    }
    assert_eq!(bench.neighbour("hub", "10.0.0.1"), Some(ip(A)));
    let mut spoke = config("10.0.0.1/24", "192.0.2.51");
    spoke.nhs = vec![nhs("10.0.0.100", HUB)];
    let ids = bench.node("a").engine.request_ids(TUNNEL);
    bench.reboot("a", spoke, ids);
    bench.run(seconds(5));
    assert_eq!(bench.neighbour("hub", "10.0.0.1"), Some(ip("192.0.2.51")));
}

#[test]
fn a_spoke_that_moved_asks_for_nothing_it_does_not_use() {
    let mut bench = with_shortcut();
    bench.run(seconds(450));
    assert!(!bench.shortcuts("a").iter().any(|shortcut| shortcut.used));
    bench.wire.clear();
    bench.renumber("a", ip("192.0.2.51"));
    bench.run(seconds(5));
    assert!(bench.seen(PacketKind::ResolutionRequest).is_empty());
    assert!(bench.shortcuts("a").is_empty());
    assert_eq!(bench.data("a", "192.168.1.5", "192.168.2.5").unwrap(), ["a", "hub", "b"]);
}

#[test]
fn a_peer_that_is_down_is_relayed_at_once() {
    let mut bench = with_shortcut();
    bench.input("a", Input::PeerDown { tunnel: TUNNEL, nbma: ip(B) });
    assert!(bench.shortcuts("a").is_empty());
    assert_eq!(bench.neighbour("a", "10.0.0.2"), Some(ip(HUB)));
    assert_eq!(bench.data("a", "192.168.1.5", "192.168.2.5").unwrap(), ["a", "hub", "b"]);
    // The hub's registrations are not touched.
    bench.input("hub", Input::PeerDown { tunnel: TUNNEL, nbma: ip(B) });
    assert_eq!(bench.kind("hub", "10.0.0.2"), Some(CacheKind::Registered));
}

#[test]
fn a_purge_can_be_narrowed_to_one_nbma_address() {
    let mut bench = ready();
    bench.input("a", Input::Shutdown);
    let mut purge = bench.seen(PacketKind::PurgeRequest)[0].packet.clone();
    bench.flights_clear();
    purge.body.clients_mut().unwrap().cies[0].nbma = Some(ip("192.0.2.250"));
    bench.inject("hub", A, &purge);
    assert_eq!(bench.kind("hub", "10.0.0.1"), Some(CacheKind::Registered));
    purge.body.clients_mut().unwrap().cies[0].nbma = Some(ip(A));
    bench.inject("hub", A, &purge);
    assert_eq!(bench.kind("hub", "10.0.0.1"), None);
}

#[test]
fn a_purge_of_a_part_ends_the_whole_shortcut_and_of_the_whole_all_parts() {
    for (prefix, length) in [("192.168.2.128", 25), ("192.168.2.5", 32), ("192.168.0.0", 16)] {
        let mut bench = with_shortcut();
        bench.input("b", Input::Shutdown);
        let purge = bench.seen(PacketKind::PurgeRequest).into_iter().find(|seen| seen.to == ip(A)).unwrap();
        let mut purge = purge.packet.clone();
        bench.flights_clear();
        let cie = &mut purge.body.clients_mut().unwrap().cies[0];
        (cie.protocol, cie.prefix_length) = (Some(ip("192.168.3.0")), 24);
        bench.inject("a", B, &purge);
        assert_eq!(bench.shortcuts("a").len(), 1);
        let cie = &mut purge.body.clients_mut().unwrap().cies[0];
        (cie.protocol, cie.prefix_length) = (Some(ip(prefix)), length);
        bench.inject("a", B, &purge);
        assert!(bench.shortcuts("a").is_empty(), "{prefix}/{length}");
    }
}
