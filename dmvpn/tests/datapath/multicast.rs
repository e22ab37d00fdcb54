//! The lists of peers that get copies of multicast packets, as the programs read them.

use aya::maps::{Array, HashMap, Map, MapData};
use dmvpn::datapath::{DataPath, TunnelParameters};
use dmvpn_common::{Interface, MulticastReceiver, map_names};

use crate::testbed::{Pins, tunnel};

/// Interfaces of two tunnels.
const A: u32 = 11;
const B: u32 = 21;

fn pinned<M: TryFrom<Map>>(pins: &Pins, name: &str) -> M {
    let map = Map::from_map_data(MapData::from_pin(pins.layout().join(name)).unwrap()).unwrap();
    M::try_from(map).ok().unwrap()
}

fn open(pins: &Pins) -> DataPath {
    let mut data_path = pins.open();
    data_path.tunnels.set(&tunnel()).unwrap();
    let local = "192.0.2.11".parse().unwrap();
    data_path.tunnels.set(&TunnelParameters { id: 2, ifindex: B, local, ..tunnel() }).unwrap();
    data_path
}

fn add(data_path: &mut DataPath, ifindex: u32, peer: u32) {
    data_path.multicast.add(&mut data_path.tunnels.interfaces, ifindex, peer).unwrap();
}

fn remove(data_path: &mut DataPath, peer: u32) {
    data_path.multicast.remove(&mut data_path.tunnels.interfaces, peer).unwrap();
}

/// The list as a program walks it.
fn walk(pins: &Pins, ifindex: u32) -> Vec<u32> {
    let interfaces: HashMap<_, u32, Interface> = pinned(pins, map_names::INTERFACES);
    let receivers: Array<_, MulticastReceiver> = pinned(pins, map_names::MULTICAST);
    let mut peer = interfaces.get(&ifindex, 0).unwrap().first_receiver;
    let mut found = Vec::new();
    while peer != 0 {
        assert!(!found.contains(&peer), "{peer} again after {found:?}");
        found.push(peer);
        peer = receivers.get(&peer, 0).unwrap().next;
    }
    found
}

#[test]
fn peers_come_and_go_wherever_they_are_in_the_list() {
    let pins = Pins::new("multicast-list");
    let mut data_path = open(&pins);
    assert!(walk(&pins, A).is_empty());
    for peer in [1, 2, 3, 4] {
        add(&mut data_path, A, peer);
    }
    add(&mut data_path, B, 5);
    add(&mut data_path, A, 2);
    assert_eq!((walk(&pins, A), walk(&pins, B)), (vec![4, 3, 2, 1], vec![5]));
    // In the middle, the first, the last, one that is not there.
    for (peer, left) in [(2, &[4, 3, 1][..]), (4, &[3, 1]), (1, &[3]), (7, &[3])] {
        remove(&mut data_path, peer);
        assert_eq!(walk(&pins, A), left, "after {peer}");
        assert_eq!(data_path.multicast.receivers(A), left);
    }
    add(&mut data_path, A, 2);
    remove(&mut data_path, 3);
    remove(&mut data_path, 2);
    assert_eq!((walk(&pins, A), walk(&pins, B)), (vec![], vec![5]));
    // A peer of another tunnel now.
    add(&mut data_path, A, 5);
    assert_eq!((walk(&pins, A), walk(&pins, B)), (vec![5], vec![]));
}

#[test]
fn a_packet_on_its_way_along_the_list_stays_on_it() {
    let pins = Pins::new("multicast-walk");
    let mut data_path = open(&pins);
    for peer in [1, 2, 3] {
        add(&mut data_path, A, peer);
    }
    // The packet is at 2 when that goes and 4 comes.
    remove(&mut data_path, 2);
    add(&mut data_path, A, 4);
    let receivers: Array<_, MulticastReceiver> = pinned(&pins, map_names::MULTICAST);
    assert_eq!(receivers.get(&2, 0).unwrap().next, 1);
}

#[test]
fn the_next_agent_finds_the_lists_and_changes_them() {
    let pins = Pins::new("multicast-restart");
    let mut data_path = open(&pins);
    for peer in [1, 2, 3] {
        add(&mut data_path, A, peer);
    }
    drop(data_path);
    let mut data_path = open(&pins);
    assert_eq!(data_path.multicast.receivers(A), [3, 2, 1]);
    remove(&mut data_path, 2);
    add(&mut data_path, A, 4);
    assert_eq!(walk(&pins, A), [4, 3, 1]);
    assert!(data_path.multicast.receivers(B).is_empty());
}

#[test]
fn a_damaged_list_ends_where_the_damage_is() {
    for (damage, left) in [(3, &[3, 2][..]), (4711, &[3, 2]), (2, &[3, 2])] {
        let pins = Pins::new(&format!("multicast-damage-{damage}"));
        let mut data_path = open(&pins);
        for peer in [1, 2, 3] {
            add(&mut data_path, A, peer);
        }
        drop(data_path);
        let mut receivers: Array<_, MulticastReceiver> = pinned(&pins, map_names::MULTICAST);
        receivers.set(2, MulticastReceiver { next: damage }, 0).unwrap();
        let data_path = open(&pins);
        assert_eq!(walk(&pins, A), left);
        assert_eq!(data_path.multicast.receivers(A), left);
    }
}
