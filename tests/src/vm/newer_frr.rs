//! A newer FRR than that of the guest's own Debian, in a directory of its own, with all libraries it was built for.
//!
//! It is no part of the image: the few labs that want it share the directory with their guest.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::packages::{self, Source};
use crate::{target, undo::remove_directory};

/// The release of Debian it comes from: 13, with FRR 10.3.
const RELEASE: &str = "trixie";

/// Its packages.
const PACKAGES: &[&str] = &["frr"];

/// Where the guest sees it.
pub(crate) const IN_GUEST: &str = "/newer-frr";

/// The directory, which is made when it is not there or was made from another recipe. `tell` hears what takes long.
pub(crate) fn get(mut tell: impl FnMut(&str)) -> Result<PathBuf> {
    let recipe = format!("release: {RELEASE}\npackages: {PACKAGES:?}");
    let make = |directory: &Path| {
        tell("unpacking a newer FRR from Debian packages (about 40 MB), once");
        let [root, downloads] = [root(directory), directory.join("downloads")];
        for part in [&root, &downloads] {
            remove_directory(part)?;
        }
        let archives = packages::download(Source::Release(RELEASE), PACKAGES, &downloads);
        packages::unpack(&archives.context("cannot get a newer FRR")?, &root)?;
        remove_directory(&downloads)
    };
    Ok(root(&target::made_once("newer-frr", &recipe, make)?))
}

fn root(directory: &Path) -> PathBuf {
    directory.join("root")
}

/// In the guest: one of its programs, by its path below the root directory. It reads configuration where the guest's own
/// FRR does, and has its sockets there.
pub(crate) fn program(path: &str) -> Command {
    let name = path.rsplit('/').next().unwrap_or(path);
    packages::program(Path::new(IN_GUEST), path, name)
}
