//! What is made once and kept below cargo's target directory.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

/// The directory `name` below the target directory, filled by `make` when it was not yet, or by another recipe. Processes
/// that want it at the same time wait for the first one.
pub(crate) fn made_once(name: &str, recipe: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let directory = directory()?.join(name);
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let lock = directory.join("lock");
    let lock = File::create(&lock).with_context(|| format!("cannot open {}", lock.display()))?;
    lock.lock().with_context(|| format!("waiting for {}", directory.display()))?;

    let stamp = directory.join("recipe");
    if fs::read_to_string(&stamp).is_ok_and(|built| built == recipe) {
        return Ok(directory);
    }
    make(&directory)?;
    fs::write(&stamp, recipe).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(directory)
}

/// Cargo's target directory, in which this program is.
pub(crate) fn directory() -> Result<PathBuf> {
    let here = env::current_exe().context("where am I?")?;
    // Cargo marks it as something that backups need not hold.
    match here.ancestors().find(|directory| directory.join("CACHEDIR.TAG").is_file()) {
        Some(directory) => Ok(directory.to_owned()),
        None => bail!("{} is not in a target directory of cargo", here.display()),
    }
}
