//! Changes in the kernel, joined to batches.

use std::{fmt::Write, net::IpAddr, time::Duration};

use dmvpn::netlink::{
    monitor::{Change, LinkState, Monitor},
    neighbours,
    selectors::Selectors,
};
use dmvpn_common::PeerMac;
use tokio::time::timeout;

use crate::namespace::{in_namespace, index_of, ip, ip_batch, tunnel};

/// The changes until nothing has changed for a while.
async fn changes(monitor: &mut Monitor) -> Vec<Change> {
    let mut all = Vec::new();
    while let Ok(batch) = timeout(Duration::from_millis(400), monitor.next()).await {
        let batch = batch.unwrap();
        assert!(!batch.is_empty(), "a batch holds a change");
        all.extend(batch);
    }
    all
}

/// A subscription from which on only what the test does is heard: carriers and IPv6 addresses come a little
/// late.
async fn subscribe() -> Monitor {
    let mut monitor = Monitor::open().unwrap();
    changes(&mut monitor).await;
    monitor
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// eth0 and eth1, a veth pair, both up.
fn pair() -> u32 {
    ip("link add eth0 address 02:00:00:00:00:02 type veth peer name eth1");
    for name in ["eth0", "eth1"] {
        // In this order: an interface that is up has its link-local address already.
        ip(&format!("link set {name} addrgenmode none"));
        ip(&format!("link set {name} up"));
    }
    index_of("eth0")
}

fn link_states(changes: &[Change], wanted: u32) -> Vec<LinkState> {
    let states = changes.iter().filter_map(|change| match change {
        Change::Link { ifindex, state, .. } if *ifindex == wanted => Some(*state),
        _ => None,
    });
    states.collect()
}

#[test]
fn reports_links() {
    in_namespace(|_| async move {
        let mut monitor = subscribe().await;
        let eth0 = pair();
        let found = changes(&mut monitor).await;
        assert_eq!(link_states(&found, eth0).last(), Some(&LinkState::Up), "{found:?}");

        ip("link set eth1 down");
        let found = changes(&mut monitor).await;
        assert_eq!(link_states(&found, eth0).last(), Some(&LinkState::Down), "no carrier: {found:?}");
        ip("link set eth1 up");
        ip("link set eth0 mtu 1400 address 02:00:00:00:00:03");
        let found = changes(&mut monitor).await;
        let expected = Change::Link {
            ifindex: eth0,
            name: "eth0".to_owned(),
            state: LinkState::Up,
            mac: Some([2, 0, 0, 0, 0, 3]),
            mtu: 1400,
        };
        assert!(found.contains(&expected), "{found:?}");
        ip("link delete eth0");
        let found = changes(&mut monitor).await;
        assert_eq!(link_states(&found, eth0).last(), Some(&LinkState::Removed), "{found:?}");
    });
}

#[test]
fn reports_addresses_when_they_can_be_used() {
    in_namespace(|_| async move {
        let eth0 = pair();
        let mut monitor = subscribe().await;
        for text in ["192.0.2.10", "2001:db8::10"] {
            let change = |present| Change::Address { ifindex: eth0, address: address(text), present };
            ip(&format!("address add {text} dev eth0"));
            let mut found = changes(&mut monitor).await;
            // Duplicate address detection takes a second or two.
            for _ in 0..20 {
                if found.contains(&change(true)) {
                    break;
                }
                found = changes(&mut monitor).await;
            }
            assert!(found.contains(&change(true)), "{found:?}");
            assert!(!ip("address show dev eth0").contains("tentative"));
            ip(&format!("address delete {text} dev eth0"));
            let found = changes(&mut monitor).await;
            assert!(found.contains(&change(false)), "{found:?}");
        }
    });
}

#[test]
fn reports_neighbours_but_not_our_own() {
    in_namespace(|netlink| async move {
        let link = tunnel(&netlink, "10.0.0.1/24").await;
        let eth0 = pair();
        let mut monitor = subscribe().await;
        monitor.ignore_neighbours_of(link.ifindex);
        neighbours::set(&netlink, link.ifindex, address("10.0.0.5"), PeerMac::from_index(1)).unwrap();
        let change = |mac| Change::Neighbour { ifindex: eth0, address: address("192.0.2.1"), mac };
        ip("neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 nud reachable dev eth0");
        assert_eq!(changes(&mut monitor).await, [change(Some([2, 0, 0, 0, 0, 1]))]);
        ip("neigh change 192.0.2.1 lladdr 02:00:00:00:00:09 nud stale dev eth0");
        assert_eq!(changes(&mut monitor).await, [change(Some([2, 0, 0, 0, 0, 9]))]);
        ip("neigh delete 192.0.2.1 dev eth0");
        assert_eq!(changes(&mut monitor).await, [change(None)]);
    });
}

#[test]
fn reports_routes_and_nexthop_objects_and_what_they_depend_on() {
    in_namespace(|_| async move {
        pair();
        ip("address add 192.0.2.10/24 dev eth0");
        ip("address add 2001:db8::10/64 dev eth0 nodad");
        let mut monitor = subscribe().await;
        let nothing = Selectors::default();
        let source = Selectors { source: true, ..nothing };
        for (command, by) in [
            ("route add 198.51.100.0/24 via 192.0.2.1", nothing),
            ("route delete 198.51.100.0/24", nothing),
            ("route add 2001:db8:1::/64 via 2001:db8::1", nothing),
            ("route add 198.51.100.0/24 nexthop via 192.0.2.1 nexthop via 192.0.2.2", source),
            ("route add 198.51.100.0/24 tos 0x10 via 192.0.2.1", Selectors { class: true, ..nothing }),
            ("route append 2001:db8:1::/64 via 2001:db8::2", source),
            ("route add 2001:db8:2::/64 from 2001:db8:9::/64 via 2001:db8::1", source),
            ("nexthop add id 7 via 192.0.2.1 dev eth0", nothing),
            ("nexthop add id 8 via 192.0.2.2 dev eth0", nothing),
            ("route add 203.0.113.0/24 nhid 7", nothing),
            ("nexthop replace id 7 via 192.0.2.3 dev eth0", nothing),
            ("nexthop add id 9 group 7/8", nothing),
            ("route add 203.0.114.0/24 nhid 9", source),
        ] {
            ip(command);
            assert_eq!(changes(&mut monitor).await, [Change::Routes { by }], "{command}");
        }
    });
}

#[test]
fn reports_rules() {
    in_namespace(|_| async move {
        let mut monitor = subscribe().await;
        for command in ["rule add from 192.0.2.10 lookup 100", "-6 rule add from 2001:db8::10 lookup 100"] {
            for command in [command.to_owned(), command.replace("add", "delete")] {
                ip(&command);
                assert_eq!(changes(&mut monitor).await, [Change::Rules], "{command}");
            }
        }
    });
}

#[test]
fn a_thousand_changes_are_a_few_batches_and_the_last_state_counts() {
    in_namespace(|_| async move {
        let eth0 = pair();
        ip("address add 192.0.2.10/24 dev eth0");
        let mut monitor = subscribe().await;
        let mut commands = String::new();
        for index in 0..1000 {
            writeln!(commands, "route replace 198.51.{}.{}/32 via 192.0.2.1", 100 + index / 250, index % 250)
                .unwrap();
            let last = index % 250;
            writeln!(
                commands,
                "neigh replace 192.0.2.1 lladdr 02:00:00:00:01:{last:02x} nud reachable dev eth0"
            )
            .unwrap();
        }
        let (mut batches, mut last_mac) = (0, None);
        ip_batch(&commands);
        while let Ok(batch) = timeout(Duration::from_millis(400), monitor.next()).await {
            batches += 1;
            for change in batch.unwrap() {
                match change {
                    Change::Neighbour { ifindex, mac, .. } if ifindex == eth0 => last_mac = mac,
                    Change::Routes { .. } => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(last_mac, Some([2, 0, 0, 0, 1, 249]));
        assert!(batches <= 20, "{batches}");
    });
}

#[test]
fn survives_an_overrun_and_says_so() {
    in_namespace(|_| async move {
        let eth0 = pair();
        ip("address add 192.0.2.10/24 dev eth0");
        let mut monitor = subscribe().await;
        let mut commands = String::new();
        for index in 0..20_000 {
            writeln!(commands, "route add 10.{}.{}.0/24 via 192.0.2.1", 1 + index / 250, index % 250)
                .unwrap();
        }
        ip_batch(&commands);
        assert_eq!(monitor.next().await.unwrap(), [Change::Everything]);
        changes(&mut monitor).await;
        // And goes on.
        ip("neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 nud reachable dev eth0");
        let expected =
            Change::Neighbour { ifindex: eth0, address: address("192.0.2.1"), mac: Some([2, 0, 0, 0, 0, 1]) };
        assert_eq!(changes(&mut monitor).await, [expected]);
    });
}

#[test]
fn a_dropped_wait_loses_nothing() {
    in_namespace(|_| async move {
        let eth0 = pair();
        let mut monitor = subscribe().await;
        ip("neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 nud reachable dev eth0");
        // Reads the message, but is dropped before the batch is due.
        assert!(timeout(Duration::from_millis(5), monitor.next()).await.is_err());
        let expected =
            Change::Neighbour { ifindex: eth0, address: address("192.0.2.1"), mac: Some([2, 0, 0, 0, 0, 1]) };
        assert_eq!(monitor.next().await.unwrap(), [expected]);
    });
}
