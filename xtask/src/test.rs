//! `cargo xtask test`: every check and every test, one step after the other.

use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::ValueEnum;

use crate::{
    build::{self, Profile},
    process, setup,
};

/// What to test.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run only these steps [default: all].
    #[arg(value_enum)]
    steps: Vec<Step>,
}

/// One step. In the order in which they run: the quick ones first.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// The formatting of all sources.
    Format,
    /// Clippy on every package and target, no warning allowed.
    Lints,
    /// Licences, sources and duplicates of the dependencies.
    Licences,
    /// Known vulnerabilities of the dependencies; not run where their database cannot be fetched.
    Advisories,
    /// Tests of every package that need no lab; those of the kernel side run on the host.
    Unit,
    /// Agents in network namespaces, with real packets (root).
    Lab,
    /// Our nodes and FRR's in a virtual machine, which has the kernel's GRE.
    Vm,
}

/// How a step ended, with a few words about it.
enum Outcome {
    Passed(String),
    Failed(String),
    /// It could not run, for a reason outside of the project. Does not fail the whole.
    NotRun(String),
}

/// `cargo xtask test`.
pub(crate) fn command(arguments: &Arguments) -> Result<()> {
    let started = Instant::now();
    setup::ensure(setup::TEST)?;
    let steps = if arguments.steps.is_empty() { Step::value_variants() } else { &arguments.steps };

    let mut results = Vec::new();
    for step in steps {
        eprintln!("\n==== {} ====", step.name());
        let start = Instant::now();
        let outcome = step.run().unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        if let Outcome::Failed(why) = &outcome {
            eprintln!("{}: {why}", step.name());
        }
        results.push((step.name(), start.elapsed(), outcome));
    }

    println!("\n{:<12} {:>8}  result", "step", "time");
    for (name, time, outcome) in &results {
        let (word, words) = match outcome {
            Outcome::Passed(words) => ("ok", words),
            Outcome::Failed(words) => ("FAILED", words),
            Outcome::NotRun(words) => ("not run", words),
        };
        println!(
            "{name:<12} {:>8}  {word}{}{words}",
            seconds(*time),
            if words.is_empty() { "" } else { ": " }
        );
    }
    println!("{:<12} {:>8}", "total", seconds(started.elapsed()));

    let failed = results.iter().filter(|(_, _, outcome)| matches!(outcome, Outcome::Failed(_))).count();
    if failed > 0 {
        bail!("{failed} of {} steps failed", results.len());
    }
    Ok(())
}

impl Step {
    /// Its name on the command line.
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn run(self) -> Result<Outcome> {
        match self {
            Self::Format => check(process::cargo().args(["fmt", "--all", "--check"])),
            Self::Lints => check(process::cargo().args([
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "--deny",
                "warnings",
            ])),
            Self::Licences => check(process::cargo().args(["deny", "check", "bans", "licenses", "sources"])),
            Self::Advisories => advisories(),
            Self::Unit => {
                let mut command = process::cargo();
                command.args(["test", "--workspace", "--exclude", "dmvpn-tests", "--no-fail-fast"]);
                tests(&mut command)
            }
            Self::Lab => {
                build::build_other_layout()?;
                let [agent] = build::build([build::AGENT], Profile::Dev)?;
                let mut command = process::cargo();
                command.args(["test", "--package", "dmvpn-tests", "--no-fail-fast"]);
                command.env("DMVPN_BIN", agent);
                tests(&mut command)
            }
            Self::Vm => {
                let [agent, lab] = build::build([build::AGENT, build::LAB], Profile::Dev)?;
                check(Command::new(lab).arg("vm-frr-mixed").env("DMVPN_BIN", agent))
            }
        }
    }
}

/// Runs a command that says everything itself.
fn check(command: &mut Command) -> Result<Outcome> {
    process::run(command)?;
    Ok(Outcome::Passed(String::new()))
}

/// Checks the dependencies against the advisory database, when there is one.
fn advisories() -> Result<Outcome> {
    // Fetching goes to a Git host that a build machine often cannot reach; that is no fault of this project.
    let fetched = Command::new("timeout")
        .arg("60")
        .arg(process::cargo().get_program())
        .args(["deny", "fetch", "db"])
        .output()
        .context("cannot start timeout")?;
    if !fetched.status.success() {
        return Ok(Outcome::NotRun("the advisory database cannot be fetched from here".to_owned()));
    }
    check(process::cargo().args(["deny", "check", "--disable-fetch", "advisories"]))
}

/// Runs `cargo test ...`, the test programs as root, and adds up what they report.
fn tests(command: &mut Command) -> Result<Outcome> {
    if !process::is_root() {
        // Cargo starts each test program through its "runner"; compiling stays with the user.
        if process::find("sudo").is_none() {
            bail!("these tests need root (namespaces, eBPF), and there is no sudo. Remedy: run as root");
        }
        command.env(runner_variable()?, "sudo --preserve-env");
    }
    let line = process::describe(command);
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start `{line}`"))?;
    let output = child.stdout.take().ok_or_else(|| anyhow!("`{line}` has no standard output"))?;
    let mut count = Count::default();
    for text in BufReader::new(output).split(b'\n') {
        let text = text.with_context(|| format!("reading from `{line}`"))?;
        let text = String::from_utf8_lossy(&text);
        eprintln!("{text}");
        count.add(&text);
    }
    let status = child.wait().with_context(|| format!("waiting for `{line}`"))?;
    Ok(if status.success() && count.passed > 0 {
        Outcome::Passed(count.to_string())
    } else {
        Outcome::Failed(format!("{count} ({status})"))
    })
}

/// The variable that tells cargo how to start programs built for this machine.
fn runner_variable() -> Result<OsString> {
    let text = process::output(Command::new("rustc").arg("-vV"))?;
    let host = text
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .ok_or_else(|| anyhow!("`rustc -vV` prints no `host`"))?;
    Ok(format!("CARGO_TARGET_{}_RUNNER", host.to_uppercase().replace('-', "_")).into())
}

/// How many tests did what.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u32,
    failed: u32,
    ignored: u32,
}

impl Count {
    /// Adds a line like `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; ...`; other lines count nothing.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let numbers = result.split_once(". ").map_or("", |(_, numbers)| numbers);
        for part in numbers.split("; ") {
            let Some((number, what)) = part.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u32>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tests passed", self.passed)?;
        if self.failed > 0 {
            write!(f, ", {} failed", self.failed)?;
        }
        if self.ignored > 0 {
            write!(f, ", {} ignored", self.ignored)?;
        }
        Ok(())
    }
}

/// A time as `1m02s` or `3.4s`.
fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    if whole >= 60 {
        format!("{}m{:02}s", whole / 60, whole % 60)
    } else {
        format!("{:.1}s", time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_the_results_of_several_test_programs() {
        let mut count = Count::default();
        count.add("running 4 tests");
        count.add(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        );
        count.add("test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        assert_eq!(count, Count { passed: 8, failed: 2, ignored: 1 });
        assert_eq!(count.to_string(), "8 tests passed, 2 failed, 1 ignored");
    }

    #[test]
    fn prints_long_times_in_minutes() {
        assert_eq!(seconds(Duration::from_millis(3_400)), "3.4s");
        assert_eq!(seconds(Duration::from_secs(62)), "1m02s");
    }
}
