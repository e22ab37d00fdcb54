//! `cargo xtask lab`.

use std::{ffi::OsString, path::PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::{
    build::{self, Profile},
    process, setup,
};

/// Which lab to run, and how.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Arguments {
    /// Name of the lab, or `all`.
    #[arg(required_unless_present_any = ["list", "clean"])]
    name: Option<String>,

    /// Print the names of all labs and what they show, and do nothing else.
    #[arg(long, conflicts_with_all = ["name", "keep", "pcap", "clean"])]
    list: bool,

    /// Leave everything running at the end and print what to look at. `--clean` removes it.
    #[arg(long, conflicts_with = "clean")]
    keep: bool,

    /// Write a capture of every underlay interface into this directory.
    #[arg(long, value_name = "DIR", conflicts_with = "clean")]
    pcap: Option<PathBuf>,

    /// Print the result as JSON on standard output (`steps`: name, ok, detail); progress goes to standard error.
    #[arg(long, conflicts_with = "clean")]
    json: bool,

    /// Remove what an earlier `--keep` (or a killed lab) left behind, and do nothing else.
    #[arg(long, conflicts_with = "name")]
    clean: bool,
}

/// Builds the agent and the labs, and becomes the labs.
pub(crate) fn command(arguments: &Arguments) -> Result<()> {
    // Only the labs themselves need root; what is built stays the user's.
    let Some(mut command) = process::as_root("env") else {
        bail!(
            "labs need root (they make network namespaces and load eBPF programs into the kernel), and there is no \
             sudo. Remedy: run as root"
        );
    };
    setup::ensure(setup::LAB)?;
    let [agent, lab] = build::build([build::AGENT, build::LAB], Profile::Dev)?;
    let mut variable = OsString::from("DMVPN_BIN=");
    variable.push(agent);
    command.arg(variable).arg(lab);
    for (flag, wanted) in [
        ("--list", arguments.list),
        ("--keep", arguments.keep),
        ("--json", arguments.json),
        ("--clean", arguments.clean),
    ] {
        if wanted {
            command.arg(flag);
        }
    }
    if let Some(directory) = &arguments.pcap {
        // Where it is meant does not depend on where the lab runs.
        let directory = std::path::absolute(directory).context("the directory for captures")?;
        command.arg("--pcap").arg(directory);
    }
    command.args(&arguments.name);
    process::replace(&mut command)
}
