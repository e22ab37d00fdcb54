//! Signals that do not take an agent down.

use std::time::Duration;

use anyhow::Result;
use dmvpn_tests::{
    config::TUNNEL,
    lab::{Lab, Plan},
    poll,
};
use nix::sys::signal::Signal;

#[test]
fn sigusr1_ends_the_agent_and_leaves_everything_to_the_next() -> Result<()> {
    let lab = Lab::new(Plan { spokes: 1, ..Plan::default() })?;
    let (hub, spokes) = lab.start_all()?;
    let socket = hub.config().control_socket.clone();
    assert!(hub.end_by(Signal::SIGUSR1)?.success());
    assert!(lab.hub.has_interface(TUNNEL) && lab.hub.pins.exists());
    assert!(!socket.exists());
    let hub = lab.start(&lab.hub)?;
    hub.wait_cached(spokes[0].node())?;
    assert!(!hub.log().contains("saying good-bye"), "{}", hub.log());
    Ok(())
}

#[test]
fn a_hang_up_is_ignored_and_said_so() -> Result<()> {
    let lab = Lab::new(Plan { spokes: 1, ..Plan::default() })?;
    let mut hub = lab.start(&lab.hub)?;
    hub.signal(Signal::SIGHUP)?;
    poll::until("a warning about SIGHUP", Duration::from_secs(5), || {
        Ok(hub.log().contains("SIGHUP is ignored").then_some(()))
    })?;
    assert!(hub.is_running()?);
    assert_eq!(hub.interfaces()?.len(), 1);
    Ok(())
}
