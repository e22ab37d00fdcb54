//! Phase 2: routing names the other spoke as next hop, and the spoke resolves it.

use anyhow::Result;
use dmvpn_tests::{
    lab::{Addressing, Lab, Plan},
    poll,
};
use std::time::Duration;

fn relays_by_the_hub_then_goes_directly(addressing: Addressing) -> Result<()> {
    let lab = Lab::new(Plan { phase: 2, addressing, ..Plan::default() })?;
    let (hub, spokes) = lab.start_all()?;
    // The very first packet of the stream is the one that asks for the next hop.
    let stream = lab.stream(0, 1, 1000)?;
    let to_spoke_b = lab.spokes[1].nbma;
    poll::until_matches(
        "spoke-a to exchange data with spoke-b",
        Duration::from_secs(15),
        || spokes[0].peers(),
        |peers| peers.iter().any(|peer| peer.nbma == to_spoke_b && peer.sent_packets > 0),
    )?;
    stream.wait_received(500)?;
    assert_eq!(lab.path(0, 1)?, ["lan-a", "spoke-a", "spoke-b", "lan-b"]);
    let relayed = hub.packets_sent()?;
    stream.wait_received(500)?;
    assert_eq!(hub.packets_sent()?, relayed, "the hub still carries data");

    let report = stream.finish()?;
    assert_eq!(report.lost, [] as [u64; 0], "{report:?}");
    Ok(())
}

#[test]
fn loses_nothing_while_it_resolves_in_one_subnet() -> Result<()> {
    relays_by_the_hub_then_goes_directly(Addressing::Subnet)
}

#[test]
fn loses_nothing_while_it_resolves_with_host_addresses() -> Result<()> {
    relays_by_the_hub_then_goes_directly(Addressing::Host)
}
