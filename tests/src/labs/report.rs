//! What a lab found, step by step.

use std::time::Instant;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::{
    Options, Output,
    captures::{Captures, Sender},
};
use crate::namespace::Namespace;

/// Collects the steps of one lab while it runs, and tells them.
#[derive(Debug)]
pub struct Report {
    lab: &'static str,
    start: Instant,
    steps: Vec<Step>,
    output: Output,
    captures: Captures,
}

/// One step and its verdict.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// What was to be seen.
    pub name: String,
    /// Whether it was.
    pub ok: bool,
    /// What was seen, or what went wrong.
    pub detail: String,
}

/// The result of a lab, as `--json` prints it. A field is never renamed; new ones may appear.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// Name of the lab.
    pub lab: &'static str,
    /// Whether every step was as it should be, and there was one.
    pub ok: bool,
    /// From the first to the last step, in milliseconds.
    pub milliseconds: u64,
    /// The steps, in order; after one that failed there may be none.
    pub steps: Vec<Step>,
}

impl Report {
    /// Nothing was found yet in the lab `lab`, which runs under the name `name`.
    pub(super) fn new(lab: &'static str, name: &str, options: &Options) -> Self {
        Self {
            lab,
            start: Instant::now(),
            steps: Vec::new(),
            output: options.output,
            captures: Captures::new(name, options.pcap.clone()),
        }
    }

    /// Does one step, notes and tells how it ended: `work` returns what it saw. A step that failed is an error here,
    /// too, for a lab that cannot go on without it.
    pub fn step(&mut self, name: impl Into<String>, work: impl FnOnce() -> Result<String>) -> Result<()> {
        let name = name.into();
        match work() {
            Ok(detail) => {
                self.note(Step { name, ok: true, detail });
                Ok(())
            }
            Err(error) => {
                let failure = format!("this step failed: {name}");
                self.note(Step { name, ok: false, detail: format!("{error:#}") });
                bail!(failure)
            }
        }
    }

    /// Captures a node's wire, at the router's end of it, into a file that has `place` in its name, from now to the end
    /// of the lab. Once that is over, what was captured is judged: all that the node sends when it is ours.
    pub(super) fn capture(
        &mut self,
        namespace: &Namespace,
        interface: &str,
        place: &str,
        sender: Sender,
    ) -> Result<()> {
        let file = format!("{}-{place}.pcap", self.lab);
        let wire = self.captures.start(namespace, interface, &file, sender)?;
        self.output.wire(wire);
        Ok(())
    }

    /// What was on the wires.
    pub(super) fn captures(&mut self) -> &mut Captures {
        &mut self.captures
    }

    /// The lab's name.
    pub(super) fn lab(&self) -> &'static str {
        self.lab
    }

    /// Tells something that is no step.
    pub(super) fn tell(&self, text: &str) {
        self.output.line(text);
    }

    /// Whether every step so far was as it should be, and there was one.
    pub(super) fn is_good(&self) -> bool {
        !self.steps.is_empty() && self.steps.iter().all(|step| step.ok)
    }

    /// Notes an error that no step accounts for, and ends the captures.
    pub(super) fn end(&mut self, played: Result<()>) {
        if let Err(error) = played
            && self.steps.last().is_none_or(|step| step.ok)
        {
            self.note(Step { name: "the lab itself".to_owned(), ok: false, detail: format!("{error:#}") });
        }
        self.captures.end();
    }

    pub(super) fn verdict(self) -> Verdict {
        let ok = self.is_good();
        let milliseconds = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        Verdict { lab: self.lab, ok, milliseconds, steps: self.steps }
    }

    /// Notes a step, and tells about it.
    pub(super) fn note(&mut self, step: Step) {
        self.output.step(self.start.elapsed(), &step);
        self.steps.push(step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(play: impl FnOnce(&mut Report) -> Result<()>) -> Verdict {
        let mut report = Report::new("test", "test", &Options::default());
        let played = play(&mut report);
        report.end(played);
        report.verdict()
    }

    #[test]
    fn a_lab_is_good_when_every_step_is() {
        let good = |report: &mut Report| report.step("one", || Ok("seen".to_owned()));
        assert!(verdict(good).ok);
        assert!(!verdict(|_| Ok(())).ok, "nothing was shown");
        let seen = verdict(|report| {
            // A step that the others do not rest on.
            let _ = report.step("one", || bail!("not there"));
            report.step("two", || Ok("seen".to_owned()))
        });
        assert!(!seen.ok);
        assert_eq!(seen.steps.iter().map(|step| step.ok).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn an_error_is_told_once() {
        let seen = verdict(|report| report.step("one", || bail!("not there")));
        assert_eq!(seen.steps.len(), 1);
        assert_eq!((seen.steps[0].ok, seen.steps[0].detail.as_str()), (false, "not there"));

        let seen = verdict(|report| {
            report.step("one", || Ok("seen".to_owned()))?;
            bail!("no program")
        });
        assert_eq!(seen.steps.len(), 2);
        assert_eq!((seen.steps[1].ok, seen.steps[1].detail.as_str()), (false, "no program"));
    }
}
