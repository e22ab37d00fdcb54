//! Labs that anybody can run by name: a network, real programs in it, and a verdict about each step.
//!
//! [`all`] lists them. [`run`] runs one: it is built, played, and removed again. `cargo xtask lab` is the command
//! line; the tests run every lab that needs no virtual machine.

mod capture;
mod captures;
mod judge;
mod makes;
mod report;
mod routing;
mod shortcut;
pub(crate) mod vm;

use std::{
    io::{Write as _, stderr, stdout},
    path::PathBuf,
    time::Duration,
};

use anyhow::Result;
use captures::Wire;
pub use report::{Report, Step, Verdict};
use serde::Serialize;
pub use vm::run_in_guest;

use crate::lab;

/// A lab that can be run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Entry {
    /// What it is called on the command line: small letters, digits and dashes.
    pub name: &'static str,
    /// What it shows, in one line.
    pub what: &'static str,
    /// Whether it boots a virtual machine.
    pub needs_vm: bool,
    /// Builds its network. All of it belongs to the lab of the name that is given, so that [`lab::remove`] takes it
    /// away: namespaces `name-...` and the processes inside, files in `/run/dmvpn-name`.
    #[serde(skip)]
    pub build: fn(&str, &mut Report) -> Result<Box<dyn Stage>>,
}

/// A network that is up. Dropping it removes it.
pub trait Stage {
    /// Goes through the steps of the lab. Returns an error when there is no point in going on.
    fn play(&mut self, report: &mut Report) -> Result<()>;

    /// Leaves everything running, and says how to look at it: text of several lines.
    fn keep(self: Box<Self>) -> String;
}

/// Every lab, in the order in which `all` runs them.
pub fn all() -> impl Iterator<Item = &'static Entry> {
    shortcut::LABS.iter().chain(makes::LABS).chain(routing::LABS).chain(vm::LABS)
}

/// The lab of this name.
pub fn find(name: &str) -> Option<&'static Entry> {
    all().find(|entry| entry.name == name)
}

/// How a lab is run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Leave everything up at the end.
    pub keep: bool,
    /// Directory for a capture of every underlay interface, which are made anyway; without it they go with the lab.
    pub pcap: Option<PathBuf>,
    /// Whether tshark reads the captures as well; it is fetched at the first time.
    pub tshark: bool,
    /// Where progress is told.
    pub output: Output,
}

/// Where progress is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Nowhere.
    #[default]
    Nowhere,
    /// To standard output.
    Stdout,
    /// To standard error.
    Stderr,
    /// Steps and captures only, each a line of JSON on standard output: for a program on the other side of a virtual
    /// machine, which judges the captures.
    Steps,
}

impl Output {
    fn line(self, text: &str) {
        // Nobody reads any more (a closed pipe): the lab goes on to clean up.
        let _ = match self {
            Self::Nowhere | Self::Steps => Ok(()),
            Self::Stdout => writeln!(stdout(), "{text}"),
            Self::Stderr => writeln!(stderr(), "{text}"),
        };
    }

    fn wire(self, wire: &Wire) {
        if self == Self::Steps {
            Self::Stdout.line(&serde_json::to_string(wire).unwrap_or_default());
        }
    }

    fn step(self, after: Duration, step: &Step) {
        if self == Self::Steps {
            let text = serde_json::to_string(step).unwrap_or_default();
            return Self::Stdout.line(&text);
        }
        let word = if step.ok { "ok    " } else { "FAILED" };
        self.line(&format!("[{:6.2} s] {word} {}: {}", after.as_secs_f64(), step.name, step.detail));
    }
}

/// Runs a lab, judges what was on its wires, and removes what it made unless it is to be kept.
pub fn run(entry: &'static Entry, options: &Options) -> Verdict {
    options.output.line(&format!("== {}: {}", entry.name, entry.what));
    let name = if options.keep { kept_name(entry) } else { lab::fresh_name() };
    let mut report = Report::new(entry.name, &name, options);
    match (entry.build)(&name, &mut report) {
        Ok(mut stage) => {
            let played = stage.play(&mut report);
            report.end(played);
            if options.output != Output::Steps {
                judge::judge(&mut report, options.tshark);
            }
            if options.keep {
                options.output.line(&format!("Everything is still up. As root, look at:\n{}", stage.keep()));
                options.output.line("Remove it: cargo xtask lab --clean");
            }
        }
        Err(error) => report.end(Err(error.context("building the network"))),
    }
    report.verdict()
}

/// Removes what earlier runs with `keep` have left.
pub fn clean() -> Result<()> {
    all().try_for_each(|entry| lab::remove(&kept_name(entry)))
}

/// The name that a kept lab has; others have one of their own each time.
fn kept_name(entry: &Entry) -> String {
    format!("keep{}", entry.name.replace('-', ""))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_can_be_typed_and_tell_labs_apart() {
        let names: BTreeSet<_> = all().map(kept_name).collect();
        assert_eq!(names.len(), all().count());
        for entry in all() {
            let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            assert!(entry.name.bytes().all(fits) && entry.name != "all", "{}", entry.name);
            assert!(!entry.what.is_empty() && !entry.what.contains('\n'), "{}", entry.name);
        }
    }
}
