//! The BPF file system.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::process;

const MOUNT_POINT: &str = "/sys/fs/bpf";

/// Whether a BPF file system is mounted where everybody expects it.
pub(super) fn is_mounted() -> Result<bool> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("reading /proc/self/mounts")?;
    // Device, mount point, type, ...
    Ok(mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some(MOUNT_POINT) && fields.next() == Some("bpf")
    }))
}

/// Mounts it.
pub(super) fn mount() -> Result<()> {
    let Some(mut command) = process::as_root("mount") else {
        bail!("mounting needs root, and there is no sudo. Remedy, as root: mount -t bpf bpf {MOUNT_POINT}");
    };
    process::run(command.args(["-t", "bpf", "bpf", MOUNT_POINT]))
        .with_context(|| format!("Remedy, as root: mount -t bpf bpf {MOUNT_POINT}"))
}
