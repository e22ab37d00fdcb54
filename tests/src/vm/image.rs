//! Everything that a guest is started from, made once and kept below `target/vm`.

use std::{
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result};

use super::{
    initramfs, kernel,
    packages::{self, Source},
    root,
};
use crate::{target, undo::remove_directory};

/// The emulator and what unpacks the kernel.
const TOOLS: &[&str] = &["qemu-system-x86", "seabios", "xz-utils"];

/// A guest that can be started.
#[derive(Clone, Debug)]
pub struct Image {
    directory: PathBuf,
}

impl Image {
    /// The image of this build, which is made when it is not there or was made from another recipe. `tell` hears what
    /// takes long.
    pub fn get(mut tell: impl FnMut(&str)) -> Result<Self> {
        let make = |directory: &Path| {
            let start = Instant::now();
            tell("making a virtual machine from Debian packages (about 100 MB), once");
            Self { directory: directory.to_owned() }.build().context("cannot make the virtual machine")?;
            tell(&format!("made in {:.0} s", start.elapsed().as_secs_f64()));
            Ok(())
        };
        Ok(Self { directory: target::made_once("vm", &recipe(), make)? })
    }

    fn build(&self) -> Result<()> {
        let downloads = self.directory.join("downloads");
        // One of another recipe.
        for part in [self.tools(), self.directory.join("root"), downloads.clone()] {
            remove_directory(&part)?;
        }
        packages::unpack(
            &packages::download(Source::Machine, TOOLS, &downloads.join("tools"))?,
            &self.tools(),
        )?;

        let root = self.directory.join("root");
        root::build(&packages::download(Source::Machine, root::PACKAGES, &downloads.join("guest"))?, &root)?;
        let release = kernel::release(&root)?;
        kernel::uncompress(&root, &release, &self.tools(), &self.kernel())?;
        kernel::keep_few_modules(&root, &release)?;
        fs::remove_dir_all(root.join("boot")).context("removing the compressed kernel")?;

        let archive = self.initramfs();
        let file = File::create(&archive).with_context(|| format!("cannot write {}", archive.display()))?;
        initramfs::write(&root, BufWriter::new(file))?;
        for part in [root, downloads] {
            fs::remove_dir_all(&part).with_context(|| format!("cannot remove {}", part.display()))?;
        }
        Ok(())
    }

    /// The unpacked emulator.
    pub(super) fn tools(&self) -> PathBuf {
        self.directory.join("tools")
    }

    /// The kernel, uncompressed.
    pub(super) fn kernel(&self) -> PathBuf {
        self.directory.join("vmlinux")
    }

    /// The root file system.
    pub(super) fn initramfs(&self) -> PathBuf {
        self.directory.join("root.cpio")
    }

    /// Where a run may put its files.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

/// All that decides what the image holds.
fn recipe() -> String {
    format!(
        "tools: {TOOLS:?}\npackages: {:?}\nleft out: {:?}\nmodules: {:?}\ninit:\n{}",
        root::PACKAGES,
        root::NEEDLESS,
        kernel::MODULES,
        root::INIT
    )
}
