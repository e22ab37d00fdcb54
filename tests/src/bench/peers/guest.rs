//! The virtual machine, seen from outside.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::Findings;
use crate::{
    agent,
    bench::{Extent, progress},
    vm::{Image, boot},
};

/// Longest time for everything, boot included.
const LIMIT: Duration = Duration::from_mins(20);

/// Where the guest finds this program and the agent.
const BENCH: &str = "/bench";
const AGENT: &str = "/agent";

/// Boots a guest and has this program measure in it.
pub(super) fn findings(extent: Extent) -> Result<Findings> {
    let image = Image::get(progress)?;
    let bench = env::current_exe().context("where am I?")?;
    let (bench, bench_name) = place(&bench)?;
    let agent = agent::binary()?;
    let (agent, agent_name) = place(&agent)?;
    let share = |host: PathBuf, guest| boot::Share { host, guest, writable: false };
    let shares = [share(bench, BENCH), share(agent, AGENT)];
    let quick = if extent == Extent::Full { "" } else { "--quick" };
    let command = format!("DMVPN_BIN='{AGENT}/{agent_name}' exec '{BENCH}/{bench_name}' --in-guest {quick}");
    let mut findings = None;
    progress("booting the guest");
    let status = boot::run(&image, &command, &shares, LIMIT, |line| match serde_json::from_str(line) {
        Ok(found) => findings = Some(found),
        // What else is said in there: how far it is, errors.
        Err(_) => progress(&format!("  guest: {line}")),
    })?;
    match findings {
        Some(findings) if status == 0 => Ok(findings),
        _ => bail!("the measurement in the guest ended with {status}; the lines above say why"),
    }
}

/// Directory and name of a program.
fn place(program: &Path) -> Result<(PathBuf, String)> {
    let (directory, name) = (program.parent(), program.file_name());
    let (directory, name) = directory.zip(name).context("a program without a directory")?;
    Ok((directory.to_owned(), name.to_string_lossy().into_owned()))
}
