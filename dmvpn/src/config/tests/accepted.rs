//! What a file may say, and what it means.

use std::{path::Path, time::Duration};

use super::{assert_problems, tunnel};
use crate::config::{
    Accept, Config, Df, FastPath, HIDDEN_SECRET, Limits, MssClamp, Multicast, MulticastServers, Nhs,
    NhsAddress, NhsCluster, NhsNbma, Phase, Source, Spread, StaticMap, StaticRoute, Tos, XdpMode,
};

#[test]
fn fills_in_defaults() {
    let config = Config::parse(tunnel("").as_bytes()).unwrap();
    assert_eq!(config.control_socket, Path::new("/run/dmvpn/control.sock"));
    assert_eq!(config.pin_directory, Path::new("/sys/fs/bpf/dmvpn"));
    assert_eq!(config.state_directory, Path::new("/var/lib/dmvpn"));
    assert_eq!(config.max_peers, 16384);
    let [tunnel] = config.tunnels.as_slice() else { panic!("one tunnel") };
    assert_eq!(tunnel.name, "dmvpn0");
    assert_eq!(tunnel.address, "10.0.0.1/24".parse().unwrap());
    assert_eq!(tunnel.source, Source::Address("192.0.2.10".parse().unwrap()));
    assert_eq!((tunnel.key, tunnel.network_id, tunnel.phase), (None, 1, Phase::Three));
    assert!(tunnel.redirect && tunnel.shortcut && tunnel.unique);
    assert!(tunnel.authentication.is_none());
    assert_eq!(tunnel.holding_time, Duration::from_hours(2));
    assert_eq!(tunnel.registration_interval, Duration::from_mins(40));
    assert_eq!((tunnel.mtu, tunnel.ttl), (None, 255));
    assert_eq!((tunnel.xdp, tunnel.accept), (XdpMode::Auto, Accept::Known));
    assert!(tunnel.nhs.is_empty() && tunnel.maps.is_empty() && tunnel.routes.is_empty());
    assert!(tunnel.nhs_clusters.is_empty() && tunnel.allow.is_empty() && tunnel.allow_prefixes.is_empty());
    assert!(tunnel.purge_on_expiry && tunnel.summaries.is_empty());
    assert!(tunnel.aliases.is_empty() && tunnel.register_prefixes.is_empty());
    assert_eq!((tunnel.negative_time, tunnel.nhs_fallback), (Duration::from_mins(1), Duration::ZERO));
    assert_eq!((tunnel.redirect_interval, tunnel.answer_for_clients), (Duration::from_secs(8), false));
    let multicast = Multicast { clients: true, servers: MulticastServers::All, to: Vec::new() };
    assert_eq!((&tunnel.multicast, tunnel.limits), (&multicast, Limits::default()));
}

/// Every key there is, with another value than by default.
const EVERY_KEY: &str = "\
control-socket: /run/a.sock
pin-directory: /sys/fs/bpf/a
state-directory: /var/lib/a
max-peers: 100
tunnels:
  - name: blue
    address: 2001:db8::1/64
    link-local: fe80::a
    source: eth0.7
    key: 0
    network-id: 7
    phase: 2
    redirect: true
    shortcut: true
    authentication: 0042
    holding-time: 60
    registration-interval: 59
    unique: false
    mtu: 1400
    mss-clamp: 1300
    xdp: native
    accept: any
    ttl: 64
    tos: 46
    df: copy
    fast-path: hairpin
    accelerate: [eth1, eth2.5]
    check-source: true
    negative-time: 10
    redirect-interval: 1
    answer-for-clients: true
    aliases: ['2001:db8::11']
    register-prefixes: ['2001:db8:4::/48']
    purge-on-expiry: false
    summaries: ['2001:db8:3::/48']
    allow: ['2001:db8:1::/48']
    allow-prefixes: ['2001:db8:2::/48', '::/0']
    nhs:
      - {address: '2001:db8::64', nbma: 203.0.113.1, priority: 255, cluster: 7}
      - {address: dynamic, nbma: hub.example.net}
    nhs-clusters: [{cluster: 7, max-connections: 0}]
    nhs-refresh: 60
    nhs-fallback: 60
    multicast: {clients: false, servers: active, to: [203.0.113.9]}
    limits:
      registrations-per-nbma: 1
      pending-resolutions: 2
      shortcuts: 3
      requesters: 4
      requesters-per-nbma: 6
      packets-per-source: 5
      packets-total: 1048576
      slow-path-packets: 7
    maps:
      - {address: '2001:db8::5', nbma: 203.0.113.5}
    routes:
      - {prefix: '::/0', via: '2001:db8::64'}
    groups:
      - {name: small, rate: 10mbit, members: ['2001:db8::5/128', '2001:db8::8/125']}
      - {name: tiny, rate: 64kbit, burst: 3000}
";

#[test]
fn takes_every_key() {
    let config = Config::parse(EVERY_KEY.as_bytes()).unwrap();
    let tunnel = &config.tunnels[0];
    assert_eq!((config.control_socket.as_path(), config.max_peers), (Path::new("/run/a.sock"), 100));
    assert_eq!(tunnel.link_local, Some("fe80::a".parse().unwrap()));
    assert_eq!(tunnel.source, Source::Interface("eth0.7".into()));
    assert_eq!((tunnel.key, tunnel.network_id, tunnel.phase), (Some(0), 7, Phase::Two));
    assert!(tunnel.redirect && tunnel.shortcut && !tunnel.unique);
    // Text, not the number 42 or 34 that YAML might see.
    assert!(tunnel.authentication.as_ref().unwrap().matches(b"0042"));
    assert_eq!(tunnel.holding_time, Duration::from_mins(1));
    assert_eq!(tunnel.registration_interval, Duration::from_secs(59));
    assert_eq!((tunnel.mtu, tunnel.ttl), (Some(1400), 64));
    assert_eq!(tunnel.mss_clamp, MssClamp::AtMost(1300));
    let groups: Vec<_> =
        tunnel.groups.iter().map(|group| (group.name.as_str(), group.rate, group.burst)).collect();
    assert_eq!(groups, [("small", 10_000_000, 125_000), ("tiny", 64_000, 3000)]);
    assert_eq!(tunnel.groups[0].members.len(), 2);
    assert_eq!((tunnel.xdp, tunnel.accept), (XdpMode::Native, Accept::Any));
    assert_eq!((tunnel.tos, tunnel.df, tunnel.fast_path), (Tos::Dscp(46), Df::Copy, FastPath::Hairpin));
    assert_eq!((&tunnel.accelerate[..], tunnel.check_source), (&["eth1".into(), "eth2.5".into()][..], true));
    let server = "2001:db8::64".parse().unwrap();
    assert_eq!(
        tunnel.nhs,
        [
            Nhs {
                address: NhsAddress::Fixed(server),
                nbma: NhsNbma::Address("203.0.113.1".parse().unwrap()),
                priority: 255,
                cluster: 7,
            },
            Nhs {
                address: NhsAddress::Dynamic,
                nbma: NhsNbma::Name("hub.example.net".into()),
                priority: 0,
                cluster: 0,
            },
        ]
    );
    assert_eq!(tunnel.nhs_clusters, [NhsCluster { cluster: 7, max_connections: 0 }]);
    assert_eq!((tunnel.nhs_fallback, tunnel.nhs_refresh), (Duration::from_mins(1), Duration::from_mins(1)));
    assert_eq!(tunnel.negative_time, Duration::from_secs(10));
    assert_eq!((tunnel.redirect_interval, tunnel.answer_for_clients), (Duration::from_secs(1), true));
    assert!(!tunnel.purge_on_expiry);
    assert_eq!(tunnel.aliases, ["2001:db8::11".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(tunnel.register_prefixes, ["2001:db8:4::/48".parse().unwrap()]);
    assert_eq!(tunnel.summaries, ["2001:db8:3::/48".parse().unwrap()]);
    assert_eq!(tunnel.allow, ["2001:db8:1::/48".parse().unwrap()]);
    assert_eq!(tunnel.allow_prefixes, ["2001:db8:2::/48".parse().unwrap(), "::/0".parse().unwrap()]);
    let to = vec!["203.0.113.9".parse().unwrap()];
    assert_eq!(tunnel.multicast, Multicast { clients: false, servers: MulticastServers::Active, to });
    let limits = Limits {
        registrations_per_nbma: 1,
        pending_resolutions: 2,
        shortcuts: 3,
        requesters: 4,
        requesters_per_nbma: 6,
        packets_per_source: 5,
        packets_total: 1_048_576,
        slow_path_packets: 7,
    };
    assert_eq!(tunnel.limits, limits);
    let map = StaticMap { address: "2001:db8::5".parse().unwrap(), nbma: "203.0.113.5".parse().unwrap() };
    assert_eq!(tunnel.maps, [map]);
    assert_eq!(tunnel.routes, [StaticRoute { prefix: "::/0".parse().unwrap(), via: server }]);
}

#[test]
fn the_effective_view_of_every_key_means_the_same() {
    for text in [EVERY_KEY.to_owned(), tunnel("")] {
        let view = serde_yaml::to_string(&Config::parse(text.as_bytes()).unwrap()).unwrap();
        let completed = view.replace(HIDDEN_SECRET, "secret");
        let again = Config::parse(completed.as_bytes()).unwrap();
        assert_eq!(serde_yaml::to_string(&again).unwrap(), view);
    }
}

#[test]
fn phase_decides_redirect_and_shortcut_unless_told() {
    for (lines, redirect, shortcut) in [
        ("phase: 1", false, false),
        ("phase: 2", false, false),
        ("phase: 3", true, true),
        ("phase: 3\nredirect: false", false, true),
        ("phase: 2\nshortcut: true", false, true),
    ] {
        let config = Config::parse(tunnel(lines).as_bytes()).unwrap();
        assert_eq!((config.tunnels[0].redirect, config.tunnels[0].shortcut), (redirect, shortcut), "{lines}");
    }
}

#[test]
fn registers_three_times_a_holding_time_by_default() {
    for (holding_time, interval) in
        [(7200, Duration::from_mins(40)), (100, Duration::from_secs(33)), (1, Duration::from_secs(1))]
    {
        let config = Config::parse(tunnel(&format!("holding-time: {holding_time}")).as_bytes()).unwrap();
        assert_eq!(config.tunnels[0].registration_interval, interval, "{holding_time}");
    }
}

#[test]
fn effective_view_has_every_default_and_no_secret() {
    let config = Config::parse(tunnel("authentication: s3cret").as_bytes()).unwrap();
    let view = serde_yaml::to_string(&config).unwrap();
    assert_eq!(
        view,
        "\
control-socket: /run/dmvpn/control.sock
pin-directory: /sys/fs/bpf/dmvpn
state-directory: /var/lib/dmvpn
max-peers: 16384
spread: off
tunnels:
- name: dmvpn0
  address: 10.0.0.1/24
  source: 192.0.2.10
  network-id: 1
  phase: 3
  redirect: true
  shortcut: true
  authentication: '(hidden: put the secret here)'
  holding-time: 7200
  registration-interval: 2400
  unique: true
  mss-clamp: auto
  xdp: auto
  accept: known
  ttl: 255
  tos: inherit
  df: set
  fast-path: full
  accelerate: []
  check-source: false
  negative-time: 60
  redirect-interval: 8
  answer-for-clients: false
  aliases: []
  register-prefixes: []
  purge-on-expiry: true
  summaries: []
  allow: []
  allow-prefixes: []
  nhs: []
  nhs-refresh: 7200
  nhs-clusters: []
  nhs-fallback: 0
  multicast:
    clients: true
    servers: all
    to: []
  maps: []
  routes: []
  groups: []
  limits:
    registrations-per-nbma: 64
    pending-resolutions: 1024
    shortcuts: 16384
    requesters: 65536
    requesters-per-nbma: 1024
    packets-per-source: 100
    packets-total: 20000
    slow-path-packets: 10000
"
    );
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn accepts_cpus_to_share_the_work() {
    for (text, spread, effective) in [
        ("off", Spread::Off, "spread: off\n"),
        ("all", Spread::All, "spread: all\n"),
        ("[3, 0]", Spread::Cpus(vec![3, 0]), "spread:\n- 3\n- 0\n"),
    ] {
        let config = Config::parse(format!("spread: {text}\n{}", tunnel("")).as_bytes()).unwrap();
        assert_eq!(config.spread, spread);
        assert!(serde_yaml::to_string(&config).unwrap().contains(effective));
    }
}

#[test]
fn accepts_host_route_addressing() {
    let text = "\
tunnels:
  - name: dmvpn0
    address: 10.255.0.1/32
    source: 192.0.2.10
    nhs: [{address: 10.0.0.100, nbma: 203.0.113.1}]
    maps: [{address: 172.16.0.5, nbma: 203.0.113.5}]
    routes: [{prefix: 192.168.2.0/24, via: 172.16.0.5}]
";
    assert_problems(text, &[]);
}

#[test]
fn accepts_host_names_of_servers() {
    for name in
        ["hub", "hub.example.net", "hub.example.net.", "4you.example", "xn--bcher-kva.example", "1.2.3.4.in"]
    {
        let config = Config::parse(tunnel(&format!("nhs: [{{address: dynamic, nbma: {name}}}]")).as_bytes());
        assert_eq!(config.unwrap().tunnels[0].nhs[0].nbma, NhsNbma::Name(name.into()));
    }
}

#[test]
fn accepts_empty_lists() {
    assert_problems(&tunnel("nhs:\nmaps: []\nroutes: ~\nallow:\nmulticast:\nlimits: {}"), &[]);
}

#[test]
fn accepts_one_source_with_different_keys() {
    let text = "\
tunnels:
  - {name: a, address: 10.0.0.1/24, source: 192.0.2.10}
  - {name: b, address: 10.0.1.1/24, source: 192.0.2.10, key: 0}
  - {name: c, address: 10.0.2.1/24, source: 192.0.2.10, key: 1}
";
    assert_problems(text, &[]);
}
