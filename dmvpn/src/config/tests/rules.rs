//! Values that do not fit together.

use std::fmt::Write;

use super::{assert_problems, tunnel};

#[test]
fn reports_tunnels_that_collide() {
    let text = "\
tunnels:
  - name: blue
    address: 10.0.0.1/24
    source: 192.0.2.10
    key: 7
  - name: blue
    address: 10.0.0.1/16
    source: 192.0.2.10
    key: 7
  - name: blue-x
    address: 10.0.1.1/24
    source: eth0
  - name: red
    address: 10.0.2.1/24
    source: eth0
  - name: green
    address: 10.0.3.1/24
    source: red
";
    assert_problems(
        text,
        &[
            "6:11: `name`: `blue` is on line 2 too",
            "7:14: `address`: 10.0.0.1 is on line 3 too",
            "8:13: `source`: 192.0.2.10 with key 7 is on line 4 too",
            "10:11: `name`: `blue-x` is the far end of tunnel `blue`: choose another",
            "15:13: `source`: eth0 without `key` is on line 12 too",
            "18:13: `source`: `red` is a tunnel of this file: expected an underlay interface",
        ],
    );
}

#[test]
fn reports_too_many_tunnels() {
    let mut text = "tunnels:\n".to_owned();
    for number in 0..257 {
        let (high, low) = (number / 128, number % 128 * 2 + 1);
        writeln!(text, "  - {{name: t{number}, address: 10.{high}.{low}.1/24, source: lo, key: {number}}}")
            .unwrap();
    }
    assert_problems(&text, &["258:12: more than 256 tunnels"]);
}

#[test]
fn reports_too_many_groups_of_all_tunnels_together() {
    let groups = |count, tunnel: &str| {
        format!("{tunnel}    groups:\n{}", "      - {name: g, rate: 1mbit}\n".repeat(count))
    };
    let first = "tunnels:\n  - name: a\n    address: 10.0.0.1/24\n    source: lo\n    key: 1\n";
    let second = "  - name: b\n    address: 10.0.1.1/24\n    source: lo\n    key: 2\n";
    let text = |count| groups(1000, first) + &groups(count, second);
    assert_problems(&text(23), &[]);
    assert_problems(&text(24), &["1035:16: more than 1023 groups, all tunnels together"]);
}

#[test]
fn reports_more_fixed_peers_than_peers() {
    let lines =
        "nhs: [{address: 10.0.0.2, nbma: 203.0.113.2}]\nmaps: [{address: 10.0.0.3, nbma: 203.0.113.3}]";
    assert_problems(
        &format!("max-peers: 1\n{}", tunnel(lines)),
        &["1:12: `max-peers`: 1 is too few for the 2 peers of this file"],
    );
    assert_problems(&format!("max-peers: 2\n{}", tunnel(lines)), &[]);
}

#[test]
fn reports_addresses_that_are_no_hosts_address() {
    for (address, expected) in [
        ("10.0.0.0/24", "`address`: 10.0.0.0/24 is the network address of its subnet: expected a host's"),
        (
            "10.0.0.255/24",
            "`address`: 10.0.0.255/24 is the broadcast address of its subnet: expected a host's",
        ),
        ("10.0.0.1/7", "`address`: /7 is too wide: expected a length from 8 to 32"),
        ("2001:db8::1/15", "`address`: /15 is too wide: expected a length from 16 to 128"),
    ] {
        let text = format!("tunnels: [{{name: a, source: lo, address: '{address}'}}]");
        assert_problems(&text, &[&format!("1:42: {expected}")]);
    }
    for address in ["10.0.0.0/31", "10.0.0.1/31", "10.0.0.0/32", "10.1.0.0/8", "2001:db8::/64"] {
        assert_problems(&format!("tunnels: [{{name: a, source: lo, address: '{address}'}}]"), &[]);
    }
}

#[test]
fn reports_keys_that_do_not_fit_together() {
    assert_problems(
        &tunnel("phase: 1\nshortcut: true\nholding-time: 60\nregistration-interval: 60"),
        &[
            "6:15: `shortcut`: phase 1 never resolves: expected false, or phase 2 or 3",
            "8:28: `registration-interval`: 60 would let registrations expire: expected less than the holding time of \
             60",
        ],
    );
    assert_problems(
        &tunnel("registration-interval: 7200"),
        &[
            "5:28: `registration-interval`: 7200 would let registrations expire: expected less than the holding time \
           of 7200",
        ],
    );
    assert_problems(
        "tunnels: [{name: a, address: '2001:db8::1/64', source: lo, mtu: 1279}]",
        &["1:65: `mtu`: 1279 is too small for IPv6: expected at least 1280"],
    );
    assert_problems(&tunnel("mtu: 68"), &[]);
    assert_problems(
        &tunnel("link-local: fe80::1"),
        &["5:17: `link-local`: fe80::1 is IPv6: not for a tunnel with the IPv4 address 10.0.0.1/24"],
    );
}

#[test]
fn reports_servers_that_cannot_be() {
    let lines = "\
nhs:
  - {address: 10.0.0.1, nbma: 203.0.113.1}
  - {address: 10.0.1.2, nbma: 203.0.113.2}
  - {address: '2001:db8::2', nbma: 203.0.113.3}
  - {address: 10.0.0.4, nbma: 192.0.2.10}
  - {address: 10.0.0.5, nbma: '2001:db8::5'}
  - {address: 10.0.0.4, nbma: 203.0.113.4}
  - {address: dynamic, nbma: 203.0.113.6}
  - {address: dynamic, nbma: 203.0.113.6}
";
    assert_problems(
        &tunnel(lines),
        &[
            "6:19: `address`: 10.0.0.1 is this tunnel's own address: expected another node's",
            "7:19: `address`: 10.0.1.2 is outside the tunnel's subnet 10.0.0.0/24",
            "8:19: `address`: 2001:db8::2 is not of the same IP version as the tunnel's address 10.0.0.1/24",
            "9:35: `nbma`: 192.0.2.10 is this tunnel's own source: expected another node's",
            "10:35: `nbma`: 2001:db8::5 is not of the same IP version as the source 192.0.2.10",
            "11:19: `address`: 10.0.0.4 is on line 9 too",
            "13:34: `nbma`: 203.0.113.6 with a dynamic address is on line 12 too",
        ],
    );
}

#[test]
fn reports_maps_that_cannot_be() {
    let lines = "\
nhs:
  - {address: 10.0.0.2, nbma: 203.0.113.2}
maps:
  - {address: 10.0.0.2, nbma: 203.0.113.2}
  - {address: 10.0.0.2, nbma: 203.0.113.3}
  - {address: 10.0.0.1, nbma: 192.0.2.10}
  - {address: 10.9.0.1, nbma: 203.0.113.4}
";
    assert_problems(
        &tunnel(lines),
        &[
            "9:19: `address`: 10.0.0.2 is a server with nbma 203.0.113.2: expected the same",
            "9:19: `address`: 10.0.0.2 is on line 8 too",
            "10:19: `address`: 10.0.0.1 is this tunnel's own address: expected another node's",
            "10:35: `nbma`: 192.0.2.10 is this tunnel's own source: expected another node's",
            "11:19: `address`: 10.9.0.1 is outside the tunnel's subnet 10.0.0.0/24",
        ],
    );
}

#[test]
fn reports_peers_of_two_ip_versions_behind_one_interface() {
    let text = "\
tunnels:
  - name: a
    address: 10.0.0.1/24
    source: eth0
    nhs: [{address: 10.0.0.2, nbma: 203.0.113.2}]
    maps: [{address: 10.0.0.3, nbma: '2001:db8::3'}]
";
    assert_problems(
        text,
        &[
            "6:38: `nbma`: 2001:db8::3 is not of the same IP version as 203.0.113.2 on line 5: a tunnel has one source",
        ],
    );
}

#[test]
fn reports_clusters_that_cannot_be() {
    let lines = "\
nhs:
  - {address: 10.0.0.2, nbma: 203.0.113.2, cluster: 1}
nhs-clusters:
  - {cluster: 1, max-connections: 1}
  - {cluster: 1, max-connections: 2}
  - {cluster: 0, max-connections: 1}
";
    assert_problems(
        &tunnel(lines),
        &["9:19: `cluster`: 1 is on line 8 too", "10:19: `cluster`: no server of `nhs` is in cluster 0"],
    );
}

#[test]
fn reports_multicast_receivers_that_cannot_be() {
    assert_problems(
        &tunnel(
            "multicast:\n  to:\n    - 203.0.113.2\n    - 203.0.113.2\n    - 192.0.2.10\n    - 2001:db8::1",
        ),
        &[
            "8:11: `to`: 203.0.113.2 is on line 7 too",
            "9:11: `to`: 192.0.2.10 is this tunnel's own source: expected another node's",
            "10:11: `to`: 2001:db8::1 is not of the same IP version as the source 192.0.2.10",
        ],
    );
}

#[test]
fn reports_prefixes_that_cannot_be() {
    assert_problems(
        &tunnel(
            "allow: [10.1.0.0/16, 10.1.0.0/16]\nallow-prefixes: ['2001:db8::/32']\nsummaries: [10.0.0.0/7]",
        ),
        &[
            "5:26: `allow`: 10.1.0.0/16 is on line 5 too",
            "6:22: `allow-prefixes`: 2001:db8::/32 is not of the same IP version as the tunnel's address 10.0.0.1/24",
            "7:17: `summaries`: 10.0.0.0/7 is too wide: expected a length of 8 or more",
        ],
    );
}

#[test]
fn reports_routes_that_cannot_be() {
    let lines = "\
routes:
  - {prefix: 192.168.1.0/24, via: 10.0.0.1}
  - {prefix: 192.168.2.0/24, via: 10.0.9.9}
  - {prefix: '2001:db8::/32', via: 10.0.0.2}
  - {prefix: 192.168.2.0/24, via: 10.0.0.2}
";
    assert_problems(
        &tunnel(lines),
        &[
            "6:39: `via`: 10.0.0.1 is this tunnel's own address: expected another node's",
            "7:39: `via`: 10.0.9.9 is outside the tunnel's subnet 10.0.0.0/24",
            "8:40: `via`: 10.0.0.2 is not of the same IP version as the prefix",
            "9:18: `prefix`: 192.168.2.0/24 is on line 7 too",
        ],
    );
    // A client's address is not known beforehand: with host routes any address can be a next hop.
    assert_problems(
        "tunnels: [{name: a, address: 10.0.0.1/32, source: lo, routes: [{prefix: 0.0.0.0/0, via: 10.0.0.2}]}]",
        &[],
    );
}

#[test]
fn reports_aliases_and_networks_that_cannot_be_registered() {
    assert_problems(
        &tunnel(
            "nhs: [{address: 10.0.0.100, nbma: 203.0.113.1}]\nmaps: [{address: 10.0.0.5, nbma: 203.0.113.5}]\n\
             aliases: [10.0.0.1, 10.0.0.100, 10.0.0.5, 10.0.0.11, 10.0.0.11, 10.1.0.1, '2001:db8::1']\n\
             register-prefixes: [10.1.0.1/32, '2001:db8:1::/48']",
        ),
        &[
            "7:15: `aliases`: 10.0.0.1 is this tunnel's own address: expected another node's",
            "7:25: `aliases`: 10.0.0.100 is on line 5 too",
            "7:37: `aliases`: 10.0.0.5 is on line 6 too",
            "7:58: `aliases`: 10.0.0.11 is on line 7 too",
            "7:69: `aliases`: 10.1.0.1 is outside the tunnel's subnet 10.0.0.0/24",
            "7:79: `aliases`: 2001:db8::1 is not of the same IP version as the tunnel's address 10.0.0.1/24",
            "8:25: `register-prefixes`: 10.1.0.1/32 is one host: expected a network, or `aliases`",
            "8:38: `register-prefixes`: 2001:db8:1::/48 is not of the same IP version as the tunnel's address 10.0.0.1/24",
        ],
    );
}

#[test]
fn generic_xdp_does_not_spread() {
    let text = |spread, xdp| format!("spread: {spread}\n{}", tunnel(&format!("xdp: {xdp}")));
    for spread in ["all", "[1]"] {
        assert_problems(
            &text(spread, "generic"),
            &["6:10: `xdp`: generic XDP cannot `spread` over CPUs: expected auto or native"],
        );
        assert_problems(&text(spread, "native"), &[]);
    }
    assert_problems(&text("off", "generic"), &[]);
}
