//! The labs' command line; `cargo xtask lab` builds and starts it.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Parser;
use dmvpn_tests::{
    exit::exit_code,
    labs::{self, Options, Output, Verdict},
};
use serde::Serialize;

/// Runs labs by name, and says what each step showed. Needs root.
#[derive(Parser)]
#[command(name = "lab")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct Arguments {
    /// Name of the lab, or `all`.
    #[arg(required_unless_present_any = ["list", "clean"])]
    name: Option<String>,
    /// Print the names of all labs and what they show.
    #[arg(long)]
    list: bool,
    /// Leave everything running and print what to look at.
    #[arg(long)]
    keep: bool,
    /// Write the captures of every underlay interface into this directory, and leave them there.
    #[arg(long, value_name = "DIR")]
    pcap: Option<PathBuf>,
    /// Print the result as JSON on standard output, progress on standard error.
    #[arg(long)]
    json: bool,
    /// Remove what `--keep` has left, and do nothing else.
    #[arg(long)]
    clean: bool,
    /// Run what a lab does inside of its virtual machine.
    #[arg(long, hide = true)]
    in_guest: bool,
}

/// The result of all labs, as `--json` prints it.
#[derive(Serialize)]
struct All<'a> {
    /// Whether all of them are good.
    ok: bool,
    labs: &'a [Verdict],
}

fn main() -> ExitCode {
    exit_code(run(Arguments::parse()))
}

/// Whether every step of every lab was as it should be.
fn run(arguments: Arguments) -> Result<bool> {
    if arguments.list {
        list(arguments.json)?;
        return Ok(true);
    }
    if arguments.clean {
        labs::clean()?;
        println!("Nothing of a lab is left.");
        return Ok(true);
    }
    if arguments.in_guest {
        return labs::run_in_guest(&arguments.name.unwrap_or_default(), arguments.pcap);
    }
    let output = if arguments.json { Output::Stderr } else { Output::Stdout };
    let options = Options { keep: arguments.keep, pcap: arguments.pcap, tshark: true, output };
    let name = arguments.name.unwrap_or_default();
    if name == "all" {
        let verdicts: Vec<_> = labs::all().map(|entry| labs::run(entry, &options)).collect();
        let ok = verdicts.iter().all(|verdict| verdict.ok);
        if arguments.json {
            print(&All { ok, labs: &verdicts })?;
        } else {
            print!("\n{}", verdicts.iter().map(line).collect::<String>());
        }
        return Ok(ok);
    }
    let entry = labs::find(&name)
        .with_context(|| format!("there is no lab {name}. Their names: cargo xtask lab --list"))?;
    let verdict = labs::run(entry, &options);
    if arguments.json {
        print(&verdict)?;
    } else {
        print!("{}", line(&verdict));
    }
    Ok(verdict.ok)
}

fn list(as_json: bool) -> Result<()> {
    if as_json {
        return print(&labs::all().collect::<Vec<_>>());
    }
    for entry in labs::all() {
        let vm = if entry.needs_vm { " (in a virtual machine)" } else { "" };
        println!("  {:<24} {}{vm}", entry.name, entry.what);
    }
    Ok(())
}

fn print(value: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(value).context("writing the result")?);
    Ok(())
}

/// One line about a lab, with its line feed.
fn line(verdict: &Verdict) -> String {
    let good = verdict.steps.iter().filter(|step| step.ok).count();
    let word = if verdict.ok { "ok" } else { "FAILED" };
    let seconds = verdict.milliseconds / 1000;
    format!("{:<24} {word:<7} {good} of {} steps, {seconds} s\n", verdict.lab, verdict.steps.len())
}
