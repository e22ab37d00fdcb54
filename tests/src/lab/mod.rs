//! The network of a lab:
//!
//! ```text
//!                 underlay (a router)
//!         198.18.0.254 |  198.18.1.254 |  198.18.2.254 |
//!                      |               |               |         "wires", see [`wire`]
//!           198.18.0.1 |    198.18.1.1 |    198.18.2.1 |
//!                     hub           spoke-a         spoke-b
//!  tunnel       10.0.0.1         10.0.0.11       10.0.0.12
//!                              192.168.1.1     192.168.2.1
//!                                      |               |
//!                             192.168.1.10    192.168.2.10
//!                                   lan-a           lan-b
//! ```

mod streams;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use ipnet::{IpNet, Ipv4Net};

use crate::{
    agent::Agent,
    config::Config,
    namespace::{self, Namespace},
    poll,
    traffic::{self, Probe},
    undo::{Undo, remove_directory},
    wire,
};

/// Directory of a lab's configuration files, logs and sockets: this and the lab's name.
const FILES: &str = "/run/dmvpn-";
/// Pin directory of a node: this, the lab's name, a dash and the node's name.
const PINS: &str = "/sys/fs/bpf/dmvpn-";

/// Last byte of the underlay router's address in each of its networks.
const ROUTER: u8 = 254;

/// What kind of network to build.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Cisco's phase, 1 to 3.
    pub phase: u8,
    /// How tunnel addresses are given.
    pub addressing: Addressing,
    /// GRE key.
    pub key: Option<u32>,
    /// NHRP authentication.
    pub authentication: Option<&'static str>,
    /// Number of spokes, at least 1, at most 26.
    pub spokes: u8,
    /// Whether there is a second hub, `hub-2`, at 198.18.100.1 and 10.0.0.2. It is a node like the others: whoever
    /// starts its agent says what it does.
    pub second_hub: bool,
    /// Seconds.
    pub holding_time: u16,
    /// Seconds.
    pub registration_interval: u16,
    /// How XDP is attached: `auto`, `native` or `generic`.
    pub xdp: &'static str,
}

/// How tunnel addresses are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// All in one /24, which is on the link.
    Subnet,
    /// A /32 each.
    Host,
}

impl Default for Plan {
    /// Phase 3, one subnet, a key, authentication, two spokes, native XDP.
    fn default() -> Self {
        Self {
            phase: 3,
            addressing: Addressing::Subnet,
            key: Some(42),
            authentication: Some("secret"),
            spokes: 2,
            second_hub: false,
            holding_time: 60,
            registration_interval: 5,
            xdp: "native",
        }
    }
}

/// A network of namespaces. Dropping it kills every process inside and removes all of it.
#[derive(Debug)]
pub struct Lab {
    name: String,
    plan: Plan,
    /// The router between the nodes.
    pub underlay: Namespace,
    /// The hub.
    pub hub: Node,
    /// The second hub, where the plan has one.
    pub second_hub: Option<Node>,
    /// The spokes: `spoke-a`, `spoke-b`, ...
    pub spokes: Vec<Node>,
    undo: Undo,
}

/// A hub or a spoke.
#[derive(Clone, Debug)]
pub struct Node {
    /// `hub`, `spoke-a`, ...
    pub name: String,
    /// Where its agent runs.
    pub namespace: Namespace,
    /// Tunnel address.
    pub address: Ipv4Addr,
    /// Underlay address.
    pub nbma: Ipv4Addr,
    /// The network behind it; the hub has none.
    pub lan: Option<Lan>,
    /// Where its agent's configuration, log and socket are.
    pub files: PathBuf,
    /// Where its agent pins maps and links.
    pub pins: PathBuf,
}

/// A network with one host behind a spoke.
#[derive(Clone, Debug)]
pub struct Lan {
    /// `lan-a`, ...
    pub name: String,
    /// The host.
    pub host: Namespace,
    /// Address of the host.
    pub address: Ipv4Addr,
    /// Address of the spoke in it.
    pub router: Ipv4Addr,
    /// The network.
    pub prefix: Ipv4Net,
}

impl Lab {
    /// Builds a network under a name of its own, so that labs can run side by side.
    pub fn new(plan: Plan) -> Result<Self> {
        Self::named(&fresh_name(), plan)
    }

    /// Builds a network whose namespaces are called `name-hub` and so on. What has that name is removed first.
    pub fn named(name: &str, plan: Plan) -> Result<Self> {
        ensure!(
            name.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "a lab's name has letters and digits only"
        );
        ensure!((1..=26).contains(&plan.spokes), "a lab has 1 to 26 spokes");
        let undo = claim(name)?;
        let underlay = Namespace::create(&format!("{name}-underlay"))?;
        make_router(&underlay)?;
        let hub = Node::create(name, Place::Hub(1), &underlay)?;
        let second_hub = plan.second_hub.then(|| Node::create(name, Place::Hub(2), &underlay)).transpose()?;
        let spokes = (1..=plan.spokes)
            .map(|n| Node::create(name, Place::Spoke(n), &underlay))
            .collect::<Result<_>>()?;
        let lab = Self { name: name.to_owned(), plan, underlay, hub, second_hub, spokes, undo };
        lab.wait_for_carriers()?;
        Ok(lab)
    }

    /// Waits until the kernel has noticed that both ends of every link are up, which it does a little later.
    fn wait_for_carriers(&self) -> Result<()> {
        let hosts = self.spokes.iter().filter_map(|spoke| Some(&spoke.lan.as_ref()?.host));
        let routers = self.nodes().map(|node| &node.namespace);
        for namespace in std::iter::once(&self.underlay).chain(routers).chain(hosts) {
            poll::until_matches(
                &format!("carriers in {}", namespace.name()),
                Duration::from_secs(10),
                || namespace.command("ip -o link show type veth"),
                |links| links.lines().all(|link| link.contains(" state UP ")),
            )?;
        }
        Ok(())
    }

    /// Its name, the first part of every namespace's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Leaves everything in place, agents included. [`remove`] takes it away.
    pub fn keep(self) {
        self.undo.forget();
    }

    /// The hubs and the spokes.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        std::iter::once(&self.hub).chain(&self.second_hub).chain(&self.spokes)
    }

    /// The node or host that has `address`, by name.
    pub fn owner_of(&self, address: Ipv4Addr) -> Option<&str> {
        if matches!(address.octets(), [198, 18, _, ROUTER]) {
            return Some("underlay");
        }
        self.nodes().find_map(|node| {
            if [node.address, node.nbma].contains(&address) {
                return Some(node.name.as_str());
            }
            let lan = node.lan.as_ref()?;
            if lan.router == address {
                Some(node.name.as_str())
            } else {
                (lan.address == address).then_some(lan.name.as_str())
            }
        })
    }

    /// Names of the nodes on the way from the LAN of spoke `from` to the LAN of spoke `to`, both ends included, as
    /// the nodes themselves tell (see [`traffic::path`]).
    pub fn path(&self, from: usize, to: usize) -> Result<Vec<String>> {
        self.path_of(Probe::Udp, from, to)
    }

    /// The same with these probes.
    pub fn path_of(&self, probe: Probe, from: usize, to: usize) -> Result<Vec<String>> {
        let (from, to) = (self.spoke_lan(from)?, self.spoke_lan(to)?);
        let mut names = vec![from.name.clone()];
        for hop in traffic::path(&from.host, to.address, probe)? {
            let owner = if let IpAddr::V4(address) = hop { self.owner_of(address) } else { None };
            names.push(owner.map_or_else(|| hop.to_string(), str::to_owned));
        }
        Ok(names)
    }

    /// The LAN behind a spoke, by number from 0.
    pub fn spoke_lan(&self, number: usize) -> Result<&Lan> {
        let spoke = self.spokes.get(number).with_context(|| format!("there is no spoke {number}"))?;
        spoke.lan.as_ref().with_context(|| format!("{} has no LAN", spoke.name))
    }

    /// What the plan says about the agent of `node`.
    pub fn config(&self, node: &Node) -> Config {
        let plan = &self.plan;
        let is_hub = node.name == self.hub.name;
        let length = match plan.addressing {
            Addressing::Subnet => 24,
            Addressing::Host => 32,
        };
        Config {
            control_socket: node.files.join(format!("{}.sock", node.name)),
            pin_directory: node.pins.clone(),
            state_directory: node.files.join(format!("{}.state", node.name)),
            max_peers: None,
            spread: None,
            log: "debug",
            address: network(node.address, length).into(),
            source: node.nbma.to_string(),
            key: plan.key,
            phase: plan.phase,
            authentication: plan.authentication.map(str::to_owned),
            holding_time: plan.holding_time,
            registration_interval: plan.registration_interval,
            xdp: plan.xdp,
            nhs: (!is_hub).then_some((self.hub.address.into(), self.hub.nbma.into())),
            routes: self.routes(node, is_hub),
            more: String::new(),
            further_tunnels: String::new(),
        }
    }

    /// Static routes in place of a routing protocol: the hub knows every LAN behind its spoke; a spoke sends all to
    /// the hub, but in Phase 2 to the other spoke's own address, as a routing protocol would there.
    fn routes(&self, node: &Node, is_hub: bool) -> Vec<(IpNet, IpAddr)> {
        let mut routes = Vec::new();
        if !is_hub && self.plan.addressing == Addressing::Host {
            // Nothing is on the link: how other spokes are reached has to be said.
            routes.push((network(Ipv4Addr::new(10, 0, 0, 0), 24).into(), self.hub.address.into()));
        }
        if !is_hub && self.plan.phase != 2 {
            routes.push((network(Ipv4Addr::new(192, 168, 0, 0), 16).into(), self.hub.address.into()));
            return routes;
        }
        let others = self.spokes.iter().filter(|spoke| spoke.name != node.name);
        routes.extend(
            others.filter_map(|spoke| Some((spoke.lan.as_ref()?.prefix.into(), spoke.address.into()))),
        );
        routes
    }

    /// Connects a node to the underlay again, with another address of the same network, after its wire was deleted.
    pub fn rewire(&self, node: &Node, address: Ipv4Addr) -> Result<()> {
        let gateway = gateway_of(node.nbma);
        let pin = PathBuf::from(format!("{}-wire", node.pins.display()));
        wire::connect((&self.underlay, gateway), (&node.namespace, address), &node.name, &pin)
    }

    /// Connects a node to the underlay by one more interface, with an address in a /24 of its own, and without a route.
    /// The router's end has the name of the node and `-1`.
    pub fn add_uplink(&self, node: &Node, interface: &str, address: Ipv4Addr) -> Result<()> {
        let pin = PathBuf::from(format!("{}-{interface}", node.pins.display()));
        let name = format!("{}-1", node.name);
        let ends = ((&self.underlay, gateway_of(address)), (&node.namespace, address));
        wire::link(ends.0, ends.1, [&name, interface], &pin)?;
        self.wait_for_carriers()
    }

    /// Starts the agent of `node` as the plan says.
    pub fn start(&self, node: &Node) -> Result<Agent> {
        Agent::start(node, &self.config(node))
    }

    /// Starts all agents, the hub's first, and waits until every spoke is registered.
    pub fn start_all(&self) -> Result<(Agent, Vec<Agent>)> {
        let hub = self.start(&self.hub)?;
        let spokes = self.spokes.iter().map(|spoke| self.start(spoke)).collect::<Result<Vec<_>>>()?;
        for spoke in &spokes {
            spoke.wait_registered()?;
            hub.wait_cached(spoke.node())?;
        }
        Ok((hub, spokes))
    }
}

/// A node's number among those of its kind, from 1.
#[derive(Clone, Copy)]
enum Place {
    Hub(u8),
    Spoke(u8),
}

/// `a` for the first.
fn letter(number: u8) -> char {
    char::from(b'a' + number.saturating_sub(1))
}

impl Node {
    /// Makes a hub, or a spoke with its LAN, and wires it to the underlay.
    fn create(lab: &str, place: Place, underlay: &Namespace) -> Result<Self> {
        let (name, net, last) = match place {
            Place::Hub(1) => ("hub".to_owned(), 0, 1),
            Place::Hub(n) => (format!("hub-{n}"), 98 + n, n),
            Place::Spoke(n) => (format!("spoke-{}", letter(n)), n, 10 + n),
        };
        let nbma = Ipv4Addr::new(198, 18, net, 1);
        let address = Ipv4Addr::new(10, 0, 0, last);

        let namespace = Namespace::create(&format!("{lab}-{name}"))?;
        make_router(&namespace)?;
        let pins = pins_of(lab, &name);
        let gateway = Ipv4Addr::new(198, 18, net, ROUTER);
        wire::connect((underlay, gateway), (&namespace, nbma), &name, &pins)?;
        let lan = match place {
            Place::Hub(_) => None,
            Place::Spoke(n) => Some(Lan::create(lab, letter(n), net, &namespace)?),
        };
        Ok(Self { name, namespace, address, nbma, lan, files: files_of(lab), pins })
    }

    /// Whether it has an interface of this name.
    pub fn has_interface(&self, name: &str) -> bool {
        self.namespace.command(&format!("ip link show dev {name}")).is_ok()
    }

    /// Gives an interface of the node an XDP program that is not ours and lets everything pass.
    pub fn occupy_xdp(&self, interface: &str) -> Result<()> {
        let pin = PathBuf::from(format!("{}-foreign", self.pins.display()));
        wire::attach_pass_program(&self.namespace, interface, &pin)
    }

    /// Routes the agent has put into the kernel, a line each.
    pub fn shortcut_routes(&self) -> Result<Vec<String>> {
        let text = self.namespace.command("ip route show proto 54")?;
        Ok(text.lines().map(|line| line.trim_end().to_owned()).collect())
    }
}

impl Lan {
    /// Ordinary veths with every offload on: packets with partial checksums and of 64 KB really reach the spoke.
    fn create(lab: &str, letter: char, net: u8, spoke: &Namespace) -> Result<Self> {
        let name = format!("lan-{letter}");
        let host = Namespace::create(&format!("{lab}-{name}"))?;
        let router = Ipv4Addr::new(192, 168, net, 1);
        let address = Ipv4Addr::new(192, 168, net, 10);
        let (inside, outside) = (host.name(), spoke.name());
        spoke.command(&format!("ip link add lan0 type veth peer name eth0 netns {inside}"))?;
        spoke.command(&format!("ip address add {router}/24 dev lan0"))?;
        spoke.command("ip link set lan0 up").with_context(|| format!("LAN of {outside}"))?;
        host.command(&format!("ip address add {address}/24 dev eth0"))?;
        host.command("ip link set eth0 up")?;
        host.command(&format!("ip route add default via {router}"))?;
        Ok(Self { name, host, address, router, prefix: network(Ipv4Addr::new(192, 168, net, 0), 24) })
    }
}

/// The underlay router's address in the network of a node's NBMA address.
pub(crate) fn gateway_of(nbma: Ipv4Addr) -> Ipv4Addr {
    let [a, b, c, _] = nbma.octets();
    Ipv4Addr::new(a, b, c, ROUTER)
}

/// Makes a namespace forward like a router, and strict about where packets come from.
fn make_router(namespace: &Namespace) -> Result<()> {
    namespace.set("ipv4/ip_forward", "1")?;
    // Strict reverse path filtering: a packet that arrives on another interface than the answer would leave by is
    // dropped. So data has to arrive on the tunnel interface, not on the underlay's.
    for conf in ["all", "default"] {
        namespace.set(&format!("ipv4/conf/{conf}/rp_filter"), "1")?;
    }
    // The hop probes want an answer each, not six a second.
    namespace.set("ipv4/icmp_ratelimit", "0")?;
    namespace.set("ipv6/icmp/ratelimit", "0")
}

/// A name that no other lab has. What labs of dead processes left is removed first, once.
pub(crate) fn fresh_name() -> String {
    static REMOVE_STALE: Once = Once::new();
    static COUNT: AtomicU32 = AtomicU32::new(0);
    REMOVE_STALE.call_once(remove_labs_of_dead_processes);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("lab{}x{number}", std::process::id())
}

/// Makes room for a lab of this name and its directory. Dropping what is returned removes all that was built since.
pub(crate) fn claim(name: &str) -> Result<Undo> {
    remove(name)?;
    let owned = name.to_owned();
    let undo = Undo::with(move || {
        if let Err(error) = remove(&owned) {
            eprintln!("cannot remove the lab {owned}: {error:#}");
        }
    })?;
    let files = files_of(name);
    fs::create_dir_all(&files).with_context(|| format!("cannot make {}", files.display()))?;
    Ok(undo)
}

pub(crate) fn files_of(lab: &str) -> PathBuf {
    PathBuf::from(format!("{FILES}{lab}"))
}

/// Where the agent of `node` pins maps and links.
pub(crate) fn pins_of(lab: &str, node: &str) -> PathBuf {
    PathBuf::from(format!("{PINS}{lab}-{node}"))
}

/// `address` with a prefix length that is at most 32.
fn network(address: Ipv4Addr, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(address, length)
}

/// Removes whatever there is of the lab `name`: processes, namespaces, pins, files. Nothing there is no error.
pub fn remove(name: &str) -> Result<()> {
    let mut problems = Vec::new();
    let mut note = |result: Result<()>| {
        if let Err(error) = result {
            problems.push(format!("{error:#}"));
        }
    };
    for namespace in namespace::names_with(&format!("{name}-")) {
        note(namespace::remove(&namespace));
    }
    let pins = PathBuf::from(format!("{PINS}{name}-"));
    for directory in siblings_with(&pins) {
        note(remove_directory(&directory));
    }
    note(remove_directory(&files_of(name)));
    if !problems.is_empty() {
        bail!("{}", problems.join("; "));
    }
    Ok(())
}

/// Everything in the same directory whose name begins like `path`.
fn siblings_with(path: &Path) -> Vec<PathBuf> {
    let (Some(parent), Some(start)) = (path.parent(), path.file_name()) else { return Vec::new() };
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    let start = start.as_encoded_bytes();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(start)))
        .collect()
}

/// A test that was killed with SIGKILL could not remove its labs.
fn remove_labs_of_dead_processes() {
    for path in siblings_with(Path::new(&format!("{FILES}lab"))) {
        let Some(name) = path.to_str().and_then(|path| path.strip_prefix(FILES)) else { continue };
        let owner = name.strip_prefix("lab").and_then(|rest| rest.split_once('x')).map(|(pid, _)| pid);
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
            && let Err(error) = remove(name)
        {
            eprintln!("cannot remove the lab {name} of a dead process: {error:#}");
        }
    }
}
