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

/// A box whose configuration is that of a case.
#[derive(Clone, Copy)]
struct Station {
    case: &'static str,
    /// Its address in the tunnel.
    tunnel: Ipv4Addr,
    /// Its address outside.
    nbma: Ipv4Addr,
    /// What the import is told beside the case's arguments.
    more: &'static str,
}

fn station(case: &'static str, tunnel: [u8; 4], nbma: [u8; 4]) -> Station {
    Station { case, tunnel: tunnel.into(), nbma: nbma.into(), more: "" }
}

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
fn start(lab: &Lab, node: &Node, station: Station) -> Result<Agent> {
    let config = lab.config(node);
    let case = Path::new(CASES).join(station.case);
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
        "cd {case} && {{ \"$0\" import {} {} -o {files}.yaml --force >&2; printf '{own}' | cat - {files}.yaml > {files}-run.yaml; \
         exec \"$0\" run --config {files}-run.yaml --log debug; }}",
        arguments.trim(),
        station.more
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
    for (node, station) in lab.nodes().zip(stations) {
        let node = readdress(&lab, node, station.tunnel, station.nbma)?;
        agents.push(start(&lab, &node, *station)?);
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

/// Redirects that a hub sent.
fn redirects(hub: &Agent) -> Result<u64> {
    Ok(hub.counters()?.iter().map(|row| row.redirects_sent).sum())
}

/// Routes of the agent's.
fn routes(agent: &Agent) -> Result<String> {
    agent.node().namespace.command("ip -4 route show proto 54")
}

#[test]
fn a_vyos_hub_with_vyos_and_cisco_spokes() -> Result<()> {
    let (_lab, agents) = come_up(&[
        station("002-vyos-hub", [10, 0, 0, 100], [192, 168, 0, 2]),
        station("002-vyos-spoke-1", [10, 0, 0, 1], [192, 168, 1, 2]),
        station("002-vyos-spoke-2", [10, 0, 0, 2], [192, 168, 2, 2]),
        station("002-cisco-spoke-3", [10, 0, 0, 3], [192, 168, 3, 2]),
    ])?;
    all_reach_each_other_directly(&agents)?;
    let [hub, spokes @ .., cisco] = agents.as_slice() else { unreachable!("four of them") };
    assert!(redirects(hub)? > 0, "its configuration says `redirect`");
    // VyOS's nodes have no subnet: those that the hub redirected them to have a route.
    for spoke in spokes {
        let routes = routes(spoke)?;
        for other in agents[1..].iter().filter(|other| other.node().name != spoke.node().name) {
            let route = format!("{} dev", other.node().address);
            assert!(routes.lines().any(|line| line.starts_with(&route)), "{route} in {routes}");
        }
    }
    // Cisco's has one, and no `ip nhrp shortcut`.
    assert_eq!(routes(cisco)?, "");
    Ok(())
}

#[test]
fn a_huawei_hub_with_cisco_vyos_and_huawei_spokes() -> Result<()> {
    let (_lab, agents) = come_up(&[
        station("001-huawei-usg-hub", [192, 168, 1, 1], [10, 0, 0, 1]),
        station("001-cisco-xe-spoke", [192, 168, 1, 2], [10, 0, 0, 2]),
        station("001-vyos-spoke", [192, 168, 1, 3], [10, 0, 0, 3]),
        station("001-huawei-ar-spoke", [192, 168, 1, 4], [10, 0, 0, 4]),
    ])?;
    all_reach_each_other_directly(&agents)
}

#[test]
fn an_opennhrp_hub_with_cisco_spokes() -> Result<()> {
    let spoke = station("004-cisco-spoke", [10, 4, 0, 7], [198, 51, 100, 7]);
    let (_lab, agents) = come_up(&[
        station("004-opennhrp-hub", [10, 4, 0, 1], [203, 0, 113, 4]),
        spoke,
        // The same box once more, at another address.
        Station {
            tunnel: Ipv4Addr::new(10, 4, 0, 8),
            nbma: Ipv4Addr::new(198, 51, 100, 8),
            more: "--address Tunnel0=10.4.0.8/24",
            ..spoke
        },
    ])?;
    all_reach_each_other_directly(&agents)?;
    // Neither the hub's configuration nor the spokes' has redirects or shortcuts: next hops were resolved.
    assert_eq!(redirects(&agents[0])?, 0);
    for agent in &agents {
        assert_eq!(routes(agent)?, "");
    }
    Ok(())
}
