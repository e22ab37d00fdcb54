//! `cargo xtask bench`.

use std::ffi::OsString;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::{
    build::{self, Profile},
    process, setup,
};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Measure only these parts [default: all].
    #[arg(value_enum)]
    parts: Vec<Part>,

    /// Print the figures as one JSON object on standard output instead of the pages.
    #[arg(long)]
    json: bool,

    /// Measure roughly, within a minute a part; nothing is written.
    #[arg(long)]
    quick: bool,

    /// Fail when a figure is beyond its limit in `docs/bench/thresholds.yaml`.
    #[arg(long)]
    check: bool,
}

/// A part of the benchmarks.
#[derive(Clone, Copy, ValueEnum)]
enum Part {
    /// What a packet costs in the eBPF programs, alone and on a live path, and how that grows.
    Datapath,
    /// Bulk TCP through the tunnel, through a kernel VXLAN device, and without a tunnel.
    Tcp,
    /// Registrations, memory and shortcuts of real agents.
    Control,
    /// Against the kernel's multipoint GRE and FRR's nhrpd, in a virtual machine.
    Peers,
}

/// Builds the release agent and the benchmarks, and becomes the benchmarks.
pub(crate) fn command(arguments: &Arguments) -> Result<()> {
    // Only the benchmarks themselves need root; what is built stays the user's.
    let Some(mut command) = process::as_root("env") else {
        bail!(
            "the benchmarks need root (they make network namespaces and load eBPF programs into the kernel), and there \
             is no sudo. Remedy: run them as root"
        );
    };
    setup::ensure(setup::TEST)?;
    let [agent, bench] = build::build([build::AGENT, build::BENCH], Profile::Release)?;
    let mut variable = OsString::from("DMVPN_BIN=");
    variable.push(agent);
    command.arg(variable).arg(bench);
    command.arg("--output").arg(build::workspace()?.join("docs/bench"));
    for (flag, wanted) in
        [("--json", arguments.json), ("--quick", arguments.quick), ("--check", arguments.check)]
    {
        if wanted {
            command.arg(flag);
        }
    }
    for part in &arguments.parts {
        command.args(part.to_possible_value().map(|value| value.get_name().to_owned()));
    }
    process::replace(&mut command)
}
