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

/// Builds `--package package --bin name` and returns the path of the binary. Cargo shows the progress.
pub(crate) fn binary(package: &str, name: &str, profile: Profile) -> Result<PathBuf> {
    let mut command = process::cargo();
    command.args(["build", "--package", package, "--bin", name]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    process::run(&mut command)?;
    let directory = match profile {
        Profile::Dev => "debug",
        Profile::Release => "release",
    };
    Ok(target_directory()?.join(directory).join(name))
}

/// The agent.
pub(crate) fn agent(profile: Profile) -> Result<PathBuf> {
    binary("dmvpn", "dmvpn", profile)
}

/// Where cargo puts what it builds; asked of cargo because the environment or a configuration file may move it.
fn target_directory() -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let json = process::output(process::cargo().args(["metadata", "--format-version=1", "--no-deps"]))?;
    let metadata: Metadata = serde_json::from_str(&json).context("reading the output of `cargo metadata`")?;
    Ok(metadata.target_directory)
}

/// `cargo xtask build`.
pub(crate) fn command() -> Result<()> {
    setup::ensure(setup::BUILD)?;
    let path = agent(Profile::Release)?;
    let size = fs::metadata(&path).with_context(|| format!("no binary at {}", path.display()))?.len();
    println!("{} ({}.{} MB)", path.display(), size / 1_000_000, size % 1_000_000 / 100_000);
    Ok(())
}
