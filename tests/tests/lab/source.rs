//! A tunnel source that changes under traffic: another address, none for a while, another interface of the name.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::Result;
use dmvpn::control::protocol::NhsState;
use dmvpn_tests::{
    agent::Agent,
    lab::{Lab, Node, Plan},
    poll,
};

const PATIENCE: Duration = Duration::from_secs(15);
/// Packets a second.
const RATE: u32 = 1000;
/// Longest time without traffic in a direction: between the two addresses, and until the hub has heard of the new
/// one, none of which has to wait for anything. It takes some milliseconds.
const GAP: Duration = Duration::from_secs(1);
/// Where spoke-a moves to.
const MOVED: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 77);

fn start_all(lab: &Lab, more: &str) -> Result<(Agent, Vec<Agent>)> {
    let mut config = lab.config(&lab.hub);
    // So that a redirect for the way before does not put off the one for the way after.
    config.more = "redirect-interval: 1".into();
    let hub = Agent::start(&lab.hub, &config)?;
    let mut agents = Vec::new();
    for spoke in &lab.spokes {
        let mut config = lab.config(spoke);
        config.source = "underlay0".into();
        config.more = more.into();
        let agent = Agent::start(spoke, &config)?;
        agent.wait_registered()?;
        hub.wait_cached(spoke)?;
        agents.push(agent);
    }
    Ok((hub, agents))
}

/// What a DHCP client does with a new lease.
fn renumber(node: &Node, from: Ipv4Addr, to: Ipv4Addr) -> Result<()> {
    node.namespace.command(&format!("ip address del {from}/24 dev underlay0"))?;
    node.namespace.command(&format!("ip address add {to}/24 dev underlay0"))?;
    node.namespace.command("ip route add default via 198.18.1.254").map(drop)
}

fn wait_known_at(agent: &Agent, node: &Node, nbma: Ipv4Addr) -> Result<()> {
    let what = format!("{} at {nbma}", node.name);
    poll::until_matches(
        &what,
        PATIENCE,
        || agent.cache(),
        |rows| rows.iter().any(|row| row.protocol.addr() == node.address && row.nbma == Some(nbma.into())),
    )
    .map(drop)
}

#[test]
fn traffic_follows_the_spoke_to_another_address() -> Result<()> {
    for more in ["unique: true", "unique: false"] {
        let lab = Lab::new(Plan { registration_interval: 20, ..Plan::default() })?;
        let (hub, spokes) = start_all(&lab, more)?;
        let (a, b) = (lab.spoke_lan(0)?.prefix, lab.spoke_lan(1)?.prefix);
        let (there, back) = (lab.stream(0, 1, RATE)?, lab.stream(1, 0, RATE)?);
        spokes[0].wait_shortcut(b)?;
        spokes[1].wait_shortcut(a)?;

        let node = &lab.spokes[0];
        renumber(node, node.nbma, MOVED)?;
        wait_known_at(&hub, node, MOVED)?;
        poll::until_matches(
            "the registration from the new address",
            PATIENCE,
            || spokes[0].nhs(),
            |rows| rows.iter().all(|row| row.state == NhsState::Responding),
        )?;
        let interfaces = spokes[0].interfaces()?;
        assert_eq!(interfaces[0].source, Some(MOVED.into()));
        // And the shortcuts are made anew: nothing goes by the hub, or to where the spoke was.
        poll::until("the direct way", PATIENCE, || {
            Ok((lab.path(0, 1)? == ["lan-a", "spoke-a", "spoke-b", "lan-b"]
                && lab.path(1, 0)? == ["lan-b", "spoke-b", "spoke-a", "lan-a"])
            .then_some(()))
        })?;
        for stream in [&there, &back] {
            stream.wait_received(u64::from(RATE))?;
        }
        for report in [there.finish()?, back.finish()?] {
            let lost = u32::try_from(report.lost.len())?;
            println!("{more}: {lost} packets lost of {RATE} a second");
            assert!(lost < RATE * u32::try_from(GAP.as_secs())?, "{more}: {lost} packets lost: {report:?}");
        }
    }
    Ok(())
}

#[test]
fn a_source_that_is_gone_for_a_while_costs_nothing_but_that_while() -> Result<()> {
    let lab = Lab::new(Plan::default())?;
    let (_hub, spokes) = start_all(&lab, "")?;
    let b = lab.spoke_lan(1)?.prefix;
    let stream = lab.stream(0, 1, RATE)?;
    spokes[0].wait_shortcut(b)?;

    let node = &lab.spokes[0];
    node.namespace.command(&format!("ip address del {}/24 dev underlay0", node.nbma))?;
    poll::until("a warning", PATIENCE, || {
        Ok(spokes[0].log().contains("the tunnel's source underlay0 is gone").then_some(()))
    })?;
    // Nothing is forgotten.
    assert!(spokes[0].shortcuts()?.iter().any(|row| row.prefix == b.into()));
    assert!(!spokes[0].peers()?.is_empty());
    node.namespace.command(&format!("ip address add {}/24 dev underlay0", node.nbma))?;
    node.namespace.command("ip route add default via 198.18.1.254")?;
    poll::until("the end of the wait", PATIENCE, || {
        Ok(spokes[0].log().contains("the tunnel's source underlay0 is back").then_some(()))
    })?;
    stream.wait_received(2 * u64::from(RATE))?;
    assert_eq!(lab.path(0, 1)?, ["lan-a", "spoke-a", "spoke-b", "lan-b"]);
    drop(stream);
    Ok(())
}

#[test]
fn another_interface_of_the_name_takes_the_place_of_one_that_went() -> Result<()> {
    let lab = Lab::new(Plan::default())?;
    let (hub, spokes) = start_all(&lab, "")?;
    let stream = lab.stream(0, 1, RATE)?;
    stream.wait_received(u64::from(RATE))?;

    // A PPP session that is made anew, as far as the agent can tell.
    let node = &lab.spokes[0];
    node.namespace.command("ip link delete underlay0")?;
    poll::until("a warning", PATIENCE, || {
        Ok(spokes[0].log().contains("the tunnel's source underlay0 is gone").then_some(()))
    })?;
    lab.rewire(node, MOVED)?;
    wait_known_at(&hub, node, MOVED)?;
    stream.wait_received(2 * u64::from(RATE))?;
    assert!(spokes[0].interfaces()?[0].xdp.iter().any(|row| row.interface == "underlay0"));
    drop(stream);
    Ok(())
}
