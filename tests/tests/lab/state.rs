//! What outlives an agent in its state file.

use std::{fs, net::Ipv4Addr, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use dmvpn::{
    control::protocol::{CacheFlag, CacheKind, CacheRow, NhsState},
    state::{self, FILE_NAME},
};
use dmvpn_tests::{
    agent::Agent,
    lab::{Lab, Node, Plan},
    poll,
};

const PATIENCE: Duration = Duration::from_secs(15);

/// A lab whose spokes register once, and not again while a test runs.
fn lab() -> Result<Lab> {
    Lab::new(Plan { holding_time: 200, registration_interval: 150, ..Plan::default() })
}

fn file(node: &Node, lab: &Lab) -> PathBuf {
    lab.config(node).state_directory.join(FILE_NAME)
}

/// Waits until these nodes are in the hub's state file.
fn wait_saved(lab: &Lab, nodes: &[Node]) -> Result<()> {
    let path = file(&lab.hub, lab);
    poll::until("the clients in the state file", PATIENCE, || {
        let Ok(bytes) = fs::read(&path) else { return Ok(None) };
        let state = state::parse(&bytes)?;
        let clients: Vec<_> =
            state.tunnels.values().flat_map(|tunnel| &tunnel.registrations).map(|one| one.client).collect();
        Ok(nodes.iter().all(|node| clients.contains(&node.address.into())).then_some(()))
    })
}

fn row(agent: &Agent, node: &Node) -> Result<CacheRow> {
    let rows = agent.cache()?;
    let found = rows.into_iter().find(|row| row.protocol.addr() == node.address);
    found.with_context(|| format!("{} does not know {}", agent.node().name, node.name))
}

#[test]
fn a_killed_hub_knows_until_when_and_how_its_clients_are_registered() -> Result<()> {
    let lab = lab()?;
    let (hub, mut spokes) = lab.start_all()?;
    wait_saved(&lab, &lab.spokes)?;
    let client = &lab.spokes[0];
    let before = poll::until("some seconds to pass", PATIENCE, || {
        let row = row(&hub, client)?;
        Ok(row.expires_seconds.is_some_and(|left| left < 196).then_some(row))
    })?;
    hub.kill()?;

    let hub = lab.start(&lab.hub)?;
    let after = row(&hub, client)?;
    assert_eq!((after.kind, &after.flags), (CacheKind::Dynamic, &before.flags));
    assert!(after.flags.contains(&CacheFlag::Unique) && after.flags.contains(&CacheFlag::Registered));
    let (before, after) = (before.expires_seconds.unwrap_or(0), after.expires_seconds.unwrap_or(u64::MAX));
    assert!((before - 60..=before).contains(&after), "{before} s before, {after} s after");

    // The address is still that client's: nobody else gets it, from wherever.
    spokes.remove(1).kill()?;
    let mut config = lab.config(&lab.spokes[1]);
    config.address = ipnet::Ipv4Net::new_assert(client.address, 24).into();
    let impostor = Agent::start(&lab.spokes[1], &config)?;
    poll::until_matches(
        "the impostor to be refused",
        PATIENCE,
        || impostor.nhs(),
        |rows| rows.iter().any(|row| row.requests_failed > 0 && row.state == NhsState::Expecting),
    )?;
    assert_eq!(row(&hub, client)?.nbma, Some(client.nbma.into()));
    Ok(())
}

#[test]
fn a_stopped_hub_knows_its_clients_when_it_is_started_again() -> Result<()> {
    let lab = lab()?;
    let (hub, _spokes) = lab.start_all()?;
    // At once, so that what is saved is what is saved at the end.
    assert!(hub.terminate()?.success());
    let hub = lab.start(&lab.hub)?;
    for spoke in &lab.spokes {
        assert_eq!(row(&hub, spoke)?.kind, CacheKind::Dynamic);
    }
    // Nothing was left in the kernel, and yet traffic passes.
    let stream = lab.stream(0, 1, 1000)?;
    stream.wait_received(100)
}

#[test]
fn a_file_that_is_not_understood_is_no_obstacle() -> Result<()> {
    let lab = lab()?;
    let (hub, _spokes) = lab.start_all()?;
    wait_saved(&lab, &lab.spokes)?;
    let path = file(&lab.hub, &lab);
    let good = fs::read(&path)?;
    let mut hub = hub;
    for (content, words) in [
        (b"\0\0\0\0".to_vec(), "it is damaged, or something else"),
        (good[..good.len() / 2].to_vec(), "it is damaged, or something else"),
        (b"{\"version\":2}".to_vec(), "it has version 2, this agent reads version 1"),
    ] {
        hub.kill()?;
        fs::write(&path, &content)?;
        hub = lab.start(&lab.hub)?;
        assert!(hub.log().contains(words), "no \"{words}\" in:\n{}", hub.log());
        assert_eq!(fs::read(path.with_extension("json.unreadable"))?, content);
        // What is in the kernel is enough to go on.
        for spoke in &lab.spokes {
            assert_eq!(row(&hub, spoke)?.nbma, Some(spoke.nbma.into()));
        }
    }
    assert!(!hub.log().contains("panicked"));
    Ok(())
}

#[test]
fn a_spoke_that_was_killed_takes_its_unique_registration_to_another_address() -> Result<()> {
    const MOVED: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 77);

    let lab = lab()?;
    let hub = lab.start(&lab.hub)?;
    let node = &lab.spokes[0];
    let mut config = lab.config(node);
    config.source = "underlay0".into();
    let spoke = Agent::start(node, &config)?;
    spoke.wait_registered()?;
    let path = file(node, &lab);
    poll::until("the spoke's state file", PATIENCE, || Ok(path.exists().then_some(())))?;
    spoke.kill()?;

    node.namespace.command(&format!("ip address del {}/24 dev underlay0", node.nbma))?;
    node.namespace.command(&format!("ip address add {MOVED}/24 dev underlay0"))?;
    node.namespace.command("ip route add default via 198.18.1.254")?;
    let spoke = Agent::start(node, &config)?;
    spoke.wait_registered()?;
    assert_eq!(row(&hub, node)?.nbma, Some(MOVED.into()));
    Ok(())
}
