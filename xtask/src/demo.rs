//! `cargo xtask demo`.

use std::process::Command;

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
    if !process::is_root() {
        bail!(
            "the demo needs root: it makes network namespaces and loads eBPF programs into the kernel.\n\
             Run it as root, for example: sudo --preserve-env=PATH,HOME cargo xtask demo"
        );
    }
    setup::ensure(setup::DEMO)?;
    let [agent, demo] = build::build([build::AGENT, build::DEMO], Profile::Release)?;

    let mut command = Command::new(demo);
    command.env("DMVPN_BIN", agent);
    for (flag, wanted) in
        [("--keep", arguments.keep), ("--json", arguments.json), ("--clean", arguments.clean)]
    {
        if wanted {
            command.arg(flag);
        }
    }
    process::replace(&mut command)
}
