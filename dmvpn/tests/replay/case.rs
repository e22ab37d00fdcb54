//! A case: a directory with what goes in and what has to come out.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

use super::{player::Player, script};

/// Where the cases are, seen from the package, where cargo runs tests.
const CASES: &str = "tests/replay/cases";
/// Set to write down what comes out as what has to come out.
const BLESS: &str = "DMVPN_BLESS";
/// Files of a case.
const FILES: [&str; 4] = ["about.md", "config.yaml", "expected.txt", "steps.txt"];
/// What a case can be about: a rule comes from a document or from what a peer does.
const SOURCES: [&str; 6] = ["RFC 2332", "Cisco", "Huawei", "FRR", "OpenNHRP", "ARCHITECTURE.md"];

/// A case.
pub(super) struct Case {
    /// Its name: that of the directory.
    pub(super) name: String,
    directory: PathBuf,
}

/// Every case, by name.
pub(super) fn all() -> Result<Vec<Case>> {
    let entries = fs::read_dir(CASES).with_context(|| format!("cannot read {CASES}"))?;
    let mut cases = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().into_string().ok().context("a case with a name that is not text")?;
        cases.push(Case { name, directory: entry.path() });
    }
    ensure!(!cases.is_empty(), "{CASES} is empty");
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

impl Case {
    /// Plays the case and compares, or blesses what comes out.
    pub(super) fn check(&self) -> Result<()> {
        self.check_files()?;
        let steps = script::read(&self.read("steps.txt")?).context("steps.txt")?;
        let found = Player::new(&self.directory.join("config.yaml"))?.play(&steps)?;
        let path = self.directory.join("expected.txt");
        if env::var_os(BLESS).is_some_and(|value| value == "1") {
            return fs::write(&path, found).with_context(|| format!("cannot write {}", path.display()));
        }
        let expected = fs::read_to_string(&path)
            .with_context(|| format!("no {}: run with {BLESS}=1 and read it", path.display()))?;
        if found != expected {
            bail!("{} differs:\n{}", path.display(), difference(&expected, &found));
        }
        Ok(())
    }

    /// Whether the files are those of a case, and the case says where its rule comes from.
    fn check_files(&self) -> Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            let known = FILES.iter().any(|file| Path::new(file) == Path::new(&name));
            ensure!(known, "{}: {} is no file of a case", self.directory.display(), name.display());
        }
        let about = self.read("about.md")?;
        let sourced = SOURCES.iter().any(|source| about.contains(source));
        ensure!(sourced, "about.md names none of {}", SOURCES.join(", "));
        Ok(())
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = self.directory.join(file);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }
}

/// The part of two texts that differs, with a few lines around it.
fn difference(expected: &str, found: &str) -> String {
    /// Lines around the difference.
    const AROUND: usize = 3;
    /// Lines of each text that are shown.
    const MOST: usize = 40;

    let (old, new): (Vec<_>, Vec<_>) = (expected.lines().collect(), found.lines().collect());
    let same_head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let most = old.len().min(new.len()) - same_head;
    let same_tail = old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let from = same_head.saturating_sub(AROUND);
    let part = |lines: &[&str], sign: char| -> String {
        let differing = same_head..lines.len() - same_tail;
        let to = (lines.len() - same_tail).min(same_head + MOST);
        let mark = |(at, line): (usize, &&str)| {
            let sign = if differing.contains(&at) { sign } else { ' ' };
            format!("{sign} {line}\n")
        };
        lines.iter().enumerate().take(to).skip(from).map(mark).collect()
    };
    format!("line {}\nexpected:\n{}found:\n{}", same_head + 1, part(&old, '-'), part(&new, '+'))
}
