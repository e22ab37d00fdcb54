//! Memory of a running agent: its own, and that of its maps in the kernel.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::MapData;

/// Resident memory of a process, in MB (10^6 bytes).
pub(in crate::bench) fn resident_mb(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let kb = number_of(&text, "VmRSS").with_context(|| format!("{path} has no VmRSS"))?;
    Ok(kb * 1024.0 / 1e6)
}

/// What one map takes in the kernel.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct MapMemory {
    /// Its name.
    pub(super) name: String,
    /// In MB (10^6 bytes), as the kernel accounts for it.
    pub(super) mb: f64,
}

/// Memory of every map that is pinned below `pins`, the largest first.
pub(super) fn maps(pins: &Path) -> Result<Vec<MapMemory>> {
    let mut found = Vec::new();
    for version in entries(pins)? {
        for path in entries(&version)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("link_") {
                continue;
            }
            let map = MapData::from_pin(&path).with_context(|| format!("opening {}", path.display()))?;
            let info = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
            let text = fs::read_to_string(&info).with_context(|| format!("reading {info}"))?;
            let bytes = number_of(&text, "memlock").with_context(|| format!("no memlock in {text}"))?;
            found.push(MapMemory { name, mb: bytes / 1e6 });
        }
    }
    ensure!(!found.is_empty(), "no map is pinned below {}", pins.display());
    found.sort_by(|a, b| b.mb.total_cmp(&a.mb));
    Ok(found)
}

fn entries(directory: &Path) -> Result<Vec<std::path::PathBuf>> {
    let failed = || format!("listing {}", directory.display());
    fs::read_dir(directory)
        .with_context(failed)?
        .map(|entry| Ok(entry.with_context(failed)?.path()))
        .collect()
}

/// The number behind `name` and a colon.
fn number_of(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        if key != name {
            return None;
        }
        value.split_whitespace().next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_some_memory() {
        let mb = resident_mb(std::process::id()).unwrap();
        assert!(mb > 0.5 && mb < 10_000.0, "{mb}");
    }

    #[test]
    fn finds_a_number_by_its_name() {
        assert_eq!(number_of("VmPeak: 9 kB\nVmRSS:\t  1234 kB\n", "VmRSS"), Some(1234.0));
        assert_eq!(number_of("VmRSS: many\n", "VmRSS"), None);
    }
}
