//! A real agent: the `dmvpn` program, started inside a node's namespace.

use std::{
    env, fs,
    fs::File,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use dmvpn::control::protocol::{
    Answer, CacheRow, CounterRow, DropRow, EntryState, GroupRow, InterfaceRow, NhsRow, NhsState, PeerRow,
    Response, ShortcutRow,
};
use dmvpn_common::DropReason;
use ipnet::Ipv4Net;
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, SysconfVar, sysconf},
};

use crate::{command, config::Config, lab::Node, poll};

/// Longest time until an agent answers on its socket. Loading the programs takes well below a second on an idle
/// machine.
const START: Duration = Duration::from_secs(40);
/// Longest time until the protocol has done what it is to do; that takes milliseconds when nothing is wrong.
const CONVERGE: Duration = Duration::from_secs(40);
/// Longest time until an agent has ended.
const STOP: Duration = Duration::from_secs(10);

/// A running agent. Dropping it kills it, but leaves what outlives an agent: interface, pins, socket.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    program: PathBuf,
    node: Node,
    config: Config,
}

/// How an agent that could not start ended.
#[derive(Debug)]
pub struct Failure {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote.
    pub log: String,
}

impl Agent {
    /// Starts the agent of `node`, waits until it answers. What an earlier agent of the node left is adopted.
    pub fn start(node: &Node, config: &Config) -> Result<Self> {
        Self::start_by(node, config, |program| Command::new(program))
    }

    /// The same with `wrap` making the command.
    pub fn start_by(node: &Node, config: &Config, wrap: impl Fn(&Path) -> Command + Sync) -> Result<Self> {
        let mut agent = Self::spawn(node, config, wrap)?;
        let ready = poll::until(&format!("an answer of the agent on {}", node.name), START, || {
            if let Some(status) = agent.child.try_wait().context("looking after the agent")? {
                return Ok(Some(Err(status)));
            }
            agent.interfaces().map(|_| Some(Ok(())))
        });
        match ready {
            Ok(Ok(())) => Ok(agent),
            Ok(Err(status)) => bail!("the agent on {} ended: {status}\n{}", node.name, agent.log()),
            Err(error) => Err(error.context(agent.log())),
        }
    }

    /// Starts an agent that is expected to give up, with `wrap` making the command, and waits for its end.
    pub fn fail(node: &Node, config: &Config, wrap: impl Fn(&Path) -> Command + Sync) -> Result<Failure> {
        let mut agent = Self::spawn(node, config, wrap)?;
        let status = agent.wait(START).context("the agent was expected to give up")?;
        Ok(Failure { status, log: agent.log() })
    }

    /// Writes the configuration and starts the program inside the namespace; does not wait until it is ready.
    pub fn spawn(node: &Node, config: &Config, wrap: impl Fn(&Path) -> Command + Sync) -> Result<Self> {
        let file = node.files.join(format!("{}.yaml", node.name));
        fs::write(&file, config.to_string()).with_context(|| format!("cannot write {}", file.display()))?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(log_of(node))
            .with_context(|| format!("cannot open {}", log_of(node).display()))?;
        let program = binary()?;
        let child = node.namespace.run(|| {
            let errors = log.try_clone().context("sharing the log")?;
            wrap(&program)
                .args(["run", "--config"])
                .arg(&file)
                .args(["--log", config.log])
                .stdin(Stdio::null())
                .stdout(log)
                .stderr(errors)
                // A Ctrl-C in the terminal is for the lab, which then ends its agents.
                .process_group(0)
                .spawn()
                .with_context(|| format!("cannot start {}", program.display()))
        })?;
        Ok(Self { child, program, node: node.clone(), config: config.clone() })
    }

    /// What `dmvpn show VIEW --json` says.
    fn show(&self, view: &str) -> Result<Answer> {
        let mut command = Command::new(&self.program);
        command.args(["show", view, "--json", "--socket"]).arg(&self.config.control_socket);
        let text = command::output(&mut command)?;
        let response: Response =
            serde_json::from_str(&text).with_context(|| format!("not the JSON of `show {view}`: {text}"))?;
        Ok(response.answer)
    }

    /// What `dmvpn doctor` prints in the agent's namespace, and whether it found no problem.
    pub fn doctor(&self) -> Result<(bool, String)> {
        let output = self.node.namespace.run(|| {
            let mut command = Command::new(&self.program);
            command.args(["doctor", "--socket"]).arg(&self.config.control_socket);
            command.output().context("cannot start the doctor")
        })?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    /// `show peers`.
    pub fn peers(&self) -> Result<Vec<PeerRow>> {
        match self.show("peers")? {
            Answer::Peers(rows) => Ok(rows),
            other => bail!("asked for peers, got {other:?}"),
        }
    }

    /// `show groups`.
    pub fn groups(&self) -> Result<Vec<GroupRow>> {
        match self.show("groups")? {
            Answer::Groups(rows) => Ok(rows),
            other => bail!("asked for groups, got {other:?}"),
        }
    }

    /// `show cache`.
    pub fn cache(&self) -> Result<Vec<CacheRow>> {
        match self.show("cache")? {
            Answer::Cache(rows) => Ok(rows),
            other => bail!("asked for the cache, got {other:?}"),
        }
    }

    /// `show nhs`.
    pub fn nhs(&self) -> Result<Vec<NhsRow>> {
        match self.show("nhs")? {
            Answer::Nhs(rows) => Ok(rows),
            other => bail!("asked for the servers, got {other:?}"),
        }
    }

    /// `show shortcuts`.
    pub fn shortcuts(&self) -> Result<Vec<ShortcutRow>> {
        match self.show("shortcuts")? {
            Answer::Shortcuts(rows) => Ok(rows),
            other => bail!("asked for shortcuts, got {other:?}"),
        }
    }

    /// `show interfaces`.
    pub fn interfaces(&self) -> Result<Vec<InterfaceRow>> {
        match self.show("interfaces")? {
            Answer::Interfaces(rows) => Ok(rows),
            other => bail!("asked for interfaces, got {other:?}"),
        }
    }

    /// `show drops`.
    pub fn drops(&self) -> Result<Vec<DropRow>> {
        match self.show("drops")? {
            Answer::Drops(rows) => Ok(rows),
            other => bail!("asked for drops, got {other:?}"),
        }
    }

    /// `show counters`.
    pub fn counters(&self) -> Result<Vec<CounterRow>> {
        match self.show("counters")? {
            Answer::Counters(rows) => Ok(rows),
            other => bail!("asked for counters, got {other:?}"),
        }
    }

    /// Waits until the server (of a spoke, which has one) has accepted the registration.
    pub fn wait_registered(&self) -> Result<()> {
        let what = format!("{} to be registered", self.node.name);
        poll::until_matches(
            &what,
            CONVERGE,
            || self.nhs(),
            |rows| rows.iter().any(|row| row.state == NhsState::Responding),
        )
        .map(drop)
    }

    /// Waits until the cache maps `node`'s tunnel address to its NBMA address.
    pub fn wait_cached(&self, node: &Node) -> Result<()> {
        let what = format!("{} in the cache of {}", node.name, self.node.name);
        poll::until_matches(
            &what,
            CONVERGE,
            || self.cache(),
            |rows| {
                rows.iter()
                    .any(|row| row.protocol.addr() == node.address && row.nbma == Some(node.nbma.into()))
            },
        )
        .map(drop)
    }

    /// Waits until a shortcut for `prefix` is in use, and returns it.
    pub fn wait_shortcut(&self, prefix: Ipv4Net) -> Result<ShortcutRow> {
        let what = format!("a shortcut to {prefix} on {}", self.node.name);
        let is_it = |row: &ShortcutRow| row.prefix == prefix.into() && row.state == EntryState::Up;
        let rows = poll::until_matches(&what, CONVERGE, || self.shortcuts(), |rows| rows.iter().any(is_it))?;
        rows.into_iter().find(is_it).context("it is there")
    }

    /// Packets this node has sent to other nodes, through its data path.
    pub fn packets_sent(&self) -> Result<u64> {
        Ok(self.peers()?.iter().map(|peer| peer.sent_packets).sum())
    }

    /// Packets dropped for one reason.
    pub fn dropped(&self, reason: DropReason) -> Result<u64> {
        let rows = self.drops()?;
        let row = rows.iter().find(|row| row.reason == reason.name());
        row.map(|row| row.packets)
            .with_context(|| format!("`show drops` has no {}: {rows:#?}", reason.name()))
    }

    /// A table as an operator sees it.
    pub fn table(&self, view: &str) -> Result<String> {
        let mut command = Command::new(&self.program);
        command::output(command.args(["show", view, "--socket"]).arg(&self.config.control_socket))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The `dmvpn` program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Its node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Its configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What the agents of this node have written so far.
    pub fn log(&self) -> String {
        let path = log_of(&self.node);
        fs::read_to_string(&path).unwrap_or_else(|error| format!("no log in {}: {error}", path.display()))
    }

    /// Kills it without a warning, as the kernel does when memory is short, and waits for its end.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().context("killing the agent")?;
        self.child.wait().context("waiting for the agent").map(drop)
    }

    /// Asks it to stop (SIGTERM), and waits for its end.
    pub fn terminate(self) -> Result<ExitStatus> {
        self.end_by(Signal::SIGTERM)
    }

    /// Sends it a signal that ends it, and waits for its end.
    pub fn end_by(mut self, signal: Signal) -> Result<ExitStatus> {
        self.signal(signal)?;
        self.wait(STOP)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).context("process id")?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("sending {signal} to the agent"))
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().context("looking after the agent")?.is_none())
    }

    /// Time that it has computed so far, which does not depend on what else the machine does.
    pub fn cpu_time(&self) -> Result<Duration> {
        let stat =
            fs::read_to_string(format!("/proc/{}/stat", self.child.id())).context("reading its times")?;
        // The name, in brackets, may have spaces; user and system time are the 12th and 13th field behind it.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).map(str::parse::<u64>).sum::<Result<_, _>>()?;
        let a_second = sysconf(SysconfVar::CLK_TCK)?.context("no clock tick")?;
        Ok(Duration::from_millis(ticks * 1000 / u64::try_from(a_second)?))
    }

    /// Leaves it running for good.
    pub fn keep(self) {
        std::mem::forget(self);
    }

    fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let what = format!("the end of the agent on {}", self.node.name);
        poll::until(&what, patience, || self.child.try_wait().context("looking after the agent"))
            .map_err(|error| error.context(self.log()))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Both fail only when it has ended, or when the lab's signal handling was quicker.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log_of(node: &Node) -> PathBuf {
    node.files.join(format!("{}.log", node.name))
}

/// The `dmvpn` program with another layout of its maps, beside the ordinary one.
pub fn other_layout() -> Result<PathBuf> {
    let path = binary()?.with_file_name("dmvpn-other-layout");
    if !path.is_file() {
        bail!("there is no {}. Run: cargo xtask test lab", path.display());
    }
    Ok(path)
}

/// The `dmvpn` program: `DMVPN_BIN`, else beside the test programs.
pub(crate) fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("DMVPN_BIN") {
        let path = PathBuf::from(path);
        if !path.is_file() {
            bail!("DMVPN_BIN names no file: {}", path.display());
        }
        return Ok(path);
    }
    let here = env::current_exe().context("where am I?")?;
    // target/debug/deps/test-0123 or target/release/demo
    here.ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join("dmvpn"))
        .find(|path| path.is_file())
        .context("there is no dmvpn program to test. Run: cargo xtask test")
}
