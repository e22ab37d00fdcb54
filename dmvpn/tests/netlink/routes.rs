//! Shortcut, host and static routes.

use dmvpn::netlink::{
    Netlink,
    routes::{self, TunnelRoute},
};

use crate::namespace::{in_namespace, ip, tunnel};

fn shortcut(prefix: &str, via: &str) -> TunnelRoute {
    TunnelRoute::Shortcut { prefix: prefix.parse().unwrap(), via: via.parse().unwrap() }
}

fn fixed(prefix: &str, via: &str) -> TunnelRoute {
    TunnelRoute::Static { prefix: prefix.parse().unwrap(), via: via.parse().unwrap() }
}

fn host(address: &str) -> TunnelRoute {
    TunnelRoute::Host { address: address.parse().unwrap() }
}

async fn add(netlink: &Netlink, ifindex: u32, route: TunnelRoute) {
    routes::add(netlink, ifindex, route).await.unwrap();
}

async fn remove(netlink: &Netlink, ifindex: u32, route: TunnelRoute) {
    routes::remove(netlink, ifindex, route).await.unwrap();
}

#[test]
fn an_ipv4_shortcut_wins_over_an_equal_route_and_gives_it_back() {
    in_namespace(|netlink| async move {
        let link = tunnel(&netlink, "10.0.0.1/24").await;
        ip("route add 192.168.2.0/24 via 10.0.0.100");
        let route = shortcut("192.168.2.0/24", "10.0.0.5");
        add(&netlink, link.ifindex, route).await;
        assert!(ip("route get 192.168.2.9").contains("via 10.0.0.5 dev dmvpn0"));
        let shown = ip("route show proto 54");
        assert!(shown.starts_with("192.168.2.0/24 via 10.0.0.5 dev dmvpn0 onlink"), "{shown}");

        remove(&netlink, link.ifindex, route).await;
        assert!(ip("route get 192.168.2.9").contains("via 10.0.0.100 dev dmvpn0"));
        assert_eq!(ip("route show proto 54"), "");
    });
}

#[test]
fn an_ipv6_shortcut_wins_over_an_equal_route_and_gives_it_back() {
    in_namespace(|netlink| async move {
        let link = tunnel(&netlink, "2001:db8::1/64").await;
        ip("route add 2001:db8:2::/64 via 2001:db8::100 metric 20");
        let route = shortcut("2001:db8:2::/64", "2001:db8::5");
        add(&netlink, link.ifindex, route).await;
        assert!(ip("route get 2001:db8:2::9").contains("via 2001:db8::5 dev dmvpn0 proto 54"));
        remove(&netlink, link.ifindex, route).await;
        assert!(ip("route get 2001:db8:2::9").contains("via 2001:db8::100 dev dmvpn0"));
    });
}

#[test]
fn adding_and_removing_twice_is_no_error() {
    in_namespace(|netlink| async move {
        let link = tunnel(&netlink, "10.0.0.1/24").await;
        ip("address add 2001:db8::1/64 dev dmvpn0 nodad");
        let all = [
            shortcut("192.168.2.0/24", "10.0.0.5"),
            host("10.9.0.7"),
            fixed("192.168.3.0/24", "10.0.0.5"),
            shortcut("2001:db8:2::/64", "2001:db8::5"),
            host("2001:db8:9::7"),
            fixed("2001:db8:3::/64", "2001:db8::5"),
        ];
        for route in all.iter().chain(&all) {
            add(&netlink, link.ifindex, *route).await;
        }
        let mut found = routes::list_ours(&netlink, link.ifindex).await.unwrap();
        found.sort();
        let mut expected = all.to_vec();
        expected.sort();
        assert_eq!(found, expected);
        for route in all.iter().chain(&all) {
            remove(&netlink, link.ifindex, *route).await;
        }
        assert_eq!(ip("route show proto 54") + &ip("-6 route show proto 54"), "");
        assert_eq!(routes::list_ours(&netlink, link.ifindex).await.unwrap(), []);
    });
}

#[test]
fn host_and_static_routes_look_as_documented() {
    in_namespace(|netlink| async move {
        let link = tunnel(&netlink, "10.0.0.1/32").await;
        add(&netlink, link.ifindex, host("10.0.0.5")).await;
        // The next hop is covered by no connected prefix.
        add(&netlink, link.ifindex, fixed("192.168.2.0/24", "10.0.0.100")).await;
        let shown = ip("route show proto 54");
        let lines: Vec<_> = shown.lines().map(str::trim).collect();
        assert_eq!(
            lines,
            ["10.0.0.5 dev dmvpn0 scope link", "192.168.2.0/24 via 10.0.0.100 dev dmvpn0 metric 50 onlink"]
        );
    });
}

#[test]
fn a_prefix_with_host_bits_is_the_network() {
    in_namespace(|netlink| async move {
        let link = tunnel(&netlink, "10.0.0.1/24").await;
        add(&netlink, link.ifindex, shortcut("192.168.2.77/24", "10.0.0.5")).await;
        assert!(ip("route show proto 54").starts_with("192.168.2.0/24 "));
    });
}

/// The kernel reads metric 0 in a removal as any metric.
#[test]
fn removing_an_absent_shortcut_leaves_the_static_route_to_the_same_next_hop() {
    in_namespace(|netlink| async move {
        let link = tunnel(&netlink, "10.0.0.1/24").await;
        let kept = fixed("192.168.2.0/24", "10.0.0.5");
        add(&netlink, link.ifindex, kept).await;
        add(&netlink, link.ifindex, shortcut("192.168.2.0/24", "10.0.0.5")).await;
        for _ in 0..2 {
            remove(&netlink, link.ifindex, shortcut("192.168.2.0/24", "10.0.0.5")).await;
            assert_eq!(routes::list_ours(&netlink, link.ifindex).await.unwrap(), [kept]);
        }
    });
}

/// The kernel reads no gateway in a removal as any gateway.
#[test]
fn removing_an_absent_host_route_leaves_the_shortcut_to_the_same_host() {
    in_namespace(|netlink| async move {
        let link = tunnel(&netlink, "10.0.0.1/24").await;
        ip("address add 2001:db8::1/64 dev dmvpn0 nodad");
        for (address, via) in [("10.9.0.7", "10.0.0.5"), ("2001:db8:9::7", "2001:db8::5")] {
            let address: std::net::IpAddr = address.parse().unwrap();
            let kept = TunnelRoute::Shortcut { prefix: address.into(), via: via.parse().unwrap() };
            add(&netlink, link.ifindex, kept).await;
            remove(&netlink, link.ifindex, TunnelRoute::Host { address }).await;
            assert_eq!(routes::list_ours(&netlink, link.ifindex).await.unwrap(), [kept]);
            remove(&netlink, link.ifindex, kept).await;
        }
    });
}

#[test]
fn of_two_shortcuts_to_one_prefix_the_named_one_goes() {
    in_namespace(|netlink| async move {
        let link = tunnel(&netlink, "10.0.0.1/24").await;
        ip("address add 2001:db8::1/64 dev dmvpn0 nodad");
        for (prefix, first, second) in
            [("192.168.2.0/24", "10.0.0.5", "10.0.0.6"), ("2001:db8:2::/64", "2001:db8::5", "2001:db8::6")]
        {
            let (first, second) = (shortcut(prefix, first), shortcut(prefix, second));
            add(&netlink, link.ifindex, first).await;
            add(&netlink, link.ifindex, second).await;
            let mut found = routes::list_ours(&netlink, link.ifindex).await.unwrap();
            found.sort();
            assert_eq!(found, [first, second]);
            remove(&netlink, link.ifindex, first).await;
            assert_eq!(routes::list_ours(&netlink, link.ifindex).await.unwrap(), [second]);
            remove(&netlink, link.ifindex, second).await;
        }
    });
}

#[test]
fn routes_of_others_and_of_other_interfaces_are_not_ours() {
    in_namespace(|netlink| async move {
        let link = tunnel(&netlink, "10.0.0.1/24").await;
        ip("link add eth0 type veth peer name eth1");
        ip("link set eth0 up");
        ip("route add 192.168.2.0/24 via 10.0.0.5 proto static");
        ip("route add 192.168.3.0/24 dev eth0 proto 54");
        ip("route add 192.168.4.0/24 via 10.0.0.5 proto 54 table 100");
        assert_eq!(routes::list_ours(&netlink, link.ifindex).await.unwrap(), []);
        remove(&netlink, link.ifindex, shortcut("192.168.2.0/24", "10.0.0.5")).await;
        assert!(ip("route show proto static").contains("192.168.2.0/24"), "the operator's route stays");
    });
}

#[test]
fn routes_of_a_removed_interface_are_gone_without_an_error() {
    in_namespace(|netlink| async move {
        let link = tunnel(&netlink, "10.0.0.1/24").await;
        let route = shortcut("192.168.2.0/24", "10.0.0.5");
        add(&netlink, link.ifindex, route).await;
        ip("link delete dmvpn0");
        remove(&netlink, link.ifindex, route).await;
        assert_eq!(routes::list_ours(&netlink, link.ifindex).await.unwrap(), []);
        let error = routes::add(&netlink, link.ifindex, route).await.unwrap_err().to_string();
        let what = format!("add shortcut 192.168.2.0/24 via 10.0.0.5 to interface number {}: ", link.ifindex);
        assert!(error.starts_with(&what), "{error}");
    });
}

#[test]
fn refuses_a_next_hop_of_another_family() {
    in_namespace(|netlink| async move {
        let link = tunnel(&netlink, "10.0.0.1/24").await;
        let error =
            routes::add(&netlink, link.ifindex, shortcut("192.168.2.0/24", "2001:db8::5")).await.unwrap_err();
        assert!(error.to_string().contains("2001:db8::5 is not of the same address family"), "{error}");
    });
}
