//! Keys and single values.

use std::fmt::Write;

use super::{assert_problems, tunnel};

#[test]
fn reports_unknown_keys_with_the_accepted_ones() {
    let accepted = "name, address, link-local, source, key, network-id, phase, redirect, shortcut, authentication, \
                    holding-time, registration-interval, unique, mtu, mss-clamp, xdp, accept, ttl, tos, df, fast-path, \
                    accelerate, check-source, negative-time, \
                    redirect-interval, answer-for-clients, aliases, register-prefixes, purge-on-expiry, summaries, allow, allow-prefixes, nhs-refresh, nhs-fallback, nhs, \
                    nhs-clusters, multicast, maps, routes, groups, limits";
    assert_problems(
        &tunnel("holdtime: 5\nNetwork_ID: 5\nmut: 5\nqos: 5"),
        &[
            &format!("5:5: unknown key `holdtime` (accepted: {accepted})"),
            &format!("6:5: unknown key `Network_ID`, did you mean `network-id`? (accepted: {accepted})"),
            &format!("7:5: unknown key `mut`, did you mean `mtu`? (accepted: {accepted})"),
            &format!("8:5: unknown key `qos`, did you mean `tos`? (accepted: {accepted})"),
        ],
    );
    assert_problems(
        &format!("tunnel: []\n{}", tunnel("nhs:\n  - address: 10.0.0.9\n    nmba: 203.0.113.1")),
        &[
            "1:1: unknown key `tunnel`, did you mean `tunnels`? (accepted: control-socket, pin-directory, \
             state-directory, max-peers, spread, \
             tunnels)",
            "7:9: missing key `nbma`: expected the server's address outside the tunnel, or its host name",
            "8:9: unknown key `nmba`, did you mean `nbma`? (accepted: address, nbma, priority, cluster)",
        ],
    );
}

#[test]
fn reports_duplicate_keys() {
    assert_problems(&tunnel("key: 1\nkey: 2"), &["6:5: duplicate key `key`: it is on line 5 too"]);
}

#[test]
fn reports_missing_keys() {
    assert_problems(
        "tunnels:\n  - key: 1\n    nhs: [{}]\n    routes:\n      - via: 10.0.0.2\n",
        &[
            "2:5: missing key `address`: expected our address in the tunnel with its prefix length, as in 10.0.0.1/24",
            "2:5: missing key `name`: expected an interface name of 1 to 13 letters, digits, `-`, `_` or `.`",
            "2:5: missing key `source`: expected an address of this box or the name of an interface",
            "3:11: missing key `address`: expected the server's address in the tunnel, or `dynamic`",
            "3:11: missing key `nbma`: expected the server's address outside the tunnel, or its host name",
            "5:9: missing key `prefix`: expected a prefix without host bits, as in 192.168.2.0/24",
        ],
    );
}

#[test]
fn reports_values_of_another_shape() {
    assert_problems(
        &tunnel(
            "key:\nmtu: [1400]\nttl: {a: b}\nnhs: 10.0.0.1\nmaps:\n  - 10.0.0.1\nauthentication: [x]\n\
             allow: 10.0.0.0/8\nallow-prefixes: [~, [x], {}]\nmulticast: all\nlimits: []",
        ),
        &[
            "5:5: `key` has no value: expected a number from 0 to 4294967295",
            "6:10: `mtu`: a list is not accepted: expected bytes from 68 to 65535",
            "7:10: `ttl`: a mapping is not accepted: expected a number from 1 to 255",
            "8:10: `nhs`: expected a list (lines with `- `)",
            "10:9: expected a mapping with the keys of a mapping (`address`, `nbma`)",
            "11:21: `authentication`: a list is not accepted: expected 1 to 8 bytes",
            "12:12: `allow`: expected a list (lines with `- `)",
            "13:22: `allow-prefixes`: nothing is not accepted: expected a prefix without host bits, as in 192.168.2.0/24",
            "13:25: `allow-prefixes`: a list is not accepted: expected a prefix without host bits, as in 192.168.2.0/24",
            "13:30: `allow-prefixes`: a mapping is not accepted: expected a prefix without host bits, as in 192.168.2.0/24",
            "14:16: expected a mapping with the keys of `multicast` (`clients`, `servers`, `to`)",
            "15:13: expected a mapping with the keys of `limits` (`registrations-per-nbma`, ...)",
        ],
    );
}

#[test]
fn reports_each_value_that_is_not_accepted() {
    let name = "an interface name of 1 to 13 letters, digits, `-`, `_` or `.`";
    let address = "our address in the tunnel with its prefix length, as in 10.0.0.1/24";
    let source = "an address of this box or the name of an interface";
    let server = "the server's address in the tunnel, or `dynamic`";
    let number = "a number from 0 to 4294967295";
    let nbma = "the address the peer is reached at outside the tunnel";
    let host = "the server's address outside the tunnel, or its host name";
    for (key, expected, values) in [
        ("name", name, &["abcdefghijklmn", "a/b", "a b", "a%d", "all", "lo", "..", "ä"][..]),
        ("address", address, &["10.0.0.1", "10.0.0.300/24", "10.0.0.1/33", "224.0.0.1/24", "0.0.0.0/0"]),
        ("address", address, &["127.0.0.1/8", "fe80::1/64", "2001:db8::1", "::ffff:10.0.0.1/120"]),
        ("source", source, &["192.0.2.300", "0.0.0.0", "224.0.0.1", "255.255.255.255", "fe80::1", "eth0/1"]),
        ("source", source, &["abcdefghijklmnop", "eth0:1", "a b"]),
        ("key", number, &["-1", "+1", "4294967296", "0x2a", "042", "4_2", "1.0", "a"]),
        ("network-id", "a number from 1 to 4294967295", &["0", "4294967296"]),
        ("phase", "1, 2 or 3", &["0", "4", "two"]),
        ("redirect", "true or false", &["yes", "True", "1"]),
        ("shortcut", "true or false", &["no"]),
        ("unique", "true or false", &["off"]),
        ("holding-time", "seconds from 1 to 65535", &["0", "65536", "1h"]),
        ("registration-interval", "seconds from 1 to 65535", &["0", "65536"]),
        ("mtu", "bytes from 68 to 65535", &["67", "65536", "auto"]),
        ("mss-clamp", "auto, off, or bytes from 128 to 65535", &["127", "65536", "on", "-1"]),
        ("xdp", "auto, native or generic", &["driver", "Native"]),
        ("accept", "known or any", &["all"]),
        ("ttl", "a number from 1 to 255", &["0", "256"]),
        ("tos", "inherit, or a DSCP from 0 to 63", &["64", "-1", "0xb8", "copy"]),
        ("df", "copy, set or clear", &["true", "1"]),
        ("fast-path", "off, hairpin or full", &["on", "false"]),
        ("check-source", "true or false", &["strict"]),
        ("negative-time", "seconds from 1 to 65535", &["0"]),
        ("redirect-interval", "seconds from 1 to 65535", &["0"]),
        ("nhs-fallback", "seconds from 0 to 65535", &["-1", "65536"]),
        ("answer-for-clients", "true or false", &["on"]),
        ("purge-on-expiry", "true or false", &["never"]),
        ("nhs priority", "a number from 0 to 255", &["-1", "256"]),
        ("nhs cluster", "a number from 0 to 255", &["x"]),
        ("nhs-clusters cluster", "a number from 0 to 255", &["256"]),
        ("nhs-clusters max-connections", "a number from 0 to 255", &["256"]),
        ("nhs address", server, &["10.0.0.0/24", "Dynamic", "hub.example.com", "127.0.0.1"]),
        (
            "nhs nbma",
            host,
            &["0.0.0.0", "224.0.0.5", "203.0.113.300", "203.0.113", "42", "fe80::1", "a b", "a/b"],
        ),
        (
            "nhs nbma",
            host,
            &["hub_1.example.net", "-hub.example.net", "hub-.example.net", "a..b", ".", ".a", "ä.de"],
        ),
        ("nhs-refresh", "seconds from 1 to 65535", &["0"]),
        ("maps address", "the peer's address in the tunnel", &["dynamic", "10.0.0.5/32", "127.0.0.1"]),
        ("maps nbma", nbma, &["fe80::5"]),
        (
            "routes prefix",
            "a prefix without host bits, as in 192.168.2.0/24",
            &["192.168.2.1/24", "192.168.2.0"],
        ),
        ("routes via", "an address in the tunnel", &["dmvpn0", "10.0.0.0/24"]),
    ] {
        for value in values {
            let mut lines = [
                ("name", "dmvpn0"),
                ("address", "10.0.0.1/24"),
                ("source", "192.0.2.10"),
                ("nhs address", "10.0.0.9"),
                ("nhs nbma", "203.0.113.1"),
                ("maps address", "10.0.0.5"),
                ("maps nbma", "203.0.113.5"),
                ("routes prefix", "192.168.2.0/24"),
                ("routes via", "10.0.0.9"),
                ("nhs-clusters cluster", "0"),
                ("nhs-clusters max-connections", "1"),
            ]
            .to_vec();
            lines.retain(|(other, _)| *other != key);
            lines.push((key, value));
            let mut text = "tunnels: [{".to_owned();
            for list in ["nhs", "nhs-clusters", "maps", "routes"] {
                let entries: Vec<String> = lines
                    .iter()
                    .filter_map(|(key, value)| Some((key.strip_prefix(list)?.strip_prefix(' ')?, value)))
                    .map(|(key, value)| format!("{key}: '{value}'"))
                    .collect();
                write!(text, "{list}: [{{{}}}], ", entries.join(", ")).unwrap();
            }
            for (key, value) in lines.iter().filter(|(key, _)| !key.contains(' ')) {
                write!(text, "{key}: '{value}', ").unwrap();
            }
            text.push_str("}]\n");
            let word = key.rsplit(' ').next().unwrap();
            let column = text.find(&format!("{word}: '{value}'")).unwrap() + word.len() + 3;
            let message = format!("1:{column}: `{word}`: `{value}` is not accepted: expected {expected}");
            assert_problems(&text, &[&message]);
        }
    }
}

#[test]
fn reports_each_value_of_a_part_that_is_not_accepted() {
    assert_problems(
        &tunnel(
            "multicast:\n  clients: yes\n  servers: some\n  to: [224.0.0.5]\nlimits:\n  shortcuts: 0\n  \
             requesters: 1048577\n  packets: 1",
        ),
        &[
            "6:16: `clients`: `yes` is not accepted: expected true or false",
            "7:16: `servers`: `some` is not accepted: expected all, active or none",
            "8:12: `to`: `224.0.0.5` is not accepted: expected the address the peer is reached at outside the tunnel",
            "10:18: `shortcuts`: `0` is not accepted: expected a number from 1 to 1048576",
            "11:19: `requesters`: `1048577` is not accepted: expected a number from 1 to 1048576",
            "12:7: unknown key `packets` (accepted: registrations-per-nbma, pending-resolutions, shortcuts, requesters, \
             requesters-per-nbma, \
             packets-per-source, packets-total, slow-path-packets)",
        ],
    );
}

#[test]
fn reports_each_top_level_value_that_is_not_accepted() {
    let tunnels = tunnel("");
    let long = format!("/{}", "a".repeat(107));
    assert_problems(
        &format!(
            "control-socket: {long}\npin-directory: dmvpn\nmax-peers: 1048577\nstate-directory: .\n{tunnels}"
        ),
        &[
            &format!(
                "1:17: `control-socket`: `{long}` is not accepted: expected an absolute path of at most 107 bytes"
            ),
            "2:16: `pin-directory`: `dmvpn` is not accepted: expected an absolute path in a BPF file system",
            "3:12: `max-peers`: `1048577` is not accepted: expected a number from 1 to 1048576",
            "4:18: `state-directory`: `.` is not accepted: expected an absolute path",
        ],
    );
    assert_problems(
        &format!("control-socket: run/x\nmax-peers: 0\n{tunnels}"),
        &[
            "1:17: `control-socket`: `run/x` is not accepted: expected an absolute path of at most 107 bytes",
            "2:12: `max-peers`: `0` is not accepted: expected a number from 1 to 1048576",
        ],
    );
}

#[test]
fn reports_cpus_that_are_none() {
    let tunnels = tunnel("");
    for (spread, problem) in [
        ("on", "1:9: `spread`: `on` is not accepted: expected off, all, or a list of CPUs"),
        ("2", "1:9: `spread`: `2` is not accepted: expected off, all, or a list of CPUs"),
        ("{}", "1:9: `spread`: a mapping is not accepted: expected off, all, or a list of CPUs"),
        ("", "1:1: `spread` has no value: expected off, all, or a list of CPUs"),
        ("[]", "1:1: no `spread`: expected a list with at least one CPU"),
        ("[0, 0-3]", "1:13: `spread`: `0-3` is not accepted: expected the number of a CPU"),
        ("[0, 8192]", "1:13: `spread`: `8192` is not accepted: expected the number of a CPU"),
        ("[1, 0, 1]", "1:16: `spread`: CPU 1 is on line 1 too"),
    ] {
        assert_problems(&format!("spread: {spread}\n{tunnels}"), &[problem]);
    }
}

#[test]
fn never_prints_a_secret() {
    assert_problems(
        &tunnel("authentication: hunter2hunter2"),
        &["5:21: `authentication`: this value is not accepted: expected 1 to 8 bytes"],
    );
    assert_problems(
        &tunnel("authentication: ''"),
        &["5:21: `authentication`: this value is not accepted: expected 1 to 8 bytes"],
    );
}
