//! Networks whose every configuration was one of other software: imported, they come up together and pass traffic.

use std::{net::Ipv4Addr, path::Path, process::Command, time::Duration};

use anyhow::Result;
use dmvpn_tests::{
    agent::Agent,
    lab::{Lab, Node, Plan},
    poll,
    traffic::ping,
};

/// Where the old configurations are.
const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../dmvpn/tests/import/cases");
/// What the configurations call the interface that they have their source at, or what stands for it.
const INTERFACE: &str = "eth0";
/// Gateway of every node.
const GATEWAY: &str = "198.18.255.254";
/// Longest time until next hops are resolved.
const PATIENCE: Duration = Duration::from_secs(15);
/// What Linux sends with: an answer that comes straight still has it.
const FULL_TTL: u8 = 64;

/// A station: the case that has its configuration, its address in the tunnel and its address outside.
type Station = (&'static str, [u8; 4], [u8; 4]);

/// Takes the addresses of the lab away and gives the node those that its configuration expects.
fn readdress(lab: &Lab, node: &Node, tunnel: Ipv4Addr, nbma: Ipv4Addr) -> Result<Node> {
    let here = &node.namespace;
    if node.lan.is_some() {
        here.command("ip link del lan0")?;
    }
    here.command("ip link set underlay0 down")?;
    here.command("ip address flush dev underlay0")?;
    here.command(&format!("ip link set underlay0 name {INTERFACE}"))?;
    here.command(&format!("ip address add {nbma}/32 dev {INTERFACE}"))?;
    here.command(&format!("ip link set {INTERFACE} up"))?;
    here.command(&format!("ip route add default via {GATEWAY} dev {INTERFACE} onlink"))?;
    let name = &node.name;
    lab.underlay.command(&format!("ip address flush dev {name}"))?;
    lab.underlay.command(&format!("ip address add {GATEWAY}/32 dev {name}"))?;
    lab.underlay.command(&format!("ip route add {nbma}/32 dev {name}"))?;
    Ok(Node { address: tunnel, nbma, lan: None, ..node.clone() })
}

/// Imports the configuration of a case with the program that is tested, and runs the result.
fn start(lab: &Lab, node: &Node, case: &str) -> Result<Agent> {
    let config = lab.config(node);
    let case = Path::new(CASES).join(case);
    let arguments = std::fs::read_to_string(case.join("arguments.txt"))?;
    let files = node.files.join(format!("{}-imported", node.name));
    // Labs run side by side: sockets and pins are theirs.
    let own = format!(
        "control-socket: {}\npin-directory: {}\nstate-directory: {}\n",
        config.control_socket.display(),
        config.pin_directory.display(),
        config.state_directory.display()
    );
    let (case, files) = (case.display(), files.display());
    // It fails when it refuses a line, as it does for weak ciphers.
    let script = format!(
        "cd {case} && {{ \"$0\" import {} -o {files}.yaml --force >&2; printf '{own}' | cat - {files}.yaml > {files}-run.yaml; \
         exec \"$0\" run --config {files}-run.yaml --log debug; }}",
        arguments.trim()
    );
    // What is behind the script are arguments that it does not look at.
    Agent::start_by(node, &config, |program| {
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(program);
        command
    })
}

/// Starts a network of these stations, the hub first, and waits until the spokes are registered.
fn come_up(stations: &[Station]) -> Result<(Lab, Vec<Agent>)> {
    let spokes = u8::try_from(stations.len() - 1)?;
    let lab = Lab::new(Plan { spokes, ..Plan::default() })?;
    let mut agents: Vec<Agent> = Vec::new();
    for (node, (case, tunnel, nbma)) in lab.nodes().zip(stations) {
        let node = readdress(&lab, node, (*tunnel).into(), (*nbma).into())?;
        agents.push(start(&lab, &node, case)?);
    }
    let (hub, spokes) = agents.split_first().expect("a hub");
    for spoke in spokes {
        spoke.wait_registered()?;
        hub.wait_cached(spoke.node())?;
    }
    Ok((lab, agents))
}

/// Every node reaches every other one, in the end without the hub between.
fn all_reach_each_other_directly(agents: &[Agent]) -> Result<()> {
    let mut sequence = 0;
    for from in agents {
        for to in agents.iter().filter(|to| to.node().name != from.node().name) {
            let what = format!("a way from {} straight to {}", from.node().name, to.node().name);
            let look = || {
                sequence += 1;
                ping(&from.node().namespace, to.node().address, sequence, Duration::from_secs(1))
            };
            poll::until_matches(&what, PATIENCE, look, |reply| {
                reply.is_some_and(|reply| reply.ttl == FULL_TTL)
            })?;
        }
    }
    Ok(())
}

#[test]
fn a_vyos_hub_with_vyos_and_cisco_spokes() -> Result<()> {
    let (_lab, agents) = come_up(&[
        ("002-vyos-hub", [10, 0, 0, 100], [192, 168, 0, 2]),
        ("002-vyos-spoke-1", [10, 0, 0, 1], [192, 168, 1, 2]),
        ("002-vyos-spoke-2", [10, 0, 0, 2], [192, 168, 2, 2]),
        ("002-cisco-spoke-3", [10, 0, 0, 3], [192, 168, 3, 2]),
    ])?;
    all_reach_each_other_directly(&agents)
}

#[test]
fn a_huawei_hub_with_cisco_vyos_and_huawei_spokes() -> Result<()> {
    let (_lab, agents) = come_up(&[
        ("001-huawei-usg-hub", [192, 168, 1, 1], [10, 0, 0, 1]),
        ("001-cisco-xe-spoke", [192, 168, 1, 2], [10, 0, 0, 2]),
        ("001-vyos-spoke", [192, 168, 1, 3], [10, 0, 0, 3]),
        ("001-huawei-ar-spoke", [192, 168, 1, 4], [10, 0, 0, 4]),
    ])?;
    all_reach_each_other_directly(&agents)
}

#[test]
fn an_opennhrp_hub_with_a_cisco_spoke() -> Result<()> {
    let (_lab, agents) = come_up(&[
        ("004-opennhrp-hub", [10, 4, 0, 1], [203, 0, 113, 4]),
        ("004-cisco-spoke", [10, 4, 0, 7], [198, 51, 100, 7]),
    ])?;
    all_reach_each_other_directly(&agents)
}
