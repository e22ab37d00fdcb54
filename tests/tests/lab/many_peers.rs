//! A hub with many peers.

use std::{fmt::Write as _, net::Ipv4Addr, time::Duration};

use anyhow::Result;
use dmvpn_tests::{
    agent::Agent,
    lab::{Lab, Plan},
    poll,
};

const PEERS: usize = 10_000;
/// Most time that an agent which was not optimized may compute for a table of all peers.
const QUICK: Duration = Duration::from_secs(2);
/// And for another answer while it has much to do.
const BETWEEN: Duration = Duration::from_millis(500);

/// Does something and returns its result, and how long the agent computed meanwhile.
fn timed<T>(agent: &Agent, ask: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let before = agent.cpu_time()?;
    let answer = ask()?;
    Ok((answer, agent.cpu_time()?.saturating_sub(before)))
}

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
    let hub = Agent::start(&lab.hub, &config)?;
    println!("start: {:?}", hub.cpu_time()?);
    for view in ["peers", "cache", "nhs", "shortcuts", "interfaces", "drops", "counters"] {
        let (table, took) = timed(&hub, || hub.table(view))?;
        println!("{view}: {} lines in {took:?}", table.lines().count());
        assert!(took < QUICK, "show {view} took {took:?}");
        if ["peers", "cache"].contains(&view) {
            assert!(table.lines().count() >= PEERS, "{} lines", table.lines().count());
        }
    }
    assert_eq!(hub.peers()?.len(), PEERS);

    // A change of routes makes the agent find its way to every peer anew. It answers between.
    let before = hub.cpu_time()?;
    lab.hub.namespace.command("ip route add 198.19.128.0/17 via 198.18.0.254")?;
    let mut longest = Duration::ZERO;
    poll::until("the end of its work", Duration::from_secs(30), || {
        let (_, took) = timed(&hub, || hub.interfaces())?;
        longest = longest.max(took);
        Ok((hub.cpu_time()?.saturating_sub(before) > 2 * BETWEEN).then_some(()))
    })?;
    println!("an answer between: {longest:?}");
    assert!(longest < BETWEEN, "it took {longest:?}");
    Ok(())
}
