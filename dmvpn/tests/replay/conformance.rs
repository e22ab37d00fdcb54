//! `docs/conformance.md` names tests; each of them has to exist, and each case has to be named there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

/// The document, seen from the package, where cargo runs tests.
const DOCUMENT: &str = "../docs/conformance.md";
/// The repository, seen from there.
const REPOSITORY: &str = "..";
/// The heading of the column with the names of tests.
const COLUMN: &str = "Tests";

/// Checks the document against the replay cases and the sources.
pub(super) fn check(cases: &[String]) -> Result<()> {
    let text = fs::read_to_string(DOCUMENT).with_context(|| format!("cannot read {DOCUMENT}"))?;
    let names = names(&text)?;
    ensure!(!names.is_empty(), "{DOCUMENT} names no tests");
    let mut mentioned = BTreeSet::new();
    for (line, name) in names {
        if let Some((path, function)) = name.split_once("::") {
            check_function(Path::new(path), function).with_context(|| format!("line {line}: `{name}`"))?;
        } else {
            ensure!(cases.contains(&name), "line {line}: there is no replay case `{name}`");
            mentioned.insert(name);
        }
    }
    let forgotten: Vec<_> =
        cases.iter().filter(|case| !mentioned.contains(*case)).map(String::as_str).collect();
    ensure!(forgotten.is_empty(), "{DOCUMENT} does not name the cases {}", forgotten.join(", "));
    Ok(())
}

/// Names in the tests' column of every table, with their lines: `case`, or `path/to/file.rs::function`.
fn names(text: &str) -> Result<Vec<(usize, String)>> {
    let mut names = Vec::new();
    let mut column = None;
    for (number, line) in (1..).zip(text.lines()) {
        let Some(row) = line.strip_prefix('|') else {
            column = None;
            continue;
        };
        let cells: Vec<_> = row.trim_end().trim_end_matches('|').split('|').map(str::trim).collect();
        let Some(at) = column else {
            column = cells.iter().position(|cell| *cell == COLUMN);
            ensure!(column.is_some(), "line {number}: a table without a column `{COLUMN}`");
            continue;
        };
        let cell = cells.get(at).with_context(|| format!("line {number}: too few cells"))?;
        if cell.chars().all(|sign| "-: ".contains(sign)) && !cell.is_empty() {
            continue;
        }
        let quoted: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
        ensure!(!quoted.is_empty(), "line {number} names no test");
        names.extend(quoted.into_iter().map(|name| (number, name.to_owned())));
    }
    Ok(names)
}

/// Whether a source file has that test function, not an ignored one.
fn check_function(path: &Path, function: &str) -> Result<()> {
    let file = PathBuf::from(REPOSITORY).join(path);
    let source = fs::read_to_string(&file).with_context(|| format!("cannot read {}", path.display()))?;
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let head = format!("fn {function}(");
    let at =
        lines.iter().position(|line| line.starts_with(&head) || line.starts_with(&format!("async {head}")));
    let at = at.with_context(|| format!("{} has no function {function}", path.display()))?;
    let attributes: Vec<_> = lines[..at].iter().rev().take_while(|line| line.starts_with("#[")).collect();
    let is_test =
        attributes.iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"));
    // The properties of proptest are inside a macro; their attribute is the same.
    ensure!(is_test, "{function} is no test");
    ensure!(!attributes.iter().any(|line| line.starts_with("#[ignore")), "{function} is ignored");
    Ok(())
}
