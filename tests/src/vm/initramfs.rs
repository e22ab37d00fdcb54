//! The root file system as the archive that the kernel unpacks into memory: cpio's "new ASCII" format (Linux,
//! "initramfs buffer format").

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write},
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::Path,
};

use anyhow::{Context as _, Result, bail};

/// Marks the end of an archive.
const TRAILER: &str = "TRAILER!!!";

/// File types in a mode (stat(2)).
mod file_type {
    pub(super) const DIRECTORY: u32 = 0o040_000;
    pub(super) const FILE: u32 = 0o100_000;
    pub(super) const LINK: u32 = 0o120_000;
}

/// Writes everything below `root`, owned by root whoever owns it here.
pub(super) fn write(root: &Path, output: impl Write) -> Result<()> {
    let mut archive = Archive { output, entries: 0 };
    archive.directory(root, Path::new(""))?;
    archive.entry(TRAILER.as_bytes(), 0, &[]).context("writing the end of the archive")?;
    archive.output.flush().context("writing the archive")
}

struct Archive<W> {
    output: W,
    /// How many there are so far: each gets a number of its own.
    entries: u32,
}

impl<W: Write> Archive<W> {
    /// Adds what is in one directory, in the order of names: the same files make the same archive.
    fn directory(&mut self, root: &Path, below: &Path) -> Result<()> {
        let here = root.join(below);
        let mut names: Vec<_> = fs::read_dir(&here)
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>())
            .with_context(|| format!("cannot read {}", here.display()))?;
        names.sort();
        for name in names {
            let path = below.join(name);
            self.file(root, &path).with_context(|| format!("cannot add {}", path.display()))?;
        }
        Ok(())
    }

    fn file(&mut self, root: &Path, path: &Path) -> Result<()> {
        let file = root.join(path);
        let about = fs::symlink_metadata(&file)?;
        let permissions = about.permissions().mode() & 0o7777;
        let name = path.as_os_str().as_bytes();
        if about.is_dir() {
            self.entry(name, file_type::DIRECTORY | permissions, &[])?;
            self.directory(root, path)
        } else if about.is_symlink() {
            let target = fs::read_link(&file)?;
            Ok(self.entry(name, file_type::LINK | 0o777, target.as_os_str().as_bytes())?)
        } else if about.is_file() {
            Ok(self.entry(name, file_type::FILE | permissions, &fs::read(&file)?)?)
        } else {
            bail!("neither file, directory nor link")
        }
    }

    fn entry(&mut self, name: &[u8], mode: u32, contents: &[u8]) -> io::Result<()> {
        self.entries += 1;
        let too_long = |_| io::Error::other("too long for the archive");
        let length = u32::try_from(contents.len()).map_err(too_long)?;
        // A zero byte ends the name.
        let name_length = u32::try_from(name.len() + 1).map_err(too_long)?;
        // Inode, mode, user, group, links, time, length, device (2), device of a special file (2), name, checksum.
        let fields = [self.entries, mode, 0, 0, 1, 0, length, 0, 0, 0, 0, name_length, 0];
        let mut header = String::from("070701");
        for field in fields {
            write!(header, "{field:08x}").map_err(io::Error::other)?;
        }
        self.output.write_all(header.as_bytes())?;
        self.output.write_all(name)?;
        self.output.write_all(padding(header.len() + name.len() + 1, 1))?;
        self.output.write_all(contents)?;
        self.output.write_all(padding(contents.len(), 0))
    }
}

/// Zeros behind `length` bytes, up to a multiple of four; `more` of them in front.
fn padding(length: usize, more: usize) -> &'static [u8] {
    &[0; 4][..length.next_multiple_of(4) - length + more]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_files_and_links_on_multiples_of_four() {
        let root = std::env::temp_dir().join(format!("initramfs-{}", std::process::id()));
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("etc/name"), "guest").unwrap();
        std::os::unix::fs::symlink("etc/name", root.join("link")).unwrap();
        let mut archive = Vec::new();
        let written = write(&root, &mut archive);
        fs::remove_dir_all(&root).unwrap();
        written.unwrap();

        assert_eq!(archive.len() % 4, 0);
        let text = String::from_utf8(archive).unwrap();
        let starts: Vec<_> = text.match_indices("070701").map(|(at, _)| at).collect();
        assert_eq!(starts.len(), 4, "etc, etc/name, link and the end: {text}");
        assert!(starts.iter().all(|at| at % 4 == 0), "{starts:?}");
        // The header of "etc/name" is 110 bytes long, its name 9 with the zero, padded to 120.
        assert_eq!(&text[starts[1] + 110..starts[1] + 120], "etc/name\0\0");
        assert_eq!(&text[starts[1] + 120..starts[1] + 128], "guest\0\0\0");
        assert_eq!(&text[starts[1] + 54..starts[1] + 62], "00000005");
        assert_eq!(&text[starts[2] + 110..starts[2] + 124], "link\0\0etc/name");
        assert!(text.trim_end_matches('\0').ends_with(TRAILER));
    }
}
