//! Tells the benchmarks where their eBPF object is, which the build of `dmvpn` has made.

use std::{env, process::ExitCode};

/// Set by cargo from what the build script of `dmvpn` says.
const OBJECT: &str = "DEP_DMVPN_KERNEL_BENCH";

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    match env::var(OBJECT) {
        Ok(path) => {
            println!("cargo::rustc-env=BENCH_OBJECT={path}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{OBJECT}: {error}");
            ExitCode::FAILURE
        }
    }
}
