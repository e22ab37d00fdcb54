//! Phase 2: routing names the other spoke as next hop, and the spoke resolves it.

use std::time::Duration;

use anyhow::Result;
use dmvpn_tests::{
    agent::Agent,
    lab::{Addressing, Lab, Plan},
    poll,
    traffic::finish_without_loss,
};
use nix::sys::signal::Signal;

/// Waits until the first spoke sends data straight to the second.
fn wait_direct(lab: &Lab, spoke: &Agent) -> Result<()> {
    let other = lab.spokes[1].nbma;
    poll::until_matches(
        "spoke-a to exchange data with spoke-b",
        Duration::from_secs(15),
        || spoke.peers(),
        |peers| peers.iter().any(|peer| peer.nbma == other && peer.sent_packets > 0),
    )
    .map(drop)
}

fn relays_by_the_hub_then_goes_directly(addressing: Addressing) -> Result<()> {
    let lab = Lab::new(Plan { phase: 2, addressing, ..Plan::default() })?;
    let (hub, spokes) = lab.start_all()?;
    // The very first packet of the stream is the one that asks for the next hop.
    let stream = lab.stream(0, 1, 1000)?;
    wait_direct(&lab, &spokes[0])?;
    stream.wait_received(500)?;
    assert_eq!(lab.path(0, 1)?, ["lan-a", "spoke-a", "spoke-b", "lan-b"]);
    let relayed = hub.packets_sent()?;
    assert!(relayed > 0, "the first packets went by the hub");
    stream.wait_received(500)?;
    assert_eq!(hub.packets_sent()?, relayed, "the hub still carries data");

    finish_without_loss([stream])
}

#[test]
fn the_hub_carries_everything_as_long_as_there_is_no_answer() -> Result<()> {
    let lab = Lab::new(Plan { phase: 2, ..Plan::default() })?;
    let (hub, spokes) = lab.start_all()?;
    // Nobody but spoke-b can say where spoke-b is, and it does not.
    spokes[1].signal(Signal::SIGSTOP)?;
    let stream = lab.stream(0, 1, 1000)?;
    stream.wait_received(2000)?;
    assert!(hub.packets_sent()? >= 2000);

    spokes[1].signal(Signal::SIGCONT)?;
    wait_direct(&lab, &spokes[0])?;
    assert_eq!(lab.path(0, 1)?, ["lan-a", "spoke-a", "spoke-b", "lan-b"]);
    finish_without_loss([stream])
}

#[test]
fn loses_nothing_while_it_resolves_in_one_subnet() -> Result<()> {
    relays_by_the_hub_then_goes_directly(Addressing::Subnet)
}

#[test]
fn loses_nothing_while_it_resolves_with_host_addresses() -> Result<()> {
    relays_by_the_hub_then_goes_directly(Addressing::Host)
}
