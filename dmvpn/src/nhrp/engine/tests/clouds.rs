//! Networks that many tests begin with.

use super::bench::*;
use crate::nhrp::engine::TunnelConfig;

pub(super) const HUB: &str = "192.0.2.100";
pub(super) const A: &str = "192.0.2.1";
pub(super) const B: &str = "192.0.2.2";

/// A hub and two spokes with a LAN each, Phase 3: spokes route everything by the hub. 10.0.0.100, 10.0.0.1 with
/// 192.168.1.0/24, 10.0.0.2 with 192.168.2.0/24. `change` may alter the configurations.
pub(super) fn cloud(change: impl Fn(&'static str, &mut TunnelConfig)) -> Bench {
    let mut bench = Bench::default();
    let hub = Some(ip("10.0.0.100"));
    let mut hub_config = config("10.0.0.100/24", HUB);
    change("hub", &mut hub_config);
    let routes = [
        ("192.168.1.0/24", RouteTo::Tunnel(TUNNEL, Some(ip("10.0.0.1")))),
        ("192.168.2.0/24", RouteTo::Tunnel(TUNNEL, Some(ip("10.0.0.2")))),
        ("172.16.0.0/16", RouteTo::Lan),
    ];
    bench.add_with("hub", hub_config, &routes);
    for (name, address, nbma, lan) in
        [("a", "10.0.0.1/24", A, "192.168.1.0/24"), ("b", "10.0.0.2/24", B, "192.168.2.0/24")]
    {
        let mut spoke = config(address, nbma);
        spoke.nhs = vec![nhs("10.0.0.100", HUB)];
        change(name, &mut spoke);
        let routes = [
            (lan, RouteTo::Lan),
            ("192.168.0.0/16", RouteTo::Tunnel(TUNNEL, hub)),
            ("172.16.0.0/16", RouteTo::Tunnel(TUNNEL, hub)),
        ];
        bench.add_with(name, spoke, &routes);
    }
    bench
}

/// The cloud of Phase 2: spokes route the other's LAN by the other's address.
pub(super) fn phase2(change: impl Fn(&'static str, &mut TunnelConfig)) -> Bench {
    let mut bench = cloud(|name, config| {
        config.redirect = false;
        config.shortcut = false;
        change(name, config);
    });
    let by = |next_hop: &str| RouteTo::Tunnel(TUNNEL, Some(ip(next_hop)));
    bench.kernel("a").routes.push((net("192.168.2.0/24"), by("10.0.0.2")));
    bench.kernel("b").routes.push((net("192.168.1.0/24"), by("10.0.0.1")));
    bench.run(seconds(1));
    bench.wire.clear();
    bench
}

/// The cloud, registered.
pub(super) fn ready() -> Bench {
    let mut bench = cloud(|_, _| {});
    bench.run(seconds(1));
    bench.wire.clear();
    bench
}

/// The cloud with a shortcut from A to the LAN of B.
pub(super) fn with_shortcut() -> Bench {
    let mut bench = ready();
    bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
    bench.run(seconds(1));
    assert_eq!(bench.data("a", "192.168.1.5", "192.168.2.5").unwrap(), ["a", "b"]);
    bench
}
