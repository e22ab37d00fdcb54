//! What is accepted, and the exact text of everything that is not.

mod accepted;
mod reference;
mod rules;
mod syntax;
mod values;

use std::fmt::Write;

use super::Config;

/// Every problem of `text` as it is printed, without the name of the file.
fn problems(text: &str) -> Vec<String> {
    match Config::parse(text.as_bytes()) {
        Ok(_) => Vec::new(),
        Err(problems) => problems
            .iter()
            .map(|problem| format!("{}:{}: {}", problem.at.line, problem.at.column, problem.message))
            .collect(),
    }
}

/// A file with one tunnel, which has `lines` after its three required keys: they start on line 5.
fn tunnel(lines: &str) -> String {
    let mut text =
        "tunnels:\n  - name: dmvpn0\n    address: 10.0.0.1/24\n    source: 192.0.2.10\n".to_owned();
    for line in lines.lines() {
        writeln!(text, "    {line}").unwrap();
    }
    text
}

/// Fails unless `text` has exactly these problems.
#[track_caller]
fn assert_problems(text: &str, expected: &[&str]) {
    assert_eq!(problems(text), expected, "in:\n{text}");
}
