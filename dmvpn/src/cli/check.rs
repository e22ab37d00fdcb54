//! `dmvpn check`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::show::print;
use crate::config::Config;

/// Check a configuration file; needs no privileges.
///
/// Says `FILE: ok`, or everything that is wrong with line and column on standard error. Whether addresses and
/// interfaces exist on this box is not looked at.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// Configuration file.
    file: PathBuf,
    /// Print the configuration with its defaults filled in. It is a configuration file itself, but for the secrets:
    /// what stands in their place is not accepted as one.
    #[arg(long)]
    effective: bool,
}

pub(super) fn check(arguments: &CheckArguments) -> anyhow::Result<()> {
    let config = Config::load(&arguments.file)?;
    if arguments.effective {
        return print(&serde_yaml::to_string(&config).context("cannot write the configuration as YAML")?);
    }
    let names: Vec<&str> = config.tunnels.iter().map(|tunnel| tunnel.name.as_str()).collect();
    let plural = if names.len() == 1 { "" } else { "s" };
    print(&format!(
        "{}: ok ({} tunnel{plural}: {})\n",
        arguments.file.display(),
        names.len(),
        names.join(", ")
    ))
}
