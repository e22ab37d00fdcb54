//! Every lab that needs no virtual machine, a test each: `cargo xtask lab` runs the same.

use std::{fmt::Write as _, process::ExitCode};

use dmvpn_tests::labs::{self, Entry, Options};
use libtest_mimic::{Arguments, Failed, Trial};

/// Labs that run side by side: they mostly wait for timers of routing protocols.
const AT_ONCE: usize = 6;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let trials = labs::all()
        .filter(|entry| !entry.needs_vm)
        .map(|entry| Trial::test(entry.name, move || check(entry)))
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn check(entry: &'static Entry) -> Result<(), Failed> {
    let verdict = labs::run(entry, &Options::default());
    if verdict.ok {
        return Ok(());
    }
    let mut text = String::new();
    for step in &verdict.steps {
        let word = if step.ok { "ok    " } else { "FAILED" };
        writeln!(text, "{word} {}: {}", step.name, step.detail)?;
    }
    Err(text.into())
}
