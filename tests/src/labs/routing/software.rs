//! Routing daemons of others, one set for each node, in its namespace.

use std::{
    fmt::Write as _,
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::unistd::{User, chown};
use serde_json::Value;

use crate::{command, lab::Node, poll};

/// Where Debian puts FRR's daemons.
const FRR: &str = "/usr/lib/frr";
/// The user they become.
const FRR_USER: &str = "frr";
/// Longest time until a daemon answers.
const START: Duration = Duration::from_secs(20);

/// What to run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Software {
    /// zebra and these daemons of FRR, with one configuration for all of them.
    Frr(&'static [&'static str]),
    /// BIRD.
    Bird,
}

/// The running daemons of one node. Dropping it kills them.
#[derive(Debug)]
pub(super) struct Daemons {
    software: Software,
    /// Sockets, logs, the configuration.
    directory: PathBuf,
    children: Vec<Child>,
}

/// What a session is between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sessions {
    /// OSPF for IPv4.
    Ospf,
    /// OSPF for IPv6.
    Ospf6,
    /// BGP.
    Bgp,
    /// The protocol has none.
    None,
}

impl Daemons {
    /// Starts them with this configuration, and waits until they have taken it.
    pub(super) fn start(node: &Node, software: Software, configuration: &str) -> Result<Self> {
        let directory = node.files.join(format!("{}.routing", node.name));
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let file = directory.join("daemons.conf");
        fs::write(&file, configuration).with_context(|| format!("cannot write {}", file.display()))?;
        let mut daemons = Self { software, directory, children: Vec::new() };
        let started = match software {
            Software::Frr(names) => daemons.start_frr(node, names, &file),
            Software::Bird => daemons.start_bird(node, &file),
        };
        started.with_context(|| format!("routing daemons on {}; {}", node.name, daemons.logs()))?;
        Ok(daemons)
    }

    fn start_frr(&mut self, node: &Node, names: &[&str], file: &Path) -> Result<()> {
        let user = User::from_name(FRR_USER)
            .context("looking for FRR's user")?
            .context("FRR is not there: cargo xtask setup installs it")?;
        chown(&self.directory, Some(user.uid), Some(user.gid)).context("giving FRR its directory")?;
        // The daemons start empty, so that each line goes to those that it is for, as with Debian's `frr.conf`.
        let empty = self.directory.join("empty.conf");
        // Without it vtysh complains.
        for file in [&empty, &self.directory.join("vtysh.conf")] {
            fs::write(file, "").with_context(|| format!("cannot write {}", file.display()))?;
            fs::set_permissions(file, fs::Permissions::from_mode(0o644)).context("letting FRR read it")?;
        }
        for name in std::iter::once(&"zebra").chain(names) {
            let mut command = Command::new(format!("{FRR}/{name}"));
            command.arg("-f").arg(&empty).arg("-i").arg(self.directory.join(format!("{name}.pid")));
            command.arg("-z").arg(self.directory.join("zserv.api"));
            command.arg("--vty_socket").arg(&self.directory).args(["-P", "0"]);
            command.arg("--log").arg(format!("file:{}/{name}.log", self.directory.display()));
            if *name == "bfdd" {
                command.arg("--bfdctl").arg(self.directory.join("bfdd.sock"));
            }
            self.spawn(node, command, name)?;
            // The others want to find zebra.
            let socket = self.directory.join(format!("{name}.vty"));
            self.wait_for(name, || Ok(socket.exists()))?;
        }
        command::output(self.vtysh().arg("-f").arg(file)).context("the configuration").map(drop)
    }

    fn start_bird(&mut self, node: &Node, file: &Path) -> Result<()> {
        let mut command = Command::new("bird");
        command.arg("-f").arg("-c").arg(file).arg("-s").arg(self.directory.join("bird.ctl"));
        command.arg("-P").arg(self.directory.join("bird.pid"));
        self.spawn(node, command, "bird")?;
        let control = self.directory.join("bird.ctl");
        self.wait_for("bird", || {
            let mut ask = Command::new("birdc");
            Ok(command::output(ask.arg("-s").arg(&control).args(["show", "status"])).is_ok())
        })
    }

    fn spawn(&mut self, node: &Node, mut command: Command, name: &str) -> Result<()> {
        let log = self.directory.join(format!("{name}.out"));
        let log = fs::File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let child = node.namespace.run(|| {
            command
                .stdin(Stdio::null())
                .stdout(log.try_clone().context("sharing the log")?)
                .stderr(log)
                // A Ctrl-C in the terminal is for the lab, which then ends its daemons.
                .process_group(0)
                .spawn()
                .with_context(|| format!("cannot start {name}; cargo xtask setup installs it"))
        })?;
        self.children.push(child);
        Ok(())
    }

    /// Waits until the daemon that was started last is ready.
    fn wait_for(&mut self, name: &str, ready: impl Fn() -> Result<bool>) -> Result<()> {
        let child = self.children.last_mut().context("nothing was started")?;
        poll::until(&format!("{name} to be ready"), START, || {
            if let Some(status) = child.try_wait().with_context(|| format!("looking after {name}"))? {
                return Ok(Some(Err(status)));
            }
            Ok(ready()?.then_some(Ok(())))
        })?
        .or_else(|status| bail!("{name} ended: {status}"))
    }

    fn vtysh(&self) -> Command {
        let mut command = Command::new("vtysh");
        command.arg("--vty_socket").arg(&self.directory).arg("--config_dir").arg(&self.directory);
        command
    }

    /// What the daemons answer to a command of their shell.
    pub(super) fn ask(&self, question: &str) -> Result<String> {
        match self.software {
            Software::Frr(_) => command::output(self.vtysh().args(["-c", question])),
            Software::Bird => {
                let mut command = Command::new("birdc");
                command.arg("-s").arg(self.directory.join("bird.ctl"));
                command::output(command.args(question.split_whitespace()))
            }
        }
    }

    /// FRR's answer in JSON.
    pub(super) fn ask_json(&self, question: &str) -> Result<Value> {
        ensure!(matches!(self.software, Software::Frr(_)), "only FRR answers in JSON");
        let text = self.ask(question)?;
        serde_json::from_str(&text).with_context(|| format!("the answer to {question}: {text}"))
    }

    /// Neighbours that are Full or Established.
    pub(super) fn sessions(&self, sessions: Sessions) -> Result<usize> {
        let count = |rows: Option<&Value>, is_up: fn(&Value) -> bool| {
            rows.and_then(Value::as_object).map_or(0, |rows| rows.values().filter(|row| is_up(row)).count())
        };
        Ok(match (self.software, sessions) {
            (_, Sessions::None) => 0,
            (Software::Frr(_), Sessions::Ospf) => {
                count(self.ask_json("show ip ospf neighbor json")?.get("neighbors"), |rows| {
                    rows.as_array()
                        .into_iter()
                        .flatten()
                        .any(|row| row["nbrState"].as_str().is_some_and(|state| state.starts_with("Full")))
                })
            }
            (Software::Frr(_), Sessions::Ospf6) => {
                let answer = self.ask_json("show ipv6 ospf6 neighbor json")?;
                let rows = answer["neighbors"].as_array().into_iter().flatten();
                rows.filter(|row| row["state"] == "Full").count()
            }
            (Software::Frr(_), Sessions::Bgp) => {
                let answer = self.ask_json("show bgp summary json")?;
                let is_up: fn(&Value) -> bool = |row| row["state"] == "Established";
                count(answer.pointer("/ipv4Unicast/peers"), is_up)
                    + count(answer.pointer("/ipv6Unicast/peers"), is_up)
            }
            (Software::Bird, Sessions::Ospf | Sessions::Ospf6) => {
                self.ask("show ospf neighbors")?.matches("Full/").count()
            }
            (Software::Bird, Sessions::Bgp) => self.ask("show protocols")?.matches("Established").count(),
        })
    }

    /// Whether OSPF has looked for a designated router on the tunnel, and found one or none.
    pub(super) fn has_elected(&self, sessions: Sessions) -> Result<bool> {
        let question = match (self.software, sessions) {
            (Software::Bird, _) => "show ospf interface tunnel \"dmvpn0\"",
            (_, Sessions::Ospf6) => "show ipv6 ospf6 interface dmvpn0",
            _ => "show ip ospf interface dmvpn0",
        };
        let text = self.ask(question)?;
        Ok(text.contains("State") && !text.contains("Waiting"))
    }

    /// How an operator asks, for a shell: a question in quotes is to follow.
    pub(super) fn shell(&self) -> String {
        let directory = self.directory.display();
        match self.software {
            Software::Frr(_) => format!("vtysh --vty_socket {directory} --config_dir {directory} -c"),
            Software::Bird => format!("birdc -s {directory}/bird.ctl"),
        }
    }

    /// What the daemons have written.
    pub(super) fn logs(&self) -> String {
        let mut text = String::new();
        let Ok(entries) = fs::read_dir(&self.directory) else { return text };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if path.extension().is_some_and(|kind| kind == "log" || kind == "out")
                && let Ok(log) = fs::read_to_string(&path)
                && !log.is_empty()
            {
                // Writing to a string does not fail.
                let _ = write!(text, "{}:\n{log}", path.display());
            }
        }
        text
    }

    /// Leaves them running for good.
    pub(super) fn keep(mut self) {
        self.children.clear();
    }
}

impl Drop for Daemons {
    fn drop(&mut self) {
        for child in &mut self.children {
            // Both fail only when it has ended, or when the lab's signal handling was quicker.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
