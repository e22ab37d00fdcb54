//! `dmvpn run`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::log;
use crate::{
    agent,
    config::{BpfLog, Config, RunOptions},
};

/// Run the agent until SIGTERM, SIGINT or SIGUSR1; needs root.
///
/// Those signals deregister it and remove all it made, but for its state file. When it ends by SIGUSR1 or is killed,
/// tunnel interfaces, routes and the data path outlive it: the next one, also of another version, takes them over without
/// a lost packet.
#[derive(Debug, Args)]
pub(super) struct RunArguments {
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// What to log: error, warn, info, debug, trace, or `target=level` pairs with commas between them. Libraries log
    /// no more than info unless they are named. Without it, the environment variable `RUST_LOG` decides, else it is
    /// info.
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
    /// How much the eBPF programs log. All but `off` makes forwarding slower.
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t)]
    bpf_log: BpfLog,
}

pub(super) fn run(arguments: &RunArguments) -> anyhow::Result<()> {
    let config = Config::load(&arguments.config)?;
    log::start(arguments.log.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    let result = runtime.block_on(agent::run(config, RunOptions { bpf_log: arguments.bpf_log }));
    // A look-up of a host name may still wait for the resolver: nobody needs its answer any more.
    runtime.shutdown_background();
    result
}
