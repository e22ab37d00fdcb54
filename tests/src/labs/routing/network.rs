//! Two hubs, three spokes with a LAN each, an agent and routing daemons on every one of them.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use anyhow::{Context as _, Result};
use dmvpn::control::protocol::{EntryState, NhsState};
use ipnet::{IpNet, Ipv6Net};
use serde_json::Value;

use super::{
    Spec,
    software::{Daemons, Sessions},
};
use crate::{
    agent::Agent,
    command,
    config::{Config, TUNNEL},
    lab::{Lab, Node, Plan},
    labs::{Report, captures::Sender},
    poll,
    traffic::{ping, ping6},
};

/// Seconds: how long a shortcut outlives a spoke that nobody hears of any more, at most.
const HOLDING_TIME: u16 = 12;
const REGISTRATION_INTERVAL: u16 = 3;
/// Longest time until all spokes are registered.
const REGISTERED: Duration = Duration::from_secs(30);
/// Longest time until OSPF stops to wait for a designated router, which it does after the dead interval.
const ELECTION: Duration = Duration::from_secs(20);
/// Longest wait for the answer to one packet.
const ANSWER: Duration = Duration::from_secs(1);

/// A network with its programs. Dropping it removes it.
pub(super) struct Network {
    pub(super) spec: &'static Spec,
    pub(super) hubs: Vec<Member>,
    pub(super) spokes: Vec<Member>,
    sequence: u16,
    /// Last, so that the programs end before their network.
    pub(super) lab: Lab,
}

/// A node and what runs on it.
pub(super) struct Member {
    pub(super) node: Node,
    pub(super) agent: Agent,
    pub(super) daemons: Daemons,
}

impl Network {
    /// Builds it and starts everything; waits until the spokes are registered with both hubs.
    pub(super) fn build(spec: &'static Spec, name: &str, report: &mut Report) -> Result<Self> {
        let lab = Lab::named(
            name,
            Plan {
                phase: spec.phase,
                spokes: 3,
                second_hub: true,
                holding_time: HOLDING_TIME,
                registration_interval: REGISTRATION_INTERVAL,
                ..Plan::default()
            },
        )?;
        for node in lab.nodes() {
            report.capture(&lab.underlay, &node.name, &node.name, Sender::Ours)?;
            if spec.ipv6 {
                make_ipv6(node)?;
            }
        }
        let start_agents = |nodes: Vec<&Node>| -> Result<Vec<(Node, Agent)>> {
            let start = |node: &Node| Ok((node.clone(), Agent::start(node, &config(&lab, spec, node))?));
            nodes.into_iter().map(start).collect()
        };
        let hubs = start_agents([Some(&lab.hub), lab.second_hub.as_ref()].into_iter().flatten().collect())?;
        let spokes = start_agents(lab.spokes.iter().collect())?;
        for (node, agent) in &spokes {
            let what = format!("{} to be registered with both hubs", node.name);
            poll::until_matches(
                &what,
                REGISTERED,
                || agent.nhs(),
                |rows| rows.len() == 2 && rows.iter().all(|row| row.state == NhsState::Responding),
            )?;
        }
        let start_daemons = |agents: Vec<(Node, Agent)>| -> Result<Vec<Member>> {
            let start = |(node, agent): (Node, Agent)| {
                let daemons = Daemons::start(&node, spec.software, &spec.files.of(&node))?;
                Ok(Member { node, agent, daemons })
            };
            agents.into_iter().map(start).collect()
        };
        // Spokes come first: one that could be designated router would have elected itself when the hubs come.
        let spokes = start_daemons(spokes)?;
        if spec.election {
            for Member { node, daemons, .. } in &spokes {
                let what = format!("{} to give up waiting for a designated router", node.name);
                poll::until(&what, ELECTION, || Ok(daemons.has_elected(spec.sessions)?.then_some(())))?;
            }
        }
        let hubs = start_daemons(hubs)?;
        Ok(Self { spec, hubs, spokes, sequence: 0, lab })
    }

    /// The hubs and the spokes.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.hubs.iter().chain(&self.spokes)
    }

    /// A node's address in the tunnel.
    pub(super) fn address(&self, node: &Node) -> IpAddr {
        if self.spec.ipv6 { inside6(node).into() } else { node.address.into() }
    }

    /// Network and host behind a spoke.
    pub(super) fn lan(&self, spoke: usize) -> Result<(IpNet, IpAddr)> {
        if self.spec.ipv6 {
            let (prefix, host) = lan6(&self.lab.spokes[spoke]);
            return Ok((prefix.into(), host.into()));
        }
        let lan = self.lab.spoke_lan(spoke)?;
        Ok((lan.prefix.into(), lan.address.into()))
    }

    /// Whether the host behind a spoke answers the host behind another.
    pub(super) fn ping(&mut self, from: usize, to: usize) -> Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        let host = &self.lab.spoke_lan(from)?.host;
        match self.lan(to)?.1 {
            IpAddr::V4(address) => Ok(ping(host, address, self.sequence, ANSWER)?.is_some()),
            IpAddr::V6(address) => ping6(host, address, "eth0", self.sequence, ANSWER),
        }
    }

    /// Next hops that the kernel of a node has for the LAN behind a spoke or a part of it, whoever put them there.
    pub(super) fn next_hops(&self, from: &Node, to: usize) -> Result<Vec<NextHop>> {
        let version = if self.spec.ipv6 { "-6" } else { "-4" };
        let text = from.namespace.command(&format!("ip {version} -j route show root {}", self.lan(to)?.0))?;
        let routes: Vec<Value> = serde_json::from_str(&text).with_context(|| text.clone())?;
        Ok(routes.iter().flat_map(NextHop::of).collect())
    }

    /// Prefixes for which the agent of a spoke has a shortcut to the LAN behind another.
    pub(super) fn shortcuts(&self, from: usize, to: usize) -> Result<Vec<IpNet>> {
        let lan = self.lan(to)?.0;
        let rows = self.spokes[from].agent.shortcuts()?;
        let rows = rows.iter().filter(|row| row.state == EntryState::Up && lan.contains(&row.prefix));
        Ok(rows.map(|row| row.prefix).collect())
    }

    /// Packets that the hubs have sent to other nodes, multicast and their own among them.
    pub(super) fn sent_by_hubs(&self) -> Result<u64> {
        self.hubs.iter().map(|hub| hub.agent.packets_sent()).sum()
    }

    /// Packets that a spoke has sent to another.
    pub(super) fn sent_directly(&self, from: usize, to: usize) -> Result<u64> {
        let nbma = IpAddr::from(self.spokes[to].node.nbma);
        let rows = self.spokes[from].agent.peers()?;
        Ok(rows.iter().filter(|row| row.nbma == nbma).map(|row| row.sent_packets).sum())
    }

    /// Cuts a node's wire and ends all that runs there, without a word to anybody.
    pub(super) fn power_off(&self, member: Member) -> Result<()> {
        self.lab.underlay.command(&format!("ip link set {} down", member.node.name))?;
        drop(member.daemons);
        member.agent.kill()
    }

    /// Leaves everything running, and says how to look at it.
    pub(super) fn keep(self) -> String {
        let (hub, spoke) = (&self.hubs[self.hubs.len() - 1], &self.spokes[0]);
        let question = match self.spec.sessions {
            Sessions::Ospf => "show ip ospf neighbor",
            Sessions::Ospf6 => "show ipv6 ospf6 neighbor",
            Sessions::Bgp => "show bgp summary",
            Sessions::None => "show ip route",
        };
        let question = match self.spec.software {
            super::Software::Frr(_) => format!("'{question}'"),
            super::Software::Bird => "show route all".to_owned(),
        };
        let text = format!(
            "  {dmvpn} show peers --socket {hub_socket}\n  {dmvpn} show shortcuts --socket {spoke_socket}\n  \
             ip -n {namespace} route\n  {hub_shell} {question}\n  {spoke_shell} {question}\n  \
             nsenter --net=/run/netns/{lan} ping {target}\n  ls {files}",
            dmvpn = hub.agent.program().display(),
            hub_socket = hub.agent.config().control_socket.display(),
            spoke_socket = spoke.agent.config().control_socket.display(),
            namespace = spoke.node.namespace.name(),
            hub_shell = hub.daemons.shell(),
            spoke_shell = spoke.daemons.shell(),
            lan = format_args!("{}-lan-a", self.lab.name()),
            target = self.lan(1).map_or_else(|_| String::new(), |(_, host)| host.to_string()),
            files = hub.node.files.display(),
        );
        for member in self.hubs.into_iter().chain(self.spokes) {
            member.agent.keep();
            member.daemons.keep();
        }
        self.lab.keep();
        text
    }
}

/// A next hop of a kernel route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NextHop {
    /// Its address.
    pub(super) gateway: IpAddr,
    /// Who made the route, as `ip` calls it.
    pub(super) protocol: String,
}

impl NextHop {
    /// Those of one route of `ip -j route`.
    fn of(route: &Value) -> Vec<Self> {
        let protocol = route["protocol"].as_str().unwrap_or_default();
        let one = std::slice::from_ref(route);
        let hops = route["nexthops"].as_array().map_or(one, Vec::as_slice);
        let gateways = hops.iter().filter(|hop| hop["dev"] == TUNNEL).filter_map(|hop| {
            // `via` is what it is called where the versions differ.
            hop["gateway"].as_str().or_else(|| hop["via"]["host"].as_str())?.parse().ok()
        });
        gateways.map(|gateway| Self { gateway, protocol: protocol.to_owned() }).collect()
    }
}

fn config(lab: &Lab, spec: &Spec, node: &Node) -> Config {
    let mut config = lab.config(node);
    // Routes come from the daemons.
    config.routes = Vec::new();
    config.nhs = None;
    if spec.ipv6 {
        config.address = IpNet::V6(Ipv6Net::new_assert(inside6(node), 64));
    }
    // A spoke has both hubs as servers. The second hub is a client of the first: so they hear each other.
    let servers: Vec<_> = [Some(&lab.hub), lab.second_hub.as_ref()]
        .into_iter()
        .flatten()
        .take_while(|hub| hub.name != node.name)
        .map(|hub| {
            let inside = if spec.ipv6 { IpAddr::from(inside6(hub)) } else { hub.address.into() };
            format!("  - {{address: {inside:?}, nbma: {}}}\n", hub.nbma)
        })
        .collect();
    if !servers.is_empty() {
        config.more = format!("nhs:\n{}", servers.concat());
    }
    config
}

/// A node's address in a tunnel that has IPv6 inside.
fn inside6(node: &Node) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, node.address.octets()[3].into())
}

/// IPv6 network and host behind a spoke.
fn lan6(node: &Node) -> (Ipv6Net, Ipv6Addr) {
    let number = node.nbma.octets()[2].into();
    let address = |last| Ipv6Addr::new(0x2001, 0xdb8, 1, number, 0, 0, 0, last);
    (Ipv6Net::new_assert(address(0), 64), address(0x10))
}

/// Makes a node forward IPv6, and gives its LAN addresses.
fn make_ipv6(node: &Node) -> Result<()> {
    node.namespace.set("ipv6/conf/all/forwarding", "1")?;
    let Some(lan) = &node.lan else { return Ok(()) };
    let (prefix, host) = lan6(node);
    let router = Ipv6Addr::from_bits(prefix.addr().to_bits() | 1);
    // The LAN goes down and up again later; addresses are to stay, as those of IPv4 do.
    node.namespace.set("ipv6/conf/lan0/keep_addr_on_down", "1")?;
    node.namespace.command(&format!("ip address add {router}/64 dev lan0 nodad"))?;
    lan.host.run(|| {
        command::run(&format!("ip address add {host}/64 dev eth0 nodad"))?;
        command::run(&format!("ip route add default via {router}")).map(drop)
    })
}
