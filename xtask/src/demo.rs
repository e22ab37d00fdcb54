//! `cargo xtask demo`.

use std::ffi::OsString;

use anyhow::{Result, bail};

use crate::{
    build::{self, Profile},
    process, setup,
};

/// What the demo is to do.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave everything running at the end and print what to look at. `--clean` removes it.
    #[arg(long, conflicts_with = "clean")]
    keep: bool,

    /// Print the summary as one JSON object on standard output; the story goes to standard error.
    #[arg(long, conflicts_with = "clean")]
    json: bool,

    /// Remove what an earlier `--keep` (or a killed demo) left behind, and do nothing else.
    #[arg(long)]
    clean: bool,
}

/// Builds the release agent and the demo, and becomes the demo.
pub(crate) fn command(arguments: &Arguments) -> Result<()> {
    // Only the demo itself needs root; what is built stays the user's.
    let Some(mut command) = process::as_root("env") else {
        bail!(
            "the demo needs root (it makes network namespaces and loads eBPF programs into the kernel), and there is \
             no sudo. Remedy: run it as root"
        );
    };
    setup::ensure(setup::DEMO)?;
    let [agent, demo] = build::build([build::AGENT, build::DEMO], Profile::Release)?;
    let mut variable = OsString::from("DMVPN_BIN=");
    variable.push(agent);
    command.arg(variable).arg(demo);
    for (flag, wanted) in
        [("--keep", arguments.keep), ("--json", arguments.json), ("--clean", arguments.clean)]
    {
        if wanted {
            command.arg(flag);
        }
    }
    process::replace(&mut command)
}
