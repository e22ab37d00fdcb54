//! Routes to NBMA addresses that lead into the tunnel: what a routing protocol does that announces the underlay over it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use dmvpn_common::DropReason;
use dmvpn_tests::{
    config::TUNNEL,
    lab::{Lab, Node, Plan},
    poll,
    traffic::ping,
};

const PATIENCE: Duration = Duration::from_secs(15);
const WARNING: &str = "leads into dmvpn0 itself";

/// Packets the node has sent by its underlay interface.
fn sent(node: &Node) -> Result<u64> {
    let text = node.namespace.command("cat /proc/net/dev")?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("underlay0:"));
    let fields: Vec<_> = line.context("no underlay0")?.split_whitespace().collect();
    Ok(fields.get(9).context("no such field")?.parse()?)
}

#[test]
fn a_route_to_the_hub_by_the_tunnel_is_named_and_not_followed() -> Result<()> {
    let lab = Lab::new(Plan { spokes: 1, registration_interval: 2, ..Plan::default() })?;
    let (_hub, spokes) = lab.start_all()?;
    let (spoke, node) = (&spokes[0], &lab.spokes[0]);
    let answers = |sequence| ping(&node.namespace, lab.hub.address, sequence, Duration::from_millis(300));
    assert!(answers(1)?.is_some());

    let route = format!("{} via {} dev {TUNNEL}", lab.hub.nbma, lab.hub.address);
    let before = sent(node)?;
    node.namespace.command(&format!("ip route add {route}"))?;
    poll::until("a warning", PATIENCE, || Ok(spoke.log().contains(WARNING).then_some(())))?;
    assert!(spoke.log().contains(&format!("ip route add {} via GATEWAY", lab.hub.nbma)), "{}", spoke.log());
    // Packets are dropped once, with a reason, and not sent round and round.
    let start = Instant::now();
    for sequence in 2..=6 {
        assert!(answers(sequence)?.is_none());
    }
    let dropped = spoke.dropped(DropReason::NoUnderlayRoute)?;
    assert!((5..100).contains(&dropped), "{dropped} drops in {:?}", start.elapsed());
    let left = sent(node)? - before;
    assert!(left < 50, "{left} packets left by the underlay");

    node.namespace.command(&format!("ip route del {route}"))?;
    poll::until("an answer", PATIENCE, || Ok(answers(7)?.map(drop)))?;
    let log = spoke.log();
    assert_eq!(log.matches(WARNING).count(), 1, "{log}");
    assert!(log.contains("routed by the underlay again"), "{log}");
    spoke.wait_registered()
}
