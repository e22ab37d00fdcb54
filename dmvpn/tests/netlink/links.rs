//! The tunnel interface.

use std::{net::UdpSocket, process::Command, time::Duration};

use dmvpn::netlink::{
    Netlink, interfaces,
    links::{self, TunnelSpec},
    monitor::{Change, LinkState, Monitor},
};

use crate::{
    capture::Capture,
    namespace::{Elsewhere, eventually, in_namespace, ip, run, setting, spec, tunnel, write_setting},
};

#[test]
fn creates_the_pair_with_its_address_and_settings() {
    in_namespace(|netlink| async move {
        let link = tunnel(&netlink, "10.0.0.1/24").await;

        let near = ip("-o -d link show dev dmvpn0");
        for expected in
            ["dmvpn0@dmvpn0-x", "<BROADCAST,MULTICAST,UP,LOWER_UP>", "mtu 1472", "02:d4:ff:ff:ff:ff", "veth"]
        {
            assert!(near.contains(expected), "{expected} in {near}");
        }
        assert!(near.starts_with(&format!("{}:", link.ifindex)), "{near}");
        let far = ip("-o link show dev dmvpn0-x");
        for expected in ["NOARP", "UP,LOWER_UP", "mtu 1472", "02:d4:ff:ff:ff:fe"] {
            assert!(far.contains(expected), "{expected} in {far}");
        }
        assert!(far.starts_with(&format!("{}:", link.far_ifindex)), "{far}");

        assert!(ip("-o -4 address show dev dmvpn0").contains("inet 10.0.0.1/24"));
        assert_eq!(ip("-6 address show dev dmvpn0"), "", "no address nobody asked for");
        assert_eq!(ip("-o address show dev dmvpn0-x"), "");
        assert!(run("ethtool", "-k dmvpn0").contains("generic-receive-offload: on"));
        for (path, value) in [
            ("ipv4/conf/dmvpn0/forwarding", "1"),
            ("ipv4/conf/dmvpn0/send_redirects", "0"),
            ("ipv4/conf/dmvpn0/accept_redirects", "0"),
            ("ipv4/conf/dmvpn0-x/forwarding", "0"),
            ("ipv6/conf/dmvpn0/addr_gen_mode", "1"),
            ("ipv6/conf/dmvpn0/accept_ra", "0"),
            ("ipv6/conf/dmvpn0/autoconf", "0"),
            ("ipv6/conf/dmvpn0-x/disable_ipv6", "1"),
            ("ipv6/conf/dmvpn0-x/addr_gen_mode", "1"),
        ] {
            assert_eq!(setting(path), value, "{path}");
        }
    });
}

#[test]
fn adopts_its_own_pair_without_changing_anything() {
    in_namespace(|netlink| async move {
        let first = tunnel(&netlink, "10.0.0.1/24").await;
        assert!(!first.changes.is_empty());
        let second = tunnel(&netlink, "10.0.0.1/24").await;
        assert_eq!(second.changes, Vec::<String>::new());
        assert_eq!((first.ifindex, first.far_ifindex), (second.ifindex, second.far_ifindex));
    });
}

#[test]
fn adoption_repairs_what_differs_and_interrupts_nothing() {
    in_namespace(|netlink| async move {
        let link = tunnel(&netlink, "10.0.0.1/24").await;
        ip("link set dmvpn0 mtu 1400");
        ip("link set dmvpn0-x address 02:00:00:00:00:01");
        ip("link set dmvpn0-x arp on");
        run("ethtool", "-K dmvpn0 gro off");
        write_setting("ipv4/conf/dmvpn0/forwarding", "0");
        let mut monitor = Monitor::open().unwrap();

        let adopted = tunnel(&netlink, "10.0.0.1/24").await;
        assert_eq!(adopted.changes.len(), 5, "{:?}", adopted.changes);
        assert!(ip("-o link show dev dmvpn0").contains("mtu 1472"));
        let far = ip("-o link show dev dmvpn0-x");
        assert!(far.contains("02:d4:ff:ff:ff:fe") && far.contains("NOARP"), "{far}");
        assert!(run("ethtool", "-k dmvpn0").contains("generic-receive-offload: on"));
        assert_eq!(setting("ipv4/conf/dmvpn0/forwarding"), "1");

        while let Ok(batch) = tokio::time::timeout(Duration::from_millis(300), monitor.next()).await {
            for change in batch.unwrap() {
                assert!(!matches!(change, Change::Address { .. } | Change::Everything), "{change:?}");
                if let Change::Link { ifindex, state, .. } = change {
                    assert_eq!(
                        state,
                        LinkState::Up,
                        "interface {ifindex}, the tunnel being {}",
                        link.ifindex
                    );
                }
            }
        }
    });
}

#[test]
fn a_pair_that_was_down_comes_up() {
    in_namespace(|netlink| async move {
        tunnel(&netlink, "10.0.0.1/24").await;
        ip("link set dmvpn0 down");
        ip("link set dmvpn0-x down");
        let changes = tunnel(&netlink, "10.0.0.1/24").await.changes;
        assert_eq!(changes, ["dmvpn0-x: up", "dmvpn0: up"]);
        assert!(ip("-o link show dev dmvpn0").contains("UP,LOWER_UP"));
    });
}

#[test]
fn the_far_end_takes_whatever_the_tunnel_interface_sends() {
    in_namespace(|netlink| async move {
        for (wanted, far) in [(1400, 1400), (9000, 9000), (1472, 9000)] {
            links::create_or_adopt(&netlink, &TunnelSpec { mtu: wanted, ..spec("10.0.0.1/24") })
                .await
                .unwrap();
            assert_eq!((mtu(&netlink, "dmvpn0").await, mtu(&netlink, "dmvpn0-x").await), (wanted, far));
        }
    });
}

async fn mtu(netlink: &Netlink, name: &str) -> u32 {
    interfaces::by_name(netlink, name).await.unwrap().unwrap().mtu
}

#[test]
fn refuses_an_interface_that_is_not_ours() {
    in_namespace(|netlink| async move {
        for (setup, expected) in [
            ("link add dmvpn0 type bridge", "bridge"),
            ("link add dmvpn0 type veth peer name other", "other end is not dmvpn0-x"),
            ("link add dmvpn0-x type bridge", "dmvpn0-x, the name of its far end, is taken"),
        ] {
            ip(setup);
            let before = ip("-o link");
            let error = links::create_or_adopt(&netlink, &spec("10.0.0.1/24")).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            let error = links::delete_tunnel(&netlink, "dmvpn0").await.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(ip("-o link"), before, "left as it was");
            let name = setup.split_whitespace().nth(2).unwrap();
            ip(&format!("link delete {name}"));
        }
        let long = TunnelSpec { name: "fourteen-chars".to_owned(), ..spec("10.0.0.1/24") };
        let error = links::create_or_adopt(&netlink, &long).await.unwrap_err().to_string();
        assert!(error.contains("longer than 13 bytes"), "{error}");
    });
}

#[test]
fn a_new_configured_address_replaces_ours_and_leaves_the_operators() {
    in_namespace(|netlink| async move {
        tunnel(&netlink, "10.0.0.1/24").await;
        ip("address add 172.16.0.1/24 dev dmvpn0");
        let link = tunnel(&netlink, "10.0.0.2/24").await;
        let addresses = ip("-o -4 address show dev dmvpn0");
        assert!(addresses.contains("10.0.0.2/24") && addresses.contains("172.16.0.1/24"), "{addresses}");
        assert!(!addresses.contains("10.0.0.1/"), "{addresses}");
        assert!(link.advice.iter().any(|line| line.contains("172.16.0.1/24")), "{:?}", link.advice);

        // Another subnet length is another address to the kernel, but not to the operator.
        tunnel(&netlink, "10.0.0.2/32").await;
        let addresses = ip("-o -4 address show dev dmvpn0");
        assert!(addresses.contains("10.0.0.2/32") && !addresses.contains("10.0.0.2/24"), "{addresses}");
    });
}

#[test]
fn advises_on_settings_of_the_whole_box() {
    in_namespace(|netlink| async move {
        write_setting("ipv4/conf/all/send_redirects", "1");
        let advice = tunnel(&netlink, "10.0.0.1/24").await.advice;
        assert!(advice.iter().any(|line| line.contains("net.ipv4.ip_forward=1")), "{advice:?}");
        assert!(advice.iter().any(|line| line.contains("net.ipv4.conf.all.send_redirects=0")), "{advice:?}");
        write_setting("ipv4/ip_forward", "1");
        write_setting("ipv4/conf/all/send_redirects", "0");
        assert_eq!(tunnel(&netlink, "10.0.0.1/24").await.advice, Vec::<String>::new());
    });
}

#[test]
fn deletes_the_pair_once() {
    in_namespace(|netlink| async move {
        tunnel(&netlink, "10.0.0.1/24").await;
        assert!(links::delete_tunnel(&netlink, "dmvpn0").await.unwrap());
        assert!(!ip("-o link").contains("dmvpn0"));
        assert!(!links::delete_tunnel(&netlink, "dmvpn0").await.unwrap());
    });
}

#[test]
fn an_ipv6_tunnel_has_its_address_without_a_probe_and_a_link_local_of_its_own() {
    in_namespace(|netlink| async move {
        tunnel(&netlink, "2001:db8::a:1/64").await;
        let addresses = ip("-o -6 address show dev dmvpn0");
        assert!(addresses.contains("inet6 2001:db8::a:1/64"), "{addresses}");
        assert!(addresses.contains("inet6 fe80::7/64 scope link"), "{addresses}");
        assert!(!addresses.contains("tentative"), "{addresses}");
        eventually("the address can be used", || UdpSocket::bind("[2001:db8::a:1]:0").is_ok()).await;
        assert_eq!(tunnel(&netlink, "2001:db8::a:1/64").await.changes, Vec::<String>::new());
        // Another one takes its place.
        let other = TunnelSpec { link_local: Some("fe80::8".parse().unwrap()), ..spec("2001:db8::a:1/64") };
        links::create_or_adopt(&netlink, &other).await.unwrap();
        let addresses = ip("-o -6 address show dev dmvpn0 scope link");
        assert!(addresses.contains("fe80::8/64") && !addresses.contains("fe80::7"), "{addresses}");
    });
}

/// Why there is a link-local address: without one the kernel asks for no next hop of a forwarded packet.
#[test]
fn an_ipv6_packet_to_forward_makes_the_kernel_ask_for_its_next_hop() {
    in_namespace(|netlink| async move {
        let link = tunnel(&netlink, "2001:db8::1/64").await;
        write_setting("ipv6/conf/all/forwarding", "1");
        ip("route add 2001:db8:2::/64 via 2001:db8::5");
        // A LAN whose only host is a namespace of its own.
        let lan = Elsewhere::new();
        ip(&format!("link add lan0 type veth peer name host0 netns {}", lan.path()));
        ip("address add 2001:db8:1::1/64 dev lan0 nodad");
        ip("link set lan0 up");
        lan.ip("address add 2001:db8:1::2/64 dev host0 nodad");
        lan.ip("link set host0 up");
        lan.ip("route add default via 2001:db8:1::1");
        let capture = Capture::on(link.far_ifindex);
        lan.run(|| {
            let sender = UdpSocket::bind("[::]:0").unwrap();
            sender.send_to(b"forward me", "[2001:db8:2::9]:9").unwrap();
        });
        // ICMPv6 type 135, target 2001:db8::5, from our link-local address.
        let solicitation = capture
            .frame("a neighbour solicitation", |frame| {
                frame.get(12..14) == Some(&[0x86, 0xdd]) && frame.get(54) == Some(&135)
            })
            .await;
        assert_eq!(solicitation[22..24], [0xfe, 0x80]);
        assert_eq!(solicitation[62..78], "2001:db8::5".parse::<std::net::Ipv6Addr>().unwrap().octets());
    });
}

#[test]
fn finds_who_has_an_address() {
    in_namespace(|netlink| async move {
        ip("link add eth0 type veth peer name eth1");
        ip("address add 192.0.2.10/24 dev eth0");
        let owner =
            interfaces::address_owner(&netlink, "192.0.2.10".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(owner.name, "eth0");
        assert_eq!(interfaces::address_owner(&netlink, "192.0.2.11".parse().unwrap()).await.unwrap(), None);
        let all = interfaces::addresses(&netlink, None).await.unwrap();
        let all: Vec<_> = all.iter().map(|entry| entry.address.to_string()).collect();
        assert_eq!(all, ["127.0.0.1/8", "192.0.2.10/24", "::1/128"]);
        let names: Vec<_> =
            interfaces::list(&netlink).await.unwrap().into_iter().map(|found| found.name).collect();
        assert_eq!(names, ["lo", "eth1", "eth0"]);
        assert_eq!(interfaces::by_name(&netlink, "nosuch0").await.unwrap(), None);
        assert_eq!(interfaces::by_index(&netlink, 4711).await.unwrap(), None);
    });
}

#[test]
fn says_which_capability_is_missing() {
    const WITHOUT: &str = "DMVPN_TEST_WITHOUT_CAPABILITY";
    if std::env::var_os(WITHOUT).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let created = runtime.block_on(async {
            let netlink = Netlink::open().unwrap();
            links::create_or_adopt(&netlink, &spec("10.0.0.1/24")).await
        });
        println!("error: {}", created.unwrap_err());
        return;
    }
    // The same test again, in a process without capabilities.
    in_namespace(|_| async {
        let output = Command::new("setpriv")
            .args(["--inh-caps=-all", "--bounding-set=-all"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "links::says_which_capability_is_missing", "--nocapture"])
            .env(WITHOUT, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            text.contains("error: create veth pair dmvpn0 and dmvpn0-x: Operation not permitted"),
            "{output:?}"
        );
        assert!(text.contains("CAP_NET_ADMIN"), "{text}");
    });
}
