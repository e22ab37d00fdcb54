//! The route cache: what it remembers, and when it must not.

use std::{thread, time::Duration};

use dmvpn_common::{
    CACHE_HITS, Control, ControlFlags, DropReason, Peer, PeerMac, PeerState, Traffic, Tunnel, TunnelFlags,
};
use nix::{
    sched::{CpuSet, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};

use crate::{
    frames::{ETHERTYPE_IPV4, Gre, Ip, LOCAL, SPOKE_1, SPOKE_2, ethernet},
    hub::{Hub, add_neighbour},
    namespace::{in_namespace, ip},
    programs::{Outcome, Settings, peer, peer_of, xdp},
};

/// Runs `test` in a network namespace, and on one processor: each has a cache of its own.
pub(crate) fn on_one_processor(test: impl FnOnce() + Send) {
    in_namespace(|| {
        let mut processors = CpuSet::new();
        processors.set(sched_getcpu().unwrap()).unwrap();
        sched_setaffinity(Pid::from_raw(0), &processors).unwrap();
        test();
    });
}

fn inner() -> Ip {
    Ip::between([192, 168, 1, 1], [192, 168, 2, 1], 100)
}

fn frame_of(inner: &Ip) -> Vec<u8> {
    Gre::from(SPOKE_1, inner.bytes()).frame()
}

/// To spoke 2.
fn forwarded(inner: &Ip) -> Outcome {
    let packet = Ip { ttl: inner.ttl - 1, ..inner.clone() };
    Outcome { action: xdp::REDIRECT, frame: Gre::to(SPOKE_2, packet.bytes()).frame() }
}

/// Back to spoke 1.
fn returned(inner: &Ip) -> Outcome {
    let packet = Ip { ttl: inner.ttl - 1, ..inner.clone() };
    Outcome { action: xdp::REDIRECT, frame: Gre::to(SPOKE_1, packet.bytes()).frame() }
}

fn delivered(inner: &Ip) -> Outcome {
    let frame = ethernet(PeerMac::TUNNEL.0, PeerMac::from_index(1).0, ETHERTYPE_IPV4, &inner.bytes());
    Outcome { action: xdp::REDIRECT, frame }
}

/// Changes the route to the site of spoke 2, without a word to the programs.
fn lead_back_to_spoke_1() {
    ip("route replace 192.168.2.0/24 via 10.0.0.11");
}

#[test]
fn a_route_is_asked_for_once_until_the_agent_says_that_something_changed() {
    on_one_processor(|| {
        let mut hub = Hub::plain();
        assert_eq!(hub.programs.receive(&frame_of(&inner())), forwarded(&inner()));
        lead_back_to_spoke_1();
        assert_eq!(hub.programs.receive(&frame_of(&inner())), forwarded(&inner()), "remembered");
        let other = Ip { destination: [192, 168, 2, 2].into(), ..inner() };
        assert_eq!(hub.programs.receive(&frame_of(&other)), returned(&other), "another destination");
        hub.programs.set_control(Control { generation: 1, ..Control::default() });
        assert_eq!(hub.programs.receive(&frame_of(&inner())), returned(&inner()), "asked again");
    });
}

#[test]
fn without_an_agent_a_route_is_asked_for_now_and_then() {
    on_one_processor(|| {
        let hub = Hub::plain();
        let frame = frame_of(&inner());
        hub.programs.receive(&frame);
        lead_back_to_spoke_1();
        let stale = (0..5000).take_while(|_| hub.programs.receive(&frame) == forwarded(&inner())).count();
        assert_eq!(stale + 1, usize::from(CACHE_HITS), "with the first one");
        assert_eq!(hub.programs.receive(&frame), returned(&inner()));
    });
}

#[test]
fn a_peer_that_goes_down_is_not_sent_another_packet() {
    on_one_processor(|| {
        let mut hub = Hub::plain();
        let frame = frame_of(&inner());
        hub.programs.receive(&frame);
        hub.programs.set_peer(2, &Peer { state: PeerState::Down, ..peer(&hub.tunnel, SPOKE_2, None) });
        let (outcome, drops) = hub.programs.drops_by(|| hub.programs.receive(&frame));
        assert_eq!(outcome.action, xdp::DROP);
        assert_eq!(drops, [(DropReason::PeerDown, 1, frame.len() as u64)]);
        hub.programs.set_peer(2, &Peer::FREE);
        assert_eq!(hub.programs.receive(&frame), delivered(&inner()), "free");
    });
}

#[test]
fn a_source_that_is_no_peer_any_more_is_dropped_with_the_next_generation() {
    on_one_processor(|| {
        let mut hub = Hub::plain();
        let frame = frame_of(&inner());
        hub.programs.receive(&frame);
        hub.programs.set_peer(1, &Peer { state: PeerState::Down, ..peer(&hub.tunnel, SPOKE_1, None) });
        hub.programs.set_control(Control { generation: 9, ..Control::default() });
        assert_eq!(hub.programs.receive(&frame).action, xdp::DROP);
        assert_eq!(hub.programs.drops(), [(DropReason::PeerDown, 1, frame.len() as u64)]);
    });
}

#[test]
fn nothing_is_remembered_when_routing_asks_for_more() {
    on_one_processor(|| {
        let mut hub = Hub::plain();
        hub.programs.set_control(Control { flags: ControlFlags::NO_CACHE, ..Control::default() });
        assert_eq!(hub.programs.receive(&frame_of(&inner())), forwarded(&inner()));
        lead_back_to_spoke_1();
        assert_eq!(hub.programs.receive(&frame_of(&inner())), returned(&inner()));
    });
}

#[test]
fn sources_are_told_apart_when_routing_asks_for_them() {
    on_one_processor(|| {
        let mut hub = Hub::plain();
        ip("rule add from 192.168.1.66 table 66");
        ip("route add 192.168.2.0/24 via 10.0.0.11 table 66");
        hub.programs.set_control(Control { source_mask: u32::MAX, ..Control::default() });
        let ruled = Ip { source: [192, 168, 1, 66].into(), ..inner() };
        for _ in 0..3 {
            assert_eq!(hub.programs.receive(&frame_of(&inner())), forwarded(&inner()));
            assert_eq!(hub.programs.receive(&frame_of(&ruled)), returned(&ruled));
        }
    });
}

/// Same destination, other ways in: no slot is another packet's.
#[test]
fn tunnels_and_peers_do_not_share_what_is_remembered() {
    on_one_processor(|| {
        let mut hub = Hub::new(0, None, Settings::default());
        let keyed = Tunnel { id: 2, ..hub.tunnel };
        hub.programs.add_tunnel(LOCAL, Some(5), keyed);
        hub.programs.add_peer(3, &peer(&keyed, SPOKE_1, Some(5)));
        let plain = Gre::from(SPOKE_1, inner().bytes());
        for _ in 0..3 {
            assert_eq!(hub.programs.receive(&plain.frame()), forwarded(&inner()));
            assert_eq!(
                hub.programs.receive(&Gre { key: Some(5), ..plain.clone() }.frame()),
                forwarded(&inner())
            );
            let wrong = hub.programs.receive(&Gre { key: Some(6), ..plain.clone() }.frame());
            assert_eq!(wrong.action, xdp::DROP);
            hub.programs.receive(&Gre::from(SPOKE_2, inner().bytes()).frame());
        }
        let received = [1, 2, 3].map(|peer| hub.programs.counters(peer).received_xdp.packets);
        assert_eq!(received, [3, 3, 3]);
    });
}

/// The same peer and the same destination, but another address of ours. Where a slot is does not depend on that.
#[test]
fn our_addresses_do_not_share_what_is_remembered() {
    on_one_processor(|| {
        let mut hub = Hub::plain();
        let second = Tunnel { id: 2, ..hub.tunnel };
        let local = [192, 0, 2, 2];
        hub.programs.add_tunnel(local, None, second);
        hub.programs.add_peer(3, &peer_of(local, &second, SPOKE_1, None));
        let to_second = |gre: Gre| Gre { ip: Ip { destination: local.into(), ..gre.ip.clone() }, ..gre };
        for _ in 0..3 {
            for gre in [Gre::from(SPOKE_1, inner().bytes()), to_second(Gre::from(SPOKE_1, inner().bytes()))] {
                assert_eq!(hub.programs.receive(&gre.frame()), forwarded(&inner()));
            }
        }
        assert_eq!([1, 3].map(|peer| hub.programs.counters(peer).received_xdp.packets), [3, 3]);
    });
}

/// The counts of `packets` inner packets as long as `inner()`.
fn traffic(packets: u64) -> Traffic {
    Traffic { packets, bytes: packets * 100 }
}

#[test]
fn what_a_remembered_route_counted_is_added_to_the_peers_before_it_is_forgotten() {
    on_one_processor(|| {
        let mut hub = Hub::plain();
        for _ in 0..10 {
            hub.programs.receive(&frame_of(&inner()));
        }
        assert_eq!(hub.programs.settled_counters(1).received_xdp, traffic(0));
        assert_eq!(hub.programs.counters(1).received_xdp, traffic(10));
        assert_eq!(hub.programs.counters(2).transit_xdp, traffic(10));
        hub.programs.set_control(Control { generation: 1, ..Control::default() });
        hub.programs.receive(&frame_of(&inner()));
        assert_eq!(hub.programs.settled_counters(1).received_xdp, traffic(0), "the route is what it was");
        assert_eq!(hub.programs.counters(2).transit_xdp, traffic(11));
        lead_back_to_spoke_1();
        hub.programs.set_control(Control { generation: 2, ..Control::default() });
        hub.programs.receive(&frame_of(&inner()));
        assert_eq!(hub.programs.settled_counters(1).received_xdp, traffic(11), "it leads elsewhere");
        assert_eq!(hub.programs.settled_counters(2).transit_xdp, traffic(11));
        assert_eq!(hub.programs.counters(1).received_xdp, traffic(12));
        assert_eq!(hub.programs.counters(1).transit_xdp, traffic(1));
    });
}

#[test]
fn no_slot_counts_more_packets_than_a_route_is_used_for() {
    on_one_processor(|| {
        let mut hub = Hub::plain();
        let packets = 3 * u64::from(CACHE_HITS);
        for _ in 0..packets {
            hub.programs.receive(&frame_of(&inner()));
        }
        assert_eq!(hub.programs.settled_counters(1).received_xdp, traffic(packets - u64::from(CACHE_HITS)));
        assert_eq!(hub.programs.counters(1).received_xdp, traffic(packets));
        hub.programs.set_control(Control { generation: 1, ..Control::default() });
        hub.programs.receive(&frame_of(&inner()));
        assert_eq!(hub.programs.counters(2).transit_xdp, traffic(packets + 1));
    });
}

#[test]
fn a_route_that_makes_room_for_another_one_loses_no_count() {
    on_one_processor(|| {
        let hub = Hub::plain();
        ip("route add 10.9.0.0/16 via 10.0.0.12");
        add_neighbour("10.0.0.12", 2);
        // Some slots' routes are driven out after one or two hits, many times as many as there are slots.
        for number in 0..1500_u16 {
            let [third, fourth] = number.to_be_bytes();
            let packet = Ip::between([192, 168, 1, 1], [10, 9, third, fourth], 100);
            for _ in 0..=number % 3 {
                hub.programs.receive(&frame_of(&packet));
            }
        }
        assert_eq!(hub.programs.counters(1).received_xdp, traffic(3000));
        assert_eq!(hub.programs.counters(2).transit_xdp, traffic(3000));
        assert!(hub.programs.settled_counters(2).transit_xdp.packets > 2000, "most of it is settled");
    });
}

#[test]
fn counts_of_a_peer_that_is_gone_are_not_given_to_the_next_one_with_its_index() {
    on_one_processor(|| {
        let mut hub = Hub::plain();
        for _ in 0..10 {
            hub.programs.receive(&frame_of(&inner()));
        }
        hub.programs.set_control(Control { generation: 1, ..Control::default() });
        hub.programs.set_peer(2, &Peer { since: 1, ..peer(&hub.tunnel, SPOKE_2, None) });
        hub.programs.receive(&frame_of(&inner()));
        assert_eq!(hub.programs.counters(2).transit_xdp, traffic(1), "the last one");
        assert_eq!(hub.programs.counters(1).received_xdp, traffic(11), "a peer that stayed");
    });
}

/// What a packet must not be, on the short way too.
#[test]
fn every_packet_is_looked_at_although_its_way_is_known() {
    on_one_processor(|| {
        let hub = Hub::plain();
        hub.programs.receive(&frame_of(&inner()));
        let mut wrong = inner().bytes();
        wrong[10] ^= 1;
        let last = Ip { ttl: 1, ..inner() };
        let options = Ip { options: vec![1, 1, 1, 0], ..inner() };
        let nowhere = Ip { source: [0; 4].into(), ..inner() };
        let group = Ip { source: [224, 0, 0, 9].into(), ..inner() };
        for packet in [last, options, nowhere, group] {
            assert_eq!(hub.programs.receive(&frame_of(&packet)), delivered(&packet), "{packet:?}");
        }
        let longer = Ip { length: Some(101), ..inner() };
        for (what, frame, reason) in [
            ("checksum", Gre::from(SPOKE_1, wrong).frame(), DropReason::InnerMalformed),
            ("longer than the outer packet", frame_of(&longer), DropReason::InnerMalformed),
            ("cut off", frame_of(&inner())[..100].to_vec(), DropReason::Truncated),
        ] {
            let (outcome, drops) = hub.programs.drops_by(|| hub.programs.receive(&frame));
            assert_eq!(outcome.action, xdp::DROP, "{what}");
            assert_eq!(drops, [(reason, 1, frame.len() as u64)], "{what}");
        }
        let mut damaged = frame_of(&inner());
        damaged[14 + 8] ^= 1;
        let untouched = Outcome { action: xdp::PASS, frame: damaged.clone() };
        assert_eq!(hub.programs.receive(&damaged), untouched, "the outer header's checksum");
        let mut fragment = Gre::from(SPOKE_1, inner().bytes());
        fragment.ip.fragment = 0x2000;
        assert_eq!(hub.programs.receive(&fragment.frame()).action, xdp::PASS);
        assert_eq!(hub.programs.receive(&frame_of(&inner())), forwarded(&inner()));
    });
}

#[test]
fn the_routes_mtu_is_remembered_with_it() {
    on_one_processor(|| {
        let hub = Hub::plain();
        ip("route replace 192.168.2.0/24 via 10.0.0.12 mtu lock 1000");
        let (short, long) = (inner(), Ip::between([192, 168, 1, 1], [192, 168, 2, 1], 1001));
        for _ in 0..2 {
            assert_eq!(hub.programs.receive(&frame_of(&short)), forwarded(&short));
            assert_eq!(hub.programs.receive(&frame_of(&long)), delivered(&long));
        }
    });
}

#[test]
fn redirects_are_repeated_while_traffic_goes_on() {
    on_one_processor(|| {
        let settings = Settings { redirect_interval_ns: 1_000_000_000, ..Settings::default() };
        let mut hub = Hub::new(TunnelFlags::REDIRECT, None, settings);
        let frame = frame_of(&inner());
        for _ in 0..10 {
            hub.programs.receive(&frame);
        }
        assert_eq!(hub.programs.events().len(), 1);
        thread::sleep(Duration::from_millis(1100));
        hub.programs.receive(&frame);
        assert_eq!(hub.programs.events().len(), 0, "the agent's clock stands still");
        hub.programs.set_control(Control { seconds: 1, ..Control::default() });
        for _ in 0..10 {
            hub.programs.receive(&frame);
        }
        assert_eq!(hub.programs.events().len(), 1);
    });
}

/// Destinations whose slots are the same are not taken for each other.
#[test]
fn more_destinations_than_slots_are_forwarded_rightly() {
    on_one_processor(|| {
        let hub = Hub::plain();
        ip("route add 10.8.0.0/16 via 10.0.0.11");
        ip("route add 10.9.0.0/16 via 10.0.0.12");
        for round in 0..2 {
            for number in 0..2000_u16 {
                let [third, fourth] = number.to_be_bytes();
                let back = Ip::between([192, 168, 1, 1], [10, 8, third, fourth], 60);
                assert_eq!(hub.programs.receive(&frame_of(&back)), returned(&back), "{round} {number}");
                let packet = Ip::between([192, 168, 1, 1], [10, 9, third, fourth], 60);
                assert_eq!(hub.programs.receive(&frame_of(&packet)), forwarded(&packet), "{round} {number}");
            }
        }
        assert_eq!(hub.programs.drops(), []);
    });
}
