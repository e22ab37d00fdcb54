//! What was on the wires of a lab.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::capture::Capture;
use crate::{
    namespace::Namespace,
    target,
    undo::{Undo, remove_directory},
};

/// The captures of one lab.
#[derive(Debug)]
pub(super) struct Captures {
    directory: PathBuf,
    /// Whether they are to be there when the lab is gone.
    kept: bool,
    running: Vec<Capture>,
    wires: Vec<Wire>,
    undo: Option<Undo>,
}

/// The wire of a node, captured at its other end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Wire {
    /// The capture, in the directory of captures.
    pub(super) file: PathBuf,
    /// Whose software the node runs.
    pub(super) sender: Sender,
    /// The link-layer address of the other end, a router's. All other frames are the node's.
    pub(super) router: String,
}

/// Whose software a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Sender {
    /// This project's.
    Ours,
    /// Somebody else's.
    Other,
    /// Nobody judges it: it plays devices that complete packets behind its wire, and speaks no NHRP.
    Unjudged,
}

impl Captures {
    /// None yet. They go to the directory `kept`, or else to one that is called like the lab and goes with this.
    pub(super) fn new(lab: &str, kept: Option<PathBuf>) -> Self {
        Self {
            kept: kept.is_some(),
            directory: kept.unwrap_or_else(|| PathBuf::from("captures").join(lab)),
            running: Vec::new(),
            wires: Vec::new(),
            undo: None,
        }
    }

    /// Where they are. Makes the directory at the first call.
    pub(super) fn directory(&mut self) -> Result<&Path> {
        if !self.kept && self.undo.is_none() {
            let directory = target::directory()?.join(&self.directory);
            self.directory.clone_from(&directory);
            self.undo = Some(Undo::with(move || {
                if let Err(error) = remove_directory(&directory) {
                    eprintln!("{error:#}");
                }
            })?);
        }
        std::fs::create_dir_all(&self.directory)
            .with_context(|| format!("cannot make {}", self.directory.display()))?;
        Ok(&self.directory)
    }

    /// Captures a node's wire, at the router's end of it, into the file of this name, from now to [`end`](Self::end).
    pub(super) fn start(
        &mut self,
        namespace: &Namespace,
        interface: &str,
        file: &str,
        sender: Sender,
    ) -> Result<&Wire> {
        let running = Capture::start(namespace, interface, &self.directory()?.join(file))
            .with_context(|| format!("capturing {interface}"))?;
        self.running.push(running);
        // Name, state, address, flags.
        let link = namespace.command(&format!("ip -brief link show dev {interface}"))?;
        let router = link.split_whitespace().nth(2).context("an interface without an address")?.to_owned();
        self.wires.push(Wire { file: file.into(), sender, router });
        self.wires.last().context("added above")
    }

    /// Takes note of a capture that somebody else makes in our directory.
    pub(super) fn note(&mut self, wire: Wire) {
        self.wires.push(wire);
    }

    /// Ends and completes all of them.
    pub(super) fn end(&mut self) {
        self.running.clear();
    }

    /// The wires that were captured, each with the full path of its file.
    pub(super) fn wires(&self) -> Vec<Wire> {
        let full = |wire: &Wire| Wire { file: self.directory.join(&wire.file), ..wire.clone() };
        self.wires.iter().map(full).collect()
    }
}
