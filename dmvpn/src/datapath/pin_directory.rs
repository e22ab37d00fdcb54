//! The directory on the BPF file system where maps and links outlive the agent.
//!
//! ```text
//! <pin-directory>/            mode 0700, locked while an agent runs
//!   v<LAYOUT_VERSION>/        mode 0700
//!     PEERS, TUNNELS, ...     one file a map
//!     link_xdp_<interface>    one file an attached program
//!     link_tc_<interface>
//! ```

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use dmvpn_common::{LAYOUT_VERSION, map_names};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::{DataPathError, link_name::LinkName};

/// An open pin directory, ours alone until it is dropped.
#[derive(Debug)]
pub(super) struct PinDirectory {
    root: PathBuf,
    layout: PathBuf,
    _lock: Lock,
}

impl PinDirectory {
    /// Checks, creates and locks the directory `root`.
    pub(super) fn open(root: &Path) -> Result<Self, DataPathError> {
        check_file_system(root)?;
        create_private(root)?;
        let lock = lock(root)?;
        refuse_other_layouts(root)?;
        let layout = layout_path(root);
        create_private(&layout)?;
        Ok(Self { root: root.to_owned(), layout, _lock: lock })
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
        let names = entries(&self.layout)?;
        Ok(names.iter().filter_map(|name| LinkName::from_file_name(name)).collect())
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

/// Programs of another version may still forward with maps of another layout: two versions must not run side by side
/// on the same interfaces.
fn refuse_other_layouts(root: &Path) -> Result<(), DataPathError> {
    for name in entries(root)? {
        let Some(found) = name.strip_prefix('v').and_then(|version| version.parse::<u32>().ok()) else {
            continue;
        };
        let path = root.join(name);
        if found != LAYOUT_VERSION && !entries(&path)?.is_empty() {
            return Err(DataPathError::OtherLayout { path, found });
        }
    }
    Ok(())
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
