//! A capture of one interface, by tcpdump.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{namespace::Namespace, poll};

/// Longest time until tcpdump listens.
const START: Duration = Duration::from_secs(10);

/// A running capture. Dropping it ends it and completes the file.
#[derive(Debug)]
pub(super) struct Capture {
    child: Child,
}

impl Capture {
    /// Starts it and waits until it listens. Makes the directory of `file`.
    pub(super) fn start(namespace: &Namespace, interface: &str, file: &Path) -> Result<Self> {
        if let Some(directory) = file.parent() {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let child = namespace.run(|| {
            Command::new("tcpdump")
                // Every packet is in the file at once, and the file stays root's.
                .args(["-n", "--immediate-mode", "-U", "-Z", "root", "-i", interface, "-w"])
                .arg(file)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .context("cannot start tcpdump; cargo xtask setup installs it")
        })?;
        let mut capture = Self { child };
        // The file has its header when the socket is open.
        poll::until("tcpdump to listen", START, || {
            if let Some(status) = capture.child.try_wait().context("looking after tcpdump")? {
                return Ok(Some(Err(status)));
            }
            Ok(std::fs::metadata(file).is_ok_and(|file| file.len() >= 24).then_some(Ok(())))
        })?
        .or_else(|status| bail!("tcpdump ended: {status}"))?;
        Ok(capture)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Both fail only when it has ended.
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let _ = self.child.wait();
    }
}
