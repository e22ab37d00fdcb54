//! `cargo xtask`: prepares the machine, builds, runs, shows and tests dmvpn.
//!
//! What it says about its own work goes to standard error; standard output carries results only.

mod bench;
mod build;
mod demo;
mod fuzz;
mod lab;
mod mutate;
mod peer;
mod process;
mod run;
mod setup;
mod sim;
mod test;

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};

/// Builds, runs, shows and tests dmvpn.
///
/// Every verb first installs what it needs itself and says so; `cargo xtask setup` installs all of it at once.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install everything that building, the demo and the tests need (Debian 12 with stable Rust).
    ///
    /// Says what it installs and why, and does nothing when everything is there. Debian packages need root:
    /// as another user it calls sudo, and where that fails it prints the command to run as root.
    Setup,

    /// Build the release agent with its eBPF programs inside, and print where the binary is.
    Build,

    /// Build the release agent and start it: `cargo xtask run -- --config FILE`.
    ///
    /// Everything behind `--` goes to `dmvpn run`. The agent needs root.
    Run {
        /// Arguments of `dmvpn run`, for example `--config hub.yaml --log debug`.
        #[arg(last = true, required = true, value_name = "ARGUMENTS OF dmvpn run")]
        arguments: Vec<OsString>,
    },

    /// Build everything, then watch two spokes and a hub make a shortcut, in network namespaces (needs root).
    Demo(demo::Arguments),

    /// Run a lab by name, or all of them, and print a verdict about each step (needs root).
    ///
    /// A lab is a network with real programs in it: our nodes, and the routing daemons and NHRP nodes of others. It
    /// fails when a step does.
    Lab(lab::Arguments),

    /// Play a router of another make (`--like ios|ios-xe|huawei-usg|huawei-ar|opennhrp|frr`), as hub or spoke (needs root).
    ///
    /// It speaks NHRP as that router does, over real packets, without an interface: registers or takes registrations,
    /// answers, follows or sends redirects, pings. `cargo xtask peer --help` lists what it can be told.
    Peer(peer::Arguments),

    /// Simulate a large network of real protocol engines in virtual time, and check it at every step.
    ///
    /// Mass registration after a power cut, renewal, churn, loss, traffic, a hub that fails, spokes that move, and
    /// strangers. Prints progress on standard error, then figures; fails when an invariant was violated.
    Sim(sim::Arguments),

    /// Measure the data path, TCP through the tunnel, the control plane and software of others beside ours, and write
    /// `docs/bench/` (needs root).
    ///
    /// Prints tables with medians and spread, or with `--json` one object; some minutes a part. Figures of a machine that
    /// does something else meanwhile are not worth much.
    Bench(bench::Arguments),

    /// Check and test everything: format, lints, licences, unit tests, kernel and lab tests (the last need root).
    ///
    /// Runs every step even when an earlier one failed, then prints one line a step. Fails when a step failed.
    Test(test::Arguments),

    /// Look for inputs on which parsers panic or contradict themselves; ten minutes a target unless told otherwise.
    ///
    /// Fails at the first finding. What it discovers helps the next run; `fuzz/corpus/` is not changed.
    Fuzz(fuzz::Arguments),

    /// Break the rules of the data path one by one, in a copy, and see that a test fails each time (needs root).
    ///
    /// Fails when a mutation survives, or when its line is no longer there. The list is
    /// `dmvpn/tests/programs/mutations.yaml`. Takes a quarter of an hour on a quiet machine; `docs/mutations.md` is what it writes.
    Mutate(mutate::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().verb {
        Verb::Setup => setup::everything(),
        Verb::Build => build::command(),
        Verb::Run { arguments } => run::command(&arguments),
        Verb::Demo(arguments) => demo::command(&arguments),
        Verb::Lab(arguments) => lab::command(&arguments),
        Verb::Peer(arguments) => peer::command(&arguments),
        Verb::Sim(arguments) => sim::command(&arguments),
        Verb::Bench(arguments) => bench::command(&arguments),
        Verb::Test(arguments) => test::command(&arguments),
        Verb::Fuzz(arguments) => fuzz::command(&arguments),
        Verb::Mutate(arguments) => mutate::command(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
