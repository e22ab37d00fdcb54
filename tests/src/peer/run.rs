//! A scripted peer with real packets: until it is told to end.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use ipnet::Ipv4Net;

use super::{
    Node, Out, Profile, Role, Settings,
    transport::{Received, Transport},
};
use crate::{
    lab::{self, Lab},
    namespace::Namespace,
};

/// How long reading waits: nothing is due more exactly than this.
const PATIENCE: Duration = Duration::from_millis(20);

/// Plays `node` in the network namespace of the calling thread until `ends` says so; `hear` gets every line it says.
pub fn run(
    mut node: Node,
    nbma: Ipv4Addr,
    key: Option<u32>,
    ends: impl Fn() -> bool,
    mut hear: impl FnMut(f64, &str),
) -> Result<()> {
    let mut transport = Transport::open(nbma, key, PATIENCE)?;
    let start = Instant::now();
    let mut bytes = Vec::new();
    while !ends() {
        let now = start.elapsed().as_secs_f64();
        let mut out = node.tick(now);
        out.extend(match transport.receive()? {
            Some(Received::Nhrp(from, packet)) => node.receive(now, from, &packet),
            Some(Received::Data(from, packet)) => node.receive_data(now, from, &packet),
            None => Vec::new(),
        });
        for what in out {
            match what {
                Out::Nhrp(to, packet) => {
                    packet.encode(&mut bytes).context("a packet that cannot be written")?;
                    transport.send_nhrp(to, &bytes)?;
                }
                Out::Data(to, packet) => transport.send_data(to, &packet)?,
                Out::Say(line) => hear(now, &line),
            }
        }
    }
    Ok(())
}

/// A scripted peer that runs in a thread of its own. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    ends: Arc<AtomicBool>,
    lines: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Running {
    /// Starts `node` in a namespace.
    pub fn start(namespace: &Namespace, node: Node, nbma: Ipv4Addr, key: Option<u32>) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (seen, said, inside) = (Arc::clone(&ends), Arc::clone(&lines), namespace.clone());
        let thread = thread::spawn(move || {
            let hear = |_: f64, line: &str| {
                said.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned());
            };
            inside.run(|| run(node, nbma, key, || seen.load(Ordering::Relaxed), hear))
        });
        Self { ends, lines, thread: Some(thread) }
    }

    /// Starts a script that plays a node of a lab, with the LAN behind it, in place of an agent of ours.
    pub fn in_lab(
        lab: &Lab,
        node: &lab::Node,
        profile: &'static Profile,
        role: Role,
        password: &str,
    ) -> Self {
        let settings = Settings {
            profile,
            address: node.address,
            network: Ipv4Net::new_assert(node.address, 24).trunc(),
            nbma: node.nbma,
            password: Some(password.to_owned()),
            holding_time: 60,
            lans: node.lan.iter().map(|lan| lan.prefix).collect(),
        };
        Self::start(&node.namespace, Node::new(settings, role, 1), node.nbma, lab.config(node).key)
    }

    /// The same as spoke of the lab's hub. It pings the host behind the first spoke.
    pub fn spoke(lab: &Lab, node: &lab::Node, profile: &'static Profile, password: &str) -> Self {
        let ping = lab.spokes[0].lan.as_ref().map(|lan| lan.address);
        let role = Role::Spoke { server: lab.hub.address, nbma: lab.hub.nbma, ping };
        Self::in_lab(lab, node, profile, role, password)
    }

    /// What it has said so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has said a line with `words` in it. Fails when it ends, or does not within `patience`.
    pub fn wait(&self, words: &str, patience: Duration) -> Result<String> {
        let line = crate::poll::until(&format!("the scripted peer to say `{words}`"), patience, || {
            anyhow::ensure!(self.thread.as_ref().is_some_and(|thread| !thread.is_finished()), "it has ended");
            Ok(self.lines().into_iter().find(|line| line.contains(words)))
        });
        line.with_context(|| format!("it said:\n{}", self.lines().join("\n")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => eprintln!("a scripted peer failed: {error:#}"),
                Err(_) => eprintln!("a scripted peer panicked"),
            }
        }
    }
}
