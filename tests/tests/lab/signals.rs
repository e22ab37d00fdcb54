//! Signals that do not stop an agent.

use std::time::Duration;

use anyhow::Result;
use dmvpn_tests::{
    lab::{Lab, Plan},
    poll,
};
use nix::sys::signal::Signal;

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
