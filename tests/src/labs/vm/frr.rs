//! A node that is not ours: FRR's nhrpd over the kernel's own multipoint GRE device.

use std::{
    fmt::Write as _,
    fs::{self, File},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use ipnet::Ipv4Net;
use serde_json::Value;

use crate::{command, lab::Node, poll, vm::newer_frr};

/// Its tunnel interface.
pub(super) const TUNNEL: &str = "gre1";

/// Longest time until FRR has done what it is to do; it takes seconds, on an emulated processor many.
const PATIENCE: Duration = Duration::from_mins(1);

/// Which FRR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// 8.4.4, of the guest's Debian.
    V8,
    /// 10.3, which only guests have that were started with it.
    V10,
}

/// What nhrpd is told about one node.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Which nhrpd.
    pub(crate) version: Version,
    /// The password; 8.4 does not know the command.
    pub(crate) authentication: Option<String>,
    /// GRE key.
    pub(crate) key: Option<u32>,
    /// Seconds.
    pub(crate) holding_time: u16,
    /// Protocol addresses, where they are to be told, and NBMA addresses of the servers.
    pub(crate) servers: Vec<(Option<Ipv4Addr>, Ipv4Addr)>,
    /// Prefixes and next hops.
    pub(crate) routes: Vec<(Ipv4Net, Ipv4Addr)>,
    /// Whether a registration may be replaced by one from another NBMA address.
    pub(crate) unique: bool,
    /// Whether multicast packets go to the peers.
    pub(crate) multicast: bool,
}

/// Running FRR. Dropping it kills its daemons; the tunnel interface stays.
#[derive(Debug)]
pub(crate) struct Frr {
    node: Node,
    version: Version,
    daemons: Vec<Child>,
}

impl Frr {
    /// Makes the tunnel interface of `node`, and starts zebra, staticd where it makes the routes, and nhrpd.
    pub(crate) fn start(node: &Node, settings: &Settings) -> Result<Self> {
        make_tunnel(node, settings.key)?;
        let mut frr = Self { node: node.clone(), version: settings.version, daemons: Vec::new() };
        let run = frr.sockets();
        fs::create_dir_all(&run).with_context(|| format!("cannot make {}", run.display()))?;
        command::run(&format!("chown frr:frr {}", run.display()))?;
        let is_hub = settings.servers.is_empty();
        tell_nhrpd(node, is_hub, settings.multicast)?;
        let mut daemons = vec![("zebra", String::new()), ("nhrpd", nhrp(settings, is_hub))];
        match settings.version {
            Version::V8 => daemons.insert(1, ("staticd", static_routes(&settings.routes))),
            // Its staticd needs yet another daemon. zebra tells nhrpd about routes of the kernel just as well.
            Version::V10 => add_routes(node, &settings.routes)?,
        }
        for (daemon, configuration) in daemons {
            frr.spawn(daemon, &configuration)?;
            // Each connects to the one before it.
            let socket = run.join(format!("{daemon}.vty"));
            poll::until(&format!("{daemon} on {}", node.name), PATIENCE, || {
                Ok(socket.exists().then_some(()))
            })
            .with_context(|| frr.log(daemon))?;
        }
        Ok(frr)
    }

    /// Where its daemons have their sockets: below the name that tells them apart from those of other nodes.
    fn sockets(&self) -> PathBuf {
        PathBuf::from("/run/frr").join(self.node.namespace.name())
    }

    fn spawn(&mut self, daemon: &str, configuration: &str) -> Result<()> {
        let file = self.file(daemon, "conf");
        fs::write(&file, configuration).with_context(|| format!("cannot write {}", file.display()))?;
        let log = self.file(daemon, "log");
        let log = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("cannot open {}", log.display()))?;
        let child = self.node.namespace.run(|| {
            self.program(&format!("usr/lib/frr/{daemon}"))
                .args(["-N", self.node.namespace.name(), "--log", "stdout", "--log-level", "debugging", "-f"])
                .arg(&file)
                .stdin(Stdio::null())
                .stderr(log.try_clone().context("sharing the log")?)
                .stdout(log)
                .spawn()
                .with_context(|| format!("cannot start FRR's {daemon}"))
        })?;
        self.daemons.push(child);
        Ok(())
    }

    /// A program of this FRR, by its path below the root directory.
    fn program(&self, path: &str) -> Command {
        match self.version {
            Version::V8 => Command::new(Path::new("/").join(path)),
            Version::V10 => newer_frr::program(path),
        }
    }

    fn file(&self, daemon: &str, kind: &str) -> PathBuf {
        self.node.files.join(format!("{}-{daemon}.{kind}", self.node.name))
    }

    /// All that nhrpd has written.
    pub(super) fn text(&self) -> Result<String> {
        let file = self.file("nhrpd", "log");
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    }

    /// The end of what one of its daemons has written.
    pub(crate) fn log(&self, daemon: &str) -> String {
        const LINES: usize = 60;
        let text = fs::read_to_string(self.file(daemon, "log")).unwrap_or_else(|error| format!("{error}"));
        // It looks for strongSwan every two seconds.
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains("VICI")).collect();
        format!("{daemon} says:\n{}", lines[lines.len().saturating_sub(LINES)..].join("\n"))
    }

    /// Its node.
    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    /// What a command of `vtysh` prints.
    pub(crate) fn ask(&self, question: &str) -> Result<String> {
        let mut vtysh = self.program("usr/bin/vtysh");
        command::output(vtysh.args(["-N", self.node.namespace.name(), "-c", question]))
    }

    /// Rows of a table of nhrpd: `cache`, `shortcut` or `nhs`.
    pub(crate) fn rows(&self, table: &str) -> Result<Vec<Value>> {
        let text = self.ask(&format!("show ip nhrp {table} json"))?;
        // An empty table is no JSON at all, and some tables begin with the heading of the text form.
        let Some(start) = text.find('{') else { return Ok(Vec::new()) };
        let value: Value =
            serde_json::from_str(&text[start..]).with_context(|| format!("not JSON: {text}"))?;
        Ok(value["table"].as_array().cloned().unwrap_or_default())
    }

    /// Process ids of its daemons.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.daemons.iter().map(Child::id).collect()
    }

    /// Kills its daemons, and waits for their end.
    pub(super) fn kill(&mut self) {
        // Both fail only when it has ended. (SIGTERM makes this nhrpd fail an assertion.)
        for mut daemon in self.daemons.drain(..).rev() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

impl Drop for Frr {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A multipoint GRE device of the kernel, unless the node has it already.
fn make_tunnel(node: &Node, key: Option<u32>) -> Result<()> {
    if node.has_interface(TUNNEL) {
        return Ok(());
    }
    let key = key.map_or_else(String::new, |key| format!("key {key}"));
    let Node { namespace, address, nbma, .. } = node;
    namespace.command(&format!("ip link add {TUNNEL} type gre local {nbma} {key} ttl 64"))?;
    namespace.command(&format!("ip address add {address}/32 dev {TUNNEL}"))?;
    // A packet that leaves the way it came is what a hub is for.
    for conf in ["all", TUNNEL] {
        namespace.set(&format!("ipv4/conf/{conf}/send_redirects"), "0")?;
    }
    namespace.command(&format!("ip link set {TUNNEL} up")).map(drop)
}

/// Has the kernel tell nhrpd about packets: those that leave by the tunnel through which they came, which is how it
/// knows when to send a redirect, and multicast packets, which it copies to its peers.
fn tell_nhrpd(node: &Node, hairpins: bool, multicast: bool) -> Result<()> {
    // Emptied first: FRR may be started again.
    let mut rules = "table ip nhrp\ndelete table ip nhrp\ntable ip nhrp {\n".to_owned();
    if hairpins {
        writeln!(
            rules,
            "chain forward {{ type filter hook forward priority 0;\n\
             iifname {TUNNEL} oifname {TUNNEL} limit rate 4/second burst 4 packets log group 1 snaplen 128\n}}"
        )?;
    }
    if multicast {
        writeln!(
            rules,
            "chain output {{ type filter hook output priority 0;\n\
             oifname {TUNNEL} ip daddr 224.0.0.0/24 log group 2\n\
             oifname {TUNNEL} ip daddr 224.0.0.0/24 drop\n}}"
        )?;
    }
    rules += "}\n";
    let file = node.files.join(format!("{}.nft", node.name));
    fs::write(&file, rules).with_context(|| format!("cannot write {}", file.display()))?;
    node.namespace.run(|| command::output(Command::new("nft").arg("-f").arg(&file))).map(drop)
}

fn static_routes(routes: &[(Ipv4Net, Ipv4Addr)]) -> String {
    let mut text = String::new();
    for (prefix, via) in routes {
        // Cannot fail: it is a string.
        let _ = writeln!(text, "ip route {prefix} {via}");
    }
    text
}

/// The same as routes of the kernel.
fn add_routes(node: &Node, routes: &[(Ipv4Net, Ipv4Addr)]) -> Result<()> {
    routes.iter().try_for_each(|(prefix, via)| {
        let line = format!("ip route replace {prefix} via {via} dev {TUNNEL} onlink");
        node.namespace.command(&line).map(drop)
    })
}

/// The configuration of nhrpd.
fn nhrp(settings: &Settings, is_hub: bool) -> String {
    // What it says is shown when a lab fails.
    let mut lines = vec!["debug nhrp all".to_owned()];
    if is_hub {
        lines.push("nhrp nflog-group 1".to_owned());
    }
    if settings.multicast {
        lines.push("nhrp multicast-nflog-group 2".to_owned());
    }
    lines.push(format!("interface {TUNNEL}"));
    lines.push(" ip nhrp network-id 1".to_owned());
    lines.push(format!(" ip nhrp holdtime {}", settings.holding_time));
    lines
        .extend(settings.authentication.iter().map(|password| format!(" ip nhrp authentication {password}")));
    for (address, nbma) in &settings.servers {
        let address = address.map_or_else(|| "dynamic".to_owned(), |address| address.to_string());
        lines.push(format!(" ip nhrp nhs {address} nbma {nbma}"));
    }
    if settings.multicast {
        // "dynamic" are clients only.
        lines.push(" ip nhrp map multicast dynamic".to_owned());
        let servers = settings.servers.iter();
        lines.extend(servers.map(|(_, nbma)| format!(" ip nhrp map multicast {nbma}")));
    }
    if !settings.unique {
        lines.push(" ip nhrp registration no-unique".to_owned());
    }
    lines.push(if is_hub { " ip nhrp redirect" } else { " ip nhrp shortcut" }.to_owned());
    lines.push("exit".to_owned());
    lines.join("\n") + "\n"
}
