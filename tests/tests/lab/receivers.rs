//! Who gets copies of multicast packets: the list in the kernel, which is what replicates.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::{Context as _, Result};
use dmvpn_common::{LAYOUT_VERSION, map_names};
use dmvpn_tests::{
    agent::Agent,
    command,
    lab::{Lab, Node, Plan},
    poll,
};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(15);

/// Keys and values of a map of the node, as bpftool shows them.
fn dump(node: &Node, map: &str) -> Result<Vec<(u64, Value)>> {
    let path = node.pins.join(format!("v{LAYOUT_VERSION}")).join(map);
    let text = command::run(&format!("bpftool --json map dump pinned {}", path.display()))?;
    let entries: Vec<Value> = serde_json::from_str(&text)?;
    let entry = |entry: &Value| {
        let key = entry["formatted"]["key"].as_u64().context("a key")?;
        Ok((key, entry["formatted"]["value"].clone()))
    };
    entries.iter().map(entry).collect()
}

/// NBMA addresses that get copies, whether or not there is an agent.
fn receivers(node: &Node, addresses: &BTreeMap<u64, IpAddr>) -> Result<BTreeSet<IpAddr>> {
    let next: BTreeMap<_, _> = dump(node, map_names::MULTICAST)?.into_iter().collect();
    let mut found = BTreeSet::new();
    for (_, interface) in dump(node, map_names::INTERFACES)? {
        let mut peer = interface["first_receiver"].as_u64().context("the first")?;
        while peer != 0 {
            let nbma = addresses.get(&peer).with_context(|| format!("no peer {peer}: {addresses:?}"))?;
            assert!(found.insert(*nbma), "{nbma} would get two copies");
            peer = next[&peer]["next"].as_u64().context("the next")?;
        }
    }
    Ok(found)
}

fn addresses(agent: &Agent) -> Result<BTreeMap<u64, IpAddr>> {
    Ok(agent.peers()?.into_iter().map(|peer| (u64::from(peer.index), peer.nbma)).collect())
}

fn wait_for(agent: &Agent, wanted: &[Ipv4Addr]) -> Result<()> {
    let wanted: BTreeSet<_> = wanted.iter().map(|address| IpAddr::V4(*address)).collect();
    let what = format!("copies of {} to {wanted:?}", agent.node().name);
    poll::until(
        &what,
        PATIENCE,
        || Ok((receivers(agent.node(), &addresses(agent)?)? == wanted).then_some(())),
    )
}

#[test]
fn clients_and_servers_get_copies_until_they_leave() -> Result<()> {
    let lab = Lab::new(Plan::default())?;
    let [a, b] = &lab.spokes[..] else { unreachable!("the plan has two spokes") };
    let (hub, spokes) = lab.start_all()?;
    wait_for(&hub, &[a.nbma, b.nbma])?;
    for spoke in &spokes {
        // The hub only: not the other spoke, though it is a peer by now.
        assert!(lab.stream(0, 1, 100)?.finish().is_ok());
        wait_for(spoke, &[lab.hub.nbma])?;
    }

    // An agent that is killed leaves the list, the next one keeps it.
    let known = addresses(&hub)?;
    hub.kill()?;
    let both = BTreeSet::from([a.nbma.into(), b.nbma.into()]);
    assert_eq!(receivers(&lab.hub, &known)?, both);
    let hub = lab.start(&lab.hub)?;
    assert_eq!(receivers(&lab.hub, &addresses(&hub)?)?, both);

    let [first, _second] = <[Agent; 2]>::try_from(spokes).expect("two spokes");
    assert!(first.terminate()?.success());
    wait_for(&hub, &[b.nbma])
}

#[test]
fn the_operator_decides_who_gets_copies() -> Result<()> {
    let lab = Lab::new(Plan { spokes: 1, ..Plan::default() })?;
    let always = Ipv4Addr::new(198, 18, 7, 7);
    let mut config = lab.config(&lab.hub);
    config.more = format!("multicast: {{clients: false, to: [{always}]}}\n");
    let hub = Agent::start(&lab.hub, &config)?;
    let mut config = lab.config(&lab.spokes[0]);
    config.more = "multicast: {servers: none}\n".to_owned();
    let spoke = Agent::start(&lab.spokes[0], &config)?;
    spoke.wait_registered()?;
    hub.wait_cached(&lab.spokes[0])?;
    wait_for(&hub, &[always])?;
    wait_for(&spoke, &[])?;

    // Another configuration at the next start.
    hub.kill()?;
    let hub = lab.start(&lab.hub)?;
    wait_for(&hub, &[lab.spokes[0].nbma])
}
