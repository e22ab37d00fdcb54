//! "How would the kernel route this?"

use std::{fmt::Write, net::IpAddr, time::Instant};

use dmvpn::netlink::{
    Netlink, PROTOCOL,
    lookup::{Lookup, Routing},
    routes::{self, TunnelRoute},
};

use crate::namespace::{eventually, in_namespace, index_of, ip, ip_batch, tunnel, write_setting};

const BOOT: u8 = 3;
const KERNEL: u8 = 2;

fn via(interface: &str, gateway: Option<&str>, prefix: &str, protocol: u8) -> Routing {
    Routing::Via {
        ifindex: index_of(interface),
        gateway: gateway.map(|gateway| gateway.parse().unwrap()),
        prefix: prefix.parse().unwrap(),
        preferred_source: None,
        protocol,
    }
}

fn ask(lookup: &Lookup, destination: &str) -> Routing {
    lookup.route(destination.parse().unwrap()).unwrap()
}

fn ask_aside(lookup: &Lookup, destination: &str) -> Routing {
    lookup.route_without_shortcuts(destination.parse().unwrap()).unwrap()
}

fn local(prefix: &str) -> Routing {
    Routing::Local { prefix: prefix.parse().unwrap() }
}

/// A tunnel interface with an address of each family.
async fn both_families(netlink: &Netlink) -> u32 {
    let link = tunnel(netlink, "10.0.0.1/24").await;
    ip("address add 2001:db8::1/64 dev dmvpn0 nodad");
    // The kernel adds the route to an IPv6 address of its own a little later.
    eventually("the address is local", || ip("route get 2001:db8::1").starts_with("local")).await;
    link.ifindex
}

#[test]
fn answers_with_the_covering_prefix() {
    in_namespace(|netlink| async move {
        both_families(&netlink).await;
        ip("route add 192.168.0.0/16 via 10.0.0.100 src 10.0.0.1");
        ip("route add 2001:db8:2::/48 via 2001:db8::100");
        ip("route add default via 10.0.0.254");
        let lookup = Lookup::open().unwrap();
        assert_eq!(ask(&lookup, "10.0.0.1"), local("10.0.0.1/32"));
        assert_eq!(ask(&lookup, "127.0.0.5"), local("127.0.0.0/8"));
        assert_eq!(ask(&lookup, "2001:db8::1"), local("2001:db8::1/128"));
        let source = Some("10.0.0.1".parse::<IpAddr>().unwrap());
        let mut expected = via("dmvpn0", None, "10.0.0.0/24", KERNEL);
        let with_source = |routing: &mut Routing| {
            if let Routing::Via { preferred_source, .. } = routing {
                *preferred_source = source;
            }
        };
        with_source(&mut expected);
        assert_eq!(ask(&lookup, "10.0.0.77"), expected);
        let mut expected = via("dmvpn0", Some("10.0.0.100"), "192.168.0.0/16", BOOT);
        with_source(&mut expected);
        assert_eq!(ask(&lookup, "192.168.2.9"), expected);
        assert_eq!(ask(&lookup, "8.8.8.8"), via("dmvpn0", Some("10.0.0.254"), "0.0.0.0/0", BOOT));
        assert_eq!(ask(&lookup, "2001:db8::77"), via("dmvpn0", None, "2001:db8::/64", KERNEL));
        assert_eq!(
            ask(&lookup, "2001:db8:2::9"),
            via("dmvpn0", Some("2001:db8::100"), "2001:db8:2::/48", BOOT)
        );
    });
}

#[test]
fn no_route_and_refusing_routes_are_unreachable() {
    in_namespace(|netlink| async move {
        both_families(&netlink).await;
        let destinations = [
            "198.51.100.1",
            "2001:db8:ffff::1",
            "192.168.1.1",
            "192.168.2.1",
            "192.168.3.1",
            "2001:db8:1::1",
        ];
        for (kind, prefix) in [
            ("blackhole", "192.168.1.0/24"),
            ("unreachable", "192.168.2.0/24"),
            ("prohibit", "192.168.3.0/24"),
            ("blackhole", "2001:db8:1::/64"),
        ] {
            ip(&format!("route add {kind} {prefix}"));
        }
        let lookup = Lookup::open().unwrap();
        for destination in destinations.into_iter().chain(["10.0.0.255"]) {
            assert_eq!(ask(&lookup, destination), Routing::Unreachable, "{destination}");
            assert_eq!(ask_aside(&lookup, destination), Routing::Unreachable, "{destination}");
        }
    });
}

#[test]
fn leaves_shortcuts_and_host_routes_aside() {
    in_namespace(|netlink| async move {
        let ifindex = both_families(&netlink).await;
        for (destination, shortcut, next_hop, hub, wide) in [
            ("192.168.2.9", "192.168.2.0/24", "10.0.0.5", "10.0.0.100", "192.168.0.0/16"),
            ("2001:db8:2::9", "2001:db8:2::/64", "2001:db8::5", "2001:db8::100", "2001:db8:2::/48"),
        ] {
            let lookup = Lookup::open().unwrap();
            let route =
                TunnelRoute::Shortcut { prefix: shortcut.parse().unwrap(), via: next_hop.parse().unwrap() };
            let host = TunnelRoute::Host { address: destination.parse().unwrap() };
            routes::add(&netlink, ifindex, route).await.unwrap();
            assert_eq!(ask(&lookup, destination), via("dmvpn0", Some(next_hop), shortcut, PROTOCOL));
            assert_eq!(ask_aside(&lookup, destination), Routing::Unreachable, "nothing else covers it");

            ip(&format!("route add {wide} via {hub}"));
            assert_eq!(ask_aside(&lookup, destination), via("dmvpn0", Some(hub), wide, BOOT));

            // A route of the same length counts, and of several the one with the lowest metric.
            ip(&format!("route add {shortcut} via {hub} metric 300"));
            ip(&format!("route add {shortcut} via {hub} metric 200 proto 11"));
            assert_eq!(ask_aside(&lookup, destination), via("dmvpn0", Some(hub), shortcut, 11));

            routes::add(&netlink, ifindex, host).await.unwrap();
            assert_eq!(ask_aside(&lookup, destination), via("dmvpn0", Some(hub), shortcut, 11));
        }
    });
}

#[test]
fn a_static_route_of_ours_counts() {
    in_namespace(|netlink| async move {
        let ifindex = both_families(&netlink).await;
        let prefix = "192.168.2.0/24".parse().unwrap();
        let fixed = TunnelRoute::Static { prefix, via: "10.0.0.100".parse().unwrap() };
        routes::add(&netlink, ifindex, fixed).await.unwrap();
        let lookup = Lookup::open().unwrap();
        let expected = via("dmvpn0", Some("10.0.0.100"), "192.168.2.0/24", PROTOCOL);
        assert_eq!(ask_aside(&lookup, "192.168.2.9"), expected);
        let shortcut = TunnelRoute::Shortcut { prefix, via: "10.0.0.5".parse().unwrap() };
        routes::add(&netlink, ifindex, shortcut).await.unwrap();
        assert_eq!(ask_aside(&lookup, "192.168.2.9"), expected);
    });
}

#[test]
fn a_refusing_route_below_a_shortcut_refuses() {
    in_namespace(|netlink| async move {
        let ifindex = both_families(&netlink).await;
        ip("route add default via 10.0.0.254");
        ip("route add blackhole 192.168.0.0/16");
        let prefix = "192.168.2.0/24".parse().unwrap();
        let shortcut = TunnelRoute::Shortcut { prefix, via: "10.0.0.5".parse().unwrap() };
        routes::add(&netlink, ifindex, shortcut).await.unwrap();
        assert_eq!(ask_aside(&Lookup::open().unwrap(), "192.168.2.9"), Routing::Unreachable);
    });
}

#[test]
fn understands_several_next_hops_nexthop_objects_and_gateways_of_the_other_family() {
    in_namespace(|netlink| async move {
        both_families(&netlink).await;
        ip("route add 192.168.1.0/24 nexthop via 10.0.0.2 nexthop via 10.0.0.3");
        ip("nexthop add id 7 via 10.0.0.7 dev dmvpn0");
        ip("route add 192.168.2.0/24 nhid 7");
        ip("route add 192.168.3.0/24 via inet6 2001:db8::3 dev dmvpn0");
        let lookup = Lookup::open().unwrap();
        assert_eq!(ask(&lookup, "192.168.1.9"), via("dmvpn0", Some("10.0.0.2"), "192.168.1.0/24", BOOT));
        assert_eq!(ask(&lookup, "192.168.3.9"), via("dmvpn0", Some("2001:db8::3"), "192.168.3.0/24", BOOT));
        for compatible in ["1", "0"] {
            write_setting("ipv4/nexthop_compat_mode", compatible);
            assert_eq!(ask(&lookup, "192.168.2.9"), via("dmvpn0", Some("10.0.0.7"), "192.168.2.0/24", BOOT));
        }
    });
}

/// Prints what a question costs; fails only when it is out of all proportion.
#[test]
fn answers_fast() {
    in_namespace(|netlink| async move {
        let ifindex = both_families(&netlink).await;
        let mut others = String::new();
        for (high, low) in (0..40).flat_map(|high| (0..250).map(move |low| (high, low))) {
            writeln!(others, "route add 172.{}.{low}.0/24 via 10.0.0.100", 16 + high).unwrap();
        }
        ip_batch(&others);
        let prefix = "192.168.2.0/24".parse().unwrap();
        let shortcut = TunnelRoute::Shortcut { prefix, via: "10.0.0.5".parse().unwrap() };
        routes::add(&netlink, ifindex, shortcut).await.unwrap();
        let lookup = Lookup::open().unwrap();
        let time = |count: u32, ask: &dyn Fn()| {
            let start = Instant::now();
            (0..count).for_each(|_| ask());
            start.elapsed() / count
        };
        let plain = time(10_000, &|| assert_ne!(ask(&lookup, "172.20.3.4"), Routing::Unreachable));
        let aside = time(20, &|| assert_eq!(ask_aside(&lookup, "192.168.2.9"), Routing::Unreachable));
        println!("a question: {plain:?}; leaving shortcuts aside, with 10,000 routes: {aside:?}");
        assert!(plain.as_millis() < 5, "{plain:?}");
        assert!(aside.as_millis() < 500, "{aside:?}");
    });
}
