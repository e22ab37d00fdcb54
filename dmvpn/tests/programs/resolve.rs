//! Address resolution on the tunnel interface becomes events.

use std::{
    net::{IpAddr, Ipv6Addr, UdpSocket},
    time::{Duration, Instant},
};

use dmvpn_common::{DropReason, Event, EventKind, PeerMac};

use crate::{
    frames::{ETHERTYPE_ARP, ETHERTYPE_IPV6, ethernet},
    hub::Hub,
    namespace::in_namespace,
    programs::{Told, tc},
};

const OURS: [u8; 4] = [10, 0, 0, 1];

/// An ARP frame from the tunnel interface.
fn arp(operation: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, operation];
    packet.extend(PeerMac::TUNNEL.0);
    packet.extend(sender);
    packet.extend([0; 6]);
    packet.extend(target);
    ethernet([0xff; 6], PeerMac::TUNNEL.0, ETHERTYPE_ARP, &packet)
}

/// An `ICMPv6` message about `target` to its solicited-node address.
fn icmpv6(kind: u8, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 24, 58, 255];
    packet.extend(source.octets());
    packet.extend("ff02::1:ff00:9".parse::<Ipv6Addr>().unwrap().octets());
    packet.extend([kind, 0, 0, 0, 0, 0, 0, 0]);
    packet.extend(target.octets());
    ethernet([0x33, 0x33, 0xff, 0, 0, 9], PeerMac::TUNNEL.0, ETHERTYPE_IPV6, &packet)
}

fn asked_for(hub: &Hub, next_hop: impl Into<IpAddr>) -> Told {
    Told {
        kind: EventKind::Resolve as u32,
        ifindex: hub.tunnel.ifindex,
        address: next_hop.into(),
        head: Vec::new(),
    }
}

#[test]
fn a_question_becomes_an_event() {
    in_namespace(|| {
        let mut hub = Hub::plain();
        let target: Ipv6Addr = "fd00::9".parse().unwrap();
        let frames = [arp(1, OURS, [10, 0, 0, 9]), icmpv6(135, "fd00::1".parse().unwrap(), target)];
        let expected = [asked_for(&hub, [10, 0, 0, 9]), asked_for(&hub, target)];
        let bytes = frames.iter().map(|frame| frame.len() as u64).sum();
        for frame in frames {
            assert_eq!(hub.programs.send(hub.tunnel.ifindex, &frame).action, tc::SHOT);
        }
        assert_eq!(hub.programs.events(), expected);
        assert_eq!(hub.programs.drops(), [(DropReason::NeighbourSolicitation, 2, bytes)]);
    });
}

#[test]
fn what_is_no_question_is_swallowed() {
    in_namespace(|| {
        let mut hub = Hub::plain();
        let ours: Ipv6Addr = "fd00::1".parse().unwrap();
        for (what, frame, reason) in [
            ("reply", arp(2, OURS, [10, 0, 0, 9]), DropReason::NeighbourSolicitation),
            ("announcement", arp(1, OURS, OURS), DropReason::NeighbourSolicitation),
            ("probe", arp(1, [0; 4], OURS), DropReason::NeighbourSolicitation),
            (
                "duplicate address detection",
                icmpv6(135, Ipv6Addr::UNSPECIFIED, ours),
                DropReason::NeighbourSolicitation,
            ),
            ("neighbour advertisement", icmpv6(136, ours, ours), DropReason::NeighbourSolicitation),
            ("router solicitation", icmpv6(133, ours, ours), DropReason::NoMulticastReceiver),
        ] {
            let before = packets(&hub, reason);
            assert_eq!(hub.programs.send(hub.tunnel.ifindex, &frame).action, tc::SHOT, "{what}");
            assert_eq!(packets(&hub, reason), before + 1, "{what}");
            assert_eq!(hub.programs.events(), [], "{what}");
        }
    });
}

fn packets(hub: &Hub, reason: DropReason) -> u64 {
    hub.programs.drops().into_iter().filter(|&(of, ..)| of == reason).map(|(_, packets, _)| packets).sum()
}

/// The ring holds a known number of events; one more is counted as lost and harms nothing.
#[test]
fn an_event_that_does_not_fit_is_counted() {
    in_namespace(|| {
        let mut hub = Hub::plain();
        // The ring is never quite full, and the kernel has eight bytes of its own before each event.
        let capacity = (256 * 1024 - 1) / (size_of::<Event>() + 8);
        for index in 0..capacity + 3 {
            let [.., a, b] = index.to_be_bytes();
            hub.programs.send(hub.tunnel.ifindex, &arp(1, OURS, [10, 1, a, b]));
        }
        assert_eq!(packets(&hub, DropReason::EventLost), 3);
        assert_eq!(packets(&hub, DropReason::NeighbourSolicitation), capacity as u64 + 3);
        assert_eq!(hub.programs.events().len(), capacity);
    });
}

/// The kernel's own question, with the program attached: a datagram to a next hop nobody knows.
#[test]
fn the_kernel_asks_by_arp() {
    in_namespace(|| {
        let mut hub = Hub::plain();
        hub.programs.attach_tunnel("dmvpn0");
        let socket = UdpSocket::bind("10.0.0.1:0").unwrap();
        socket.send_to(b"anyone?", "10.0.0.77:9").unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut events = Vec::new();
        while events.is_empty() {
            assert!(Instant::now() < deadline, "no event");
            events = hub.programs.events();
        }
        assert_eq!(events[0], asked_for(&hub, [10, 0, 0, 77]));
    });
}
