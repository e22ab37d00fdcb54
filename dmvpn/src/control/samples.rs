//! An answer for every view, with and without what may be absent: for the tests of the protocol and the tables.

use std::net::IpAddr;

use super::protocol::{
    Answer, CacheFlag, CacheKind, CacheRow, CounterRow, CpuRow, DropRow, EntryState, ErrorCount, GroupRow,
    InterfaceRow, NhsRow, NhsState, PacketCount, Path, PathRow, PeerAttribute, PeerRow, PeerState,
    ShortcutRow, TcHook, UnderlayRow, XdpHook, XdpRow,
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn all() -> [Answer; 8] {
    [peers(), cache(), nhs(), shortcuts(), interfaces(), drops(), groups(), counters()]
}

pub(crate) fn peers() -> Answer {
    Answer::Peers(vec![
        PeerRow {
            interface: "dmvpn0".into(),
            index: 12,
            nbma: ip("203.0.113.5"),
            claimed_nbma: Some(ip("192.168.1.5")),
            protocol: vec![ip("10.0.0.5"), ip("10.0.0.6")],
            state: PeerState::Up,
            attributes: vec![PeerAttribute::Dynamic, PeerAttribute::Nat, PeerAttribute::Route],
            since_seconds: 93_784,
            received_packets: 1_234_567,
            received_bytes: 987_654_321,
            sent_packets: 12,
            sent_bytes: 3456,
            paths: vec![
                PathRow {
                    path: Path::Xdp,
                    received_packets: 1_234_560,
                    received_bytes: 987_654_000,
                    sent_packets: 12,
                    sent_bytes: 3456,
                    transit_packets: 2,
                    transit_bytes: 56,
                },
                PathRow {
                    path: Path::Slow,
                    received_packets: 7,
                    received_bytes: 321,
                    sent_packets: 0,
                    sent_bytes: 0,
                    transit_packets: 0,
                    transit_bytes: 0,
                },
            ],
            underlay: Some(UnderlayRow { interface: "eth0".into(), gateway: Some(ip("192.0.2.1")) }),
            mtu: 1472,
            multicast: true,
        },
        PeerRow {
            interface: "dmvpn0".into(),
            index: 1,
            nbma: ip("203.0.113.1"),
            claimed_nbma: None,
            protocol: vec![ip("10.0.0.100")],
            state: PeerState::Up,
            attributes: vec![PeerAttribute::Static],
            since_seconds: 83,
            received_packets: 7,
            received_bytes: 700,
            sent_packets: 8,
            sent_bytes: 800,
            paths: vec![PathRow {
                path: Path::Tc,
                received_packets: 7,
                received_bytes: 700,
                sent_packets: 8,
                sent_bytes: 800,
                transit_packets: 0,
                transit_bytes: 0,
            }],
            underlay: Some(UnderlayRow { interface: "eth0".into(), gateway: None }),
            mtu: 1472,
            multicast: false,
        },
        PeerRow {
            interface: "dmvpn0".into(),
            index: 13,
            nbma: ip("2001:db8::7"),
            claimed_nbma: None,
            protocol: Vec::new(),
            state: PeerState::Down,
            attributes: Vec::new(),
            since_seconds: 0,
            received_packets: 0,
            received_bytes: 0,
            sent_packets: 0,
            sent_bytes: 0,
            paths: Vec::new(),
            underlay: None,
            mtu: 1400,
            multicast: false,
        },
    ])
}

pub(crate) fn cache() -> Answer {
    let row = CacheRow {
        interface: "dmvpn0".into(),
        kind: CacheKind::Dynamic,
        protocol: "10.0.0.5/32".parse().unwrap(),
        nbma: Some(ip("203.0.113.5")),
        claimed_nbma: Some(ip("192.168.1.5")),
        flags: vec![CacheFlag::Unique, CacheFlag::Registered, CacheFlag::Used, CacheFlag::Nat],
        created_seconds: 3661,
        expires_seconds: Some(7199),
        state: EntryState::Up,
        mtu: 1472,
    };
    let other = |kind, protocol: &str, state| CacheRow {
        kind,
        protocol: protocol.parse().unwrap(),
        state,
        nbma: None,
        claimed_nbma: None,
        flags: Vec::new(),
        mtu: 0,
        ..row.clone()
    };
    Answer::Cache(vec![
        row.clone(),
        CacheRow {
            nbma: Some(ip("192.0.2.10")),
            expires_seconds: None,
            ..other(CacheKind::Local, "10.0.0.1/32", EntryState::Up)
        },
        other(CacheKind::Incomplete, "10.0.0.9/32", EntryState::Pending),
        other(CacheKind::Negative, "192.168.7.0/24", EntryState::Down),
        CacheRow {
            nbma: Some(ip("203.0.113.9")),
            flags: vec![CacheFlag::Router, CacheFlag::Rib, CacheFlag::Implicit, CacheFlag::Authoritative],
            ..other(CacheKind::Cached, "192.168.9.0/24", EntryState::Refreshing)
        },
    ])
}

pub(crate) fn nhs() -> Answer {
    let up = NhsRow {
        interface: "dmvpn0".into(),
        protocol: Some(ip("10.0.0.100")),
        dynamic: false,
        nbma: Some(ip("203.0.113.1")),
        name: None,
        state: NhsState::Responding,
        since_seconds: 700_000,
        priority: 0,
        cluster: 0,
        requests_sent: 40,
        requests_failed: 1,
        replies_received: 39,
        last_reply_seconds: Some(12),
        next_request_seconds: Some(2388),
        public: Some(ip("198.51.100.7")),
    };
    let never = NhsRow {
        protocol: None,
        dynamic: true,
        nbma: Some(ip("203.0.113.2")),
        name: Some("hub.example.net".into()),
        state: NhsState::Expecting,
        since_seconds: 5,
        requests_sent: 3,
        requests_failed: 2,
        replies_received: 0,
        last_reply_seconds: None,
        next_request_seconds: Some(4),
        public: None,
        ..up.clone()
    };
    let waiting = NhsRow {
        protocol: Some(ip("10.0.0.102")),
        dynamic: false,
        nbma: Some(ip("203.0.113.3")),
        name: None,
        state: NhsState::Waiting,
        priority: 10,
        cluster: 1,
        requests_sent: 0,
        requests_failed: 0,
        next_request_seconds: None,
        ..never.clone()
    };
    let nowhere = NhsRow {
        nbma: None,
        name: Some("backup.example.net".into()),
        requests_sent: 0,
        requests_failed: 0,
        next_request_seconds: None,
        ..never.clone()
    };
    Answer::Nhs(vec![up, never, waiting, nowhere])
}

pub(crate) fn shortcuts() -> Answer {
    Answer::Shortcuts(vec![
        ShortcutRow {
            interface: "dmvpn0".into(),
            prefix: "192.168.2.0/24".parse().unwrap(),
            via: Some(ip("10.0.0.5")),
            nbma: Some(ip("203.0.113.5")),
            state: EntryState::Up,
            created_seconds: 60,
            expires_seconds: Some(7140),
            used: true,
        },
        ShortcutRow {
            interface: "dmvpn0".into(),
            prefix: "10.0.0.9/32".parse().unwrap(),
            via: None,
            nbma: None,
            state: EntryState::Pending,
            created_seconds: 1,
            expires_seconds: None,
            used: false,
        },
    ])
}

pub(crate) fn interfaces() -> Answer {
    Answer::Interfaces(vec![
        InterfaceRow {
            name: "dmvpn0".into(),
            ifindex: 7,
            address: "10.0.0.1/24".parse().unwrap(),
            phase: 3,
            network_id: 1,
            source: Some(ip("192.0.2.10")),
            key: Some(42),
            mtu: 1472,
            xdp: vec![
                XdpRow {
                    interface: "eth0".into(),
                    mode: XdpHook::Native,
                    spread: vec![
                        CpuRow { cpu: 0, handed_over: 0, taken: 0 },
                        CpuRow { cpu: 2, handed_over: 5_000_000_000, taken: 4_999_999_999 },
                    ],
                },
                XdpRow { interface: "eth1".into(), mode: XdpHook::Generic, spread: Vec::new() },
            ],
            tc: TcHook::Tcx,
            peers: 3,
            pin_directory: "/sys/fs/bpf/dmvpn/v2".into(),
        },
        InterfaceRow {
            name: "dmvpn1".into(),
            ifindex: 19,
            address: "2001:db8::1/64".parse().unwrap(),
            phase: 2,
            network_id: 4_294_967_295,
            source: None,
            key: None,
            mtu: 1476,
            xdp: Vec::new(),
            tc: TcHook::Clsact,
            peers: 0,
            pin_directory: "/sys/fs/bpf/dmvpn/v2".into(),
        },
    ])
}

pub(crate) fn drops() -> Answer {
    let row = |reason: &str, packets, bytes, explanation: &str| DropRow {
        reason: reason.into(),
        packets,
        bytes,
        explanation: explanation.into(),
    };
    Answer::Drops(vec![
        row("neighbour-solicitation", 3, 126, "next hop asked for"),
        row("unknown-peer", 120_000, 9_600_000, "data from a stranger"),
        row("peer-down", 0, 0, "data to or from a peer that is not up"),
    ])
}

pub(crate) fn groups() -> Answer {
    let row = |name: &str, rate, peers, passed, policed| GroupRow {
        interface: "dmvpn0".into(),
        name: name.into(),
        rate,
        burst: 125_000,
        peers,
        passed_packets: passed,
        passed_bytes: passed * 1000,
        policed_packets: policed,
        policed_bytes: policed * 1000,
    };
    Answer::Groups(vec![row("small-offices", 10_000_000, 12, 1_234_567, 89), row("unused", 64_000, 0, 0, 0)])
}

pub(crate) fn counters() -> Answer {
    let packet = |kind: &str, received, sent| PacketCount { kind: kind.into(), received, sent };
    let error = |cause: &str, packet: Option<&str>, count| ErrorCount {
        cause: cause.into(),
        packet: packet.map(Into::into),
        count,
    };
    let row = |interface: &str, packets, errors| CounterRow {
        interface: interface.into(),
        packets,
        errors,
        redirects_sent: 17,
        redirects_suppressed: 2345,
        events_suppressed: 0,
    };
    Answer::Counters(vec![
        row(
            "dmvpn0",
            vec![packet("registration-request", 3, 0), packet("resolution-request", 12, 1400)],
            vec![error("authentication-failed", Some("registration-request"), 4), error("loop", None, 0)],
        ),
        row("dmvpn1", vec![packet("registration-request", 0, 1)], vec![error("loop", None, 0)]),
    ])
}
