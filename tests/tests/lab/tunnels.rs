//! Several tunnels between the same boxes. Of what arrives at one address the GRE key tells which it belongs to, or that
//! there is none; with the same key it is the address.

use std::{fmt::Write as _, net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, Result};
use dmvpn_tests::{
    agent::Agent,
    lab::{Lab, Node, Plan},
    poll,
    traffic::Stream,
};

const PATIENCE: Duration = Duration::from_secs(15);
const KEY: u32 = 42;
/// By number: GRE key, and last byte of the NBMA addresses of all nodes.
const TUNNELS: [(Option<u32>, u8); 4] = [(Some(KEY), 1), (Some(43), 1), (None, 1), (Some(KEY), 2)];
/// Packets a second of the first tunnel; each of the others has as many more, so that one is not taken for another.
const RATE: u32 = 100;
/// Packets that are not of a stream: those of NHRP.
const OTHERS: u64 = 20;

fn interface(number: u8) -> String {
    format!("dmvpn{number}")
}

fn address(node: &Node, number: u8) -> Ipv4Addr {
    let [a, _, c, d] = node.address.octets();
    Ipv4Addr::new(a, number, c, d)
}

fn nbma(node: &Node, last: u8) -> Ipv4Addr {
    let [a, b, c, _] = node.nbma.octets();
    Ipv4Addr::new(a, b, c, last)
}

/// The number, GRE key and last byte of the NBMA addresses of each tunnel.
fn tunnels() -> impl Iterator<Item = (u8, Option<u32>, u8)> {
    (0..).zip(TUNNELS).map(|(number, (key, last))| (number, key, last))
}

/// Starts the agent of a node with all tunnels.
fn start(lab: &Lab, node: &Node) -> Result<Agent> {
    node.namespace.command(&format!("ip address add {}/24 dev underlay0", nbma(node, 2)))?;
    let mut config = lab.config(node);
    config.routes = Vec::new();
    for (number, key, last) in tunnels().skip(1) {
        let (name, address, source) = (interface(number), address(node, number), nbma(node, last));
        let more = &mut config.further_tunnels;
        writeln!(more, "- {{name: {name}, address: {address}/24, source: {source}, xdp: native, phase: 3")?;
        if let Some(key) = key {
            writeln!(more, "  , key: {key}")?;
        }
        if node.name != lab.hub.name {
            let (server, at) = (self::address(&lab.hub, number), nbma(&lab.hub, last));
            writeln!(more, "  , nhs: [{{address: {server}, nbma: {at}}}]")?;
        }
        writeln!(more, "  }}")?;
    }
    Agent::start(node, &config)
}

/// Waits until an agent knows where `peer` is, in each tunnel, and in no other way.
fn wait_known(agent: &Agent, peer: &Node) -> Result<()> {
    let what = format!("{} in every tunnel of {}", peer.name, agent.node().name);
    let known = |interface: &str, address: Ipv4Addr, nbma: Ipv4Addr| {
        let rows = agent.cache()?;
        anyhow::Ok(rows.iter().any(|row| {
            row.interface == interface && row.protocol.addr() == address && row.nbma == Some(nbma.into())
        }))
    };
    poll::until(&what, PATIENCE, || {
        for (number, _, last) in tunnels() {
            if !known(&interface(number), address(peer, number), nbma(peer, last))? {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
}

/// Packets received from, and sent to, a peer in each tunnel.
fn packets(agent: &Agent, peer: &Node) -> Result<Vec<[u64; 2]>> {
    let rows = agent.peers()?;
    tunnels()
        .map(|(number, _, last)| {
            let (name, at) = (interface(number), nbma(peer, last));
            let row = rows.iter().find(|row| row.interface == name && row.nbma == at);
            let row = row.with_context(|| format!("no {at} in {name}: {rows:#?}"))?;
            Ok([row.received_packets, row.sent_packets])
        })
        .collect()
}

/// Sends another number of packets through each tunnel at once; all arrive, and each is counted in its own tunnel.
fn each_has_its_own(from: &Agent, to: &Agent) -> Result<()> {
    let before = (packets(from, to.node())?, packets(to, from.node())?);
    let streams = tunnels()
        .map(|(number, ..)| {
            let rate = RATE * (u32::from(number) + 1);
            let address = address(to.node(), number);
            Stream::start(&from.node().namespace, &to.node().namespace, address, rate)
        })
        .collect::<Result<Vec<_>>>()?;
    streams[0].wait_received(u64::from(RATE))?;
    let reports = streams.into_iter().map(Stream::finish).collect::<Result<Vec<_>>>()?;
    let after = (packets(from, to.node())?, packets(to, from.node())?);
    for (number, report) in reports.iter().enumerate() {
        assert!(report.lost.is_empty() && report.duplicates == 0, "tunnel {number}: {report:?}");
        let sent = after.0[number][1] - before.0[number][1];
        let received = after.1[number][0] - before.1[number][0];
        println!("tunnel {number}: {} packets, counted as sent {sent}, received {received}", report.sent);
        for count in [sent, received] {
            assert!(
                (report.sent..=report.sent + OTHERS).contains(&count),
                "tunnel {number}: {count}, {report:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn each_of_several_tunnels_keeps_its_traffic_to_itself() -> Result<()> {
    let lab = Lab::new(Plan { key: Some(KEY), ..Plan::default() })?;
    let hub = start(&lab, &lab.hub)?;
    let spokes = lab.spokes.iter().map(|node| start(&lab, node)).collect::<Result<Vec<_>>>()?;
    for spoke in &spokes {
        wait_known(&hub, spoke.node())?;
        wait_known(spoke, &lab.hub)?;
    }
    each_has_its_own(&spokes[0], &hub)?;
    each_has_its_own(&hub, &spokes[1])?;

    // Resolved in each tunnel, the spokes have one way in each as well.
    for (from, to) in [(0, 1), (1, 0)] {
        for (number, ..) in tunnels() {
            let to = address(&lab.spokes[to], number);
            lab.spokes[from].namespace.command(&format!("ping -c 1 -W 3 {to}"))?;
        }
        wait_known(&spokes[from], &lab.spokes[to])?;
    }
    each_has_its_own(&spokes[0], &spokes[1])
}
