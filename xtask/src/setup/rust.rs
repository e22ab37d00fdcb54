//! The Rust toolchain: a compiler whose LLVM the BPF linker can read, and its components.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::process;

/// The release everything was tried with.
const RELEASE: &str = "1.95.0";
/// bpf-linker reads bitcode of one LLVM version only: that of this series.
const LLVM_MAJOR: &str = "22";

/// What the compiler says of itself, `rustc -vV`.
struct Compiler {
    release: String,
    llvm: String,
}

fn compiler() -> Result<Compiler> {
    let text = process::output(Command::new("rustc").arg("-vV"))
        .with_context(|| format!("no Rust compiler. Remedy: install Rust {RELEASE} with rustup"))?;
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            .map(str::to_owned)
            .ok_or_else(|| anyhow!("`rustc -vV` prints no `{name}`"))
    };
    Ok(Compiler { release: field("release")?, llvm: field("LLVM version")? })
}

/// The compiler's name, for a list.
pub(super) fn description() -> String {
    compiler().map_or_else(|_| "rustc".to_owned(), |found| format!("rustc {}", found.release))
}

/// Fails, with the remedy, when the compiler cannot build the eBPF programs.
pub(super) fn check_compiler() -> Result<()> {
    let found = compiler()?;
    if found.llvm.split('.').next() != Some(LLVM_MAJOR) {
        bail!(
            "rustc {} uses LLVM {}, but the pinned bpf-linker reads LLVM {LLVM_MAJOR} only.\n\
             Remedy: rustup toolchain install {RELEASE} && rustup override set {RELEASE}",
            found.release,
            found.llvm
        );
    }
    Ok(())
}

/// A part of the toolchain that rustup installs separately.
#[derive(Clone, Copy)]
pub(crate) struct Component {
    /// What rustup calls it.
    pub(super) name: &'static str,
    /// A file of it, relative to the compiler's root directory.
    pub(super) file: &'static str,
    /// What it is for.
    pub(super) why: &'static str,
}

impl Component {
    /// Whether its file exists.
    pub(super) fn is_installed(self) -> Result<bool> {
        Ok(root()?.join(self.file).is_file())
    }

    /// Installs it with rustup. There is no other way: a library source of another release does not compile.
    pub(super) fn install(self) -> Result<()> {
        let remedy = || {
            let root =
                root().map_or_else(|_| "the root of rustc".to_owned(), |path| path.display().to_string());
            format!(
                "Remedy: install Rust with rustup and run `rustup component add {name}` while the machine is \
                 online; or unpack the standalone archive {name}-{RELEASE} of the Rust project so that \
                 {root}/{file} exists. It must be of the same release as rustc.",
                name = self.name,
                file = self.file,
            )
        };
        if process::find("rustup").is_none() {
            bail!("there is no rustup.\n{}", remedy());
        }
        process::run(Command::new("rustup").args(["component", "add", self.name])).with_context(remedy)
    }
}

/// The directory that holds the compiler's `bin` and `lib`.
fn root() -> Result<PathBuf> {
    let text = process::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    Ok(PathBuf::from(text.trim_end()))
}
