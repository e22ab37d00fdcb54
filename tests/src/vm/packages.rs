//! Debian packages, fetched and unpacked without being installed.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::command;

/// Keys of Debian's archive, from the package debian-archive-keyring.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Not worth their space in a place where nobody reads them.
const LEFT_OUT: [&str; 4] = ["doc", "locale", "man", "info"];

/// Where packages come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// From wherever this machine has its own.
    Machine,
    /// From the release of Debian with this code name, out of the archive that this machine uses.
    Release(&'static str),
}

/// Downloads packages and all that they depend on into `directory`, which may hold some of them already; returns the
/// archives. What is installed on this machine plays no part.
pub(crate) fn download(source: Source, packages: &[&str], directory: &Path) -> Result<Vec<PathBuf>> {
    let architecture = command::output(Command::new("dpkg").arg("--print-architecture"))
        .context("the packages come from Debian")?;
    ensure!(architecture.trim() == "amd64", "these packages are used on amd64 only");
    let partial = directory.join("partial");
    fs::create_dir_all(&partial).with_context(|| format!("cannot make {}", partial.display()))?;
    let mut command = apt(directory)?;
    if let Source::Release(release) = source {
        command.args(lists_of(release, directory)?);
    }
    command.args(["--download-only", "--yes", "install"]).args(packages);
    if command::output(&mut command).is_err() {
        // The package lists are missing or stale. Root can mend that; others are told below.
        let _ = command::run("apt-get --quiet update");
        command::output(&mut command)
            .context("cannot download Debian packages. Remedy, as root: apt-get update, then try again")?;
    }
    let mut archives: Vec<PathBuf> = fs::read_dir(directory)
        .with_context(|| format!("cannot read {}", directory.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    archives.sort();
    Ok(archives)
}

/// An `apt-get` that keeps what it downloads in `directory`, and takes nothing for installed.
fn apt(directory: &Path) -> Result<Command> {
    // Nothing counts as installed: so apt takes every dependency, too.
    let nothing = directory.join("status");
    fs::write(&nothing, "").with_context(|| format!("cannot write {}", nothing.display()))?;
    let mut apt = Command::new("apt-get");
    apt.arg("--quiet")
        .arg("--option")
        .arg(format!("Dir::State::status={}", nothing.display()))
        .arg("--option")
        .arg(format!("Dir::Cache::archives={}", directory.display()));
    for option in [
        // No files outside of our directory, no lock, no other user: this works for everybody.
        "Dir::Cache::pkgcache=",
        "Dir::Cache::srcpkgcache=",
        "Debug::NoLocking=1",
        "APT::Sandbox::User=",
        "APT::Install-Recommends=0",
        "APT::Keep-Downloaded-Packages=1",
    ] {
        apt.args(["--option", option]);
    }
    Ok(apt)
}

/// Fetches the package lists of another release into `directory`; returns the options by which `apt-get` uses them in
/// place of the machine's own.
fn lists_of(release: &str, directory: &Path) -> Result<Vec<String>> {
    let lists = directory.join("lists");
    let partial = lists.join("partial");
    fs::create_dir_all(&partial).with_context(|| format!("cannot make {}", partial.display()))?;
    // Where this machine has its Debian from, and whose signature it trusts for it.
    let format = "$(ORIGIN)\t$(LABEL)\t$(COMPONENT)\t$(REPO_URI)\t$(SIGNED_BY)";
    let known = command::output(Command::new("apt-get").args(["indextargets", "--format", format]))?;
    let archive = known.lines().find_map(|line| line.strip_prefix("Debian\tDebian\tmain\t"));
    let archive =
        archive.context("this machine has no package lists of Debian. Remedy, as root: apt-get update")?;
    let (uri, signed_by) = archive.split_once('\t').unwrap_or((archive, ""));
    let signed_by = if signed_by.starts_with('/') { signed_by } else { KEYRING };
    let sources = directory.join("sources.list");
    fs::write(&sources, format!("deb [signed-by={signed_by}] {uri} {release} main\n"))
        .with_context(|| format!("cannot write {}", sources.display()))?;
    let mut options = Vec::new();
    for option in [
        format!("Dir::Etc::sourcelist={}", sources.display()),
        "Dir::Etc::sourceparts=/dev/null".to_owned(),
        format!("Dir::State::lists={}", lists.display()),
        // Nobody reads descriptions here.
        "Acquire::Languages=none".to_owned(),
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
    ] {
        options.extend(["--option".to_owned(), option]);
    }
    command::output(apt(directory)?.args(&options).arg("update"))
        .with_context(|| format!("cannot fetch the package lists of Debian's release {release}"))?;
    Ok(options)
}

/// Name of the package in an archive: the file name up to the first underscore.
pub(crate) fn name(archive: &Path) -> &str {
    let file = archive.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    file.split('_').next().unwrap_or_default()
}

/// Unpacks archives into `root`. No script of a package runs.
pub(crate) fn unpack<'a>(archives: impl IntoIterator<Item = &'a PathBuf>, root: &Path) -> Result<()> {
    // Debian's layout, in which /bin is /usr/bin: archives hold both.
    for directory in ["bin", "sbin", "lib", "lib64"] {
        let real = root.join("usr").join(directory);
        fs::create_dir_all(&real).with_context(|| format!("cannot make {}", real.display()))?;
        symlink(Path::new("usr").join(directory), root.join(directory))
            .with_context(|| format!("cannot link {directory} in {}", root.display()))?;
    }
    for archive in archives {
        unpack_one(archive, root).with_context(|| format!("cannot unpack {}", archive.display()))?;
    }
    Ok(())
}

fn unpack_one(archive: &Path, root: &Path) -> Result<()> {
    let mut reader = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(archive)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb")?;
    let Some(contents) = reader.stdout.take() else { bail!("dpkg-deb has no output") };
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--keep-directory-symlink", "--no-same-owner", "--directory"]).arg(root);
    tar.args(LEFT_OUT.map(|directory| format!("--exclude=./usr/share/{directory}")));
    let unpacked = command::output(tar.stdin(contents));
    let read = reader.wait().context("waiting for dpkg-deb")?;
    unpacked?;
    ensure!(read.success(), "dpkg-deb: {read}");
    Ok(())
}

/// A program out of unpacked packages, called `name`, run in place with the libraries beside it.
pub(crate) fn program(root: &Path, path: &str, name: &str) -> Command {
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
    command.args(["--argv0", name, "--library-path"]);
    // FRR has libraries in a directory of its own, and looks for it in the wrong root first.
    let places = [libraries.clone(), libraries.join("frr"), root.join("usr/lib")];
    command.arg(places.map(|place| place.display().to_string()).join(":"));
    command.arg(root.join(path));
    command
}
