//! Undoing what was done to the machine: at the end, after a panic, and on SIGINT or SIGTERM.

use std::{
    collections::BTreeMap,
    fs, mem,
    path::Path,
    sync::{Mutex, MutexGuard, Once, PoisonError},
    thread,
};

use anyhow::{Context as _, Result};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};

type Action = Box<dyn FnOnce() + Send>;

/// What is still to be undone, in the order in which it was done.
static PENDING: Mutex<BTreeMap<u64, Action>> = Mutex::new(BTreeMap::new());

/// Undoes something when it is dropped.
#[derive(Debug)]
#[must_use = "dropping it undoes the thing at once"]
pub struct Undo {
    id: u64,
}

impl Undo {
    /// Remembers how something is undone. To be called *before* it is done, so that a signal in between finds it;
    /// `action` must bear that it was not done yet.
    pub fn with(action: impl FnOnce() + Send + 'static) -> Result<Self> {
        watch_signals()?;
        let mut pending = pending();
        let id = pending.last_key_value().map_or(0, |(last, _)| last + 1);
        pending.insert(id, Box::new(action));
        Ok(Self { id })
    }

    /// Leaves the thing as it is.
    pub fn forget(self) {
        drop(pending().remove(&self.id));
        mem::forget(self);
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        // Not while holding the lock: the action may take its time.
        let action = pending().remove(&self.id);
        if let Some(action) = action {
            action();
        }
    }
}

/// Removes a directory with all that is in it. Nothing there is no error.
pub(crate) fn remove_directory(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn pending() -> MutexGuard<'static, BTreeMap<u64, Action>> {
    // A panic elsewhere must not keep us from cleaning up.
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From the first call on, a signal undoes everything and then ends the process as it would have.
fn watch_signals() -> Result<()> {
    static START: Once = Once::new();
    let mut started = Ok(());
    START.call_once(|| {
        started =
            Signals::new([SIGINT, SIGTERM, SIGHUP]).context("watching for signals").map(|mut signals| {
                thread::spawn(move || {
                    let Some(signal) = signals.forever().next() else { return };
                    eprintln!("\ninterrupted: removing what was made");
                    // Held to the end: whoever wants to make something more waits here until the process is gone.
                    let mut pending = pending();
                    for (_, action) in mem::take(&mut *pending).into_iter().rev() {
                        action();
                    }
                    // Ends the process; an error would mean that the signal does not end processes.
                    let _ = emulate_default_handler(signal);
                });
            });
    });
    started
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;

    #[test]
    fn undoes_when_dropped_even_by_a_panic() {
        let count = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&count);
        let panicked = thread::spawn(move || {
            let _undo = Undo::with(move || counted.store(1, Ordering::SeqCst)).unwrap();
            panic!("on purpose");
        })
        .join();
        assert!(panicked.is_err());
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn forgets() {
        let count = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&count);
        Undo::with(move || counted.store(1, Ordering::SeqCst)).unwrap().forget();
        assert_eq!(count.load(Ordering::SeqCst), 0);
    }
}
