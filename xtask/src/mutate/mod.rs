//! `cargo xtask mutate`: breaks the rules of the data path one by one, to see that a test fails each time.

mod list;
mod page;
mod scratch;

use std::{
    env,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use self::{
    list::Mutation,
    scratch::{Run, Scratch},
};
use crate::setup;

/// Which rules to break.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only these, by their names in the list [default: all, and `docs/mutations.md` is written].
    names: Vec<String>,
    /// Run every test of the programs, not only those that are to fail: to find out which one could be named.
    #[arg(long)]
    all_tests: bool,
}

/// What came of a mutation.
struct Outcome<'list> {
    mutation: &'list Mutation,
    verdict: Verdict,
    time: Duration,
}

enum Verdict {
    /// These tests failed, among them those that were to.
    Caught(Vec<String>),
    /// None of the tests that were run failed.
    Survived,
    /// What is written in the list is not so.
    Wrong(String),
}

/// `cargo xtask mutate`.
pub(crate) fn command(arguments: &Arguments) -> Result<()> {
    setup::ensure(setup::TEST)?;
    let root = root()?;
    let list = list::read(&root)?;
    let chosen = choose(&list, &arguments.names)?;
    let scratch = Scratch::new(&root)?;
    // Whoever fails without a mutation proves nothing by failing with one.
    match scratch.run(&expected_tests(&chosen))? {
        Run::Passed => {}
        other => bail!("without any mutation: {other}"),
    }
    let mut outcomes = Vec::new();
    for mutation in chosen {
        let started = Instant::now();
        let verdict = try_out(&scratch, mutation, arguments.all_tests)?;
        let outcome = Outcome { mutation, verdict, time: started.elapsed() };
        eprintln!("{outcome}");
        outcomes.push(outcome);
    }
    let bad = outcomes.iter().filter(|outcome| !matches!(outcome.verdict, Verdict::Caught(_))).count();
    println!("{} mutations, {} caught", outcomes.len(), outcomes.len() - bad);
    if bad > 0 {
        bail!("{bad} mutations were not caught as the list says");
    }
    if arguments.names.is_empty() {
        page::write(&root, &list)?;
    }
    Ok(())
}

/// The directory of the workspace.
fn root() -> Result<PathBuf> {
    let package = env::var_os("CARGO_MANIFEST_DIR").context("cargo did not say where this package is")?;
    Ok(Path::new(&package).parent().context("this package has no parent directory")?.to_owned())
}

fn choose<'list>(list: &'list [Mutation], names: &[String]) -> Result<Vec<&'list Mutation>> {
    if names.is_empty() {
        return Ok(list.iter().collect());
    }
    let find = |name: &String| list.iter().find(|mutation| mutation.name == *name);
    names.iter().map(|name| find(name).with_context(|| format!("no mutation is called {name}"))).collect()
}

fn expected_tests(mutations: &[&Mutation]) -> Vec<String> {
    let mut tests: Vec<_> = mutations.iter().flat_map(|mutation| &mutation.caught_by).cloned().collect();
    tests.sort();
    tests.dedup();
    tests
}

/// Breaks a rule in the scratch copy, runs the tests, and puts it right again.
fn try_out(scratch: &Scratch, mutation: &Mutation, all_tests: bool) -> Result<Verdict> {
    let _applied = scratch.apply(mutation)?;
    let run = scratch.run(if all_tests { &[] } else { &mutation.caught_by })?;
    let failed = match run {
        Run::Passed => return Ok(Verdict::Survived),
        Run::NotBuilt(why) => return Ok(Verdict::Wrong(format!("it does not even build: {why}"))),
        Run::NotLoaded => return Ok(Verdict::Wrong("the kernel does not load it".to_owned())),
        Run::Failed(failed) => failed,
    };
    let missing: Vec<_> = mutation.caught_by.iter().filter(|test| !failed.contains(test)).cloned().collect();
    Ok(if missing.is_empty() {
        Verdict::Caught(failed)
    } else {
        Verdict::Wrong(format!("{} passed, {} failed", missing.join(", "), failed.join(", ")))
    })
}

impl std::fmt::Display for Outcome<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (word, words) = match &self.verdict {
            Verdict::Caught(tests) => ("caught", tests.join(", ")),
            Verdict::Survived => ("SURVIVED", self.mutation.rule.clone()),
            Verdict::Wrong(why) => ("WRONG", why.clone()),
        };
        write!(f, "{word:<9} {:<40} {:>5.1}s  {words}", self.mutation.name, self.time.as_secs_f64())
    }
}
