//! Three servers: all of them used, or by priority, and what happens when the first one goes and comes back.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use dmvpn::control::protocol::NhsState;

use super::{
    super::{Entry, Report, Stage},
    cloud::{Extra, Kind, PATIENCE, Peer, capture, plan, settings},
    frr,
};
use crate::{
    agent::Agent,
    config::{self, Config},
    lab::{Lab, Node, Plan},
    poll,
    traffic::ping,
};

const HOLDING_TIME: u16 = 10;
/// Which nodes of the lab are servers: its hub and two of its spokes. The others are clients, each with a LAN.
const SERVERS: usize = 3;

pub(super) const LAB: Entry = Entry {
    name: "vm-frr-redundancy",
    what: "three servers, ours and FRR's: clients register with all, or by priority; the first one fails and comes back",
    needs_vm: false,
    build: |_name, _report| Ok(Box::new(Redundancy { theirs: Kind::Frr })),
};

pub(super) const NEWER: Entry = Entry {
    name: "vm-frr10-redundancy",
    what: "the same as vm-frr-redundancy with FRR 10.3, and authentication",
    needs_vm: false,
    build: |_name, _report| Ok(Box::new(Redundancy { theirs: Kind::Frr10 })),
};

struct Redundancy {
    /// Which FRR.
    theirs: Kind,
}

impl Stage for Redundancy {
    fn play(&mut self, report: &mut Report) -> Result<()> {
        everyone_is_used(report, self.theirs)?;
        the_best_is_used(report, self.theirs)
    }

    fn keep(self: Box<Self>) -> String {
        String::new()
    }
}

/// A network for servers of these kinds, a client of ours and one of `theirs`, with captures.
fn network(report: &mut Report, title: &str, servers: [Kind; SERVERS], theirs: Kind) -> Result<Lab> {
    let authentication = (theirs == Kind::Frr10).then_some("secret");
    let plan =
        Plan { spokes: 4, holding_time: HOLDING_TIME, registration_interval: 3, authentication, ..plan() };
    let lab = Lab::new(plan)?;
    capture(report, title, &lab, servers.into_iter().chain([Kind::Ours, theirs]))?;
    Ok(lab)
}

/// Servers and clients that are running.
struct Running {
    servers: Vec<Peer>,
    clients: Vec<Peer>,
    lab: Lab,
}

impl Running {
    /// The nodes: three servers, then the clients.
    fn nodes(&self) -> Vec<&Node> {
        self.lab.nodes().collect()
    }

    /// Starts servers of these kinds, and a client of ours and one of `theirs`, which registers with all of them.
    fn start(lab: Lab, servers: [Kind; SERVERS], theirs: Kind, more: &str) -> Result<Self> {
        let nodes: Vec<Node> = lab.nodes().cloned().collect();
        let (server_nodes, client_nodes) = nodes.split_at(SERVERS);
        let servers = server_nodes
            .iter()
            .zip(servers)
            .map(|(node, kind)| start_server(&lab, node, client_nodes, kind))
            .collect::<Result<Vec<_>>>()?;
        let ours = client(&lab, &client_nodes[0], server_nodes, more)?;
        let ours = Peer::Ours(Box::new(Agent::start(&client_nodes[0], &ours)?));
        let settings = frr::Settings {
            servers: server_nodes.iter().map(|node| (None, node.nbma)).collect(),
            routes: Vec::new(),
            ..settings(&lab, &client_nodes[1], theirs, &Extra::default())?
        };
        let theirs = Peer::Frr(frr::Frr::start(&client_nodes[1], &settings)?);
        Ok(Self { servers, clients: vec![ours, theirs], lab })
    }

    /// Sends the clients' traffic to each other's LANs by one server, as a routing protocol would.
    fn route_by(&self, server: usize) -> Result<()> {
        let nodes = self.nodes();
        let via = nodes[server].address;
        for (node, device) in nodes[SERVERS..].iter().zip([config::TUNNEL, frr::TUNNEL]) {
            for prefix in ["10.0.0.0/24", "192.168.0.0/16"] {
                node.namespace
                    .command(&format!("ip route replace {prefix} via {via} dev {device} onlink"))?;
            }
        }
        Ok(())
    }

    /// Waits until a server knows both clients.
    fn wait_known(&self, server: usize) -> Result<()> {
        self.nodes()[SERVERS..]
            .iter()
            .try_for_each(|node| self.servers[server].wait_cached(node.address, node.nbma))
    }

    /// Pings from our client's LAN to that of FRR's and back, until both have a shortcut and packets go directly.
    fn wait_shortcuts(&self) -> Result<String> {
        let mut told = Vec::new();
        for (from, to) in [(2, 3), (3, 2)] {
            let (a, b) = (self.lab.spoke_lan(from)?, self.lab.spoke_lan(to)?);
            let client = &self.clients[from - 2];
            let mut sequence = 0;
            poll::until(&format!("a shortcut from {} to {}", a.name, b.name), PATIENCE, || {
                sequence += 1;
                ping(&a.host, b.address, sequence, Duration::from_millis(500))?;
                Ok(client.has_shortcut(b.prefix)?.then_some(()))
            })
            .map_err(|error| anyhow!("{error:#}\n{}", client.log()))?;
            let path = poll::until_matches(
                "the direct way",
                PATIENCE,
                || self.lab.path(from, to),
                |path| path.len() == 4,
            )?;
            told.push(path.join(" > "));
        }
        Ok(told.join("; "))
    }

    /// Waits until nobody has a shortcut.
    fn wait_no_shortcuts(&self) -> Result<()> {
        for (client, lan) in self.clients.iter().zip([3, 2]) {
            let prefix = self.lab.spoke_lan(lan)?.prefix;
            poll::until(&format!("the end of the shortcut to {prefix}"), PATIENCE, || {
                Ok((!client.has_shortcut(prefix)?).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Our client's servers, in their order, and whether each answers.
    fn answering(&self) -> Result<Vec<bool>> {
        let Peer::Ours(agent) = &self.clients[0] else { bail!("the first client is ours") };
        let rows = agent.nhs()?;
        self.nodes()[..SERVERS]
            .iter()
            .map(|node| {
                let row = rows.iter().find(|row| row.nbma == Some(node.nbma.into()));
                Ok(row.context("not among the servers")?.state == NhsState::Responding)
            })
            .collect()
    }

    fn wait_answering(&self, wanted: [bool; SERVERS]) -> Result<()> {
        let what = format!("{wanted:?} of the servers to answer our client");
        poll::until_matches(&what, PATIENCE, || self.answering(), |seen| *seen == wanted).map(drop)
    }
}

/// A server knows the way to the clients' LANs.
fn start_server(lab: &Lab, node: &Node, clients: &[Node], kind: Kind) -> Result<Peer> {
    let routes: Vec<_> =
        clients.iter().filter_map(|client| Some((client.lan.as_ref()?.prefix, client.address))).collect();
    match kind {
        Kind::Ours => {
            let config = Config {
                nhs: None,
                routes: routes.into_iter().map(|(prefix, via)| (prefix.into(), via.into())).collect(),
                ..lab.config(node)
            };
            Ok(Peer::Ours(Box::new(Agent::start(node, &config)?)))
        }
        Kind::Frr | Kind::Frr10 => {
            let settings = frr::Settings {
                servers: Vec::new(),
                routes,
                ..settings(lab, node, kind, &Extra::default())?
            };
            Ok(Peer::Frr(frr::Frr::start(node, &settings)?))
        }
    }
}

/// Our client of several servers; `more` is further configuration.
fn client(lab: &Lab, node: &Node, servers: &[Node], more: &str) -> Result<Config> {
    let mut text = "nhs:\n".to_owned();
    for (priority, server) in servers.iter().enumerate() {
        let Node { address, nbma, .. } = server;
        writeln!(text, "  - {{address: {address}, nbma: {nbma}, priority: {priority}}}")?;
    }
    Ok(Config { nhs: None, routes: Vec::new(), more: text + more, ..lab.config(node) })
}

/// Clients register with all three servers; shortcuts are made by whichever routing names.
fn everyone_is_used(report: &mut Report, theirs: Kind) -> Result<()> {
    let kinds = [Kind::Ours, theirs, Kind::Ours];
    let lab = network(report, "three servers", kinds, theirs)?;
    let mut running = None;
    report.step("three servers: both clients register with all of them", || {
        let made = Running::start(lab, kinds, theirs, "")?;
        (0..SERVERS).try_for_each(|server| made.wait_known(server))?;
        made.wait_answering([true; SERVERS])?;
        running = Some(made);
        Ok("ours, FRR's, ours".to_owned())
    })?;
    let mut running = running.context("started above")?;
    running.route_by(0)?;
    report.step("three servers: shortcuts by the first", || running.wait_shortcuts())?;
    report.step("three servers: shortcuts that are not used go", || {
        running.wait_no_shortcuts()?;
        Ok("after the holding time".to_owned())
    })?;
    report.step("three servers: the first one is killed", || {
        running.servers.remove(0).kill()?;
        // Its data path would go on.
        running.lab.underlay.command("ip link set hub down")?;
        running.wait_answering([false, true, true])?;
        Ok("our client has noticed, and keeps the others".to_owned())
    })?;
    running.route_by(1)?;
    report.step("three servers: shortcuts by the second, which is FRR's", || running.wait_shortcuts())
}

/// Our client uses one server at a time, the best that answers. All three are FRR's, which has no priorities.
fn the_best_is_used(report: &mut Report, theirs: Kind) -> Result<()> {
    let lab = network(report, "priorities", [theirs; SERVERS], theirs)?;
    let mut running = None;
    report.step("priorities: our client registers with the best server only", || {
        let more = "nhs-clusters:\n  - {cluster: 0, max-connections: 1}";
        let made = Running::start(lab, [theirs; SERVERS], theirs, more)?;
        made.wait_answering([true, false, false])?;
        let node = made.nodes()[SERVERS].clone();
        made.servers[0].wait_cached(node.address, node.nbma)?;
        for server in &made.servers[1..] {
            ensure!(!server.has_cached(node.address, node.nbma)?, "another server knows it, too");
        }
        running = Some(made);
        Ok("the others do not know it".to_owned())
    })?;
    let running = running.context("started above")?;
    running.route_by(0)?;
    report.step("priorities: shortcuts by the best", || running.wait_shortcuts())?;
    report.step("priorities: the best one cannot be reached", || {
        running.lab.underlay.command("ip link set hub down")?;
        running.wait_answering([false, true, false])?;
        Ok("our client uses the second".to_owned())
    })?;
    running.route_by(1)?;
    report.step("priorities: shortcuts by the second", || running.wait_shortcuts())?;
    report.step("priorities: the best one is back", || {
        running.lab.underlay.command("ip link set hub up")?;
        running.lab.underlay.command("ip route replace 198.18.0.0/24 dev hub src 198.18.0.254")?;
        running.wait_answering([true, false, false])?;
        Ok("our client uses it again".to_owned())
    })
}
