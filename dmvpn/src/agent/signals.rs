//! Signals: when to stop and how, and what is not a reason to.

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

/// How the agent is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Say good-bye and remove everything.
    Remove,
    /// Leave everything to the next agent, which may be of another version.
    Leave,
}

/// The signals the agent handles.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    user: Signal,
    hang_up: Signal,
}

impl Signals {
    /// From now on none of them ends the process by itself.
    pub(super) fn handle() -> Result<Self> {
        let handle = |kind, name| signal(kind).with_context(|| format!("cannot handle {name}"));
        Ok(Self {
            terminate: handle(SignalKind::terminate(), "SIGTERM")?,
            interrupt: handle(SignalKind::interrupt(), "SIGINT")?,
            user: handle(SignalKind::user_defined1(), "SIGUSR1")?,
            hang_up: handle(SignalKind::hangup(), "SIGHUP")?,
        })
    }

    /// Waits until the agent is to end.
    pub(super) async fn end(&mut self) -> End {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return End::Remove,
                _ = self.interrupt.recv() => return End::Remove,
                _ = self.user.recv() => return End::Leave,
                _ = self.hang_up.recv() => warn!(
                    "SIGHUP is ignored: the configuration is not read again while the agent runs; end the agent \
                     with SIGUSR1 and start it anew to change it without an interruption"
                ),
            }
        }
    }
}
