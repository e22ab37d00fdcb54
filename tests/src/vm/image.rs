//! Everything that a guest is started from, made once and kept below `target/vm`.

use std::{
    env,
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{initramfs, kernel, packages, root};
use crate::command;

/// The emulator and what unpacks the kernel.
const TOOLS: &[&str] = &["qemu-system-x86", "seabios", "xz-utils"];

/// A guest that can be started.
#[derive(Clone, Debug)]
pub struct Image {
    directory: PathBuf,
}

impl Image {
    /// The image of this build, which is made when it is not there or was made from another recipe. `tell` hears what
    /// takes long. Processes that want it at the same time wait for the first one.
    pub fn get(mut tell: impl FnMut(&str)) -> Result<Self> {
        let directory = target_directory()?.join("vm");
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let lock = directory.join("lock");
        let lock = File::create(&lock).with_context(|| format!("cannot open {}", lock.display()))?;
        lock.lock().context("waiting for the image")?;

        let image = Self { directory };
        let stamp = image.directory.join("recipe");
        let recipe = recipe();
        if fs::read_to_string(&stamp).is_ok_and(|built| built == recipe) {
            return Ok(image);
        }
        let start = Instant::now();
        tell("making a virtual machine from Debian packages (about 100 MB), once");
        image.build().context("cannot make the virtual machine")?;
        fs::write(&stamp, recipe).with_context(|| format!("cannot write {}", stamp.display()))?;
        tell(&format!("made in {:.0} s", start.elapsed().as_secs_f64()));
        Ok(image)
    }

    fn build(&self) -> Result<()> {
        let architecture = command::output(Command::new("dpkg").arg("--print-architecture"))
            .context("the packages of the virtual machine come from Debian")?;
        ensure!(architecture.trim() == "amd64", "the virtual machine is made for amd64 only");
        let downloads = self.directory.join("downloads");
        // One of another recipe.
        for part in [self.tools(), self.directory.join("root"), downloads.clone()] {
            match fs::remove_dir_all(&part) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", part.display()));
                }
                _ => {}
            }
        }
        packages::unpack(&packages::download(TOOLS, &downloads.join("tools"))?, &self.tools())?;

        let root = self.directory.join("root");
        root::build(&packages::download(root::PACKAGES, &downloads.join("guest"))?, &root)?;
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

/// Cargo's target directory, in which this program is.
fn target_directory() -> Result<PathBuf> {
    let here = env::current_exe().context("where am I?")?;
    // Cargo marks it as something that backups need not hold.
    match here.ancestors().find(|directory| directory.join("CACHEDIR.TAG").is_file()) {
        Some(directory) => Ok(directory.to_owned()),
        None => bail!("{} is not in a target directory of cargo", here.display()),
    }
}
