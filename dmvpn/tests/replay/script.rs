//! The text of `steps.txt`: steps at the margin, the fields of a packet indented below them.

use anyhow::{Result, bail};

/// A line that says something.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Its number in the file.
    pub(super) number: usize,
    /// Without indentation.
    pub(super) text: String,
}

/// A step, and the lines that belong to it.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// Comments above it.
    pub(super) comments: Vec<String>,
    pub(super) line: Line,
    pub(super) fields: Vec<Line>,
}

/// Reads a script. Lines that begin with `#` are comments; empty lines mean nothing.
pub(super) fn read(text: &str) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    let mut comments = Vec::new();
    for (number, raw) in (1..).zip(text.lines()) {
        let text = raw.trim_end();
        if text.is_empty() {
            continue;
        }
        if text.starts_with('#') {
            comments.push(text.to_owned());
            continue;
        }
        let line = Line { number, text: text.trim_start().to_owned() };
        match (text.starts_with(char::is_whitespace), steps.last_mut()) {
            (false, _) => {
                steps.push(Step { comments: std::mem::take(&mut comments), line, fields: Vec::new() });
            }
            (true, Some(step)) => step.fields.push(line),
            (true, None) => bail!("line {number} is indented, but there is no step above it"),
        }
    }
    if !comments.is_empty() {
        bail!("a comment at the end, with no step below it");
    }
    Ok(steps)
}
