//! Commands from Debian packages.

use std::{
    path::Path,
    process::{Command, Stdio},
};

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
    /// Services that the package would start on this machine, now and at every boot; they stay off.
    pub(super) services: &'static [&'static str],
}

impl Program {
    /// One whose package starts nothing.
    pub(super) const fn new(name: &'static str, package: &'static str, why: &'static str) -> Self {
        Self { name, package, why, services: &[] }
    }

    /// Whether the command exists, wherever it came from.
    pub(super) fn is_installed(self) -> bool {
        process::find(self.name).is_some()
    }

    /// Installs the package, and keeps its services from starting.
    pub(super) fn install(self) -> Result<()> {
        if self.services.is_empty() {
            return self.fetch_and_install();
        }
        eprintln!("setup: not starting its services, now or at boot: {}", self.services.join(", "));
        let made_policy = deny_services(self.services)?;
        let installed = self.fetch_and_install();
        if made_policy {
            as_root(&format!("rm {POLICY}"))?;
        }
        installed?;
        self.services.iter().try_for_each(|service| as_root(&format!("update-rc.d {service} disable")))
    }

    /// Fetches the package lists first when they do not know the package, or when they turn out stale.
    fn fetch_and_install(self) -> Result<()> {
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

/// What Debian's packages ask before they start a service; most machines have none.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// Its answer: do not.
const DENIED: i32 = 101;

/// Makes a policy that keeps packages from starting these services, and no others. Returns whether it did: a policy
/// that is there already and says the same is left alone.
fn deny_services(services: &[&str]) -> Result<bool> {
    if Path::new(POLICY).exists() {
        for service in services {
            let asked = Command::new(POLICY).args([service, "start"]).output();
            if asked.with_context(|| format!("cannot start {POLICY}"))?.status.code() != Some(DENIED) {
                bail!(
                    "{POLICY} would let the package start {service} on this machine. Remedy: install the package \
                     yourself, then stop that service if nobody needs it"
                );
            }
        }
        return Ok(false);
    }
    // A unit is asked about as `name.service`, an init script as `name`.
    let names: Vec<_> = services.iter().map(|name| format!("{name}|{name}.service")).collect();
    let script = format!(r"#!/bin/sh\ncase $1 in {}) exit {DENIED};; esac\n", names.join("|"));
    as_root(&format!("printf '{script}' > {POLICY} && chmod 755 {POLICY}"))?;
    Ok(true)
}

/// Runs a line of shell as root.
fn as_root(line: &str) -> Result<()> {
    let Some(mut command) = process::as_root("sh") else {
        bail!("installing packages needs root, and there is no sudo");
    };
    process::run(command.args(["-c", line]))
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let Some(mut command) = process::as_root("env") else {
        bail!("installing packages needs root, and there is no sudo");
    };
    // No questions: this may run where nobody can answer.
    process::run(command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"]).args(arguments))
}
