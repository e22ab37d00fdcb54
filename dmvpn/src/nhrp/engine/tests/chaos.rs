//! Random events, and what must hold whatever happens: the bench checks the order of all actions, and in the end
//! everything is taken down.

use super::{bench::*, clouds::*};
use crate::nhrp::engine::{Engine, Failover, Input, MulticastServers, TunnelConfig, random::Random};

const SPOKES: [(&str, &str, &str, &str); 4] = [
    ("a", "10.0.0.1/24", "192.0.2.1", "192.168.1.0/24"),
    ("b", "10.0.0.2/24", "192.0.2.2", "192.168.2.0/24"),
    ("c", "10.0.0.3/24", "172.20.0.3", "192.168.3.0/24"),
    // Behind the same NAT as c.
    ("d", "10.0.0.4/24", "172.20.0.4", "192.168.4.0/24"),
];

struct Chaos {
    bench: Bench,
    random: Random,
    host_routes: bool,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let host_routes = random.next().is_multiple_of(2);
        let mut chaos = Self { bench: Bench::default(), random, host_routes };
        chaos.bench.nat.insert(ip("172.20.0.3"), ip("203.0.113.9"));
        if chaos.choose(3) == 0 {
            // Answers from another address than it is asked at.
            chaos.bench.nat.insert(ip("192.0.2.200"), ip("203.0.113.200"));
        }
        chaos.add_hub("hub", "10.0.0.100/24", HUB, nhs("10.0.0.200", "192.0.2.200"));
        chaos.add_hub("hub2", "10.0.0.200/24", "192.0.2.200", nhs("10.0.0.100", HUB));
        for index in 0..SPOKES.len() {
            chaos.add_spoke(index);
        }
        chaos
    }

    fn choose(&mut self, most: u64) -> u64 {
        self.random.next() % most
    }

    fn common(&mut self, address: &str, nbma: &str) -> TunnelConfig {
        let mut config = config(address, nbma);
        if self.host_routes {
            config.address = config.address.addr().into();
        }
        config.holding_time = seconds(20 + self.choose(40));
        config.registration_interval = Some(seconds(10));
        config.unique = self.choose(2) == 0;
        config.resolve = self.choose(4) != 0;
        config.max_entries = if self.choose(4) == 0 { 4 } else { 100 };
        config.limits.requesters = if self.choose(4) == 0 { 1 } else { 100 };
        config.limits.requesters_per_nbma = if self.choose(4) == 0 { 1 } else { 100 };
        config.limits.registrations_per_nbma = if self.choose(4) == 0 { 2 } else { 64 };
        config.policy.answer_for_clients = self.choose(3) == 0;
        config.policy.purge_on_expiry = self.choose(2) == 0;
        config.policy.negative_time = seconds(1 + self.choose(10));
        if self.choose(2) == 0 {
            config.policy.client_prefixes = vec![net("192.168.0.0/16")];
        }
        if self.choose(3) == 0 {
            config.policy.summaries = vec![net("192.168.0.0/17"), net("192.168.2.0/23")];
        }
        config.multicast.servers = [MulticastServers::All, MulticastServers::Active, MulticastServers::None]
            [usize::try_from(self.choose(3)).unwrap()];
        config.failover = Failover {
            max_connections: if self.choose(2) == 0 { [(0, 1)].into() } else { [].into() },
            fallback: seconds(self.choose(5)),
        }
        .into();
        config
    }

    fn add_hub(&mut self, name: &'static str, address: &str, nbma: &str, other: crate::nhrp::engine::Nhs) {
        let mut hub = self.common(address, nbma);
        hub.nhs = vec![other];
        let routes: Vec<_> = SPOKES
            .iter()
            .map(|&(_, address, _, lan)| (lan, RouteTo::Tunnel(TUNNEL, Some(net(address).addr()))))
            .chain([("10.0.0.0/24", RouteTo::Tunnel(TUNNEL, None))])
            .collect();
        self.bench.add_with(name, hub, &routes);
    }

    fn add_spoke(&mut self, index: usize) {
        let (name, address, nbma, lan) = SPOKES[index];
        let mut spoke = self.common(address, nbma);
        let first = if self.choose(3) == 0 { nhs("dynamic", HUB) } else { nhs("10.0.0.100", HUB) };
        spoke.nhs = vec![first, nhs("10.0.0.200", "192.0.2.200")];
        if self.choose(2) == 0 {
            // Two of them want the same one.
            spoke.aliases = vec![ip(&format!("10.0.0.{}", 11 + index % 3))];
        }
        if self.choose(2) == 0 {
            spoke.networks = vec![net(lan), net("192.168.99.0/24")];
        }
        let by_hub = RouteTo::Tunnel(TUNNEL, Some(ip("10.0.0.100")));
        let mut routes = vec![(lan, RouteTo::Lan), ("192.168.0.0/16", by_hub)];
        if self.host_routes {
            routes.push(("10.0.0.0/24", by_hub));
        }
        self.bench.add_with(name, spoke, &routes);
    }

    fn step(&mut self) {
        let name = ["a", "b", "c", "d", "hub", "hub2"][usize::try_from(self.choose(6)).unwrap()];
        let spoke = usize::try_from(self.choose(4)).unwrap();
        match self.choose(16) {
            0 => self.bench.set_alive(name, false),
            1..=2 => self.bench.set_alive(name, true),
            3 if spoke < 2 => {
                let nbma = ip(&format!("192.0.2.{}", 10 + self.choose(40)));
                self.bench.renumber(SPOKES[spoke].0, nbma);
            }
            4 => {
                self.bench.input(SPOKES[spoke].0, Input::Shutdown);
                assert!(self.bench.is_clean(SPOKES[spoke].0));
                self.bench.nodes.remove(SPOKES[spoke].0);
                self.add_spoke(spoke);
            }
            5 => {
                let nodes = [HUB, "192.0.2.200", "192.0.2.1", "192.0.2.2", "203.0.113.9"];
                let from = nodes[usize::try_from(self.choose(5)).unwrap()];
                let to = nodes[usize::try_from(self.choose(5)).unwrap()];
                self.bench.cut.insert((ip(from), ip(to)));
            }
            6..=7 => self.bench.cut.clear(),
            8 => {
                let all = [nhs("10.0.0.100", HUB), nhs("dynamic", HUB), nhs("10.0.0.200", "192.0.2.200")];
                let from = usize::try_from(self.choose(3)).unwrap();
                let servers = &all[from..];
                self.bench.input(SPOKES[spoke].0, Input::Servers { tunnel: TUNNEL, servers });
            }
            9 => self.bench.input(name, Input::PeerDown { tunnel: TUNNEL, nbma: ip(SPOKES[spoke].2) }),
            10 => {
                let kernel = self.bench.kernel(name);
                let lan = (net(SPOKES[spoke].3), RouteTo::Lan);
                match kernel.routes.iter().position(|(prefix, _)| *prefix == lan.0) {
                    Some(place) => drop(kernel.routes.remove(place)),
                    None => kernel.routes.push(lan),
                }
                self.bench.input(name, Input::RoutesChanged);
            }
            _ => {
                let to = usize::try_from(self.choose(4)).unwrap();
                let host = |index: usize| format!("192.168.{}.5", index + 1);
                for _ in 0..self.choose(10) {
                    // Whether it arrives depends on who is alive.
                    let _ = self.bench.data(SPOKES[spoke].0, &host(spoke), &host(to));
                    let span = seconds(self.choose(2));
                    self.bench.run(span);
                }
            }
        }
        let span = seconds(self.choose(12));
        self.bench.run(span);
    }
}

#[test]
fn whatever_happens_the_kernel_stays_consistent_and_is_left_clean() {
    for seed in 0..60 {
        let mut chaos = Chaos::new(seed);
        for _ in 0..120 {
            chaos.step();
        }
        let names: Vec<_> = chaos.bench.nodes.keys().copied().collect();
        for name in names {
            chaos.bench.input(name, Input::Shutdown);
            assert!(chaos.bench.is_clean(name), "seed {seed}: {name}");
        }
    }
}

#[test]
fn after_any_trouble_the_network_heals() {
    for seed in 0..20 {
        let mut chaos = Chaos::new(seed);
        for _ in 0..60 {
            chaos.step();
        }
        let mut bench = chaos.bench;
        bench.cut.clear();
        for name in ["hub", "hub2"] {
            bench.set_alive(name, true);
        }
        // Spokes of one make: what chaos configured to be small or silent is not what is tested here.
        for (index, &(name, address, nbma, lan)) in SPOKES[..2].iter().enumerate() {
            let _ = index;
            bench.nodes.remove(name);
            let mut spoke = config(address, nbma);
            spoke.unique = false;
            if chaos.host_routes {
                spoke.address = spoke.address.addr().into();
            }
            spoke.nhs = vec![nhs("10.0.0.100", HUB)];
            let by_hub = RouteTo::Tunnel(TUNNEL, Some(ip("10.0.0.100")));
            bench.add_with(name, spoke, &[(lan, RouteTo::Lan), ("192.168.0.0/16", by_hub)]);
        }
        let mut hub = config("10.0.0.100/24", HUB);
        if chaos.host_routes {
            hub.address = hub.address.addr().into();
        }
        let routes: Vec<_> = SPOKES
            .iter()
            .map(|&(_, address, _, lan)| (lan, RouteTo::Tunnel(TUNNEL, Some(net(address).addr()))))
            .collect();
        bench.nodes.remove("hub");
        bench.add_with("hub", hub, &routes);
        bench.run(seconds(70));
        assert_eq!(bench.data_for(seconds(2), "a", "192.168.1.5", "192.168.2.5"), ["a", "b"], "seed {seed}");
    }
}

#[test]
fn bytes_of_any_kind_do_no_harm() {
    let mut bench = cloud(|_, _| {});
    bench.run(seconds(1));
    bench.data("a", "192.168.1.5", "192.168.2.5").unwrap();
    bench.run(seconds(1));
    let mut packets: Vec<Vec<u8>> = Vec::new();
    for seen in &bench.wire {
        let mut bytes = Vec::new();
        seen.packet.encode(&mut bytes).unwrap();
        packets.push(bytes);
    }
    let mut random = Random::new(3);
    let mut choose = |most: usize| usize::try_from(random.next() % most as u64).unwrap();
    let (mut hub, mut spoke) = (cloud(|_, _| {}), cloud(|_, _| {}));
    for _ in 0..20_000 {
        let mut bytes = packets[choose(packets.len())].clone();
        for _ in 0..=choose(3) {
            let place = choose(bytes.len());
            bytes[place] = u8::try_from(choose(256)).unwrap();
        }
        fix_checksum(&mut bytes);
        let source = [A, B, HUB, "192.0.2.66"][choose(4)];
        let input = Input::Packet { tunnel: TUNNEL, source: ip(source), bytes: &bytes };
        hub.input("hub", input);
        spoke.input("a", input);
        let span = std::time::Duration::from_millis(choose(30) as u64);
        hub.run(span);
        spoke.run(span);
    }
    for (bench, name) in [(&mut hub, "hub"), (&mut spoke, "a")] {
        bench.input(name, Input::Shutdown);
        assert!(bench.is_clean(name));
    }
}

#[test]
fn inputs_outside_of_its_life_are_ignored() {
    let kernel = Kernel::default();
    let mut engine = Engine::new(vec![config("10.0.0.100/24", HUB)], 1);
    let mut out = Vec::new();
    let resolve = Input::Resolve { tunnel: TUNNEL, next_hop: ip("10.0.0.1") };
    engine.handle(crate::nhrp::engine::Time::default(), resolve, &kernel, &mut out);
    engine.handle(crate::nhrp::engine::Time::default(), Input::Shutdown, &kernel, &mut out);
    assert!(out.is_empty());
}
