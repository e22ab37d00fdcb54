//! Saves what outlives the agent, and brings it back: see [`crate::state`].
//!
//! A hub with many clients has something new to save all the time. So it is saved at most every [`INTERVAL`], and as
//! seldom as it takes for writing to be a small part of the time. Threads of their own write.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    task::{self, JoinHandle},
    time::{self, Instant},
};
use tracing::{info, warn};

use super::Agent;
use crate::{
    nhrp::engine::Input,
    state::{State, Store, StoreError, TunnelState},
};

/// Shortest time between two saves, and longest until a change is saved when there are not many clients.
const INTERVAL: Duration = Duration::from_secs(1);
/// The time between two saves is at least as many times what the last one took.
const REST: u32 = 50;
/// Longest wait at start for the first save.
const FIRST_SAVE: Duration = Duration::from_secs(1);
/// Time to the next try after saving failed.
const RETRY_INTERVAL: Duration = Duration::from_mins(1);

/// Opens the directory and reads what the last agent saved. What goes wrong is a warning: an agent works without.
pub(super) fn open(directory: &Path) -> (Saver, Option<State>) {
    let store = match Store::open(directory) {
        Ok(store) => store,
        Err(error) => {
            warn!("{}: registrations will not outlive this agent", in_one_line(&error));
            return (Saver::new(None), None);
        }
    };
    let state = store.load().unwrap_or_else(|error| {
        let reason = in_one_line(&error);
        let aside = matches!(error, StoreError::Content { .. }).then(|| store.set_aside());
        if let Some(Ok(path)) = aside {
            warn!("{reason}: starting from what is in the kernel, the file is now {}", path.display());
        } else {
            warn!("{reason}: starting from what is in the kernel");
        }
        None
    });
    (Saver::new(Some(store)), state.map(|state| state.at(SystemTime::now())))
}

/// An error and its causes.
fn in_one_line(error: &StoreError) -> String {
    let mut line = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}

/// Decides when to save.
pub(super) struct Saver {
    store: Option<Arc<Store>>,
    /// Revision that was saved last, or is being saved. None at first: the ids of this agent are new.
    saved: Option<u64>,
    /// When to save, if there is something to save.
    due: Option<Instant>,
    interval: Duration,
    writing: Option<JoinHandle<Written>>,
    failing: bool,
}

/// How long it took to write a state, if it was written.
type Written = Result<Duration, StoreError>;

impl Saver {
    fn new(store: Option<Store>) -> Self {
        let store = store.map(Arc::new);
        Self { store, saved: None, due: None, interval: INTERVAL, writing: None, failing: false }
    }

    /// Takes note of the revision there is now.
    pub(super) fn note(&mut self, revision: u64) {
        if self.store.is_some()
            && self.writing.is_none()
            && self.due.is_none()
            && self.saved != Some(revision)
        {
            self.due = Some(Instant::now() + self.interval);
        }
    }

    /// When [`save`](Self::save) is to be called.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Begins to save a state, which is that of `revision`.
    pub(super) fn save(&mut self, state: State, revision: u64) {
        self.due = None;
        self.saved = Some(revision);
        self.writing = self.store.clone().map(|store| task::spawn_blocking(move || write(&store, &state)));
    }

    /// Saves the state of an agent that is about to begin, and waits for it, though not for ever. The ids of its
    /// requests begin behind the saved ones: were it killed before they are saved, the next one would give them again.
    pub(super) async fn begin(&mut self, state: State, revision: u64) {
        self.save(state, revision);
        if self.writing.is_some() && time::timeout(FIRST_SAVE, self.written()).await.is_err() {
            warn!("saving registrations takes more than {} s: going on meanwhile", FIRST_SAVE.as_secs());
        }
    }

    /// Waits for the end of writing; for ever when nothing is being written. Can be dropped and called again.
    pub(super) async fn written(&mut self) {
        let result = match &mut self.writing {
            Some(writing) => writing.await,
            None => std::future::pending().await,
        };
        self.writing = None;
        match result {
            Ok(Ok(took)) => {
                self.interval = INTERVAL.max(took * REST);
                if std::mem::take(&mut self.failing) {
                    info!("registrations are saved again");
                }
            }
            Ok(Err(error)) => self.failed(&in_one_line(&error)),
            Err(panic) => self.failed(&panic.to_string()),
        }
    }

    fn failed(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.failing, true) {
            warn!("{reason}: registrations are not saved, trying again every {} s", RETRY_INTERVAL.as_secs());
        }
        self.due = Some(Instant::now() + RETRY_INTERVAL);
    }

    /// Saves the last state, unless it is saved already.
    pub(super) async fn finish(mut self, state: State, revision: u64) {
        if self.writing.is_some() {
            self.written().await;
        }
        if self.saved != Some(revision) || self.failing {
            self.save(state, revision);
        }
        if self.writing.is_some() {
            self.written().await;
        }
    }
}

fn write(store: &Store, state: &State) -> Written {
    let start = Instant::now();
    store.save(state)?;
    Ok(start.elapsed())
}

impl Agent {
    /// A number that changes whenever there is something new to save.
    pub(super) fn revision(&self) -> u64 {
        self.engine.revision().wrapping_add(self.names.revision())
    }

    /// What outlives the agent, as it is now.
    pub(super) fn state(&self) -> State {
        let now = self.now();
        let tunnels = self.tunnels.iter().filter_map(|tunnel| {
            let ids = self.engine.request_ids(tunnel.id)?;
            let registrations = self.engine.registrations(tunnel.id, now).collect();
            Some((tunnel.name().to_owned(), TunnelState { ids, registrations }))
        });
        State { saved_at: SystemTime::now(), names: self.names.known().clone(), tunnels: tunnels.collect() }
    }

    /// Gives the engine the registrations that the last agent saved.
    pub(super) async fn restore(&mut self, state: &State) {
        let tunnels: Vec<_> =
            self.tunnels.iter().map(|tunnel| (tunnel.id, tunnel.name().to_owned())).collect();
        for (tunnel, name) in tunnels {
            let Some(TunnelState { registrations, .. }) = state.tunnels.get(&name) else { continue };
            if !registrations.is_empty() {
                info!(
                    tunnel = name,
                    registrations = registrations.len(),
                    "restoring what the last agent saved"
                );
                self.input(Input::Restore { tunnel, registrations }).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use tempfile::TempDir;

    use super::*;
    use crate::state::FILE_NAME;

    fn state(name: &str) -> State {
        State {
            saved_at: SystemTime::UNIX_EPOCH,
            names: [(name.to_owned(), std::collections::BTreeSet::new())].into(),
            tunnels: BTreeMap::new(),
        }
    }

    /// Whether `due` was set a moment ago, for after `span`.
    fn is_in(due: Option<Instant>, span: Duration) -> bool {
        let now = Instant::now();
        due.is_some_and(|due| due > now && due <= now + span)
    }

    #[tokio::test]
    async fn a_change_is_saved_within_the_interval_and_only_then() {
        let directory = TempDir::new().unwrap();
        let (mut saver, none) = open(directory.path());
        assert_eq!(none, None);
        saver.note(0);
        let due = saver.due();
        assert!(is_in(due, INTERVAL));
        saver.note(2);
        assert_eq!(saver.due(), due, "a further change puts nothing off");
        saver.save(state("a"), 2);
        saver.note(3);
        assert_eq!(saver.due(), None, "one at a time");
        saver.written().await;
        saver.note(2);
        assert_eq!(saver.due(), None);
        saver.note(3);
        assert!(is_in(saver.due(), saver.interval) && saver.interval >= INTERVAL);
        drop(saver);
        let (_, loaded) = open(directory.path());
        assert_eq!(loaded.map(|state| state.names), Some(state("a").names));
    }

    #[tokio::test]
    async fn the_last_state_is_saved_at_the_end() {
        let directory = TempDir::new().unwrap();
        let (mut saver, _) = open(directory.path());
        saver.save(state("a"), 1);
        saver.finish(state("b"), 2).await;
        let (mut saver, loaded) = open(directory.path());
        assert_eq!(loaded.map(|state| state.names), Some(state("b").names));
        saver.save(state("c"), 3);
        saver.written().await;
        // Nothing has changed since: nothing is written.
        fs::remove_file(directory.path().join(FILE_NAME)).unwrap();
        saver.finish(state("d"), 3).await;
        assert!(!directory.path().join(FILE_NAME).exists());
    }

    #[tokio::test]
    async fn what_cannot_be_saved_is_tried_again() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("state");
        let (mut saver, _) = open(&path);
        fs::create_dir(path.join(FILE_NAME)).unwrap();
        saver.save(state("a"), 1);
        saver.written().await;
        assert!(is_in(saver.due(), RETRY_INTERVAL));
        fs::remove_dir(path.join(FILE_NAME)).unwrap();
        saver.save(state("a"), 1);
        saver.written().await;
        assert_eq!(saver.due(), None);
        assert!(path.join(FILE_NAME).exists());
    }

    #[tokio::test]
    async fn without_a_directory_nothing_is_saved_and_nothing_waits() {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let (mut saver, none) = open(&file);
        assert_eq!(none, None);
        saver.note(1);
        assert_eq!(saver.due(), None);
        saver.begin(state("a"), 1).await;
        saver.finish(state("a"), 1).await;
    }

    #[tokio::test]
    async fn an_agent_saves_its_ids_before_it_uses_them() {
        let directory = TempDir::new().unwrap();
        let (mut saver, _) = open(directory.path());
        saver.begin(state("a"), 1).await;
        // Killed right then.
        drop(saver);
        let (_, loaded) = open(directory.path());
        assert_eq!(loaded.map(|state| state.names), Some(state("a").names));
    }
}
