//! `cargo xtask sim`.

use std::process::Command;

use anyhow::Result;

use crate::{
    build::{self, Profile},
    process, setup,
};

/// What to simulate.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Spokes, 2 to 262144.
    #[arg(long, default_value_t = 10_000)]
    spokes: u32,

    /// Hubs, 1 to 200; every spoke registers with each of them.
    #[arg(long, default_value_t = 2)]
    hubs: u32,

    /// Everything random comes from it: the same seed gives the same run.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Virtual hours to run.
    #[arg(long, default_value_t = 24.0)]
    hours: f64,

    /// Print the result as one JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// Builds the release simulation, and becomes it.
pub(crate) fn command(arguments: &Arguments) -> Result<()> {
    setup::ensure(setup::BUILD)?;
    let [sim] = build::build([build::SIM], Profile::Release)?;
    let mut command = Command::new(sim);
    command.args(["--spokes", &arguments.spokes.to_string()]);
    command.args(["--hubs", &arguments.hubs.to_string()]);
    command.args(["--seed", &arguments.seed.to_string()]);
    command.args(["--hours", &arguments.hours.to_string()]);
    if arguments.json {
        command.arg("--json");
    }
    process::replace(&mut command)
}
