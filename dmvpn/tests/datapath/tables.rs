//! Peers, underlay next hops, tunnels and counters in real maps, over restarts.

use std::{net::IpAddr, time::Duration};

use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, PerCpuValues};
use dmvpn::datapath::{
    DataPath, DataPathError, DontFragment, LinkAddresses, NextHop, OuterHeader, OuterParameters, OuterTos,
    TunnelParameters,
};
use dmvpn_common::{
    Address, CachedRoute, CachedRoute6, CachedVerdict, CachedWay, DROP_COUNTERS, DropCounter, DropReason,
    LocalAddress, NbmaKey, Peer, PeerCounters, PeerIndex, PeerState, Traffic, Underlay, UnderlayState,
    map_names,
};

use crate::testbed::{Pins, tunnel};

fn nbma(last: u8) -> IpAddr {
    IpAddr::from([203, 0, 113, last])
}

fn add(data_path: &mut DataPath, last: u8) -> u32 {
    data_path.peers.add(&tunnel(), nbma(last), PeerState::Up).unwrap()
}

fn hop(last: u8) -> NextHop {
    NextHop { ifindex: 2, gateway: IpAddr::from([192, 0, 2, last]) }
}

const ADDRESSES: LinkAddresses =
    LinkAddresses { gateway: [2, 0, 0, 0, 0, 1], source: [2, 0, 0, 0, 0, 2], vlan: None };

/// A pinned map, opened beside the data path.
fn pinned<M: TryFrom<Map>>(pins: &Pins, name: &str) -> M {
    let map = Map::from_map_data(MapData::from_pin(pins.layout().join(name)).unwrap()).unwrap();
    M::try_from(map).ok().unwrap()
}

fn underlay_of(data_path: &DataPath, peer: u32) -> u32 {
    data_path.peers.get(peer).unwrap().unwrap().underlay
}

#[test]
fn a_new_peer_is_in_both_maps() {
    let pins = Pins::new("add");
    let mut data_path = pins.open();
    let index = add(&mut data_path, 1);
    assert_eq!(index, 1, "0 means none");
    assert_eq!(data_path.peers.index_of(1, nbma(1)).unwrap(), Some(index));
    assert_eq!(data_path.peers.index_of(2, nbma(1)).unwrap(), None, "another tunnel");
    assert_eq!(data_path.peers.index_of(1, nbma(2)).unwrap(), None, "another address");

    let peer = data_path.peers.get(index).unwrap().unwrap();
    let parameters = OuterParameters {
        local: "192.0.2.10".parse().unwrap(),
        remote: nbma(1),
        key: Some(42),
        ttl: 255,
        dont_fragment: DontFragment::Set,
        tos: OuterTos::Inherit,
    };
    let outer = OuterHeader::build(&parameters).unwrap();
    assert_eq!((peer.header, peer.header_length, peer.header_sum), (outer.bytes, outer.length, outer.sum));
    assert_eq!((peer.tunnel, peer.tunnel_ifindex, peer.network_id), (1, 11, 1));
    assert_eq!((peer.state, peer.underlay, peer.mtu), (PeerState::Up, 0, 1472));
    assert_eq!(peer.nbma.to_ip(), Some(nbma(1)));
}

#[test]
fn peers_and_indexes_survive_a_restart() {
    let pins = Pins::new("restart");
    let mut data_path = pins.open();
    let indexes = [1, 2, 3].map(|last| add(&mut data_path, last));
    data_path.peers.remove(indexes[1]).unwrap();
    data_path.peers.set_mtu(indexes[2], 1400).unwrap();
    data_path.peers.set_state(indexes[2], PeerState::Down).unwrap();
    data_path.peers.set_next_hop(indexes[2], Some(hop(1))).unwrap();
    drop(data_path);

    let mut data_path = pins.open();
    let peers = data_path.peers.entries().unwrap();
    assert_eq!(peers.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [indexes[0], indexes[2]]);
    let (_, third) = peers[1];
    assert_eq!((third.mtu, third.state), (1400, PeerState::Down));
    assert_eq!(data_path.peers.underlays.next_hop(third.underlay), Some(hop(1)));
    assert_eq!(add(&mut data_path, 4), 4, "the hole at 2 comes last");

    let again = data_path.peers.add(&tunnel(), nbma(3), PeerState::Up).unwrap();
    assert_eq!(again, indexes[2], "known peers keep their index");
    let again = data_path.peers.get(again).unwrap().unwrap();
    assert_eq!((again.mtu, again.state, again.underlay), (1400, PeerState::Up, third.underlay));
}

#[test]
fn a_peer_added_again_gets_the_new_configuration() {
    let pins = Pins::new("again");
    let mut data_path = pins.open();
    let index = add(&mut data_path, 1);
    let changed = TunnelParameters { key: None, ttl: 64, network_id: 9, ..tunnel() };
    assert_eq!(data_path.peers.add(&changed, nbma(1), PeerState::Down).unwrap(), index);
    let peer = data_path.peers.get(index).unwrap().unwrap();
    assert_eq!((peer.header_length, peer.header[8], peer.network_id), (24, 64, 9));
    assert_eq!(peer.state, PeerState::Down);
}

#[test]
fn a_full_table_says_so_and_a_removed_peer_makes_room() {
    let pins = Pins::new("full");
    let mut data_path = pins.open();
    assert_eq!(data_path.peers.capacity(), 8);
    for last in 1..=8 {
        assert_eq!(add(&mut data_path, last), u32::from(last));
    }
    let error = data_path.peers.add(&tunnel(), nbma(9), PeerState::Up).unwrap_err();
    assert!(matches!(error, DataPathError::PeerTableFull { capacity: 8 }), "{error}");
    assert_eq!(error.to_string(), "peer table full: 8 peers; raise max-peers");
    data_path.peers.remove(5).unwrap();
    assert_eq!(add(&mut data_path, 9), 5);
}

#[test]
fn a_freed_index_is_the_last_to_be_used_again() {
    let pins = Pins::new("fifo");
    let mut data_path = pins.open();
    let (first, second) = (add(&mut data_path, 1), add(&mut data_path, 2));
    data_path.peers.remove(second).unwrap();
    data_path.peers.remove(first).unwrap();
    let later = (11..=18).map(|last| add(&mut data_path, last)).collect::<Vec<_>>();
    assert_eq!(later, [3, 4, 5, 6, 7, 8, second, first]);
}

#[test]
fn a_removed_peer_is_in_no_map() {
    let pins = Pins::new("gone");
    let mut data_path = pins.open();
    let index = add(&mut data_path, 1);
    data_path.peers.remove(index).unwrap();
    assert_eq!(data_path.peers.index_of(1, nbma(1)).unwrap(), None);
    assert!(data_path.peers.get(index).unwrap().is_none());
    assert!(data_path.peers.entries().unwrap().is_empty());
    let peers: Array<MapData, Peer> = pinned(&pins, map_names::PEERS);
    let slot = peers.get(&index, 0).unwrap();
    assert_eq!((slot.state, slot.tunnel, slot.header), (PeerState::Free, 0, [0; 48]));
    for wrong in [index, 0, 9, u32::MAX] {
        let error = data_path.peers.set_mtu(wrong, 1400).unwrap_err();
        assert!(matches!(error, DataPathError::NoSuchPeer { index } if index == wrong), "{error}");
    }
}

#[test]
fn a_peer_of_the_other_family_is_refused() {
    let pins = Pins::new("family");
    let mut data_path = pins.open();
    let error = data_path.peers.add(&tunnel(), "2001:db8::1".parse().unwrap(), PeerState::Up).unwrap_err();
    assert!(matches!(error, DataPathError::FamilyMismatch { .. }), "{error}");
    assert_eq!(add(&mut data_path, 1), 1, "no index is lost");
}

#[test]
fn a_new_peer_starts_with_counters_at_zero() {
    let pins = Pins::new("zero");
    let mut data_path = pins.open();
    let index = add(&mut data_path, 1);
    let mut counters: PerCpuArray<MapData, PeerCounters> = pinned(&pins, map_names::PEER_COUNTERS);
    let cpus = counters.get(&index, 0).unwrap().len();
    let counted = PeerCounters {
        received_xdp: Traffic { packets: 3, bytes: 0 },
        sent_tc: Traffic { packets: 0, bytes: 100 },
        ..PeerCounters::default()
    };
    counters.set(index, PerCpuValues::try_from(vec![counted; cpus]).unwrap(), 0).unwrap();
    let sum = data_path.peers.counters(index, Duration::ZERO).unwrap();
    assert_eq!((sum.received().packets, sum.sent().bytes), (3 * cpus as u64, 100 * cpus as u64));
    assert_eq!(data_path.peers.add(&tunnel(), nbma(1), PeerState::Up).unwrap(), index);
    assert_eq!(
        data_path.peers.counters(index, Duration::ZERO).unwrap(),
        sum,
        "a known peer keeps its counts"
    );

    data_path.peers.remove(index).unwrap();
    while add(&mut data_path, 1) != index {
        let other = data_path.peers.index_of(1, nbma(1)).unwrap().unwrap();
        data_path.peers.remove(other).unwrap();
    }
    assert_eq!(data_path.peers.counters(index, Duration::ZERO).unwrap(), PeerCounters::default());
}

#[test]
fn what_route_caches_have_counted_is_part_of_the_counters() {
    let pins = Pins::new("cached");
    let mut data_path = pins.open();
    let (from, to) = (add(&mut data_path, 1), add(&mut data_path, 2));
    let generation = data_path.control.value().generation;
    let way = CachedWay {
        generation,
        hits: 7,
        bytes: 700,
        verdict: CachedVerdict::Peer,
        source_peer: from,
        to,
        ..CachedWay::default()
    };
    let mut ipv4: Array<MapData, CachedRoute> = pinned(&pins, map_names::ROUTE_CACHE);
    let mut ipv6: Array<MapData, CachedRoute6> = pinned(&pins, map_names::ROUTE_CACHE_IPV6);
    let last = ipv4.len() - 1;
    ipv4.set(last, CachedRoute { way, ..CachedRoute::default() }, 0).unwrap();
    let deliver = CachedWay { verdict: CachedVerdict::Deliver, ..way };
    ipv4.set(0, CachedRoute { way: deliver, ..CachedRoute::default() }, 0).unwrap();
    let from_lan = CachedWay { source_peer: 0, ..way };
    ipv6.set(1, CachedRoute6 { way: from_lan, ..CachedRoute6::default() }, 0).unwrap();
    let unknown = CachedWay { source_peer: to + 1, to: from + 100, ..way };
    ipv4.set(1, CachedRoute { way: unknown, ..CachedRoute::default() }, 0).unwrap();

    let traffic = |packets| Traffic { packets, bytes: packets * 100 };
    let of_from = PeerCounters { received_xdp: traffic(14), ..PeerCounters::default() };
    let of_to = PeerCounters { transit_xdp: traffic(7), sent_xdp: traffic(7), ..PeerCounters::default() };
    assert_eq!(data_path.peers.counters(from, Duration::ZERO).unwrap(), of_from);
    assert_eq!(data_path.peers.counters(to, Duration::ZERO).unwrap(), of_to);

    // The next peer with the index has nothing to do with it.
    data_path.peers.remove(to).unwrap();
    while add(&mut data_path, 2) != to {
        let other = data_path.peers.index_of(1, nbma(2)).unwrap().unwrap();
        data_path.peers.remove(other).unwrap();
    }
    assert_eq!(data_path.peers.counters(to, Duration::ZERO).unwrap(), PeerCounters::default());
    assert_eq!(
        data_path.peers.counters(from, Duration::from_hours(1)).unwrap(),
        of_from,
        "seen a moment ago"
    );
}

#[test]
fn what_a_killed_agent_left_half_done_is_undone() {
    let pins = Pins::new("half");
    let mut data_path = pins.open();
    let kept = add(&mut data_path, 1);
    let unnamed = add(&mut data_path, 2);
    let removed = add(&mut data_path, 3);
    drop(data_path);
    {
        let mut by_nbma: HashMap<MapData, NbmaKey, PeerIndex> = pinned(&pins, map_names::PEER_BY_NBMA);
        let mut peers: Array<MapData, Peer> = pinned(&pins, map_names::PEERS);
        let key = |last| NbmaKey { tunnel: 1, discriminator: 0, nbma: nbma(last).into() };
        // Killed between the two writes of an addition, or of a removal.
        by_nbma.remove(&key(2)).unwrap();
        let free = Peer { state: PeerState::Free, ..peers.get(&removed, 0).unwrap() };
        peers.set(removed, free, 0).unwrap();
        // What nobody should ever have written.
        by_nbma.insert(key(7), PeerIndex { peer: kept }, 0).unwrap();
        by_nbma.insert(key(8), PeerIndex { peer: 0 }, 0).unwrap();
        by_nbma.insert(key(9), PeerIndex { peer: 4_000_000 }, 0).unwrap();
    }
    let data_path = pins.open();
    let indexes = data_path.peers.entries().unwrap().iter().map(|(index, _)| *index).collect::<Vec<_>>();
    assert_eq!(indexes, [kept]);
    let by_nbma: HashMap<MapData, NbmaKey, PeerIndex> = pinned(&pins, map_names::PEER_BY_NBMA);
    assert_eq!(by_nbma.iter().count(), 1);
    let peers: Array<MapData, Peer> = pinned(&pins, map_names::PEERS);
    assert_eq!(peers.get(&unnamed, 0).unwrap().state, PeerState::Free);
}

#[test]
fn peers_behind_one_gateway_share_its_entry() {
    let pins = Pins::new("share");
    let mut data_path = pins.open();
    let peers = [1, 2].map(|last| add(&mut data_path, last));
    for peer in peers {
        data_path.peers.set_next_hop(peer, Some(hop(1))).unwrap();
    }
    assert_eq!(underlay_of(&data_path, peers[0]), underlay_of(&data_path, peers[1]));
    let entries = data_path.peers.underlays.entries().unwrap();
    let [(found, entry)] = entries[..] else { panic!("one entry, not {entries:?}") };
    assert_eq!((found, entry.state, entry.ifindex), (hop(1), UnderlayState::Unresolved, 2));

    assert!(data_path.peers.underlays.set_resolved(hop(1), ADDRESSES).unwrap());
    let (_, entry) = data_path.peers.underlays.entries().unwrap()[0];
    assert_eq!(entry.state, UnderlayState::Valid);
    assert_eq!((entry.gateway_mac, entry.source_mac), (ADDRESSES.gateway, ADDRESSES.source));
    let moved = LinkAddresses { gateway: [2, 0, 0, 0, 0, 9], ..ADDRESSES };
    assert!(data_path.peers.underlays.set_resolved(hop(1), moved).unwrap());
    let map: Array<MapData, Underlay> = pinned(&pins, map_names::UNDERLAY);
    let entry = map.get(&underlay_of(&data_path, peers[0]), 0).unwrap();
    assert_eq!((entry.state, entry.gateway_mac), (UnderlayState::Valid, moved.gateway));
    assert!(data_path.peers.underlays.set_unresolved(hop(1)).unwrap());
    let (_, entry) = data_path.peers.underlays.entries().unwrap()[0];
    assert_eq!((entry.state, entry.gateway_mac), (UnderlayState::Unresolved, [0; 6]));
}

#[test]
fn a_next_hop_goes_with_its_last_peer() {
    let pins = Pins::new("last");
    let mut data_path = pins.open();
    let peers = [1, 2, 3].map(|last| add(&mut data_path, last));
    for peer in peers {
        data_path.peers.set_next_hop(peer, Some(hop(1))).unwrap();
        data_path.peers.set_next_hop(peer, Some(hop(1))).unwrap();
    }
    data_path.peers.remove(peers[0]).unwrap();
    data_path.peers.set_next_hop(peers[1], Some(hop(2))).unwrap();
    assert_eq!(data_path.peers.underlays.entries().unwrap().len(), 2, "one peer still uses the first");
    data_path.peers.set_next_hop(peers[2], None).unwrap();
    assert_eq!(underlay_of(&data_path, peers[2]), 0);
    let left = data_path.peers.underlays.entries().unwrap();
    assert_eq!(left.iter().map(|(hop, _)| *hop).collect::<Vec<_>>(), [hop(2)]);
    assert!(!data_path.peers.underlays.set_resolved(hop(1), ADDRESSES).unwrap(), "nobody uses it");
    assert!(!data_path.peers.underlays.set_unresolved(hop(1)).unwrap(), "nobody uses it");
}

#[test]
fn a_full_underlay_table_leaves_the_peer_as_it_was() {
    let pins = Pins::new("underlay");
    let mut data_path = pins.open();
    let peers = [1, 2, 3, 4, 5].map(|last| add(&mut data_path, last));
    for (last, peer) in (1..=4).zip(peers) {
        data_path.peers.set_next_hop(peer, Some(hop(last))).unwrap();
    }
    let error = data_path.peers.set_next_hop(peers[4], Some(hop(5))).unwrap_err();
    assert!(matches!(error, DataPathError::UnderlayTableFull { capacity: 4 }), "{error}");
    assert_eq!(underlay_of(&data_path, peers[4]), 0);
    data_path.peers.set_next_hop(peers[4], Some(hop(4))).unwrap();
}

#[test]
fn next_hops_and_their_users_survive_a_restart() {
    let pins = Pins::new("hops");
    let mut data_path = pins.open();
    let peers = [1, 2].map(|last| add(&mut data_path, last));
    for peer in peers {
        data_path.peers.set_next_hop(peer, Some(hop(1))).unwrap();
    }
    data_path.peers.underlays.set_resolved(hop(1), ADDRESSES).unwrap();
    let index = underlay_of(&data_path, peers[0]);
    drop(data_path);
    {
        // An agent was killed before a peer named the next hop, and one lost it.
        let mut map: Array<MapData, Underlay> = pinned(&pins, map_names::UNDERLAY);
        let orphan =
            Underlay { gateway: IpAddr::from([192, 0, 2, 77]).into(), ..map.get(&index, 0).unwrap() };
        map.set(3, orphan, 0).unwrap();
    }
    let mut data_path = pins.open();
    let entries = data_path.peers.underlays.entries().unwrap();
    let [(found, entry)] = entries[..] else { panic!("one entry, not {entries:?}") };
    assert_eq!((found, entry.state, entry.gateway_mac), (hop(1), UnderlayState::Valid, ADDRESSES.gateway));
    data_path.peers.remove(peers[0]).unwrap();
    assert_eq!(data_path.peers.underlays.next_hop(index), Some(hop(1)), "one of two users is left");
    data_path.peers.remove(peers[1]).unwrap();
    assert_eq!(data_path.peers.underlays.next_hop(index), None);
}

#[test]
fn a_peer_with_a_next_hop_that_is_not_there_has_none_after_a_restart() {
    let pins = Pins::new("dangling");
    let mut data_path = pins.open();
    let peer = add(&mut data_path, 1);
    data_path.peers.set_next_hop(peer, Some(hop(1))).unwrap();
    let index = underlay_of(&data_path, peer);
    drop(data_path);
    let mut map: Array<MapData, Underlay> = pinned(&pins, map_names::UNDERLAY);
    map.set(index, Underlay::default(), 0).unwrap();
    assert_eq!(underlay_of(&pins.open(), peer), 0);
}

#[test]
fn a_tunnel_that_moves_leaves_its_old_key() {
    let pins = Pins::new("tunnels");
    let mut data_path = pins.open();
    let second = TunnelParameters { id: 2, key: Some(43), ..tunnel() };
    data_path.tunnels.set(&tunnel()).unwrap();
    data_path.tunnels.set(&second).unwrap();
    let count = |address: IpAddr| {
        let local: HashMap<MapData, Address, LocalAddress> = pinned(&pins, map_names::LOCAL);
        local.get(&address.into(), 0).map_or(0, |local| local.tunnels)
    };
    assert_eq!(count(tunnel().local), 2);

    let moved = TunnelParameters { local: "198.51.100.1".parse().unwrap(), key: None, ..second };
    data_path.tunnels.set(&moved).unwrap();
    assert_eq!((count(tunnel().local), count(moved.local)), (1, 1));
    let mut ids = data_path
        .tunnels
        .entries()
        .unwrap()
        .iter()
        .map(|(key, value)| (value.id, key.key))
        .collect::<Vec<_>>();
    ids.sort_unstable();
    assert_eq!(ids, [(1, 42), (2, 0)]);

    data_path.tunnels.remove(1).unwrap();
    data_path.tunnels.remove(1).unwrap();
    assert_eq!((count(tunnel().local), count(moved.local)), (0, 1));
    drop(data_path);
    assert_eq!(pins.open().tunnels.entries().unwrap().len(), 1, "tunnels survive a restart");
}

#[test]
fn drop_counters_are_named_and_keep_their_counts() {
    let pins = Pins::new("drops");
    drop(pins.open());
    let mut map: PerCpuArray<MapData, DropCounter> = pinned(&pins, map_names::COUNTERS);
    // A size of its own: with one more reason the pinned map stays as it is.
    assert_eq!(map.len(), u32::try_from(DROP_COUNTERS).unwrap());
    for reason in DropReason::ALL {
        let cpus = map.get(&(reason as u32), 0).unwrap();
        assert!(cpus.iter().all(|cpu| cpu.reason == reason), "{}", reason.name());
    }
    let reason = DropReason::Truncated;
    let cpus = map.get(&(reason as u32), 0).unwrap().len();
    let counted = DropCounter { reason, reserved: 0, packets: 2, bytes: 100 };
    map.set(reason as u32, PerCpuValues::try_from(vec![counted; cpus]).unwrap(), 0).unwrap();

    let totals = pins.open().drops.totals().unwrap();
    assert_eq!(totals.len(), DropReason::ALL.len());
    for total in totals {
        let expected = if total.reason == reason { (2 * cpus as u64, 100 * cpus as u64) } else { (0, 0) };
        assert_eq!((total.packets, total.bytes), expected, "{}", total.reason.name());
    }
}
