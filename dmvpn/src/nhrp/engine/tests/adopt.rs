//! A new agent takes over from an earlier one.

use super::{bench::*, clouds::*};
use crate::nhrp::engine::{CacheKind, Input};

#[test]
fn a_new_agent_takes_over_without_a_change() {
    let mut bench = with_shortcut();
    let kernel = std::mem::take(bench.kernel("a"));
    let mut again = config("10.0.0.1/24", A);
    again.nhs = vec![nhs("10.0.0.100", HUB)];
    bench.nodes.remove("a");
    bench.add("a", again);
    bench.kernel("a").routes = kernel.routes;
    for (&(tunnel, protocol), &nbma) in &kernel.neighbours {
        bench.input("a", Input::Adopt { tunnel, protocol, nbma });
    }
    for (&(tunnel, prefix), via) in &kernel.shortcuts {
        bench.kernel("a").shortcuts.insert((tunnel, prefix), *via);
        bench.input("a", Input::AdoptShortcut { tunnel, prefix, via: via.unwrap() });
    }
    assert_eq!(bench.kind("a", "10.0.0.2"), Some(CacheKind::Adopted));
    assert_eq!(bench.data_for(seconds(2), "a", "192.168.1.5", "192.168.2.5"), ["a", "b"]);
    // Under traffic it is confirmed before it ends.
    for _ in 0..700 {
        bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
        bench.run(seconds(1));
    }
    assert_eq!(bench.kind("a", "10.0.0.2"), Some(CacheKind::Cached));
    assert_eq!(bench.data("a", "192.168.1.5", "192.168.2.5").unwrap(), ["a", "b"]);
}

#[test]
fn adopted_entries_that_nobody_confirms_end() {
    let mut bench = Bench::default();
    bench.add("hub", config("10.0.0.100/24", HUB));
    bench.input("hub", Input::Adopt { tunnel: TUNNEL, protocol: ip("10.0.0.1"), nbma: ip(A) });
    let (prefix, via) = (net("192.168.9.0/24"), ip("10.0.0.1"));
    bench.kernel("hub").shortcuts.insert((TUNNEL, prefix), Some(via));
    bench.input("hub", Input::AdoptShortcut { tunnel: TUNNEL, prefix, via });
    let orphan = net("192.168.10.0/24");
    bench.kernel("hub").shortcuts.insert((TUNNEL, orphan), Some(ip("10.0.0.9")));
    bench.input("hub", Input::AdoptShortcut { tunnel: TUNNEL, prefix: orphan, via: ip("10.0.0.9") });
    assert_eq!(bench.node("hub").kernel.shortcuts.len(), 1);
    bench.run(seconds(599));
    assert!(bench.has_peer("hub", A));
    bench.run(seconds(2));
    assert!(bench.is_clean("hub"));
}

#[test]
fn an_adopted_client_keeps_its_copies_of_multicast_packets() {
    let mut bench = Bench::default();
    bench.add("hub", config("10.0.0.100/24", HUB));
    for nbma in [A, B] {
        let protocol = if nbma == A { ip("10.0.0.1") } else { ip("10.0.0.2") };
        bench.input("hub", Input::Adopt { tunnel: TUNNEL, protocol, nbma: ip(nbma) });
    }
    bench.input("hub", Input::AdoptMulticast { tunnel: TUNNEL, nbma: ip(A) });
    let copies: Vec<_> = bench.node("hub").kernel.multicast.iter().map(|&(_, nbma)| nbma).collect();
    assert_eq!(copies, [ip(A)]);
    assert_eq!(bench.kind("hub", "10.0.0.1"), Some(CacheKind::Registered));
    assert_eq!(bench.kind("hub", "10.0.0.2"), Some(CacheKind::Adopted));
    let mut spoke = config("10.0.0.1/24", A);
    spoke.nhs = vec![nhs("10.0.0.100", HUB)];
    bench.add("a", spoke);
    bench.run(seconds(1));
    // It never left, so nobody says that it came.
    assert!(bench.node("hub").events.is_empty());
    bench.run(seconds(600));
    assert_eq!(bench.kind("hub", "10.0.0.1"), Some(CacheKind::Registered));
    assert_eq!(bench.kind("hub", "10.0.0.2"), None);
}
