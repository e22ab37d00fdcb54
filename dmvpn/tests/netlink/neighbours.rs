//! Resolved next hops.

use std::{
    fmt::Write,
    net::{IpAddr, UdpSocket},
};

use dmvpn::netlink::neighbours::{self, Neighbour};
use dmvpn_common::PeerMac;

use crate::{
    capture::{Capture, carries},
    namespace::{eventually, in_namespace, ip, ip_batch, setting, tunnel},
};

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_neighbour_is_permanent_extern_learned_and_marked_as_ours() {
    in_namespace(|netlink| async move {
        let link = tunnel(&netlink, "10.0.0.1/24").await;
        neighbours::set(&netlink, link.ifindex, address("10.0.0.5"), PeerMac::from_index(7)).unwrap();
        let shown = ip("neigh show dev dmvpn0");
        assert_eq!(shown.trim(), "10.0.0.5 lladdr 02:d4:00:00:00:07 extern_learn PERMANENT proto 54");
    });
}

#[test]
fn packets_queued_behind_an_unanswered_request_leave_when_the_neighbour_is_set() {
    in_namespace(|netlink| async move {
        let link = tunnel(&netlink, "10.0.0.1/24").await;
        let capture = Capture::on(link.far_ifindex);
        let sender = UdpSocket::bind("10.0.0.1:0").unwrap();
        for payload in [b"queued one", b"queued two"] {
            sender.send_to(payload, "10.0.0.5:9").unwrap();
        }
        let request = capture.frame("an ARP request", |frame| frame.get(12..14) == Some(&[0x08, 0x06])).await;
        assert_eq!(request[38..42], [10, 0, 0, 5]);
        assert!(ip("neigh show dev dmvpn0").contains("INCOMPLETE"));

        neighbours::set(&netlink, link.ifindex, address("10.0.0.5"), PeerMac::from_index(0x0102_0304))
            .unwrap();
        for payload in [b"queued one", b"queued two"] {
            let frame = capture.frame("a queued packet", carries(payload)).await;
            assert_eq!(frame[..6], [0x02, 0xd4, 1, 2, 3, 4], "to the peer");
            assert_eq!(frame[6..12], PeerMac::TUNNEL.0, "from the tunnel interface");
        }
    });
}

#[test]
fn packets_queued_for_an_ipv6_next_hop_leave_when_the_neighbour_is_set() {
    in_namespace(|netlink| async move {
        let link = tunnel(&netlink, "2001:db8::1/64").await;
        let capture = Capture::on(link.far_ifindex);
        eventually("the address can be used", || UdpSocket::bind("[2001:db8::1]:0").is_ok()).await;
        let sender = UdpSocket::bind("[2001:db8::1]:0").unwrap();
        sender.send_to(b"queued", "[2001:db8::5]:9").unwrap();
        eventually("INCOMPLETE", || ip("neigh show dev dmvpn0").contains("INCOMPLETE")).await;
        neighbours::set(&netlink, link.ifindex, address("2001:db8::5"), PeerMac::from_index(9)).unwrap();
        let frame = capture.frame("the queued packet", carries(b"queued")).await;
        assert_eq!(frame[..6], [0x02, 0xd4, 0, 0, 0, 9]);
        assert!(
            ip("-6 neigh show dev dmvpn0")
                .contains("2001:db8::5 lladdr 02:d4:00:00:00:09 extern_learn PERMANENT")
        );
    });
}

#[test]
fn replaces_a_neighbour_in_any_state() {
    in_namespace(|netlink| async move {
        let link = tunnel(&netlink, "10.0.0.1/24").await;
        ip("neigh add 10.0.0.6 lladdr 02:00:00:00:00:01 nud reachable dev dmvpn0");
        ip("neigh add 10.0.0.7 lladdr 02:00:00:00:00:01 nud permanent dev dmvpn0");
        for (host, index) in [("10.0.0.5", 1), ("10.0.0.5", 2), ("10.0.0.6", 3), ("10.0.0.7", 4)] {
            neighbours::set(&netlink, link.ifindex, address(host), PeerMac::from_index(index)).unwrap();
            let expected = format!("{host} lladdr 02:d4:00:00:00:0{index} extern_learn PERMANENT");
            assert!(ip("neigh show dev dmvpn0").contains(&expected), "{expected}");
        }
    });
}

#[test]
fn lists_ours_only() {
    in_namespace(|netlink| async move {
        let link = tunnel(&netlink, "10.0.0.1/24").await;
        ip("address add 2001:db8::1/64 dev dmvpn0 nodad");
        ip("neigh add 10.0.0.9 lladdr 02:00:00:00:00:01 nud permanent dev dmvpn0");
        ip("neigh add 10.0.0.10 lladdr 02:d4:ff:ff:ff:ff nud permanent dev dmvpn0");
        ip("link add eth0 type veth peer name eth1");
        ip("neigh add 10.0.0.11 lladdr 02:d4:00:00:00:01 nud permanent dev eth0");
        for (host, index) in [("10.0.0.5", 1), ("2001:db8::5", 2)] {
            neighbours::set(&netlink, link.ifindex, address(host), PeerMac::from_index(index)).unwrap();
        }
        let found = neighbours::list_ours(&netlink, link.ifindex).await.unwrap();
        let expected = [
            Neighbour { address: address("10.0.0.5"), peer: 1 },
            Neighbour { address: address("2001:db8::5"), peer: 2 },
        ];
        assert_eq!(found, expected);
    });
}

#[test]
fn removes_a_neighbour_once() {
    in_namespace(|netlink| async move {
        let link = tunnel(&netlink, "10.0.0.1/24").await;
        neighbours::set(&netlink, link.ifindex, address("10.0.0.5"), PeerMac::from_index(7)).unwrap();
        for _ in 0..2 {
            neighbours::remove(&netlink, link.ifindex, address("10.0.0.5")).unwrap();
            assert_eq!(ip("neigh show dev dmvpn0"), "");
        }
    });
}

#[test]
fn names_the_neighbour_and_the_interface_that_is_gone() {
    in_namespace(|netlink| async move {
        let set = neighbours::set(&netlink, 4711, address("10.0.0.5"), PeerMac::from_index(7));
        let text = set.unwrap_err().to_string();
        assert!(
            text.starts_with("set neighbour 10.0.0.5 on interface number 4711: No such device"),
            "{text}"
        );
    });
}

/// The kernel's limit (1024 by default) is one for the whole machine; ours do not count.
#[test]
fn more_neighbours_than_the_kernels_table_limit_stay() {
    let limit: u32 = setting("ipv4/neigh/default/gc_thresh3").parse().unwrap();
    in_namespace(move |netlink| async move {
        let link = tunnel(&netlink, "10.0.0.1/16").await;
        let count = 5_000;
        assert!(count > limit, "{limit}");
        let start = std::time::Instant::now();
        for index in 1..=count {
            let host = IpAddr::from([
                10,
                0,
                u8::try_from(index / 200).unwrap() + 1,
                u8::try_from(index % 200).unwrap(),
            ]);
            neighbours::set(&netlink, link.ifindex, host, PeerMac::from_index(index)).unwrap();
        }
        println!("{count} neighbours set in {:?}", start.elapsed());
        // Others make the kernel collect.
        let mut others = String::new();
        for host in 1..=200 {
            writeln!(others, "neigh add 10.0.200.{host} lladdr 02:00:00:00:00:01 nud stale dev dmvpn0")
                .unwrap();
        }
        ip_batch(&others);
        let start = std::time::Instant::now();
        let found = neighbours::list_ours(&netlink, link.ifindex).await.unwrap();
        println!("listed in {:?}", start.elapsed());
        assert_eq!(found.len(), usize::try_from(count).unwrap());
    });
}
