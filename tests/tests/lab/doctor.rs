//! What `dmvpn doctor` says of real nodes.

use std::time::Duration;

use anyhow::Result;
use dmvpn_tests::{
    lab::{Lab, Plan},
    poll,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

#[test]
fn says_how_packets_are_received_and_that_nothing_is_wrong() -> Result<()> {
    for (xdp, words) in [
        ("native", "ok       dmvpn0: underlay underlay0: XDP in the driver"),
        ("generic", "note     dmvpn0: underlay underlay0: XDP in the kernel's generic hook"),
    ] {
        let lab = Lab::new(Plan { xdp, spokes: 1, ..Plan::default() })?;
        let hub = lab.start(&lab.hub)?;
        let (well, text) = hub.doctor()?;
        assert!(well && text.contains(words), "{xdp}:\n{text}");
    }
    Ok(())
}

#[test]
fn says_so_when_there_is_no_agent() -> Result<()> {
    let lab = Lab::new(Plan { spokes: 1, ..Plan::default() })?;
    let hub = lab.start(&lab.hub)?;
    kill(Pid::from_raw(hub.pid().cast_signed()), Signal::SIGKILL)?;
    poll::until("the doctor to miss the agent", Duration::from_secs(10), || {
        let (well, text) = hub.doctor()?;
        Ok((!well && text.contains("PROBLEM  agent: ")).then_some(()))
    })
}
