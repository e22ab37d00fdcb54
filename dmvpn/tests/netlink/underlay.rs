//! The way to an NBMA address, and keeping it fresh.

use std::net::IpAddr;

use dmvpn::netlink::{Netlink, underlay::Underlay};

use crate::namespace::{Elsewhere, eventually, in_namespace, index_of, ip, write_setting};

const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// eth0 with 192.0.2.10/24, and a gateway 192.0.2.1 to everywhere in a namespace of its own.
fn network() -> Elsewhere {
    let router = Elsewhere::new();
    ip(&format!("link add eth0 address 02:00:00:00:00:02 type veth peer name gw0 netns {}", router.path()));
    router.ip("link set gw0 address 02:00:00:00:00:01 up");
    router.ip("address add 192.0.2.1/24 dev gw0");
    ip("link set eth0 up");
    ip("address add 192.0.2.10/24 dev eth0");
    ip("route add default via 192.0.2.1");
    router
}

async fn way(underlay: &mut Underlay, nbma: &str) -> dmvpn::netlink::underlay::NextHop {
    underlay.next_hop(address(nbma), address("192.0.2.10")).await.unwrap().expect("a way")
}

#[test]
fn names_the_gateway_or_the_neighbour_itself() {
    in_namespace(|netlink| async move {
        let _router = network();
        let mut underlay = Underlay::new(netlink);
        let far = way(&mut underlay, "203.0.113.5").await;
        assert_eq!((far.ifindex, far.address), (index_of("eth0"), address("192.0.2.1")));
        assert_eq!((far.source_mac, far.gateway_mac, far.mtu), (Some(OWN_MAC), None, 1500));
        let near = way(&mut underlay, "192.0.2.77").await;
        assert_eq!(near.address, address("192.0.2.77"));

        ip("neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 nud stale dev eth0");
        assert_eq!(way(&mut underlay, "203.0.113.5").await.gateway_mac, Some(GATEWAY_MAC));
        ip("route add 203.0.113.0/24 via 192.0.2.1 mtu 1400");
        assert_eq!(way(&mut underlay, "203.0.113.5").await.mtu, 1400);
    });
}

#[test]
fn what_was_read_of_a_next_hop_is_good_until_something_changes() {
    in_namespace(|netlink| async move {
        let _router = network();
        let mut underlay = Underlay::new(netlink);
        ip("neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 nud stale dev eth0");
        assert_eq!(way(&mut underlay, "203.0.113.5").await.gateway_mac, Some(GATEWAY_MAC));
        ip("neigh replace 192.0.2.1 lladdr 02:00:00:00:00:03 nud stale dev eth0");
        ip("link set eth0 mtu 1300");
        let remembered = way(&mut underlay, "203.0.113.6").await;
        assert_eq!((remembered.gateway_mac, remembered.mtu), (Some(GATEWAY_MAC), 1500));
        underlay.forget();
        let found = way(&mut underlay, "203.0.113.6").await;
        assert_eq!((found.gateway_mac, found.mtu), (Some([2, 0, 0, 0, 0, 3]), 1300));
        // A route is another matter.
        ip("route add blackhole 203.0.113.6");
        assert_eq!(underlay.next_hop(address("203.0.113.6"), address("192.0.2.10")).await.unwrap(), None);
    });
}

#[test]
fn there_may_be_no_way() {
    in_namespace(|netlink| async move {
        let _router = network();
        ip("route add blackhole 198.51.100.0/25");
        ip("route add unreachable 198.51.100.128/25");
        let mut underlay = Underlay::new(netlink);
        for nbma in ["198.51.100.1", "198.51.100.129", "192.0.2.10"] {
            assert_eq!(
                underlay.next_hop(address(nbma), address("192.0.2.10")).await.unwrap(),
                None,
                "{nbma}"
            );
        }
        ip("route delete default");
        assert_eq!(underlay.next_hop(address("203.0.113.5"), address("192.0.2.10")).await.unwrap(), None);
    });
}

#[test]
fn says_when_the_source_is_not_an_address_of_this_box() {
    in_namespace(|netlink| async move {
        let _router = network();
        let error =
            Underlay::new(netlink).next_hop(address("203.0.113.5"), address("192.0.2.11")).await.unwrap_err();
        assert!(error.to_string().contains("192.0.2.11 is not an address of this box"), "{error}");
    });
}

#[test]
fn follows_a_rule_for_the_source() {
    in_namespace(|netlink| async move {
        let _router = network();
        ip("address add 192.0.2.12/24 dev eth0");
        ip("rule add from 192.0.2.12 lookup 100");
        ip("route add default via 192.0.2.99 table 100");
        let mut underlay = Underlay::new(netlink);
        let found = underlay.next_hop(address("203.0.113.5"), address("192.0.2.12")).await.unwrap().unwrap();
        assert_eq!(found.address, address("192.0.2.99"));
        assert_eq!(way(&mut underlay, "203.0.113.5").await.address, address("192.0.2.1"));
    });
}

#[test]
fn an_interface_without_link_layer_addresses_has_none() {
    in_namespace(|netlink| async move {
        ip("tuntap add tun0 mode tun");
        ip("address add 192.0.2.10/24 dev tun0");
        ip("link set tun0 up");
        ip("route add default dev tun0");
        let found = way(&mut Underlay::new(netlink), "203.0.113.5").await;
        assert_eq!(
            (found.address, found.source_mac, found.gateway_mac),
            (address("203.0.113.5"), None, None)
        );
    });
}

fn gateway_entry() -> String {
    ip("neigh show 192.0.2.1 dev eth0")
}

async fn resolved(underlay: &mut Underlay) {
    eventually("the gateway is known", || gateway_entry().contains("lladdr 02:00:00:00:00:01")).await;
    assert_eq!(way(underlay, "203.0.113.5").await.gateway_mac, Some(GATEWAY_MAC));
}

#[test]
fn the_kernel_keeps_the_gateway_fresh_and_learns_its_new_address_by_itself() {
    in_namespace(|netlink| async move {
        let router = network();
        // The kernel looks after managed entries every five seconds; this makes them stale by then.
        write_setting("ipv4/neigh/eth0/base_reachable_time_ms", "1000");
        write_setting("ipv4/neigh/eth0/delay_first_probe_time", "1");
        let mut underlay = Underlay::new(netlink);
        underlay.keep_fresh(index_of("eth0"), address("192.0.2.1")).await.unwrap();
        assert!(!underlay.needs_pokes());
        resolved(&mut underlay).await;
        assert!(
            gateway_entry().contains("managed") && gateway_entry().contains("extern_learn"),
            "{}",
            gateway_entry()
        );

        router.ip("link set gw0 address 02:00:00:00:00:03");
        eventually("the new address", || gateway_entry().contains("lladdr 02:00:00:00:00:03")).await;

        // Again, as after a link that was down: nothing goes wrong.
        underlay.keep_fresh(index_of("eth0"), address("192.0.2.1")).await.unwrap();
        underlay.release_all().await.unwrap();
        let entry = gateway_entry();
        assert!(
            entry.contains("lladdr") && !entry.contains("managed") && !entry.contains("extern_learn"),
            "{entry}"
        );
        underlay.release(index_of("eth0"), address("192.0.2.1")).await.unwrap();
    });
}

#[test]
fn pokes_keep_the_gateway_fresh_on_old_kernels() {
    in_namespace(|netlink| async move {
        let router = network();
        write_setting("ipv4/neigh/eth0/base_reachable_time_ms", "200");
        write_setting("ipv4/neigh/eth0/delay_first_probe_time", "0");
        let mut underlay = Underlay::with_pokes(netlink);
        underlay.keep_fresh(index_of("eth0"), address("192.0.2.1")).await.unwrap();
        assert!(underlay.needs_pokes());
        resolved(&mut underlay).await;
        assert!(!gateway_entry().contains("managed"), "{}", gateway_entry());

        router.ip("link set gw0 address 02:00:00:00:00:03");
        for _ in 0..400 {
            underlay.poke().await.unwrap();
            if gateway_entry().contains("lladdr 02:00:00:00:00:03") {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert!(gateway_entry().contains("lladdr 02:00:00:00:00:03"), "{}", gateway_entry());
        underlay.release_all().await.unwrap();
        assert!(!underlay.needs_pokes());
    });
}

#[test]
fn an_entry_the_operator_made_permanent_stays_so() {
    in_namespace(|netlink: Netlink| async move {
        let _router = network();
        ip("neigh add 192.0.2.1 lladdr 02:00:00:00:00:09 nud permanent dev eth0");
        let mut underlay = Underlay::new(netlink);
        underlay.keep_fresh(index_of("eth0"), address("192.0.2.1")).await.unwrap();
        underlay.release_all().await.unwrap();
        assert_eq!(gateway_entry().trim(), "192.0.2.1 lladdr 02:00:00:00:00:09 PERMANENT");
        assert_eq!(way(&mut underlay, "203.0.113.5").await.gateway_mac, Some([2, 0, 0, 0, 0, 9]));
    });
}

#[test]
fn releasing_after_the_interface_is_gone_is_no_error() {
    in_namespace(|netlink| async move {
        let _router = network();
        let mut underlay = Underlay::new(netlink);
        underlay.keep_fresh(index_of("eth0"), address("192.0.2.1")).await.unwrap();
        ip("link delete eth0");
        underlay.release_all().await.unwrap();
    });
}
