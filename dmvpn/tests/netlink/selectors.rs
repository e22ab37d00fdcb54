//! What decides on routes beside the destination.

use dmvpn::netlink::{
    lookup::Lookup,
    selectors::{Selectors, of_rules},
};

use crate::namespace::{in_namespace, ip, write_setting};

const NOTHING: Selectors = Selectors { source: false, class: false, unseen: false };
const SOURCE: Selectors = Selectors { source: true, ..NOTHING };
const CLASS: Selectors = Selectors { class: true, ..NOTHING };
const UNSEEN: Selectors = Selectors { unseen: true, ..NOTHING };

#[test]
fn rules_select_by_source_class_or_what_nobody_sees() {
    in_namespace(|netlink| async move {
        assert_eq!(of_rules(&netlink).await.unwrap(), NOTHING, "the kernel's own rules");
        for (rule, expected) in [
            ("from 192.0.2.0/24", SOURCE),
            ("not from 192.0.2.0/24", SOURCE),
            ("from 192.0.2.0/24 dsfield 0x10", SOURCE | CLASS),
            ("dsfield 0x10", CLASS),
            ("ipproto udp", CLASS),
            ("ipproto tcp dport 80", CLASS | UNSEEN),
            ("sport 1000-2000", UNSEEN),
            ("fwmark 7", UNSEEN),
            ("not fwmark 0xca6c", UNSEEN),
            ("to 192.0.2.0/24", NOTHING),
            ("iif lo", NOTHING),
            ("iif eth0", NOTHING),
            ("oif eth0", NOTHING),
            ("uidrange 1000-2000", NOTHING),
            ("suppress_prefixlength 0", NOTHING),
        ] {
            for family in ["-4", "-6"] {
                let rule = match family {
                    "-6" => rule.replace("192.0.2.0/24", "2001:db8::/64"),
                    _ => rule.to_owned(),
                };
                ip(&format!("{family} rule add {rule} lookup 100 priority 77"));
                assert_eq!(of_rules(&netlink).await.unwrap(), expected, "{family} {rule}");
                ip(&format!("{family} rule delete priority 77"));
            }
        }
        assert_eq!(of_rules(&netlink).await.unwrap(), NOTHING);
    });
}

#[test]
fn routes_depend_on_the_source_where_they_say_so_or_have_several_next_hops() {
    in_namespace(|_| async move {
        ip("link add eth0 type veth peer name eth1");
        ip("link set eth1 up");
        ip("address add 192.0.2.10/24 dev eth0");
        ip("address add 2001:db8::10/64 dev eth0 nodad");
        ip("link set eth0 up");
        ip("nexthop add id 1 via 192.0.2.1 dev eth0");
        ip("nexthop add id 2 via 192.0.2.2 dev eth0");
        ip("nexthop add id 3 group 1/2");
        let lookup = Lookup::open().unwrap();
        let found = || lookup.selectors_of_routes().unwrap();
        assert_eq!(found(), NOTHING);
        for (route, expected) in [
            ("198.51.100.0/24 via 192.0.2.1", NOTHING),
            ("198.51.100.0/24 via 192.0.2.1 src 192.0.2.10", NOTHING),
            ("198.51.100.0/24 tos 0x10 via 192.0.2.1", CLASS),
            ("198.51.100.0/24 nexthop via 192.0.2.1 nexthop via 192.0.2.2", SOURCE),
            ("198.51.100.0/24 nhid 1", NOTHING),
            ("198.51.100.0/24 nhid 3", SOURCE),
            ("198.51.100.0/24 nhid 3 table 1000", SOURCE),
            ("2001:db8:1::/64 via 2001:db8::1", NOTHING),
            ("2001:db8:1::/64 from 2001:db8:9::/64 via 2001:db8::1", SOURCE),
            ("2001:db8:1::/64 nexthop via 2001:db8::1 nexthop via 2001:db8::2", SOURCE),
        ] {
            ip(&format!("route add {route}"));
            assert_eq!(found(), expected, "{route}");
            ip(&format!("route delete {route}"));
        }
        assert_eq!(found(), NOTHING);
        // Without particulars, a nexthop object may be a group.
        write_setting("ipv4/nexthop_compat_mode", "0");
        ip("route add 198.51.100.0/24 nhid 1");
        assert_eq!(found(), SOURCE);
    });
}
