//! What is wrong with a configuration, and where.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// A place in a file; both numbers from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where.
    pub at: Position,
    /// What, and what is accepted instead.
    pub message: String,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not a configuration: everything that is wrong, in the order of the file.
    #[error("{}", Report { path, problems })]
    Invalid {
        /// The file.
        path: PathBuf,
        /// At least one.
        problems: Vec<Problem>,
    },
}

impl Problem {
    pub(super) fn new(at: Position, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }

    /// The same problem, at `end` if it is behind it: the parser of YAML adds a line to a text that does not end
    /// with one.
    pub(super) fn not_behind(self, end: Position) -> Self {
        Self { at: self.at.min(end), ..self }
    }
}

/// Most problems in a report; with more of them the file is something else.
const MAX_REPORTED: usize = 50;

/// A line for each problem, as compilers print them: editors can jump to `file:line:column`.
struct Report<'a> {
    path: &'a Path,
    problems: &'a [Problem],
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, Problem { at, message }) in self.problems.iter().take(MAX_REPORTED).enumerate() {
            let newline = if place == 0 { "" } else { "\n" };
            write!(f, "{newline}{}:{}:{}: {message}", self.path.display(), at.line, at.column)?;
        }
        match self.problems.len().saturating_sub(MAX_REPORTED) {
            0 => Ok(()),
            more => write!(f, "\n{}: and {more} more", self.path.display()),
        }
    }
}
