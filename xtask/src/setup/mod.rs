//! `cargo xtask setup`: what the machine needs, checked and installed.

mod bpffs;
mod cargo_tool;
mod debian;
mod rust;

use anyhow::{Result, anyhow};
use cargo_tool::CargoTool;
use debian::Program;

/// Something that has to be there.
#[derive(Clone, Copy)]
pub(crate) enum Requirement {
    /// A Rust compiler that fits the pinned eBPF toolchain.
    Compiler,
    /// A component of the Rust toolchain.
    Component(rust::Component),
    /// A command installed by `cargo install`.
    Cargo(CargoTool),
    /// A command from a Debian package.
    Debian(Program),
    /// The BPF file system, mounted.
    Bpffs,
}

use Requirement::{Bpffs, Cargo, Compiler, Component, Debian};

const RUST_SRC: Requirement = Component(rust::Component {
    name: "rust-src",
    file: "lib/rustlib/src/rust/library/Cargo.lock",
    why: "the source of `core`, which is compiled for the BPF target",
});
const RUSTFMT: Requirement =
    Component(rust::Component { name: "rustfmt", file: "bin/cargo-fmt", why: "checks the formatting" });
const CLIPPY: Requirement =
    Component(rust::Component { name: "clippy", file: "bin/cargo-clippy", why: "checks the code" });
const BPF_LINKER: Requirement = Cargo(CargoTool {
    name: "bpf-linker",
    version: "0.10.4",
    debug: false,
    why: "links the eBPF programs",
    minutes: 2,
});
const CARGO_DENY: Requirement = Cargo(CargoTool {
    name: "cargo-deny",
    version: "0.20.2",
    // Half the time to build, and checking this workspace still takes a second.
    debug: true,
    why: "checks licences and duplicate dependencies",
    minutes: 3,
});
const CARGO_FUZZ: Requirement = Cargo(CargoTool {
    name: "cargo-fuzz",
    version: "0.13.2",
    debug: true,
    why: "builds and runs the fuzz targets",
    minutes: 1,
});
const CPP: Requirement = program("c++", "g++", "compiles libFuzzer");
const IP: Requirement = program("ip", "iproute2", "makes the namespaces of the labs");
const ETHTOOL: Requirement = program("ethtool", "ethtool", "makes the labs' wires behave like NICs");
const PING: Requirement = program("ping", "iputils-ping", "sends what only it can send");
const BPFTOOL: Requirement = program("bpftool", "bpftool", "shows the maps as an operator sees them");
const TCPDUMP: Requirement = program("tcpdump", "tcpdump", "captures the underlay of labs, and reads it");
const FRR: Requirement = Debian(Program {
    services: &["frr"],
    ..Program::new("vtysh", "frr", "routing daemons for the labs, started there only")
});
const BIRD: Requirement = Debian(Program {
    services: &["bird"],
    ..Program::new("bird", "bird2", "another routing daemon for the labs, started there only")
});

/// A command and the package that holds it, without a service.
const fn program(name: &'static str, package: &'static str, why: &'static str) -> Requirement {
    Debian(Program::new(name, package, why))
}

/// What building needs.
pub(crate) const BUILD: &[Requirement] = &[Compiler, RUST_SRC, BPF_LINKER];
/// What running an agent needs.
pub(crate) const RUN: &[Requirement] = &[Compiler, RUST_SRC, BPF_LINKER, Bpffs];
/// What the demo needs.
pub(crate) const DEMO: &[Requirement] = &[Compiler, RUST_SRC, BPF_LINKER, IP, ETHTOOL, Bpffs];
/// What the labs need.
pub(crate) const LAB: &[Requirement] =
    &[Compiler, RUST_SRC, BPF_LINKER, IP, ETHTOOL, TCPDUMP, FRR, BIRD, Bpffs];
/// What the tests need.
pub(crate) const TEST: &[Requirement] = &[
    Compiler, RUST_SRC, RUSTFMT, CLIPPY, BPF_LINKER, CARGO_DENY, IP, ETHTOOL, PING, BPFTOOL, TCPDUMP, FRR,
    BIRD, Bpffs,
];
/// What fuzzing needs.
pub(crate) const FUZZ: &[Requirement] = &[Compiler, RUST_SRC, BPF_LINKER, CARGO_FUZZ, CPP];
/// All of it but what only fuzzing needs.
const EVERYTHING: &[Requirement] = &[
    Compiler, RUST_SRC, RUSTFMT, CLIPPY, BPF_LINKER, CARGO_DENY, IP, ETHTOOL, PING, BPFTOOL, TCPDUMP, FRR,
    BIRD, Bpffs,
];

impl Requirement {
    /// Its name and what it is for.
    fn describe(self) -> (String, &'static str) {
        match self {
            Compiler => (rust::description(), "compiles everything"),
            Component(component) => (component.name.to_owned(), component.why),
            Cargo(tool) => (format!("{} {}", tool.name, tool.version), tool.why),
            Debian(program) => {
                (format!("{} (Debian package {})", program.name, program.package), program.why)
            }
            Bpffs => ("the BPF file system".to_owned(), "keeps maps and programs when the agent stops"),
        }
    }

    /// Whether it is there. An error is a state that installing cannot mend.
    fn is_met(self) -> Result<bool> {
        match self {
            Compiler => rust::check_compiler().map(|()| true),
            Component(component) => component.is_installed(),
            Cargo(tool) => Ok(tool.is_installed()),
            Debian(program) => Ok(program.is_installed()),
            Bpffs => bpffs::is_mounted(),
        }
    }

    /// Installs it.
    fn install(self) -> Result<()> {
        match self {
            Compiler => rust::check_compiler(),
            Component(component) => component.install(),
            Cargo(tool) => tool.install(),
            Debian(program) => program.install(),
            Bpffs => bpffs::mount(),
        }
    }
}

/// Installs what is missing of `requirements`, tells about each, and returns how many were missing.
pub(crate) fn ensure(requirements: &[Requirement]) -> Result<usize> {
    let mut missing = 0;
    for requirement in requirements {
        if requirement.is_met()? {
            continue;
        }
        missing += 1;
        let (what, why) = requirement.describe();
        eprintln!("setup: {what} is missing ({why}): installing it");
        requirement.install().map_err(|error| error.context(format!("setup: cannot install {what}")))?;
        if !requirement.is_met()? {
            return Err(anyhow!("setup: {what} was installed without an error, but is not there"));
        }
    }
    Ok(missing)
}

/// `cargo xtask setup`.
pub(crate) fn everything() -> Result<()> {
    let missing = ensure(EVERYTHING)?;
    for requirement in EVERYTHING {
        let (what, why) = requirement.describe();
        println!("  {what:<36} {why}");
    }
    match missing {
        0 => println!("Everything was there already."),
        1 => println!("Everything is there; 1 thing was installed now."),
        _ => println!("Everything is there; {missing} things were installed now."),
    }
    Ok(())
}
