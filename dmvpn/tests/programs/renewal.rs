//! What a cached route that holds no more still tells: who was at an address, and when a redirect is due.

use std::{
    thread,
    time::{Duration, Instant},
};

use dmvpn_common::{Control, Peer, PeerState, Tunnel, TunnelFlags};

use crate::{
    cache::on_one_processor,
    frames::{Gre, Ip, SPOKE_1, SPOKE_2, STRANGER},
    hub::Hub,
    programs::{Programs, Settings, peer, xdp},
};

fn frame() -> Vec<u8> {
    Gre::from(SPOKE_1, Ip::between([192, 168, 1, 1], [192, 168, 2, 1], 100).bytes()).frame()
}

/// Packets that each peer up to the fourth sent.
fn received(programs: &Programs) -> [u64; 4] {
    [1, 2, 3, 4].map(|peer| programs.counters(peer).received_xdp.packets)
}

/// The peer was known by the index 1, and is known by the index 3 now.
#[test]
fn who_had_an_address_is_asked_for_anew_when_he_is_there_no_more() {
    type Change = fn(&Tunnel) -> Peer;
    let changes: [(&str, Change); 4] = [
        ("somebody else has the index", |tunnel| peer(tunnel, STRANGER, None)),
        ("another tunnel has it", |tunnel| peer(&Tunnel { id: 2, ..*tunnel }, SPOKE_1, None)),
        ("nobody has it", |_| Peer::FREE),
        ("it is down", |tunnel| Peer { state: PeerState::Down, ..peer(tunnel, SPOKE_1, None) }),
    ];
    for (what, now) in changes {
        on_one_processor(|| {
            let mut hub = Hub::plain();
            hub.programs.receive(&frame());
            hub.programs.set_peer(1, &now(&hub.tunnel));
            hub.programs.add_peer(3, &peer(&hub.tunnel, SPOKE_1, None));
            hub.programs.forget_routes();
            assert_eq!(hub.programs.receive(&frame()).action, xdp::REDIRECT, "{what}");
            assert_eq!(received(&hub.programs), [1, 0, 1, 0], "{what}");
        });
    }
}

/// Routes change all the time on a large hub. A spoke is not to be told the same with each change, and not to wait for
/// changes to end.
#[test]
fn redirects_come_as_often_whether_routes_change_or_not() {
    on_one_processor(|| {
        let settings = Settings { redirect_interval_ns: 1_000_000_000, ..Settings::default() };
        let mut hub = Hub::new(TunnelFlags::REDIRECT, None, settings);
        for generation in 0..10 {
            hub.programs.set_control(Control { generation, ..Control::default() });
            hub.programs.receive(&frame());
        }
        assert_eq!(hub.programs.events().len(), 1);
        let start = Instant::now();
        let mut generation = 10;
        // The agent's seconds begin anew somewhere in those of the programs.
        let mut events_now = || {
            let seconds = 1 + u32::try_from(start.elapsed().as_secs()).unwrap();
            hub.programs.set_control(Control { generation, seconds, ..Control::default() });
            generation += 1;
            hub.programs.receive(&frame());
            hub.programs.events().len()
        };
        let next = loop {
            let events = events_now();
            if events > 0 {
                break events;
            }
            assert!(start.elapsed() < Duration::from_secs(5), "the interval never ends");
            thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(next, 1, "the next interval");
        assert!(start.elapsed() > Duration::from_millis(900), "the interval was too short");
        assert_eq!((0..10).map(|_| events_now()).sum::<usize>(), 0, "and no more in it");
    });
}

#[test]
fn a_route_that_was_no_reason_for_a_redirect_may_become_one() {
    on_one_processor(|| {
        let mut hub = Hub::plain();
        hub.programs.receive(&frame());
        hub.programs.set_up_two_spokes(None, Tunnel { flags: TunnelFlags::REDIRECT, ..hub.tunnel });
        hub.programs.forget_routes();
        hub.programs.receive(&frame());
        assert_eq!(hub.programs.events().len(), 1);
    });
}

/// It is a peer that is told.
#[test]
fn another_peer_at_the_same_address_is_told_at_once() {
    on_one_processor(|| {
        let mut hub = Hub::new(TunnelFlags::REDIRECT, None, Settings::default());
        hub.programs.receive(&frame());
        hub.programs.set_peer(1, &Peer::FREE);
        hub.programs.add_peer(3, &peer(&hub.tunnel, SPOKE_1, None));
        hub.programs.forget_routes();
        hub.programs.receive(&frame());
        assert_eq!(hub.programs.events().len(), 2);
        assert_eq!(hub.programs.counters(2).transit_xdp.packets, 2, "to {SPOKE_2}");
    });
}
