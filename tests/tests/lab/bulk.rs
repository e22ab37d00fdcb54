//! Bulk TCP: the LAN hosts send packets of up to 64 KB with unfinished checksums, as real hosts with offloads do.

use anyhow::{Context as _, Result, ensure};
use dmvpn_tests::{
    lab::{Lab, Node, Plan},
    traffic::transfer,
};
use serde_json::Value;

use crate::ipv6;

const SIZE: u64 = 64 << 20;

fn transfers(phase: u8) -> Result<()> {
    let lab = Lab::new(Plan { phase, ..Plan::default() })?;
    let _agents = lab.start_all()?;
    let (a, b) = (lab.spoke_lan(0)?, lab.spoke_lan(1)?);
    let done = transfer(&a.host, &b.host, b.address, SIZE, |_| ())?;
    assert_eq!(done.bytes, SIZE);
    Ok(())
}

#[test]
fn arrives_unchanged_by_the_hub() -> Result<()> {
    transfers(1)
}

#[test]
fn arrives_unchanged_while_the_way_changes() -> Result<()> {
    transfers(3)
}

#[test]
fn arrives_unchanged_from_the_spoke_itself() -> Result<()> {
    let lab = Lab::new(Plan::default())?;
    let _agents = lab.start_all()?;
    let b = lab.spoke_lan(1)?;
    let done = transfer(&lab.spokes[0].namespace, &b.host, b.address, SIZE, |_| ())?;
    assert_eq!(done.bytes, SIZE);
    Ok(())
}

/// Frames and bytes that a node has received from its LAN.
fn received(node: &Node) -> Result<[u64; 2]> {
    let text = node.namespace.command("ip -json -stats link show dev lan0")?;
    let link: Value = serde_json::from_str(&text)?;
    let count = |name: &str| link[0]["stats64"]["rx"][name].as_u64().context("a count");
    Ok([count("packets")?, count("bytes")?])
}

/// IPv6 inside, with offloads of the hosts and of the receiving ends of the nodes, and with none: segments of up to 64 KB
/// with unfinished checksums, or frames as they are on a wire.
fn ipv6_transfers(phase: u8) -> Result<()> {
    /// Longest frame on an Ethernet.
    const FRAME: u64 = 1514;
    const SIZE: u64 = 16 << 20;
    for xdp in ["native", "generic"] {
        let lab = ipv6::lab(Plan { phase, xdp, ..Plan::default() })?;
        let _agents = ipv6::start_with_lans(&lab)?;
        let [a, b] = &lab.spokes[..] else { unreachable!("the plan has two spokes") };
        let (from, to) = (&lab.spoke_lan(0)?.host, &lab.spoke_lan(1)?.host);
        let (_, address) = ipv6::lan6(b)?;
        for offloads in ["on", "off"] {
            for host in [from, to] {
                let all = format!("tx {offloads} tso {offloads} gso {offloads} gro {offloads}");
                host.command(&format!("ethtool -K eth0 {all}"))?;
            }
            for node in lab.nodes() {
                node.namespace.command(&format!("ethtool -K underlay0 gro {offloads}"))?;
            }
            let before = received(a)?;
            let done = transfer(from, to, address, SIZE, |_| ())
                .with_context(|| format!("{xdp}, offloads {offloads}"))?;
            let after = received(a)?;
            let size = (after[1] - before[1]) / (after[0] - before[0]);
            println!("phase {phase}, {xdp}, offloads {offloads}: {:?}, {size} bytes a frame", done.time);
            ensure!((size > FRAME) == (offloads == "on"), "offloads {offloads}, but {size} bytes a frame");
        }
    }
    Ok(())
}

#[test]
fn ipv6_arrives_unchanged_by_the_hub() -> Result<()> {
    ipv6_transfers(1)
}

#[test]
fn ipv6_arrives_unchanged_while_the_way_changes() -> Result<()> {
    ipv6_transfers(3)
}
