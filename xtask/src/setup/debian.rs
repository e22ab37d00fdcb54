//! Commands from Debian packages.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::process;

/// A command and the package that holds it.
#[derive(Clone, Copy)]
pub(crate) struct Program {
    /// The command.
    pub(super) name: &'static str,
    /// The package.
    pub(super) package: &'static str,
    /// What it is for.
    pub(super) why: &'static str,
}

impl Program {
    /// Whether the command exists, wherever it came from.
    pub(super) fn is_installed(self) -> bool {
        process::find(self.name).is_some()
    }

    /// Installs the package. Fetches the package lists first when they do not know it, or when they turn out stale.
    pub(super) fn install(self) -> Result<()> {
        let remedy = format!("Remedy, as root: apt-get update && apt-get install {}", self.package);
        if process::find("apt-get").is_none() {
            bail!("there is no apt-get on this system; install `{}` in its own way", self.name);
        }
        if !self.is_listed() {
            apt_get(&["update"]).with_context(|| remedy.clone())?;
        } else if apt_get(&["install", "--yes", "--no-install-recommends", self.package]).is_ok() {
            return Ok(());
        } else {
            apt_get(&["update"]).with_context(|| remedy.clone())?;
        }
        apt_get(&["install", "--yes", "--no-install-recommends", self.package]).context(remedy)
    }

    /// Whether the package lists know the package.
    fn is_listed(self) -> bool {
        Command::new("apt-cache")
            .args(["show", self.package])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let Some(mut command) = process::as_root("env") else {
        bail!("installing packages needs root, and there is no sudo");
    };
    // No questions: this may run where nobody can answer.
    process::run(command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"]).args(arguments))
}
