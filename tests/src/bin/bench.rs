//! The benchmarks' command line; `cargo xtask bench` builds and starts it.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum as _};
use dmvpn_tests::{
    bench::{self, Extent, Pages, Part, Thresholds},
    exit::exit_code,
};

/// Measures the data path, TCP through the tunnel, the control plane, and software of others beside ours. Needs root.
#[derive(Parser)]
#[command(name = "bench")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct Arguments {
    /// Measure only these parts [default: all].
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Print the figures as one JSON object on standard output.
    #[arg(long)]
    json: bool,
    /// Fail when a figure is beyond its limit in the thresholds.
    #[arg(long)]
    check: bool,
    /// Measure roughly, within a minute a part. For who changes something; nothing is written.
    #[arg(long)]
    quick: bool,
    /// Where the pages are written and the thresholds are read.
    #[arg(long, value_name = "DIRECTORY", default_value = "docs/bench")]
    output: PathBuf,
    /// Do what the part `peers` does inside of its virtual machine.
    #[arg(long, hide = true)]
    in_guest: bool,
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}

/// Whether every figure is within its limits, or nobody asked.
fn run(arguments: &Arguments) -> Result<bool> {
    let extent = if arguments.quick { Extent::Quick } else { Extent::Full };
    if arguments.in_guest {
        return bench::peers::run_in_guest(extent).map(|()| true);
    }
    let thresholds = Thresholds::read(&arguments.output.join("thresholds.yaml"))?;
    let pages = if arguments.quick { None } else { Some(Pages::open(&arguments.output)?) };
    let parts = if arguments.parts.is_empty() { Part::value_variants() } else { &arguments.parts };
    let mut figures = BTreeMap::new();
    let mut broken = Vec::new();
    for part in parts {
        eprintln!("==== {} ====", part.title());
        let report = bench::measure(*part, extent, &thresholds)
            .with_context(|| format!("measuring: {}", part.title()))?;
        if let Some(pages) = &pages {
            pages.write(&report, &thresholds)?;
        }
        if !arguments.json {
            println!("{}", report.page(&thresholds));
        }
        broken.extend(report.broken(&thresholds));
        figures.extend(report.figures.into_iter().map(|figure| (figure.key, figure.value)));
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&figures).context("writing the figures")?);
    }
    if pages.is_some() {
        eprintln!("pages: {}", arguments.output.display());
    }
    for line in &broken {
        eprintln!("{}: {line}", if arguments.check { "FAILED" } else { "note" });
    }
    Ok(broken.is_empty() || !arguments.check)
}
