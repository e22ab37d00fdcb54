//! Registering with a hub, and being refused.

use std::time::Duration;

use anyhow::Result;
use dmvpn::control::protocol::NhsState;
use dmvpn_common::DropReason;
use dmvpn_tests::{
    agent::Agent,
    config::TUNNEL,
    lab::{Lab, Node, Plan},
    poll,
};

const PATIENCE: Duration = Duration::from_secs(15);

fn one_spoke() -> Result<Lab> {
    Lab::new(Plan { spokes: 1, registration_interval: 1, ..Plan::default() })
}

fn knows(hub: &Agent, spoke: &Node) -> Result<bool> {
    Ok(hub.cache()?.iter().any(|row| row.protocol.addr() == spoke.address))
}

#[test]
fn registers_and_keeps_registering() -> Result<()> {
    let lab = one_spoke()?;
    let (_hub, spokes) = lab.start_all()?;
    poll::until_matches(
        "three replies",
        PATIENCE,
        || spokes[0].nhs(),
        |rows| rows.iter().any(|row| row.replies_received >= 3 && row.requests_failed == 0),
    )
    .map(drop)
}

#[test]
fn is_forgotten_at_once_when_it_stops() -> Result<()> {
    let lab = one_spoke()?;
    let (hub, mut spokes) = lab.start_all()?;
    let spoke = spokes.remove(0);
    let (pins, socket) = (spoke.config().pin_directory.clone(), spoke.config().control_socket.clone());

    assert!(spoke.terminate()?.success());
    // Long before the holding time of a minute.
    poll::until("the hub to forget the spoke", Duration::from_secs(2), || {
        Ok((!knows(&hub, &lab.spokes[0])?).then_some(()))
    })?;
    assert!(!lab.spokes[0].has_interface(TUNNEL), "the tunnel interface is still there");
    assert!(!pins.exists(), "pins are still there");
    assert!(!socket.exists(), "the socket is still there");
    Ok(())
}

#[test]
fn does_not_register_with_another_key() -> Result<()> {
    let lab = one_spoke()?;
    let hub = lab.start(&lab.hub)?;
    let mut config = lab.config(&lab.spokes[0]);
    config.key = Some(43);
    let spoke = Agent::start(&lab.spokes[0], &config)?;

    poll::until("the hub to count the wrong key", PATIENCE, || {
        Ok((hub.dropped(DropReason::WrongKey)? >= 2).then_some(()))
    })?;
    assert!(!knows(&hub, &lab.spokes[0])?);
    assert!(spoke.nhs()?.iter().all(|row| row.state == NhsState::Expecting));
    Ok(())
}

#[test]
fn does_not_register_with_another_authentication() -> Result<()> {
    let lab = one_spoke()?;
    let hub = lab.start(&lab.hub)?;
    let mut config = lab.config(&lab.spokes[0]);
    config.authentication = Some("wrong".to_owned());
    let spoke = Agent::start(&lab.spokes[0], &config)?;

    let authentication_errors = |agent: &Agent| -> Result<u64> {
        let rows = agent.counters()?;
        let errors = rows.iter().flat_map(|row| &row.errors);
        Ok(errors.filter(|error| error.cause.contains("authentication")).map(|error| error.count).sum())
    };
    poll::until("the hub to count the refusals", PATIENCE, || {
        Ok((authentication_errors(&hub)? >= 2).then_some(()))
    })?;
    assert!(!knows(&hub, &lab.spokes[0])?);
    assert!(spoke.nhs()?.iter().all(|row| row.state == NhsState::Expecting));
    // RFC 2332, 5.3.4.4: error 11, "authentication failure", goes back to the sender.
    let sent = |agent: &Agent, received: bool| -> Result<u64> {
        let rows = agent.counters()?;
        let packets =
            rows.iter().flat_map(|row| &row.packets).filter(|count| count.kind == "error-indication");
        Ok(packets.map(|count| if received { count.received } else { count.sent }).sum())
    };
    assert!(sent(&hub, false)? >= 1);
    poll::until("the error to reach the spoke", PATIENCE, || Ok((sent(&spoke, true)? >= 1).then_some(())))
}

#[test]
fn registers_as_soon_as_the_hub_can_be_reached() -> Result<()> {
    let lab = one_spoke()?;
    lab.underlay.command("ip link set hub down")?;
    let spoke = lab.start(&lab.spokes[0])?;
    poll::until_matches(
        "two requests without an answer",
        PATIENCE,
        || spoke.nhs(),
        |rows| rows.iter().any(|row| row.state == NhsState::Expecting && row.requests_sent >= 2),
    )?;

    lab.underlay.command("ip link set hub up")?;
    let hub = lab.start(&lab.hub)?;
    spoke.wait_registered()?;
    hub.wait_cached(&lab.spokes[0])
}
