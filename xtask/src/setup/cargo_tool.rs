//! Commands installed by `cargo install`.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process;

/// A command of one exact version: the toolchain is one unit, moved together.
#[derive(Clone, Copy)]
pub(crate) struct CargoTool {
    /// Name of the package and of the command.
    pub(super) name: &'static str,
    /// The version.
    pub(super) version: &'static str,
    /// Build it without optimisation.
    pub(super) debug: bool,
    /// What it is for.
    pub(super) why: &'static str,
    /// How long that takes on two cores, about.
    pub(super) minutes: u32,
}

impl CargoTool {
    /// Whether that version is in the path.
    pub(super) fn is_installed(self) -> bool {
        let Some(path) = process::find(self.name) else { return false };
        // As the command prints it: "name 1.2.3".
        Command::new(path).arg("--version").output().is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout).split_whitespace().nth(1) == Some(self.version)
        })
    }

    /// Builds and installs it; cargo shows the progress.
    pub(super) fn install(self) -> Result<()> {
        eprintln!("setup: compiling {}, about {} minutes on two cores", self.name, self.minutes);
        let mut command = process::cargo();
        command.args(["install", self.name, "--version", self.version, "--locked", "--force"]);
        if self.debug {
            command.arg("--debug");
        }
        process::run(&mut command)
            .context("Remedy: see cargo's message above; the package registry must be reachable")
    }
}
