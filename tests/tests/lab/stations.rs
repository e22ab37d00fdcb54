//! For whom frames on the underlay are: what the interface hears for another box with our NBMA address is not ours.

use std::time::Duration;

use anyhow::{Context as _, Result};
use dmvpn::control::protocol::Path;
use dmvpn_tests::{
    agent::Agent,
    lab::{Lab, Node, Plan},
    poll,
    wire::UNDERLAY,
};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(15);
/// Packets a second, and packets that are counted.
const RATE: u32 = 1000;
const PACKETS: u64 = 500;
/// The other box.
const OTHER: &str = "02:00:00:00:77:99";

/// Packets that the hub has received from peers by a path.
fn received(hub: &Agent, by: Path) -> Result<u64> {
    let paths = hub.peers()?.into_iter().flat_map(|peer| peer.paths);
    Ok(paths.filter(|row| row.path == by).map(|row| row.received_packets).sum())
}

/// Frames that the router has sent to the hub.
fn sent(lab: &Lab) -> Result<u64> {
    let link: Value = serde_json::from_str(&lab.underlay.command("ip -json -stats link show dev hub")?)?;
    link[0]["stats64"]["tx"]["packets"].as_u64().context("a count")
}

/// Waits until as many frames as are counted have come to the hub, and returns how many packets it has taken meanwhile.
fn taken(lab: &Lab, hub: &Agent, by: Path) -> Result<u64> {
    let (frames, before) = (sent(lab)?, received(hub, by)?);
    poll::until(
        "frames for the hub's wire",
        PATIENCE,
        || Ok((sent(lab)? - frames >= PACKETS).then_some(())),
    )?;
    Ok(received(hub, by)? - before)
}

/// Gives a node's NBMA address to a bridge, whose driver has no XDP.
fn put_on_bridge(node: &Node) -> Result<&'static str> {
    let nbma = node.nbma;
    for line in [
        format!("ip address del {nbma}/24 dev {UNDERLAY}"),
        "ip link add bridge0 up type bridge".to_owned(),
        format!("ip link set {UNDERLAY} master bridge0"),
        format!("ip address add {nbma}/24 dev bridge0"),
        "ip route add default via 198.18.0.254".to_owned(),
    ] {
        node.namespace.command(&line)?;
    }
    Ok("bridge0")
}

/// A flooding switch, and a hub that hears everything. Then the address of the other box becomes the hub's own.
fn frames_for_others(by: Path) -> Result<()> {
    // In Phase 1 all traffic goes by the hub.
    let xdp = if by == Path::Xdp { "native" } else { "auto" };
    let lab = Lab::new(Plan { phase: 1, xdp, ..Plan::default() })?;
    let underlay = if by == Path::Tc { put_on_bridge(&lab.hub)? } else { UNDERLAY };
    let (hub, _spokes) = lab.start_all()?;
    let stream = lab.stream(0, 1, RATE)?;
    stream.wait_received(PACKETS)?;
    assert!(taken(&lab, &hub, by)? >= PACKETS / 2, "by {by:?}: {:?}", hub.peers()?);

    lab.hub.namespace.command(&format!("ip link set {underlay} promisc on"))?;
    let neighbour = format!("ip neighbour replace {} lladdr {OTHER} dev hub nud permanent", lab.hub.nbma);
    lab.underlay.command(&neighbour)?;
    // What was on its way.
    taken(&lab, &hub, by)?;
    let (drops, slow) = (hub.drops()?, received(&hub, Path::Slow)?);
    assert_eq!(taken(&lab, &hub, by)?, 0, "frames for another box, by {by:?}");
    assert_eq!(hub.drops()?, drops, "what is for others is not dropped");

    lab.hub.namespace.command(&format!("ip link set {underlay} address {OTHER}"))?;
    poll::until("frames for the new address", PATIENCE, || {
        Ok((taken(&lab, &hub, by)? >= PACKETS / 2).then_some(()))
    })?;
    let passed = received(&hub, Path::Slow)? - slow;
    // Until the agent has heard of it.
    assert!(passed <= u64::from(RATE), "{passed} packets by the slow path");
    assert_eq!(received(&hub, Path::Slow)?, slow + passed, "it is used no more");
    Ok(())
}

#[test]
fn xdp_takes_frames_for_this_box_only() -> Result<()> {
    frames_for_others(Path::Xdp)
}

#[test]
fn tc_takes_frames_for_this_box_only() -> Result<()> {
    frames_for_others(Path::Tc)
}
