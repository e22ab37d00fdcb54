//! What a peer's policer lets through, on every path to it.

use std::time::{Duration, Instant};

use dmvpn_common::{DropReason, FastPath, Interface, InterfaceRole, Peer, PeerMac, Policer};

use crate::{
    frames::{ETHERTYPE_IPV4, Gre, Ip, SPOKE_1, SPOKE_2, WAN_MAC, ethernet},
    hub::Hub,
    namespace::{in_namespace, index_of, ip, mac_text},
    programs::{Settings, peer, tc, xdp},
};

const SITE_1: [u8; 4] = [192, 168, 1, 1];
const SITE_2: [u8; 4] = [192, 168, 2, 1];
const HOST: [u8; 4] = [172, 16, 0, 9];
const LAN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x90];

/// Index of the policer of spoke 2.
const POLICER: u32 = 7;

/// A hub whose spoke 2 may get so much, and the index of its accelerated LAN.
fn hub(rate: u64, burst: u32) -> (Hub, u32) {
    let mut hub = Hub::new(0, None, Settings::default());
    ip(&format!("link set lan0 address {}", mac_text(LAN_MAC)));
    let lan = index_of("lan0");
    let fast_path = FastPath::Full;
    let tunnel = Interface { role: InterfaceRole::Tunnel, tunnel: 1, fast_path, ..Interface::default() };
    hub.programs.set_interface(hub.tunnel.ifindex, tunnel);
    let interface = Interface { role: InterfaceRole::Lan, mac: LAN_MAC, ..Interface::default() };
    hub.programs.set_interface(lan, interface);
    hub.programs.set_policer(POLICER, Policer { rate, burst, tokens: burst.into(), ..Policer::default() });
    hub.programs.set_peer(2, &Peer { policer: POLICER, ..peer(&hub.tunnel, SPOKE_2, None) });
    (hub, lan)
}

/// A way to spoke 2: its name, and whether a packet of 100 bytes goes.
type Path = (&'static str, fn(&Hub, u32) -> bool);

/// Every way there is.
const PATHS: [Path; 4] = [
    ("XDP", |hub, _| {
        let frame = Gre::from(SPOKE_1, Ip::between(SITE_1, SITE_2, 100).bytes()).frame();
        goes(hub.programs.receive(&frame).action, xdp::REDIRECT, xdp::DROP)
    }),
    ("TC", |hub, _| {
        let frame = Gre::from(SPOKE_1, Ip::between(SITE_1, SITE_2, 100).bytes()).frame();
        goes(hub.programs.receive_tc(hub.wan, &frame).action, tc::REDIRECT, tc::SHOT)
    }),
    ("LAN", |hub, lan| {
        let frame = ethernet(LAN_MAC, WAN_MAC, ETHERTYPE_IPV4, &Ip::between(HOST, SITE_2, 100).bytes());
        goes(hub.programs.receive_from_lan(lan, &frame).action, xdp::REDIRECT, xdp::DROP)
    }),
    ("egress", |hub, _| {
        let packet = Ip::between(HOST, SITE_2, 100).bytes();
        let frame = ethernet(PeerMac::from_index(2).0, PeerMac::TUNNEL.0, ETHERTYPE_IPV4, &packet);
        goes(hub.programs.send(hub.tunnel.ifindex, &frame).action, tc::REDIRECT, tc::SHOT)
    }),
];

fn goes(action: u32, goes: u32, drops: u32) -> bool {
    assert!([goes, drops].contains(&action), "{action}");
    action == goes
}

#[test]
fn on_every_path_packets_go_until_the_bucket_is_empty() {
    for (name, send) in PATHS {
        in_namespace(|| {
            // A byte a second: nothing comes in while the test runs.
            let (hub, lan) = hub(1, 250);
            let sent: Vec<_> = (0..8).map(|_| send(&hub, lan)).collect();
            assert_eq!(sent, [true, true, true, false, false, false, false, false], "{name}");
            let policer = hub.programs.policer(POLICER);
            assert_eq!((policer.passed_packets, policer.passed_bytes), (3, 300), "{name}");
            assert_eq!((policer.dropped_packets, policer.dropped_bytes), (5, 500), "{name}");
            // Sent is what passed; the rest is missing for this reason, and no other.
            let counters = hub.programs.counters(2);
            assert_eq!((counters.sent().packets, counters.sent().bytes), (3, 300), "{name}");
            let drops: Vec<_> =
                hub.programs.drops().into_iter().map(|(reason, packets, _)| (reason, packets)).collect();
            assert_eq!(drops, [(DropReason::Policed, 5)], "{name}");
        });
    }
}

#[test]
fn other_peers_are_not_touched() {
    in_namespace(|| {
        let (hub, lan) = hub(1, 1);
        let packet = Ip::between(SITE_2, SITE_1, 100);
        let from_2 = Gre::from(SPOKE_2, packet.bytes()).frame();
        let frame = ethernet(PeerMac::from_index(1).0, PeerMac::TUNNEL.0, ETHERTYPE_IPV4, &packet.bytes());
        for (_, send) in PATHS {
            send(&hub, lan);
        }
        for _ in 0..8 {
            // What the policed peer sends is not limited either.
            assert_eq!(hub.programs.receive(&from_2).action, xdp::REDIRECT);
            assert_eq!(hub.programs.receive_tc(hub.wan, &from_2).action, tc::REDIRECT);
            assert_eq!(hub.programs.send(hub.tunnel.ifindex, &frame).action, tc::REDIRECT);
        }
        assert_eq!(hub.programs.policer(POLICER).passed_packets, 1, "one bucket for all paths");
    });
}

#[test]
fn the_bucket_fills_again_with_time() {
    for (name, send) in PATHS {
        in_namespace(|| {
            // A packet in a tenth of a second.
            let (hub, lan) = hub(1000, 1);
            assert!(send(&hub, lan), "{name}");
            let start = Instant::now();
            assert!(!send(&hub, lan), "{name}");
            while !send(&hub, lan) {
                assert!(start.elapsed() < Duration::from_secs(20), "{name}: never");
                std::thread::sleep(Duration::from_millis(1));
            }
            assert!(start.elapsed() >= Duration::from_millis(90), "{name}: after {:?}", start.elapsed());
        });
    }
}

/// A peer that names a policer which is not there would be cut off for good otherwise.
#[test]
fn no_policer_is_no_limit() {
    in_namespace(|| {
        let (mut hub, lan) = hub(1, 1);
        hub.programs.set_peer(2, &Peer { policer: u32::MAX, ..peer(&hub.tunnel, SPOKE_2, None) });
        for (name, send) in PATHS {
            for _ in 0..4 {
                assert!(send(&hub, lan), "{name}");
            }
        }
    });
}
