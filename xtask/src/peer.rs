//! `cargo xtask peer`.

use std::ffi::OsString;

use anyhow::{Result, bail};

use crate::{
    build::{self, Profile},
    process, setup,
};

/// What the peer is told: `cargo xtask peer --help` lists it.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Arguments {
    /// Passed on.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

/// Builds the scripted peer, and becomes it.
pub(crate) fn command(arguments: &Arguments) -> Result<()> {
    setup::ensure(setup::BUILD)?;
    let [peer] = build::build([build::PEER], Profile::Dev)?;
    let Some(mut command) = process::as_root("env") else {
        bail!("a scripted peer needs root (raw sockets), and there is no sudo. Remedy: run it as root");
    };
    process::replace(command.arg(peer).args(&arguments.rest))
}
