//! The state's file: replaced as a whole, so that it is always one that was written to its end.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{State, StateError, encode, format::MAX_SIZE, parse};

/// Name of the file in its directory.
pub const FILE_NAME: &str = "state.json";

/// The next file, while it is being written.
const NEW_FILE_NAME: &str = "state.json.new";

/// The last file that was not understood: for whoever goes back to the release that wrote it, or looks what happened.
const OTHER_FILE_NAME: &str = "state.json.unreadable";

/// Registrations say who is where: for nobody else to read.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Two agents would overwrite each other's.
    #[error("another agent keeps its state in {}: give this one its own `state-directory`", .0.display())]
    InUse(PathBuf),
    /// A system call failed.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was to be done.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is there, but not one that this agent wrote.
    #[error("cannot use {}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: StateError,
    },
}

/// A directory for the state of one agent, which holds it until it ends.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    /// The directory itself, locked.
    handle: File,
}

impl Store {
    /// Opens the directory, which is made if it is not there.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let failed = |what| move |source| StoreError::Io { what, path: directory.to_owned(), source };
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(directory)
            .map_err(failed("make the directory"))?;
        let handle = File::open(directory).map_err(failed("open the directory"))?;
        match handle.try_lock() {
            Ok(()) => Ok(Self { directory: directory.to_owned(), handle }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse(directory.to_owned())),
            Err(TryLockError::Error(source)) => Err(failed("lock the directory")(source)),
        }
    }

    /// The state that was saved last; `None` when there is none.
    pub fn load(&self) -> Result<Option<State>, StoreError> {
        let path = self.directory.join(FILE_NAME);
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(MAX_SIZE as u64 + 1).read_to_end(&mut bytes));
        match read {
            Ok(_) => match parse(&bytes) {
                Ok(state) => Ok(Some(state)),
                Err(source) => Err(StoreError::Content { path, source }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::Io { what: "read", path, source }),
        }
    }

    /// Moves a file that is not understood out of the way of the next one. Returns where it is.
    pub fn set_aside(&self) -> Result<PathBuf, StoreError> {
        let path = self.directory.join(FILE_NAME);
        let other = self.directory.join(OTHER_FILE_NAME);
        match fs::rename(&path, &other) {
            Ok(()) => Ok(other),
            Err(source) => Err(StoreError::Io { what: "set aside", path, source }),
        }
    }

    /// Saves a state in the place of the last one. Waits for the disk.
    pub fn save(&self, state: &State) -> Result<(), StoreError> {
        let path = self.directory.join(FILE_NAME);
        let bytes = match encode(state) {
            Ok(bytes) => bytes,
            Err(source) => return Err(StoreError::Content { path, source }),
        };
        let new = self.directory.join(NEW_FILE_NAME);
        let failed = |what| {
            let path = new.clone();
            move |source| StoreError::Io { what, path, source }
        };
        // An agent that was killed while it wrote. What is not a file of ours is not followed or written to.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove")(error)),
            _ => {}
        }
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&new)
            .map_err(failed("make"))?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed("write"))?;
        fs::rename(&new, &path).map_err(failed("put in place"))?;
        // So that after a power failure there is the new file or the old one.
        self.handle.sync_all().map_err(failed("sync the directory of"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::{super::format::tests::sample, *};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("lib/dmvpn");
        let store = Store::open(&path).unwrap();
        assert_eq!(store.load().unwrap(), None);
        let mut state = sample();
        store.save(&state).unwrap();
        assert_eq!(store.load().unwrap(), Some(state.clone()));
        state.names.clear();
        store.save(&state).unwrap();
        assert_eq!(store.load().unwrap(), Some(state.clone()));
        assert_eq!((mode(&path), mode(&path.join(FILE_NAME))), (0o700, 0o600));
        drop(store);
        assert_eq!(Store::open(&path).unwrap().load().unwrap(), Some(state));
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "only the file is left");
    }

    #[test]
    fn one_agent_has_a_directory() {
        let directory = TempDir::new().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let error = Store::open(directory.path()).unwrap_err();
        assert!(matches!(&error, StoreError::InUse(path) if path == directory.path()), "{error}");
        drop(store);
        Store::open(directory.path()).unwrap();
    }

    #[test]
    fn an_agent_that_was_killed_while_it_wrote_is_no_obstacle() {
        let directory = TempDir::new().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.save(&sample()).unwrap();
        fs::write(directory.path().join(NEW_FILE_NAME), "{\"version\":1,\"sav").unwrap();
        assert_eq!(store.load().unwrap(), Some(sample()));
        store.save(&sample()).unwrap();
        assert!(!directory.path().join(NEW_FILE_NAME).exists());
    }

    #[test]
    fn a_link_in_the_place_of_the_file_is_not_written_through() {
        let directory = TempDir::new().unwrap();
        let victim = directory.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let store = Store::open(&directory.path().join("state")).unwrap();
        for name in [FILE_NAME, NEW_FILE_NAME] {
            std::os::unix::fs::symlink(&victim, directory.path().join("state").join(name)).unwrap();
        }
        store.save(&sample()).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(store.load().unwrap(), Some(sample()));
    }

    #[test]
    fn a_damaged_file_is_said_to_be_so() {
        let directory = TempDir::new().unwrap();
        let store = Store::open(directory.path()).unwrap();
        fs::write(directory.path().join(FILE_NAME), "\0\0\0\0").unwrap();
        let error = store.load().unwrap_err();
        assert!(matches!(error, StoreError::Content { source: StateError::Malformed(_), .. }), "{error}");
        // And is no obstacle to the next one.
        let aside = store.set_aside().unwrap();
        assert_eq!(store.load().unwrap(), None);
        store.save(&sample()).unwrap();
        assert_eq!(store.load().unwrap(), Some(sample()));
        assert_eq!(fs::read(aside).unwrap(), b"\0\0\0\0");
    }

    #[test]
    fn a_directory_that_cannot_be_is_said_to_be_so() {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Store::open(&file.join("state")).unwrap_err();
        assert!(error.to_string().starts_with("cannot make the directory /"), "{error}");
        let error = Store::open(&file).unwrap_err();
        assert!(error.to_string().starts_with("cannot make the directory /"), "{error}");
    }
}
