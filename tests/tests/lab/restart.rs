//! An agent that dies, and the one that takes its place: traffic does not notice.

use std::time::Duration;

use anyhow::Result;
use dmvpn_tests::{
    agent::Agent,
    lab::{Lab, Plan},
    poll,
    traffic::finish_without_loss,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Replies to registrations that this spoke has got so far.
fn replies(spoke: &Agent) -> Result<u64> {
    Ok(spoke.nhs()?.iter().map(|server| server.replies_received).sum())
}

#[test]
fn spoke_killed_and_restarted_loses_no_packet() -> Result<()> {
    let lab = Lab::new(Plan { registration_interval: 2, ..Plan::default() })?;
    let (_hub, spokes) = lab.start_all()?;
    let [there, back] = lab.streams_by_shortcuts(&spokes, 1000)?;
    let mut spokes = spokes.into_iter();
    let first = spokes.next().expect("spoke-a");
    let other = spokes.next().expect("spoke-b");

    first.kill()?;
    there.wait_received(2000)?;
    let second = lab.start(&lab.spokes[0])?;
    there.wait_received(2000)?;

    second.wait_registered()?;
    let row = second.wait_shortcut(lab.spoke_lan(1)?.prefix)?;
    assert_eq!(row.nbma, Some(lab.spokes[1].nbma.into()), "the shortcut was adopted");
    assert_eq!(lab.path(0, 1)?, ["lan-a", "spoke-a", "spoke-b", "lan-b"]);
    let before = replies(&second)?;
    poll::until("a further registration", PATIENCE, || Ok((replies(&second)? > before).then_some(())))?;
    finish_without_loss([there, back])?;
    drop(other);
    Ok(())
}

#[test]
fn hub_killed_and_restarted_loses_no_packet() -> Result<()> {
    // Phase 1, so that every packet depends on the hub all the time.
    let lab = Lab::new(Plan { phase: 1, registration_interval: 2, ..Plan::default() })?;
    let (hub, spokes) = lab.start_all()?;
    let (there, back) = (lab.stream(0, 1, 1000)?, lab.stream(1, 0, 1000)?);
    there.wait_received(500)?;

    hub.kill()?;
    there.wait_received(2000)?;
    let hub = lab.start(&lab.hub)?;
    there.wait_received(2000)?;

    for spoke in &spokes {
        hub.wait_cached(spoke.node())?;
        let before = replies(spoke)?;
        poll::until("a further registration", PATIENCE, || Ok((replies(spoke)? > before).then_some(())))?;
    }
    finish_without_loss([there, back])?;
    Ok(())
}

#[test]
fn new_shortcuts_are_made_after_the_hub_was_restarted() -> Result<()> {
    let lab = Lab::new(Plan { registration_interval: 2, ..Plan::default() })?;
    let (hub, spokes) = lab.start_all()?;
    hub.kill()?;
    let hub = lab.start(&lab.hub)?;
    for spoke in &spokes {
        hub.wait_cached(spoke.node())?;
    }
    let stream = lab.stream(0, 1, 1000)?;
    spokes[0].wait_shortcut(lab.spoke_lan(1)?.prefix)?;
    finish_without_loss([stream])
}
