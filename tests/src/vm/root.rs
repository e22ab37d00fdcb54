//! The guest's root file system: packages, and what their scripts would have made.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::packages;
use crate::command;

/// What the labs call in the guest, and its kernel.
pub(super) const PACKAGES: &[&str] = &[
    "linux-image-amd64",
    "base-files",
    "netbase",
    // A shell and everything small.
    "busybox-static",
    "kmod",
    "iproute2",
    "iputils-ping",
    "ethtool",
    "nftables",
    "tcpdump",
    "bpftool",
    "frr",
];

/// Dependencies that are of no use where nothing is ever installed: names, or beginnings of names with a `*`.
pub(super) const NEEDLESS: &[&str] = &[
    "adduser",
    "coreutils",
    "cpio",
    "cron*",
    "debconf",
    "dpkg",
    "gcc-12-base",
    "init-system-helpers",
    "initramfs-tools*",
    "klibc-utils",
    "libdb5.3",
    "libfile-find-rule-perl",
    "libgdbm*",
    "libklibc",
    "libnumber-compare-perl",
    "libperl*",
    "libpam-runtime",
    "libsemanage*",
    "libsepol*",
    "libtext-glob-perl",
    "linux-base",
    "logrotate",
    "logsave",
    "lsof",
    "passwd",
    "perl*",
    "sensible-utils",
    "tar",
    "udev",
    "usrmerge",
];

/// The first process.
pub(super) const INIT: &str = include_str!("init.sh");

/// Files that scripts of the packages would have made.
const FILES: [(&str, &str); 7] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/false\n\
         frr:x:100:100::/nonexistent:/bin/false\ntcpdump:x:101:101::/nonexistent:/bin/false\n",
    ),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\nfrr:x:100:\ntcpdump:x:101:\nfrrvty:x:102:frr\n"),
    ("etc/hosts", "127.0.0.1 localhost guest\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\nprotocols: files\nservices: files\n"),
    ("etc/resolv.conf", ""),
    // `vtysh` asks whether root may use it.
    ("etc/pam.d/frr", "auth sufficient pam_rootok.so\naccount required pam_permit.so\n"),
    ("etc/frr/vtysh.conf", ""),
];

/// Directories that nobody else makes.
const DIRECTORIES: [&str; 11] =
    ["proc", "sys", "dev", "run", "tmp", "root", "mnt", "var/tmp", "var/log/frr", "var/lib/dmvpn", "etc/frr"];

/// Unpacks the guest's packages and completes them.
pub(super) fn build(archives: &[PathBuf], root: &Path) -> Result<()> {
    packages::unpack(archives.iter().filter(|archive| !is_needless(packages::name(archive))), root)?;
    for directory in DIRECTORIES {
        let path = root.join(directory);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    }
    for (name, contents) in FILES {
        write(&root.join(name), contents)?;
    }
    // With this file FRR's daemons would not read the ones of their own.
    remove(&root.join("etc/frr/frr.conf"))?;
    for path in ["var/run", "var/lock"] {
        remove(&root.join(path))?;
        let target = if path == "var/run" { "../run" } else { "../run/lock" };
        symlink(target, root.join(path)).with_context(|| format!("cannot link {path}"))?;
    }
    let init = root.join("init");
    write(&init, INIT)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).context("making init executable")?;
    link_applets(root)
}

/// Gives every command that only busybox has its name.
fn link_applets(root: &Path) -> Result<()> {
    // Static: it runs here as well.
    let busybox = root.join("usr/bin/busybox");
    for applet in command::output(Command::new(busybox).arg("--list"))?.lines() {
        let places = ["usr/bin", "usr/sbin"].map(|directory| root.join(directory).join(applet));
        if places.iter().all(|path| fs::symlink_metadata(path).is_err()) {
            symlink("busybox", &places[0]).with_context(|| format!("cannot link {applet}"))?;
        }
    }
    Ok(())
}

fn is_needless(package: &str) -> bool {
    NEEDLESS.iter().any(|name| match name.strip_suffix('*') {
        Some(beginning) => package.starts_with(beginning),
        None => package == *name,
    })
}

fn write(path: &Path, contents: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    fs::write(path, contents).with_context(|| format!("cannot write {}", path.display()))
}

/// Removes a file, a link, or a directory with all that is in it. Nothing there is no error.
fn remove(path: &Path) -> Result<()> {
    let Ok(about) = fs::symlink_metadata(path) else { return Ok(()) };
    if about.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
        .with_context(|| format!("cannot remove {}", path.display()))
}
