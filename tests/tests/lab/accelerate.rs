//! What bypasses the kernel's stack. What does not is seen by the kernel on the tunnel interface, and counted there.

use std::{net::Ipv6Addr, time::Duration};

use anyhow::{Context as _, Result};
use dmvpn_common::{LAYOUT_VERSION, map_names};
use dmvpn_tests::{
    agent::Agent,
    command,
    config::{Config, TUNNEL},
    lab::{Lab, Lan, Node, Plan},
    namespace::Namespace,
    poll,
    traffic::ping6,
};
use ipnet::{IpNet, Ipv6Net};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(10);
/// Packets that are counted, and how many others there may be: the kernel's own, neighbour discovery say.
const PACKETS: u64 = 500;
const OTHERS: u64 = 20;

/// Packets that the kernel of a node has received from a tunnel, and that it has sent to peers by the tunnel interface.
fn by_the_kernel(agent: &Agent) -> Result<[u64; 2]> {
    let text = agent.node().namespace.command(&format!("ip -json -stats link show dev {TUNNEL}"))?;
    let link: Value = serde_json::from_str(&text)?;
    let received = link[0]["stats64"]["rx"]["packets"].as_u64().context("a count")?;
    // The interface does not count what its program sends elsewhere; but the program does.
    let map = agent.node().pins.join(format!("v{LAYOUT_VERSION}")).join(map_names::PEER_COUNTERS);
    let mut sent = 0;
    for peer in agent.peers()? {
        let [a, b, c, d] = peer.index.to_ne_bytes();
        let map = map.display();
        let text = command::run(&format!("bpftool --json map lookup pinned {map} key {a} {b} {c} {d}"))?;
        let entry: Value = serde_json::from_str(&text)?;
        let cpus = entry["formatted"]["values"].as_array().context("values")?;
        for cpu in cpus {
            sent += cpu["value"]["sent_tc"]["packets"].as_u64().context("a count")?;
        }
    }
    Ok([received, sent])
}

/// The host puts complete packets on its wire, and takes what an XDP program sends there: as a network card does.
fn complete(host: &Namespace) -> Result<()> {
    host.command("ethtool -K eth0 tx off tso off gso off gro on").map(drop)
}

/// Runs `traffic`, which sends [`PACKETS`] packets each way between the LANs of the two spokes, through the hub; whether
/// the hub's kernel and the first spoke's have seen them, all of them or none.
fn kernels_share(agents: &[Agent], traffic: impl FnOnce() -> Result<()>) -> Result<[bool; 2]> {
    let agents = [&agents[0], &agents[1]];
    let before = agents.map(by_the_kernel);
    traffic()?;
    let mut shares = [false; 2];
    for ((agent, before), share) in agents.into_iter().zip(before).zip(&mut shares) {
        let (before, after) = (before?, by_the_kernel(agent)?);
        let seen = [after[0] - before[0], after[1] - before[1]];
        let node = agent.node();
        println!("{}: received and sent by the kernel: {seen:?}", node.name);
        *share = seen[0] > OTHERS;
        assert!(
            seen.iter().all(|packets| if *share { *packets >= PACKETS } else { *packets <= OTHERS }),
            "{}: {seen:?}",
            node.name
        );
    }
    Ok(shares)
}

/// Each fast path, and whether the kernels of the hub and of the spokes see packets.
const PATHS: [(&str, [bool; 2]); 3] =
    [("off", [true, true]), ("hairpin", [false, true]), ("full", [false, false])];

#[test]
fn ipv4_goes_by_the_path_that_is_configured() -> Result<()> {
    for (fast_path, expected) in PATHS {
        let lab = Lab::new(Plan { phase: 1, ..Plan::default() })?;
        let agents = start(&lab, fast_path, |node| lab.config(node))?;
        let streams = [lab.stream(0, 1, 1000)?, lab.stream(1, 0, 1000)?];
        let pass = |count| streams.iter().try_for_each(|stream| stream.wait_received(count));
        pass(100)?;
        assert_eq!(kernels_share(&agents, || pass(PACKETS + OTHERS))?, expected, "fast-path: {fast_path}");
        for stream in streams {
            let report = stream.finish()?;
            assert!(report.lost.is_empty() && report.duplicates == 0, "{fast_path}: {report:?}");
        }
    }
    Ok(())
}

/// An address of the IPv6 network behind a spoke.
fn behind(spoke: usize, last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x100 + u16::try_from(spoke).unwrap_or(0), 0, 0, 0, 0, last)
}

fn global(node: &Node) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, node.address.octets()[3].into())
}

fn ipv6_config(lab: &Lab, node: &Node) -> Config {
    let mut config = lab.config(node);
    let is_hub = node.name == lab.hub.name;
    config.address = IpNet::V6(Ipv6Net::new_assert(global(node), 64));
    config.nhs = config.nhs.map(|(_, nbma)| (global(&lab.hub).into(), nbma));
    let others = lab.spokes.iter().enumerate().filter(|(_, other)| other.name != node.name);
    config.routes = others
        .map(|(number, other)| {
            let via = if is_hub { global(other) } else { global(&lab.hub) };
            (IpNet::V6(Ipv6Net::new_assert(behind(number, 0), 64)), via.into())
        })
        .collect();
    config
}

#[test]
fn ipv6_goes_by_the_path_that_is_configured() -> Result<()> {
    for (fast_path, expected) in PATHS {
        let lab = Lab::new(Plan { phase: 1, ..Plan::default() })?;
        for node in lab.nodes() {
            node.namespace.set("ipv6/conf/all/forwarding", "1")?;
        }
        for (number, spoke) in lab.spokes.iter().enumerate() {
            let router = behind(number, 1);
            spoke.namespace.command(&format!("ip address add {router}/64 dev lan0 nodad"))?;
            let host = &lab.spoke_lan(number)?.host;
            host.command(&format!("ip address add {}/64 dev eth0 nodad", behind(number, 10)))?;
            host.command(&format!("ip route add default via {router}"))?;
        }
        let agents = start(&lab, fast_path, |node| ipv6_config(&lab, node))?;
        let host = lab.spoke_lan(0)?.host.clone();
        let mut sequence = 0;
        let mut echo = || {
            sequence += 1;
            ping6(&host, behind(1, 10), "eth0", sequence, Duration::from_secs(2))
        };
        poll::until("the first answer", PATIENCE, || Ok(echo()?.then_some(())))?;
        let traffic = || {
            for number in 0..PACKETS {
                anyhow::ensure!(echo()?, "echo {number} of {PACKETS} with {fast_path}");
            }
            Ok(())
        };
        assert_eq!(kernels_share(&agents, traffic)?, expected, "fast-path: {fast_path}");
    }
    Ok(())
}

fn start(lab: &Lab, fast_path: &str, config: impl Fn(&Node) -> Config) -> Result<Vec<Agent>> {
    let mut agents = Vec::new();
    for node in lab.nodes() {
        let mut config = config(node);
        config.more = format!("fast-path: {fast_path}\n");
        if let Some(lan) = &node.lan {
            complete(&lan.host)?;
            config.more += "accelerate: [lan0]\n";
        }
        let agent = Agent::start(node, &config)?;
        if node.lan.is_some() {
            agent.wait_registered()?;
        }
        agents.push(agent);
    }
    Ok(agents)
}

fn wait_carrier(lan: &Lan) -> Result<()> {
    poll::until("a carrier", PATIENCE, || {
        Ok(lan.host.command("ip link show dev eth0")?.contains(" state UP ").then_some(()))
    })
}

/// A LAN interface that was down, and one with another link-layer address: traffic comes back, and bypasses the kernel
/// again.
#[test]
fn a_lan_interface_may_go_down_and_change_its_address() -> Result<()> {
    let lab = Lab::new(Plan { phase: 1, ..Plan::default() })?;
    let agents = start(&lab, "full", |node| lab.config(node))?;
    let bypasses = |what: &str| {
        let streams = [lab.stream(0, 1, 1000)?, lab.stream(1, 0, 1000)?];
        let pass = |count| streams.iter().try_for_each(|stream| stream.wait_received(count));
        pass(100)?;
        let direct = || {
            let before = by_the_kernel(&agents[1])?;
            pass(PACKETS)?;
            let after = by_the_kernel(&agents[1])?;
            Ok((after[0] - before[0] <= OTHERS && after[1] - before[1] <= OTHERS).then_some(()))
        };
        poll::until(&format!("a bypass {what}"), PATIENCE, direct)
    };
    bypasses("at first")?;
    let spoke = &lab.spokes[0].namespace;
    spoke.command("ip link set lan0 down")?;
    spoke.command("ip link set lan0 up")?;
    wait_carrier(lab.spoke_lan(0)?)?;
    bypasses("after lan0 was down")?;

    spoke.command("ip link set lan0 address 02:00:00:00:77:01")?;
    bypasses("with another address of lan0")?;

    let lan = lab.spoke_lan(0)?;
    spoke.command("ip link del lan0")?;
    spoke.command(&format!("ip link add lan0 type veth peer name eth0 netns {}", lan.host.name()))?;
    spoke.command(&format!("ip address add {}/24 dev lan0", lan.router))?;
    spoke.command("ip link set lan0 up")?;
    for line in [
        format!("ip address add {}/24 dev eth0", lan.address),
        "ip link set eth0 up".to_owned(),
        format!("ip route add default via {}", lan.router),
    ] {
        lan.host.command(&line)?;
    }
    complete(&lan.host)?;
    wait_carrier(lan)?;
    bypasses("with a new lan0")
}
