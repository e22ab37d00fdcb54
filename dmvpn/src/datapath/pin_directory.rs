//! The directory on the BPF file system where maps and links outlive the agent.
//!
//! ```text
//! <pin-directory>/            mode 0700, locked while an agent runs
//!   v<LAYOUT_VERSION>/        mode 0700
//!     PEERS, TUNNELS, ...     one file a map
//!     link_xdp_<interface>    one file an attached program
//!     link_tc_<interface>
//!   unfinished/               what an agent was making or removing when it was killed
//! ```
//!
//! There is a directory of another version for as long as it takes to take it over: [`super::upgrade`].

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use dmvpn_common::{LAYOUT_VERSION, map_names};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::{DataPathError, link_name::LinkName};

/// Where maps are before they are filled and after their links went. No version: whoever finds it removes it.
const UNFINISHED: &str = "unfinished";

/// An open pin directory, ours alone until it is dropped.
#[derive(Debug)]
pub(super) struct PinDirectory {
    root: PathBuf,
    /// Where this agent's maps and links are: the directory of this version, or [`UNFINISHED`] until
    /// [`commit`](Self::commit).
    layout: PathBuf,
    /// Directories of other versions, the newest first.
    others: Vec<PathBuf>,
    _lock: Lock,
}

impl PinDirectory {
    /// Checks, creates and locks the directory `root`.
    pub(super) fn open(root: &Path) -> Result<Self, DataPathError> {
        check_file_system(root)?;
        create_private(root)?;
        let lock = lock(root)?;
        remove_unfinished(root)?;
        let (others, empty) = other_layouts(root)?;
        for path in empty {
            fs::remove_dir(&path).map_err(failed("remove", &path))?;
        }
        let own = layout_path(root);
        let layout = if others.is_empty() || is_in_use(&own)? { own } else { root.join(UNFINISHED) };
        create_private(&layout)?;
        Ok(Self { root: root.to_owned(), layout, others, _lock: lock })
    }

    /// The directory to fill this version's maps from; `None` when they are complete, or there is none.
    pub(super) fn source(&self) -> Option<&Path> {
        self.others.first().map(PathBuf::as_path).filter(|_| self.is_unfinished())
    }

    /// Directories of other versions whose links are to be taken over.
    pub(super) fn others(&self) -> &[PathBuf] {
        &self.others
    }

    /// Makes the maps those of this version, all at once.
    pub(super) fn commit(&mut self) -> Result<(), DataPathError> {
        if self.is_unfinished() {
            let own = layout_path(&self.root);
            fs::rename(&self.layout, &own).map_err(failed("rename", &self.layout))?;
            self.layout = own;
        }
        Ok(())
    }

    /// Removes maps that did not become those of this version.
    pub(super) fn discard(self) -> Result<(), DataPathError> {
        remove_unfinished(&self.root)
    }

    /// Removes the directory of another version, whose links are ours by now.
    pub(super) fn remove_other(&mut self, other: &Path) -> Result<(), DataPathError> {
        // Maps must not go one by one: a directory with a version is complete.
        fs::rename(other, self.root.join(UNFINISHED)).map_err(failed("rename", other))?;
        self.others.retain(|path| path != other);
        remove_unfinished(&self.root)
    }

    fn is_unfinished(&self) -> bool {
        self.layout.ends_with(UNFINISHED)
    }

    /// Where the map of that name is pinned.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.layout.join(name)
    }

    /// Unpins one map.
    pub(super) fn remove_map(&self, name: &str) -> Result<(), DataPathError> {
        let path = self.map(name);
        fs::remove_file(&path).map_err(failed("remove", &path))
    }

    /// Where the link of that name is pinned.
    pub(super) fn link(&self, name: &LinkName) -> PathBuf {
        self.layout.join(name.file_name())
    }

    /// The links that are pinned.
    pub(super) fn links(&self) -> Result<Vec<LinkName>, DataPathError> {
        links_in(&self.layout)
    }

    /// Unpins one link: its program is detached as soon as nobody has the link open.
    pub(super) fn remove_link(&self, name: &LinkName) -> Result<(), DataPathError> {
        let path = self.link(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(failed("remove", &path)),
        }
    }

    /// Unpins every link, then every map, then removes the directories.
    pub(super) fn remove(self) -> Result<(), DataPathError> {
        remove_pins(&self.root, &self.layout)
    }
}

/// The links that are pinned in the directory of a version.
pub(super) fn links_in(layout: &Path) -> Result<Vec<LinkName>, DataPathError> {
    let names = entries(layout)?;
    Ok(names.iter().filter_map(|name| LinkName::from_file_name(name)).collect())
}

/// Unpins every map and link of this layout below `pin_directory` and removes the directories, without loading
/// anything: programs whose link goes are detached. Fails while an agent uses the directory. Nothing happens when there
/// is no such directory. (On kernels without TCX the tunnel program is no link: it goes with its interface.)
pub fn remove_all_pins(pin_directory: &Path) -> Result<(), DataPathError> {
    match fs::symlink_metadata(pin_directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed("look at", pin_directory)(source)),
        Ok(_) => {}
    }
    check_file_system(pin_directory)?;
    let _lock = lock(pin_directory)?;
    remove_pins(pin_directory, &layout_path(pin_directory))
}

fn layout_path(root: &Path) -> PathBuf {
    root.join(format!("v{LAYOUT_VERSION}"))
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataPathError {
    move |source| DataPathError::File { operation, path: path.to_owned(), source }
}

/// Only a BPF file system can hold pins.
fn check_file_system(root: &Path) -> Result<(), DataPathError> {
    let parent = root.parent().unwrap_or(root);
    let kind = statfs(parent).map_err(|errno| failed("look at", parent)(errno.into()))?.filesystem_type();
    if kind == BPF_FS_MAGIC {
        Ok(())
    } else {
        Err(DataPathError::NotOnBpfFileSystem { path: root.to_owned() })
    }
}

/// Creates the directory, or checks that an existing one is nobody else's: a BPF file system is by default writable
/// for everyone, and what is pinned is trusted.
fn create_private(path: &Path) -> Result<(), DataPathError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && has_dot(path) => {
            let reason = "the kernel allows no dot in names on a BPF file system";
            return Err(failed("create", path)(io::Error::new(error.kind(), reason)));
        }
        Err(source) => return Err(failed("create", path)(source)),
    }
    let metadata = fs::symlink_metadata(path).map_err(failed("look at", path))?;
    if !metadata.is_dir() {
        return Err(failed("use", path)(io::ErrorKind::NotADirectory.into()));
    }
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o777);
    if owner != nix::unistd::geteuid().as_raw() || mode & 0o077 != 0 {
        return Err(DataPathError::PinDirectoryExposed { path: path.to_owned(), owner, mode });
    }
    Ok(())
}

fn has_dot(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains('.'))
}

/// Keeps other agents out. The kernel releases the lock with the process, however that ends.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough while a child process that is just being started has the descriptor too.
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "cannot unlock the pin directory");
        }
    }
}

fn lock(root: &Path) -> Result<Lock, DataPathError> {
    let directory = File::open(root).map_err(failed("open", root))?;
    match directory.try_lock() {
        Ok(()) => Ok(Lock(directory)),
        Err(TryLockError::WouldBlock) => Err(DataPathError::PinDirectoryInUse { path: root.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed("lock", root)(source)),
    }
}

/// Directories of other versions: those with pins, the newest first, and the empty ones.
fn other_layouts(root: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), DataPathError> {
    let version = |name: &String| name.strip_prefix('v')?.parse::<u32>().ok();
    let mut versions: Vec<_> = entries(root)?.iter().filter_map(version).collect();
    versions.retain(|version| *version != LAYOUT_VERSION);
    versions.sort_unstable_by(|a, b| b.cmp(a));
    let (mut others, mut empty) = (Vec::new(), Vec::new());
    for version in versions {
        let path = root.join(format!("v{version}"));
        let list = if is_in_use(&path)? { &mut others } else { &mut empty };
        list.push(path);
    }
    Ok((others, empty))
}

/// Whether there is a directory with anything in it.
fn is_in_use(directory: &Path) -> Result<bool, DataPathError> {
    Ok(directory.exists() && !entries(directory)?.is_empty())
}

/// Removes what an agent was making or removing when it was killed, whatever its version has.
fn remove_unfinished(root: &Path) -> Result<(), DataPathError> {
    let path = root.join(UNFINISHED);
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(failed("remove", &path)),
    }
}

/// Names in a directory; what is not UTF-8 was not made by dmvpn and is left out.
fn entries(directory: &Path) -> Result<Vec<String>, DataPathError> {
    let list =
        || fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>();
    let names = list().map_err(failed("list", directory))?;
    Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
}

/// Links first: as long as a program is attached it needs its maps.
fn remove_pins(root: &Path, layout: &Path) -> Result<(), DataPathError> {
    if layout.exists() {
        let names = entries(layout)?;
        let (links, others): (Vec<_>, Vec<_>) =
            names.iter().partition(|name| LinkName::from_file_name(name).is_some());
        let maps = others.into_iter().filter(|name| map_names::ALL.contains(&name.as_str()));
        for name in links.into_iter().chain(maps) {
            let path = layout.join(name);
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
        fs::remove_dir(layout).map_err(failed("remove", layout))?;
    }
    fs::remove_dir(root).map_err(failed("remove", root))
}
