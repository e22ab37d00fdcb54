//! Phase 1: everything between spokes goes by the hub, for ever.

use std::time::Duration;

use anyhow::Result;
use dmvpn_tests::{
    lab::{Addressing, Lab, Plan},
    traffic::{finish_without_loss, ping},
};

fn everything_goes_by_the_hub(addressing: Addressing) -> Result<()> {
    let lab = Lab::new(Plan { phase: 1, addressing, ..Plan::default() })?;
    let (_hub, spokes) = lab.start_all()?;
    let stream = lab.stream(0, 1, 1000)?;
    let back = lab.stream(1, 0, 1000)?;
    stream.wait_received(2000)?;
    assert_eq!(lab.path(0, 1)?, ["lan-a", "spoke-a", "hub", "spoke-b", "lan-b"]);
    assert_eq!(lab.path(1, 0)?, ["lan-b", "spoke-b", "hub", "spoke-a", "lan-a"]);
    finish_without_loss([stream, back])?;

    for (spoke, node) in spokes.iter().zip(&lab.spokes) {
        let peers: Vec<_> = spoke.peers()?.into_iter().map(|peer| peer.nbma).collect();
        assert_eq!(peers, [lab.hub.nbma], "a Phase 1 spoke knows its hub only");
        assert!(spoke.shortcuts()?.is_empty());
        let routes = node.shortcut_routes()?;
        let others = lab.spokes.iter().map(|other| format!(" {} ", other.address));
        for other in others {
            assert!(!routes.iter().any(|route| route.contains(&other)), "{routes:?}");
        }
    }
    Ok(())
}

#[test]
fn goes_by_the_hub_in_one_subnet() -> Result<()> {
    everything_goes_by_the_hub(Addressing::Subnet)
}

#[test]
fn goes_by_the_hub_with_host_addresses() -> Result<()> {
    everything_goes_by_the_hub(Addressing::Host)
}

#[test]
fn reaches_the_nodes_themselves() -> Result<()> {
    let lab = Lab::new(Plan { phase: 1, ..Plan::default() })?;
    let _agents = lab.start_all()?;
    let host = &lab.spoke_lan(0)?.host;
    // Linux answers with a TTL of 64; spoke-a takes one, and the hub one of what comes from spoke-b.
    for (node, ttl) in [(&lab.hub, 63), (&lab.spokes[1], 62)] {
        // spoke-b knows no way back to lan-a but by the hub; 10.0.0.0/24 is on the link for spoke-a.
        let reply = ping(host, node.address, 1, Duration::from_secs(5))?;
        assert_eq!(reply.map(|reply| reply.ttl), Some(ttl), "{}", node.name);
    }
    Ok(())
}
