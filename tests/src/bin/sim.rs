//! The simulation's command line; `cargo xtask sim` builds and starts it.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::Parser;
use dmvpn_tests::{
    exit::exit_code,
    sim::{self, Outcome, Progress, Settings},
};

/// Simulates a network of real engines in virtual time, and checks it at every step.
#[derive(Parser)]
#[command(name = "sim")]
struct Arguments {
    /// Spokes, 2 to 262144.
    #[arg(long, default_value_t = 10_000)]
    spokes: u32,
    /// Hubs, 1 to 200; every spoke registers with each of them.
    #[arg(long, default_value_t = 2)]
    hubs: u32,
    /// Everything random comes from it: the same seed gives the same run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Virtual hours to run.
    #[arg(long, default_value_t = 24.0)]
    hours: f64,
    /// Print one JSON object on standard output.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}

/// Whether no invariant was violated.
fn run(arguments: &Arguments) -> Result<bool> {
    let duration = Duration::try_from_secs_f64(arguments.hours * 3600.0).context("--hours")?;
    let settings = Settings {
        spokes: arguments.spokes,
        hubs: arguments.hubs,
        seed: arguments.seed,
        duration,
        sabotage: None,
    };
    let outcome = sim::run(settings, print_progress)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&outcome).context("writing the result")?);
    } else {
        print_table(&outcome);
    }
    Ok(outcome.violations == 0)
}

fn print_progress(progress: &Progress) {
    eprintln!(
        "{:>8} ({:>2} %)  registered {:>6} of {}  packets {:>9}  shortcuts {:>6}  {} MB  violations {}",
        progress.virtual_time,
        progress.percent,
        progress.registered,
        progress.of,
        progress.packets,
        progress.shortcuts,
        progress.rss_mb,
        progress.violations,
    );
}

/// Prints the figures, one a line, then the first violations.
fn print_table(outcome: &Outcome) {
    let Outcome { spokes, hubs, seed, .. } = outcome;
    println!("{spokes} spokes, {hubs} hubs, seed {seed}");
    let row = |name: &str, value: &str| println!("  {name:<34}{value:>16}");
    let per_second = |rate: f64| format!("{rate:.0}");
    let span = |seconds: f64| format!("{seconds:.1}");
    row("registrations_per_s", &per_second(outcome.registrations_per_s));
    row("resolutions_per_s", &per_second(outcome.resolutions_per_s));
    row("packets_per_s", &per_second(outcome.packets_per_s));
    row("rss_mb", &format!("{:.1}", outcome.rss_mb));
    row("violations", &outcome.violations.to_string());
    row("virtual_seconds", &span(outcome.virtual_seconds));
    row("wall_seconds", &span(outcome.wall_seconds));
    let mass = outcome.mass_registration_seconds.map_or_else(|| "never".to_owned(), span);
    row("everyone registered after, s", &mass);
    for (name, count) in [
        ("NHRP packets sent", outcome.packets_sent),
        ("  lost by the network", outcome.packets_lost),
        ("  sent by strangers", outcome.packets_of_strangers),
        ("registration requests at hubs", outcome.registrations),
        ("resolution requests at hubs", outcome.resolutions),
        ("shortcuts installed", outcome.shortcuts),
        ("spokes that left", outcome.spokes_left),
        ("spokes that moved", outcome.spokes_moved),
        ("hubs that failed", outcome.hub_failures),
        ("data packets from spoke to spoke", outcome.data_direct),
        ("data packets by a hub", outcome.data_by_hub),
        ("  lost: station left or restarted", outcome.data_lost_stale),
        ("  lost: spoke not registered yet", outcome.data_lost_unregistered),
        ("  lost: hub failed a moment ago", outcome.data_lost_failed_hub),
    ] {
        row(name, &count.to_string());
    }
    row("digest", &outcome.digest);
    for violation in &outcome.first_violations {
        println!("violated {violation}");
    }
}
