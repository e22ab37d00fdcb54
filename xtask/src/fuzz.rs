//! `cargo xtask fuzz`: what reads bytes of others, fed with bytes that nobody would send.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::{process, setup};

/// What to fuzz.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only these targets [default: all, one after the other].
    #[arg(value_enum)]
    targets: Vec<Target>,
    /// How long to look for something in each target.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    seconds: u32,
}

/// A target: see `fuzz/src/lib.rs`.
#[derive(Clone, Copy, ValueEnum)]
enum Target {
    /// NHRP packets: decoded, shown, encoded again.
    Packet,
    /// Lists of extensions in a packet that is right but for them.
    Extensions,
    /// Capture files, and the frames in them.
    CaptureFile,
    /// Lines of the control socket.
    Control,
    /// State files.
    State,
    /// Configuration files.
    Config,
    /// Configuration files of other vendors.
    Import,
}

/// `cargo xtask fuzz`.
pub(crate) fn command(arguments: &Arguments) -> Result<()> {
    setup::ensure(setup::FUZZ)?;
    let targets = if arguments.targets.is_empty() { Target::value_variants() } else { &arguments.targets };
    let package = env::var_os("CARGO_MANIFEST_DIR").context("cargo did not say where this package is")?;
    let root = Path::new(&package).parent().context("this package has no parent directory")?;
    for target in targets {
        target.fuzz(root, arguments.seconds)?;
    }
    Ok(())
}

impl Target {
    /// Looks for findings for so many seconds; a finding is an error.
    fn fuzz(self, root: &Path, seconds: u32) -> Result<()> {
        let name = self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        eprintln!("\n==== {name} ====");
        // libFuzzer writes what it discovers to the first directory: the committed corpus stays as it is.
        let grown = PathBuf::from("fuzz/target/corpus").join(&name);
        fs::create_dir_all(root.join(&grown)).with_context(|| format!("cannot make {}", grown.display()))?;
        let mut command = Command::new(process::cargo().get_program());
        command
            .current_dir(root)
            // Without a sanitizer, stable Rust will do: what is fuzzed is safe code, where a fault is a panic.
            .args(["fuzz", "run", "--sanitizer", "none", &name])
            .arg(grown)
            .arg(Path::new("fuzz/corpus").join(&name))
            .args(["--", &format!("-max_total_time={seconds}"), "-max_len=4096", "-print_final_stats=1"]);
        process::run(&mut command)
            .with_context(|| format!("{name}: a finding; its input is in fuzz/artifacts/{name}/"))
    }
}
