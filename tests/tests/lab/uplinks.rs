//! A node with two ways into the underlay.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, Result};
use dmvpn_tests::{
    agent::Agent,
    config::TUNNEL,
    lab::{Lab, Plan},
    poll,
    traffic::{Stream, finish_without_loss},
    wire::UNDERLAY,
};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(15);
/// Packets a second, and packets of a round.
const RATE: u32 = 1000;
const PACKETS: u64 = 500;
/// Packets that are not of a stream: ARP, those of NHRP.
const OTHERS: u64 = 50;
/// The second uplink of the first spoke.
const SECOND: &str = "underlay1";
const SECOND_NBMA: Ipv4Addr = Ipv4Addr::new(198, 18, 101, 1);

/// Frames that the router has had from and sent to the first spoke by each uplink.
fn frames(lab: &Lab) -> Result<[[u64; 2]; 2]> {
    let count = |interface: &str| {
        let text = lab.underlay.command(&format!("ip -json -stats link show dev {interface}"))?;
        let link: Value = serde_json::from_str(&text)?;
        let packets = |way: &str| link[0]["stats64"][way]["packets"].as_u64().context("a count");
        anyhow::Ok([packets("rx")?, packets("tx")?])
    };
    Ok([count("spoke-a")?, count("spoke-a-1")?])
}

/// Whether [`PACKETS`] packets each way of both streams pass by the uplink `number`, and by no other.
fn use_uplink(lab: &Lab, streams: &[Stream; 2], number: usize) -> Result<()> {
    let before = frames(lab)?;
    streams.iter().try_for_each(|stream| stream.wait_received(PACKETS))?;
    let after = frames(lab)?;
    for uplink in [0, 1] {
        let passed = [0, 1].map(|way| after[uplink][way] - before[uplink][way]);
        println!("uplink {uplink}: {passed:?} frames from and to the spoke; expected by {number}");
        let right = passed.iter().all(|frames| (*frames >= PACKETS - OTHERS) == (uplink == number));
        assert!(right && (uplink == number || passed.iter().all(|frames| *frames <= OTHERS)), "{passed:?}");
    }
    Ok(())
}

/// Interface by which an agent reaches a peer of a tunnel.
fn way(agent: &Agent, tunnel: &str, nbma: Ipv4Addr) -> Result<Option<String>> {
    let rows = agent.peers()?;
    let row = rows.into_iter().find(|row| row.interface == tunnel && row.nbma == nbma);
    Ok(row.and_then(|row| row.underlay).map(|underlay| underlay.interface))
}

fn both_ways(a: &Agent, b: &Agent, addresses: [Ipv4Addr; 2]) -> Result<[Stream; 2]> {
    let [a, b] = [a, b].map(|agent| &agent.node().namespace);
    Ok([Stream::start(a, b, addresses[1], RATE)?, Stream::start(b, a, addresses[0], RATE)?])
}

#[test]
fn a_node_has_a_tunnel_on_each_uplink() -> Result<()> {
    let lab = Lab::new(Plan { spokes: 1, ..Plan::default() })?;
    let node = &lab.spokes[0];
    lab.add_uplink(node, SECOND, SECOND_NBMA)?;
    let hub_nbma = Ipv4Addr::new(198, 18, 0, 2);
    lab.hub.namespace.command(&format!("ip address add {hub_nbma}/24 dev underlay0"))?;
    node.namespace.command(&format!("ip route add {hub_nbma} via 198.18.101.254 dev {SECOND}"))?;

    // The same key: by what it arrives at is what tells.
    let tunnel = |address: &str, source: &str| {
        format!(
            "- name: dmvpn1\n  address: {address}/24\n  source: {source}\n  xdp: native\n  key: 42\n  phase: 3\n"
        )
    };
    let mut config = lab.config(&lab.hub);
    config.further_tunnels = tunnel("10.1.0.1", &hub_nbma.to_string());
    let hub = Agent::start(&lab.hub, &config)?;
    let mut config = lab.config(node);
    config.source = UNDERLAY.into();
    config.further_tunnels =
        tunnel("10.1.0.11", SECOND) + &format!("  nhs:\n    - {{address: 10.1.0.1, nbma: {hub_nbma}}}\n");
    let spoke = Agent::start(node, &config)?;
    hub.wait_cached(node)?;
    let second = [Ipv4Addr::new(10, 1, 0, 11), Ipv4Addr::new(10, 1, 0, 1)];
    poll::until_matches(
        "the spoke in the second tunnel",
        PATIENCE,
        || hub.cache(),
        |rows| {
            rows.iter().any(|row| row.protocol.addr() == second[0] && row.nbma == Some(SECOND_NBMA.into()))
        },
    )?;
    assert_eq!(way(&spoke, TUNNEL, lab.hub.nbma)?.as_deref(), Some(UNDERLAY));
    assert_eq!(way(&spoke, "dmvpn1", hub_nbma)?.as_deref(), Some(SECOND));
    for (number, addresses) in [[node.address, lab.hub.address], second].into_iter().enumerate() {
        let streams = both_ways(&spoke, &hub, addresses)?;
        use_uplink(&lab, &streams, number)?;
        for stream in streams {
            let report = stream.finish()?;
            assert!(report.lost.is_empty() && report.duplicates == 0, "uplink {number}: {report:?}");
        }
    }

    // One goes on without the other.
    let streams = both_ways(&spoke, &hub, second)?;
    lab.underlay.command("ip link set spoke-a down")?;
    streams.iter().try_for_each(|stream| stream.wait_received(u64::from(RATE)))?;
    for stream in streams {
        let report = stream.finish()?;
        assert!(report.lost.is_empty(), "{report:?}");
    }
    Ok(())
}

/// One tunnel, one source; where a packet leaves is a matter of routes, and where one arrives of nobody's here.
#[test]
fn peers_of_a_tunnel_are_reached_by_the_uplinks_that_routes_say() -> Result<()> {
    let lab = Lab::new(Plan::default())?;
    let [a, b] = &lab.spokes[..] else { unreachable!("the plan has two spokes") };
    lab.add_uplink(a, SECOND, SECOND_NBMA)?;
    a.namespace.command(&format!("ip route add {} via 198.18.101.254 dev {SECOND}", b.nbma))?;
    // The router sends what the second spoke sends to the first by that way, too.
    lab.underlay.command(&format!("ip route add {} via {SECOND_NBMA} dev spoke-a-1 table 101", a.nbma))?;
    lab.underlay.command(&format!("ip rule add from {} lookup 101 priority 101", b.nbma))?;

    let (hub, spokes) = lab.start_all()?;
    let by_the_hub = both_ways(&spokes[0], &hub, [a.address, lab.hub.address])?;
    use_uplink(&lab, &by_the_hub, 0)?;
    finish_without_loss(by_the_hub)?;
    let direct = lab.streams_by_shortcuts(&spokes, RATE)?;
    // What was on its way to the hub.
    direct.iter().try_for_each(|stream| stream.wait_received(PACKETS))?;
    use_uplink(&lab, &direct, 1)?;
    assert_eq!(way(&spokes[0], TUNNEL, lab.hub.nbma)?.as_deref(), Some(UNDERLAY));
    assert_eq!(way(&spokes[0], TUNNEL, b.nbma)?.as_deref(), Some(SECOND));

    // And by the first again, when routes say so.
    a.namespace.command(&format!("ip route del {} dev {SECOND}", b.nbma))?;
    lab.underlay.command("ip rule del priority 101")?;
    poll::until("the other uplink", PATIENCE, || {
        Ok((way(&spokes[0], TUNNEL, b.nbma)?.as_deref() == Some(UNDERLAY)).then_some(()))
    })?;
    direct.iter().try_for_each(|stream| stream.wait_received(PACKETS))?;
    use_uplink(&lab, &direct, 0)
}
