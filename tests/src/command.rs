//! Running other programs to their end.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Runs `line` (words separated by blanks, no quoting) and returns its standard output.
///
/// Fails when it fails, with what it wrote to standard error.
pub fn run(line: &str) -> Result<String> {
    let mut words = line.split_whitespace();
    let program = words.next().context("an empty command line")?;
    output(Command::new(program).args(words))
}

/// Runs `command` and returns its standard output; fails when it fails, with its standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{command:?} did not print UTF-8"))
}
