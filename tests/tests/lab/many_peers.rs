//! A hub with many peers.

use std::{
    fmt::Write as _,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::Result;
use dmvpn_tests::{
    agent::Agent,
    lab::{Lab, Plan},
};

const PEERS: usize = 10_000;
/// Longest wait for a table, with an agent that was not optimized.
const QUICK: Duration = Duration::from_secs(5);

#[test]
fn shows_ten_thousand_peers_quickly() -> Result<()> {
    let lab = Lab::new(Plan { spokes: 1, ..Plan::default() })?;
    let mut config = lab.config(&lab.hub);
    config.address = "10.0.0.1/8".parse()?;
    config.more = "maps:\n".to_owned();
    for number in 0..u32::try_from(PEERS)? {
        let address = Ipv4Addr::from_bits(Ipv4Addr::new(10, 1, 0, 1).to_bits() + number);
        let nbma = Ipv4Addr::from_bits(Ipv4Addr::new(198, 19, 0, 1).to_bits() + number);
        writeln!(config.more, "  - {{address: {address}, nbma: {nbma}}}")?;
    }
    let start = Instant::now();
    let hub = Agent::start(&lab.hub, &config)?;
    println!("start: {:?}", start.elapsed());
    for view in ["peers", "cache", "nhs", "shortcuts", "interfaces", "drops", "counters"] {
        let start = Instant::now();
        let table = hub.table(view)?;
        let took = start.elapsed();
        println!("{view}: {} lines in {took:?}", table.lines().count());
        assert!(took < QUICK, "show {view} took {took:?}");
        if ["peers", "cache"].contains(&view) {
            assert!(table.lines().count() >= PEERS, "{} lines", table.lines().count());
        }
    }
    let start = Instant::now();
    assert_eq!(hub.peers()?.len(), PEERS);
    println!("peers as JSON: {:?}", start.elapsed());

    // A change of routes makes the agent find its way to every peer anew.
    lab.hub.namespace.command("ip route add 198.19.128.0/17 via 198.18.0.254")?;
    // It answers between, all the more when it has much to do.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        let asked = Instant::now();
        hub.interfaces()?;
        assert!(asked.elapsed() < Duration::from_secs(1), "it took {:?}", asked.elapsed());
    }
    Ok(())
}
