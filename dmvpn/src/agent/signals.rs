//! Signals: when to stop, and what is not a reason to.

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

/// The signals the agent handles.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// From now on none of them ends the process by itself.
    pub(super) fn handle() -> Result<Self> {
        let handle = |kind, name| signal(kind).with_context(|| format!("cannot handle {name}"));
        Ok(Self {
            terminate: handle(SignalKind::terminate(), "SIGTERM")?,
            interrupt: handle(SignalKind::interrupt(), "SIGINT")?,
            hang_up: handle(SignalKind::hangup(), "SIGHUP")?,
        })
    }

    /// Waits until the agent is to stop.
    pub(super) async fn stop(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => warn!(
                    "SIGHUP is ignored: the configuration is not read again while the agent runs; kill the agent \
                     (SIGKILL) and start it anew to change it without an interruption"
                ),
            }
        }
    }
}
