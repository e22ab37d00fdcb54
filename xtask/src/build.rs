//! `cargo xtask build`, and where the binaries are.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::{process, setup};

/// How the agent is built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build: for tests.
    Dev,
    /// What is shipped.
    Release,
}

/// The agent.
pub(crate) const AGENT: Binary = Binary { package: "dmvpn", name: "dmvpn" };
/// The benchmarks.
pub(crate) const BENCH: Binary = Binary { package: "dmvpn-tests", name: "bench" };
/// The demo.
pub(crate) const DEMO: Binary = Binary { package: "dmvpn-tests", name: "demo" };
/// The labs.
pub(crate) const LAB: Binary = Binary { package: "dmvpn-tests", name: "lab" };
/// The scripted peer.
pub(crate) const PEER: Binary = Binary { package: "dmvpn-tests", name: "peer" };
/// The simulation.
pub(crate) const SIM: Binary = Binary { package: "dmvpn-tests", name: "sim" };

/// A program of the workspace.
#[derive(Clone, Copy)]
pub(crate) struct Binary {
    package: &'static str,
    name: &'static str,
}

/// Builds programs together, so that no core waits for another, and returns their paths. Cargo shows the progress.
pub(crate) fn build<const N: usize>(binaries: [Binary; N], profile: Profile) -> Result<[PathBuf; N]> {
    let mut command = process::cargo();
    command.arg("build");
    for binary in binaries {
        command.args(["--package", binary.package, "--bin", binary.name]);
    }
    let directory = match profile {
        Profile::Dev => "debug",
        Profile::Release => {
            command.arg("--release");
            "release"
        }
    };
    process::run(&mut command)?;
    let directory = target_directory()?.join(directory);
    Ok(binaries.map(|binary| directory.join(binary.name)))
}

/// Builds the agent with another layout of its maps for the tests of an upgrade, beside the agent: under the name that
/// `tests/src/agent.rs` knows. What is called like the agent afterwards is not the agent: build that next.
pub(crate) fn build_other_layout() -> Result<()> {
    process::run(process::cargo().args([
        "build",
        "--package",
        AGENT.package,
        "--bin",
        AGENT.name,
        "--features",
        "other-layout",
    ]))?;
    let directory = target_directory()?.join("debug");
    let (from, to) = (directory.join(AGENT.name), directory.join("dmvpn-other-layout"));
    fs::copy(&from, &to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// Where cargo puts what it builds; asked of cargo because the environment or a configuration file may move it.
fn target_directory() -> Result<PathBuf> {
    Ok(metadata()?.target_directory)
}

/// The directory of the project.
pub(crate) fn workspace() -> Result<PathBuf> {
    Ok(metadata()?.workspace_root)
}

#[derive(Deserialize)]
struct Metadata {
    target_directory: PathBuf,
    workspace_root: PathBuf,
}

fn metadata() -> Result<Metadata> {
    let json = process::output(process::cargo().args(["metadata", "--format-version=1", "--no-deps"]))?;
    serde_json::from_str(&json).context("reading the output of `cargo metadata`")
}

/// `cargo xtask build`.
pub(crate) fn command() -> Result<()> {
    setup::ensure(setup::BUILD)?;
    let [path] = build([AGENT], Profile::Release)?;
    let size = fs::metadata(&path).with_context(|| format!("no binary at {}", path.display()))?.len();
    println!("{} ({}.{} MB)", path.display(), size / 1_000_000, size % 1_000_000 / 100_000);
    Ok(())
}
