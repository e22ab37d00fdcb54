//! `cargo xtask fuzz`: what reads bytes of others, fed with bytes that nobody would send.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
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
    /// How long to look for something in each target but `frames`.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    seconds: u32,
    /// How many frames to send through the programs.
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000_000)]
    frames: u64,
    /// The number that a run with a finding named, for the same frames again [default: another one each time].
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// A directory with capture files, whose frames are mutated and sent, too.
    #[arg(long, value_name = "DIRECTORY")]
    captures: Option<PathBuf>,
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
    /// GRE packets, and what is inside.
    Gre,
    /// Lines of the control socket.
    Control,
    /// State files.
    State,
    /// Configuration files.
    Config,
    /// Configuration files of other vendors.
    Import,
    /// Types of maps.
    Btf,
    /// Whole frames through the programs in the kernel, each outcome compared with what it has to be (needs root).
    Frames,
}

/// `cargo xtask fuzz`.
pub(crate) fn command(arguments: &Arguments) -> Result<()> {
    let targets = if arguments.targets.is_empty() { Target::value_variants() } else { &arguments.targets };
    let package = env::var_os("CARGO_MANIFEST_DIR").context("cargo did not say where this package is")?;
    let root = Path::new(&package).parent().context("this package has no parent directory")?;
    for target in targets {
        eprintln!("\n==== {} ====", target.name());
        match target {
            Target::Frames => frames(root, arguments)?,
            _ => target.fuzz(root, arguments.seconds)?,
        }
    }
    Ok(())
}

/// Sends frames through the programs: see `dmvpn/tests/programs/fuzz/mod.rs`.
fn frames(root: &Path, arguments: &Arguments) -> Result<()> {
    setup::ensure(setup::TEST)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    let seed = arguments.seed.unwrap_or(now.as_secs());
    let mut command = process::cargo();
    command
        .current_dir(root)
        .args(["test", "--package", "dmvpn", "--test", "programs", "fuzz::", "--", "--nocapture"])
        .env("DMVPN_FUZZ_FRAMES", arguments.frames.to_string())
        .env("DMVPN_FUZZ_SEED", seed.to_string());
    if let Some(captures) = &arguments.captures {
        let captures =
            captures.canonicalize().with_context(|| format!("cannot open {}", captures.display()))?;
        command.env("DMVPN_FUZZ_CAPTURES", captures);
    }
    process::run(&mut command).with_context(|| format!("frames: a finding; again: --seed {seed}"))
}

impl Target {
    /// Its name on the command line.
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Looks for findings for so many seconds; a finding is an error.
    fn fuzz(self, root: &Path, seconds: u32) -> Result<()> {
        setup::ensure(setup::FUZZ)?;
        let name = self.name();
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
