//! `cargo xtask run`.

use std::{ffi::OsString, process::Command};

use anyhow::Result;

use crate::{
    build::{self, Profile},
    process, setup,
};

/// Builds the release agent and becomes `dmvpn run`, so that signals reach the agent itself.
pub(crate) fn command(arguments: &[OsString]) -> Result<()> {
    setup::ensure(setup::RUN)?;
    let [agent] = build::build([build::AGENT], Profile::Release)?;
    process::replace(Command::new(agent).arg("run").args(arguments))
}
