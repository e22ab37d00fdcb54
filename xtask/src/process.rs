//! Starting other programs.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, anyhow, bail};

/// Where programs are looked for besides `PATH`: a user's `PATH` on Debian lacks the administrator's directories.
const SYSTEM_DIRECTORIES: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"];

/// Runs `command`, its output visible, and fails unless it succeeds.
///
/// Its standard output goes to our standard error, which keeps ours for results.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = describe(command);
    let output = io::stderr().as_fd().try_clone_to_owned().context("duplicating standard error")?;
    let status = command.stdout(output).status().with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Runs `command` and returns what it wrote to standard output; fails unless it succeeds.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = describe(command);
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` failed ({})", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` did not print UTF-8"))
}

/// Becomes `command`. Returns only when that is impossible.
pub(crate) fn replace(command: &mut Command) -> Result<()> {
    let line = describe(command);
    Err(anyhow!(command.exec()).context(format!("cannot start `{line}`")))
}

/// The full path of a program, or `None` when it is not installed.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    env::split_paths(&path)
        .chain(SYSTEM_DIRECTORIES.iter().map(PathBuf::from))
        // Where `cargo install` puts programs: cargo looks there, too, when it is not in the path.
        .chain(cargo_home.map(|home| home.join("bin")))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

/// The cargo that started this program, so that a `+toolchain` stays in force.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    effective_user() == Some(0)
}

/// The effective user id: the second number of `Uid:` in `/proc/self/status`.
fn effective_user() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// `program` as root: itself when this process is root, else through sudo, or `None` when there is no sudo.
pub(crate) fn as_root(program: &str) -> Option<Command> {
    if is_root() {
        return Some(Command::new(program));
    }
    let mut command = Command::new(find("sudo")?);
    command.arg(program);
    Some(command)
}

/// The command line, for a message.
pub(crate) fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_else(|| command.get_program());
    std::iter::once(program)
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}
