//! A copy of the sources to break, and the tests that run what is built of it.

use std::{
    collections::BTreeSet,
    env::consts::ARCH,
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::list::Mutation;
use crate::process;

/// Below the target directory.
const DIRECTORY: &str = "target/mutate";

/// The target of the programs. Who mutates has a machine like everybody's.
const BPF: &str = "bpfel-unknown-none";
const KERNEL: &str = "dmvpn-kernel";

/// The test program.
const TESTS: &str = "programs";

/// Frames for each test of the frame fuzzer: enough for what everybody gets wrong.
const FRAMES: &str = "30000";

/// What running tests came to.
pub(super) enum Run {
    Passed,
    /// These tests failed.
    Failed(Vec<String>),
    /// Last words of the compiler.
    NotBuilt(String),
    /// The verifier refuses a program, so that every test fails.
    NotLoaded,
}

/// The copy, and the tests.
pub(super) struct Scratch {
    sources: PathBuf,
    target: PathBuf,
    /// The test program, which is not broken.
    tests: PathBuf,
}

/// Puts a file right when it is dropped.
pub(super) struct Applied {
    path: PathBuf,
    original: String,
}

/// What cargo says of something it has built.
#[derive(Deserialize)]
struct Artifact {
    target: Target,
    executable: Option<PathBuf>,
}

/// What it is.
#[derive(Deserialize)]
struct Target {
    name: String,
}

impl Scratch {
    /// Copies what git knows or would take, as it is now, and builds the tests. Files that have not changed since the last
    /// copy stay as they are, so that little has to be built.
    pub(super) fn new(root: &Path) -> Result<Self> {
        let directory = root.join(DIRECTORY);
        let (sources, target) = (directory.join("sources"), directory.join("target"));
        let mut git = Command::new("git");
        git.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let names = process::output(&mut git)?;
        let names: BTreeSet<&str> =
            names.split('\0').filter(|name| !name.is_empty() && root.join(name).is_file()).collect();
        for name in names {
            copy(&root.join(name), &sources.join(name))?;
        }
        // Whoever builds meanwhile changes nothing here.
        let tests = directory.join("tests");
        let built = build_tests(root)?;
        fs::copy(&built, &tests).with_context(|| format!("cannot copy {}", built.display()))?;
        Ok(Self { sources, target, tests })
    }

    /// Breaks a rule.
    pub(super) fn apply(&self, mutation: &Mutation) -> Result<Applied> {
        let path = self.sources.join(&mutation.file);
        let original =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mutated = mutation.apply(&original)?;
        let applied = Applied { path, original };
        fs::write(&applied.path, mutated)
            .with_context(|| format!("cannot write {}", applied.path.display()))?;
        Ok(applied)
    }

    /// Builds the programs and runs these tests on them, or all.
    pub(super) fn run(&self, tests: &[String]) -> Result<Run> {
        if let Some(errors) = self.build()? {
            return Ok(Run::NotBuilt(errors));
        }
        let mut command = Command::new(&self.tests);
        command
            .env("DMVPN_TEST_OBJECT", self.target.join(BPF).join("release").join(KERNEL))
            .env("DMVPN_FUZZ_FRAMES", FRAMES)
            .env("RUST_BACKTRACE", "0")
            .arg("--exact")
            .args(tests);
        let output = command.output().with_context(|| format!("cannot start {}", self.tests.display()))?;
        if output.status.success() {
            return Ok(Run::Passed);
        }
        let text = String::from_utf8_lossy(&output.stdout);
        if text.contains("LoadError") {
            return Ok(Run::NotLoaded);
        }
        let failed = |line: &str| Some(line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?.to_owned());
        let mut failed: Vec<_> = text.lines().filter_map(failed).collect();
        if failed.is_empty() {
            bail!("the tests failed, but none of them did ({}):\n{text}", output.status);
        }
        failed.sort();
        Ok(Run::Failed(failed))
    }

    /// Builds the programs as `dmvpn/build.rs` does; returns what the compiler says when it refuses.
    fn build(&self) -> Result<Option<String>> {
        let linker = process::find("bpf-linker").context("bpf-linker is not installed: cargo xtask setup")?;
        let flags = [
            "-Cdebuginfo=2",
            "-Clink-arg=--btf",
            "-Clink-arg=--disable-expand-memcpy-in-order",
            &format!("--cfg=bpf_target_arch=\"{ARCH}\""),
        ];
        let variable = format!("CARGO_TARGET_{}_LINKER", BPF.replace('-', "_").to_uppercase());
        let output = process::cargo()
            .current_dir(&self.sources)
            .args(["build", "--quiet", "--release", "--locked", "-Z", "build-std=core"])
            .args(["--package", "dmvpn-ebpf", "--bin", KERNEL, "--target", BPF, "--target-dir"])
            .arg(&self.target)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .env(variable, linker)
            .output()
            .context("cannot run cargo")?;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((!output.status.success()).then_some(errors))
    }
}

/// Copies a file that is not there as it is.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let parent = to.parent().context("a file has a directory")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))
}

/// Builds the tests of the programs, and says where they are.
fn build_tests(root: &Path) -> Result<PathBuf> {
    let mut command = process::cargo();
    command
        .current_dir(root)
        .args(["test", "--package", "dmvpn", "--test", TESTS, "--no-run", "--message-format=json"])
        .stderr(Stdio::inherit());
    let text = process::output(&mut command)?;
    // Other lines tell other things.
    text.lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok())
        .find_map(|built| built.executable.filter(|_| built.target.name == TESTS))
        .context("cargo built no tests")
}

impl Drop for Applied {
    fn drop(&mut self) {
        // The next copy puts it right, should this fail.
        let _ = fs::write(&self.path, &self.original);
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("every test passed"),
            Self::Failed(tests) => write!(f, "failed: {}", tests.join(", ")),
            Self::NotBuilt(why) => write!(f, "it does not build: {why}"),
            Self::NotLoaded => f.write_str("the kernel does not load the programs"),
        }
    }
}
