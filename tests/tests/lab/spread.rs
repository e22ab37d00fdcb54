//! A hub whose CPUs share the work, and one that stops to.

use anyhow::Result;
use dmvpn::control::protocol::CpuRow;
use dmvpn_common::DropReason;
use dmvpn_tests::{
    agent::Agent,
    lab::{Lab, Plan},
};

/// Starts the hub's agent with `spread` as given, and checks that it is shown.
fn start(lab: &Lab, spread: Option<&'static str>, shown: &str, cpus: &[u32]) -> Result<Agent> {
    let hub = Agent::start(&lab.hub, &dmvpn_tests::config::Config { spread, ..lab.config(&lab.hub) })?;
    let table = hub.table("interfaces")?;
    assert!(table.contains(shown), "no \"{shown}\" in:\n{table}");
    let shares: Vec<_> = shares(&hub)?.iter().map(|row| row.cpu).collect();
    // All may be more than two.
    assert!(shares.starts_with(cpus) && shares.is_empty() == cpus.is_empty(), "{shares:?}");
    Ok(hub)
}

/// What each CPU was given by others, and what it took.
fn shares(hub: &Agent) -> Result<Vec<CpuRow>> {
    let rows = hub.interfaces()?;
    Ok(rows.into_iter().flat_map(|row| row.xdp).flat_map(|row| row.spread).collect())
}

#[test]
fn a_restart_with_other_cpus_loses_no_packet() -> Result<()> {
    // Phase 1, so that every packet depends on the hub all the time.
    let lab = Lab::new(Plan { phase: 1, ..Plan::default() })?;
    let plain = " native  ";
    let hub = start(&lab, None, plain, &[])?;
    let spokes = lab.spokes.iter().map(|node| lab.start(node)).collect::<Result<Vec<_>>>()?;
    for spoke in &spokes {
        spoke.wait_registered()?;
    }
    let streams = [lab.stream(0, 1, 1000)?, lab.stream(1, 0, 1000)?];
    let pass = |count| streams.iter().try_for_each(|stream| stream.wait_received(count));
    pass(500)?;
    assert_eq!(hub.dropped(DropReason::SpreadQueueFull)?, 0);

    let mut hub = hub;
    for (spread, shown, cpus) in [
        ("all", " native (CPUs 0 1", &[0, 1][..]),
        ("[1]", " native (CPUs 1)", &[1]),
        ("[1, 0]", " native (CPUs 1 0)", &[1, 0]),
        ("[0]", " native (CPUs 0)", &[0]),
    ] {
        hub.kill()?;
        pass(500)?;
        hub = start(&lab, Some(spread), shown, cpus)?;
        pass(1000)?;
    }
    let shared = shares(&hub)?;
    hub.kill()?;
    pass(500)?;
    let hub = start(&lab, Some("off"), plain, &[])?;
    pass(500)?;

    for stream in streams {
        let report = stream.finish()?;
        assert!(report.lost.is_empty() && report.duplicates == 0, "{report:?}");
    }
    assert_eq!(hub.dropped(DropReason::SpreadQueueFull)?, 0, "nothing waits any more");
    // The packets of a veth pair come in on the CPU that sent them, and that is sometimes another one.
    assert!(shared[0].handed_over > 0, "{shared:?}");
    Ok(())
}
