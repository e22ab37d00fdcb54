//! Builds the eBPF object that the agent embeds, `OUT_DIR/dmvpn-kernel`, and beside it the one of the benchmarks, which
//! only they embed: packages that depend on this one find it by `DEP_DMVPN_KERNEL_BENCH`.
//!
//! The programs are built by the toolchain that builds the agent. A stable compiler refuses the BPF target, which
//! has no prebuilt `core`; `RUSTC_BOOTSTRAP=1` and `-Z build-std=core` lift that for this one build.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};

/// Package of the programs and the binaries in it: the agent's, and the benchmarks'.
const PACKAGE: &str = "dmvpn-ebpf";
const KERNEL: &str = "dmvpn-kernel";
const BENCH: &str = "dmvpn-bench";

const REMEDY: &str = "run `cargo xtask setup`";

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Cargo shows what a failed build script wrote to stderr.
            eprintln!("the eBPF programs could not be built: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<()> {
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    let workspace = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let workspace = workspace.parent().context("the package has no parent directory")?;
    for source in [
        "Cargo.lock",
        "Cargo.toml",
        "dmvpn-common/Cargo.toml",
        "dmvpn-common/src",
        "dmvpn-ebpf/Cargo.toml",
        "dmvpn-ebpf/src",
    ] {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }

    let target = match variable("CARGO_CFG_TARGET_ENDIAN")?.as_os_str() {
        little if little == "little" => "bpfel-unknown-none",
        big if big == "big" => "bpfeb-unknown-none",
        other => bail!("byte order {} has no BPF target", other.display()),
    };
    // Two builds never share this directory, so the inner cargo never waits for the lock that the outer one holds.
    let target_dir = out_dir.join("bpf");
    let is_other = env::var_os("CARGO_FEATURE_OTHER_LAYOUT").is_some();
    let features: &[&str] = if is_other { &["--features", "other-layout"] } else { &[] };
    let status = Command::new(variable("CARGO")?)
        .current_dir(workspace)
        .args(["build", "--quiet", "--release", "--locked", "-Z", "build-std=core"])
        .args(["--package", PACKAGE, "--bin", KERNEL, "--bin", BENCH, "--target", target])
        .args(features)
        .arg("--target-dir")
        .arg(&target_dir)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags()?)
        .env(linker_variable(target), linker()?)
        // Clippy's and other wrappers are meant for the outer build.
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        require_rust_src()?;
        bail!("cargo failed for {target} ({status})");
    }

    let built = target_dir.join(target).join("release");
    for name in [KERNEL, BENCH] {
        let object = built.join(name);
        fs::copy(&object, out_dir.join(name)).with_context(|| format!("cannot copy {}", object.display()))?;
    }
    println!("cargo::metadata=BENCH={}", out_dir.join(BENCH).display());
    Ok(())
}

fn rustflags() -> Result<OsString> {
    let architecture = variable("CARGO_CFG_TARGET_ARCH")?;
    let mut flags = OsString::new();
    // The kernel refuses a program if only some of its functions have BTF, so `core` needs debug information too.
    flags.push("-Cdebuginfo=2");
    flags.push("\x1f-Clink-arg=--btf");
    // Without it, setting or copying a structure is a call that goes byte by byte; with it, a few stores.
    flags.push("\x1f-Clink-arg=--disable-expand-memcpy-in-order");
    flags.push("\x1f--cfg=bpf_target_arch=\"");
    flags.push(architecture);
    flags.push("\"");
    Ok(flags)
}

/// `bpf-linker` from the search path or from where `cargo install` puts it.
fn linker() -> Result<PathBuf> {
    const NAME: &str = "bpf-linker";
    println!("cargo::rerun-if-env-changed=PATH");
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(cargo_home.map(|home| home.join("bin")))
        .map(|directory| directory.join(NAME))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("{NAME} is not installed: {REMEDY}"))
}

/// The environment variable by which cargo takes the linker of `target`.
fn linker_variable(target: &str) -> String {
    format!("CARGO_TARGET_{}_LINKER", target.replace('-', "_").to_uppercase())
}

/// Says so when the failure was a missing source of `core`.
fn require_rust_src() -> Result<()> {
    let output = Command::new(variable("RUSTC")?)
        .args(["--print", "sysroot"])
        .output()
        .context("cannot run rustc --print sysroot")?;
    let sysroot = String::from_utf8(output.stdout).context("the sysroot's path is not UTF-8")?;
    let core = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core");
    if !core.is_dir() {
        bail!("the source of Rust's core library is missing (no {}): {REMEDY}", core.display());
    }
    Ok(())
}

fn variable(name: &str) -> Result<OsString> {
    env::var_os(name).with_context(|| format!("cargo did not set {name}"))
}
