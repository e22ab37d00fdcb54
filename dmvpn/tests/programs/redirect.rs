//! Redirect events: the hub sees that two spokes talk through it.

use std::time::{Duration, Instant};

use dmvpn_common::{EVENT_HEAD_SIZE, EventKind, FastPath, Peer, TunnelFlags, Underlay, UnderlayState};

use crate::{
    frames::{Gre, Ip, SPOKE_1, SPOKE_2, STRANGER},
    hub::Hub,
    namespace::in_namespace,
    programs::{Settings, Told, next_hop, peer, xdp},
};

fn inner() -> Ip {
    Ip { tos: 2, ..Ip::between([192, 168, 1, 1], [192, 168, 2, 1], 200) }
}

fn redirecting() -> Hub {
    Hub::new(TunnelFlags::REDIRECT, None, Settings::default())
}

/// The event for a packet from spoke 1.
fn event(hub: &Hub, packet: &[u8]) -> Told {
    Told {
        kind: EventKind::Redirect as u32,
        ifindex: hub.tunnel.ifindex,
        address: SPOKE_1.into(),
        head: packet[..packet.len().min(EVENT_HEAD_SIZE)].to_vec(),
    }
}

#[test]
fn carries_the_packets_head_as_it_was_received() {
    in_namespace(|| {
        let mut hub = redirecting();
        for (what, packet, outer_tos) in [
            ("long", inner(), 0),
            ("as long as an event holds", Ip::between([192, 168, 1, 1], [192, 168, 2, 2], 128), 0),
            ("short", Ip::between([192, 168, 1, 1], [192, 168, 2, 3], 28), 0),
            // Time to live and congestion mark are changed, but not in the event.
            ("marked", Ip { destination: [192, 168, 2, 4].into(), ..inner() }, 3),
        ] {
            let mut gre = Gre::from(SPOKE_1, packet.bytes());
            gre.ip.tos = outer_tos;
            assert_eq!(hub.programs.receive(&gre.frame()).action, xdp::REDIRECT);
            assert_eq!(hub.programs.events(), [event(&hub, &packet.bytes())], "{what}");
        }
        assert_eq!(hub.programs.drops(), []);
    });
}

/// The kernel routes the packet, but a spoke hears of the shorter way all the same.
#[test]
fn is_raised_when_the_kernel_routes_everything() {
    in_namespace(|| {
        let mut hub = redirecting();
        hub.tunnel.fast_path = FastPath::Off;
        hub.programs.set_up_two_spokes(None, hub.tunnel);
        for _ in 0..3 {
            hub.programs.receive(&Gre::from(SPOKE_1, inner().bytes()).frame());
        }
        assert_eq!(hub.programs.events(), [event(&hub, &inner().bytes())]);
        assert_eq!(hub.programs.counters(2).sent_xdp.packets, 0, "it was not forwarded here");
    });
}

#[test]
fn is_raised_once_for_a_destination_until_the_interval_is_over() {
    in_namespace(|| {
        let settings = Settings { redirect_interval_ns: 300_000_000, ..Settings::default() };
        let mut hub = Hub::new(TunnelFlags::REDIRECT, None, settings);
        let frame = Gre::from(SPOKE_1, inner().bytes()).frame();
        let start = Instant::now();
        for _ in 0..10 {
            hub.programs.receive(&frame);
        }
        assert_eq!(hub.programs.events().len(), 1, "one for ten packets");
        // Another source is no other reason: it is the spoke that is told.
        let source = Ip { source: [192, 168, 1, 9].into(), ..inner() };
        hub.programs.receive(&Gre::from(SPOKE_1, source.bytes()).frame());
        assert_eq!(hub.programs.events(), []);
        // Another destination has an interval of its own.
        let other = Ip { destination: [192, 168, 2, 9].into(), ..inner() };
        hub.programs.receive(&Gre::from(SPOKE_1, other.bytes()).frame());
        assert_eq!(hub.programs.events(), [event(&hub, &other.bytes())]);

        while hub.programs.events().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(5), "the interval never ends");
            hub.programs.receive(&frame);
            std::thread::sleep(Duration::from_millis(5));
        }
        // The clock is that of the timer tick, 10 ms at its slowest.
        assert!(start.elapsed() > Duration::from_millis(280), "the interval was too short");
    });
}

/// The event does not depend on which way the packet leaves.
#[test]
fn is_raised_when_the_kernel_has_to_send_the_packet() {
    in_namespace(|| {
        let mut hub = redirecting();
        hub.programs.set_next_hop(1, Underlay { state: UnderlayState::Unresolved, ..next_hop() });
        hub.programs.receive(&Gre::from(SPOKE_1, inner().bytes()).frame());
        assert_eq!(hub.programs.events(), [event(&hub, &inner().bytes())]);
    });
}

#[test]
fn is_not_raised_without_a_reason() {
    in_namespace(|| {
        let mut hub = redirecting();
        let from_1 = |packet: Ip| Gre::from(SPOKE_1, packet.bytes()).frame();
        hub.programs.set_peer(3, &Peer { tunnel: 2, network_id: 2, ..peer(&hub.tunnel, SPOKE_2, None) });
        crate::hub::add_neighbour("10.0.0.13", 3);
        for (what, frame) in [
            ("back to where it came from", from_1(Ip { destination: [192, 168, 1, 2].into(), ..inner() })),
            ("into another network", from_1(Ip { destination: [10, 0, 0, 13].into(), ..inner() })),
            ("for this box", from_1(Ip { destination: [10, 0, 0, 1].into(), ..inner() })),
            ("to the LAN", from_1(Ip { destination: [172, 16, 0, 9].into(), ..inner() })),
            ("time to live 1", from_1(Ip { ttl: 1, ..inner() })),
            ("dropped", Gre::from(STRANGER, inner().bytes()).frame()),
        ] {
            hub.programs.receive(&frame);
            assert_eq!(hub.programs.events(), [], "{what}");
        }
    });
}

#[test]
fn is_not_raised_when_the_tunnel_does_not_redirect() {
    in_namespace(|| {
        let mut hub = Hub::plain();
        hub.programs.receive(&Gre::from(SPOKE_1, inner().bytes()).frame());
        assert_eq!(hub.programs.events(), []);
    });
}

#[test]
fn is_not_raised_for_a_stranger_who_could_not_be_told() {
    in_namespace(|| {
        let flags = TunnelFlags::REDIRECT | TunnelFlags::ACCEPT_ANY;
        let mut hub = Hub::new(flags, None, Settings::default());
        assert_eq!(hub.programs.receive(&Gre::from(STRANGER, inner().bytes()).frame()).action, xdp::REDIRECT);
        assert_eq!(hub.programs.events(), []);
    });
}
