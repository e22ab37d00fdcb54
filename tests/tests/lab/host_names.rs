//! Servers that are given by host name.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Result;
use dmvpn::control::protocol::NhsState;
use dmvpn_tests::{
    agent::Agent,
    config::Config,
    lab::{Lab, Node, Plan},
    poll,
};

const NAME: &str = "hub.dmvpn.test";
const PATIENCE: Duration = Duration::from_secs(15);

/// A hub, and two spokes that do not know it yet: the second one serves as another hub.
struct Names {
    lab: Lab,
    hosts: PathBuf,
}

impl Names {
    fn new() -> Result<Self> {
        let lab = Lab::new(Plan { registration_interval: 1, ..Plan::default() })?;
        let hosts = lab.hub.files.join("hosts");
        fs::write(&hosts, "")?;
        Ok(Self { lab, hosts })
    }

    /// Makes the name stand for these nodes.
    fn point_to(&self, nodes: &[&Node]) -> Result<()> {
        let lines: Vec<_> = nodes.iter().map(|node| format!("{} {NAME}\n", node.nbma)).collect();
        // In place: the file is mounted over /etc/hosts.
        Ok(fs::write(&self.hosts, lines.concat())?)
    }

    /// Starts an agent whose only server is the name, with a hosts file of its own.
    fn start(&self, node: &Node) -> Result<Agent> {
        let mut config: Config = self.lab.config(node);
        config.nhs = None;
        config.more = format!("nhs-refresh: 1\nnhs:\n  - {{address: dynamic, nbma: {NAME}}}\n");
        let hosts = self.hosts.clone();
        Agent::start_by(node, &config, move |program: &Path| {
            let mut command = Command::new("unshare");
            command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]);
            command.arg(&hosts).arg(program);
            command
        })
    }
}

/// Waits until the agent is registered with exactly these nodes.
fn wait_for(agent: &Agent, nodes: &[&Node]) -> Result<()> {
    let mut wanted: Vec<_> = nodes.iter().map(|node| Some(node.nbma.into())).collect();
    wanted.sort();
    let is_wanted = |rows: &Vec<dmvpn::control::protocol::NhsRow>| {
        let up = rows.iter().filter(|row| row.state == NhsState::Responding);
        let mut up: Vec<_> = up.map(|row| row.nbma).collect();
        up.sort();
        up == wanted && rows.len() == wanted.len() && rows.iter().all(|row| row.name.as_deref() == Some(NAME))
    };
    poll::until_matches("registrations", PATIENCE, || agent.nhs(), is_wanted).map(drop)
}

#[test]
fn every_address_of_a_name_is_a_hub_and_is_followed() -> Result<()> {
    let names = Names::new()?;
    let [a, b] = &names.lab.spokes[..] else { unreachable!("the plan has two spokes") };
    let hub = names.lab.start(&names.lab.hub)?;
    let mut as_hub = names.lab.config(b);
    as_hub.nhs = None;
    let other = Agent::start(b, &as_hub)?;

    // Nobody knows the name at first. The operator sees that there is a server without an address.
    let spoke = names.start(a)?;
    let rows = spoke.nhs()?;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((rows[0].nbma, rows[0].name.as_deref()), (None, Some(NAME)));
    poll::until("a warning", PATIENCE, || {
        Ok(spoke.log().contains("cannot look up the server").then_some(()))
    })?;

    names.point_to(&[&names.lab.hub])?;
    wait_for(&spoke, &[&names.lab.hub])?;
    hub.wait_cached(a)?;
    names.point_to(&[&names.lab.hub, b])?;
    wait_for(&spoke, &[&names.lab.hub, b])?;
    other.wait_cached(a)?;
    names.point_to(&[b])?;
    wait_for(&spoke, &[b])?;
    // The one that the name does not stand for any more was told, long before the holding time of a minute.
    poll::until("the hub to forget the spoke", Duration::from_secs(2), || {
        let rows = hub.cache()?;
        Ok(rows.iter().all(|row| row.protocol.addr() != a.address).then_some(()))
    })?;

    // A resolver that knows nothing any more changes nothing.
    names.point_to(&[])?;
    poll::until("the warning again", PATIENCE, || {
        Ok((spoke.log().matches("cannot look up the server").count() >= 2).then_some(()))
    })?;
    wait_for(&spoke, &[b])
}

#[test]
fn a_hub_that_its_own_name_stands_for_does_not_register_with_itself() -> Result<()> {
    let names = Names::new()?;
    let b = &names.lab.spokes[1];
    let hub = names.lab.start(&names.lab.hub)?;
    names.point_to(&[&names.lab.hub, b])?;
    let other = names.start(b)?;
    wait_for(&other, &[&names.lab.hub])?;
    hub.wait_cached(b)
}
