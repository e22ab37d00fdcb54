//! From a file to a configuration.

use std::{fs::File, io::Read, path::Path};

use super::{
    draft::Draft,
    model::Config,
    problem::{ConfigError, Position, Problem},
    validate::validate,
    yaml,
};

/// Largest configuration file: 1 MiB, some ten thousand static maps.
const MAX_SIZE: usize = 1 << 20;

impl Config {
    /// Reads and checks the file at `path`. Needs no privileges and looks at nothing else.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_SIZE as u64 + 1).read_to_end(&mut bytes))
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&bytes).map_err(|problems| ConfigError::Invalid { path: path.to_owned(), problems })
    }

    /// Checks the bytes of a file: the configuration, or everything that is wrong in the order of the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, Vec<Problem>> {
        let start = Position { line: 1, column: 1 };
        if bytes.len() > MAX_SIZE {
            return Err(vec![Problem::new(start, format!("larger than {MAX_SIZE} bytes"))]);
        }
        let text = str::from_utf8(bytes).map_err(|error| {
            let at = end_of(&String::from_utf8_lossy(&bytes[..error.valid_up_to()]));
            vec![Problem::new(at, "not text: expected UTF-8")]
        })?;
        let end = end_of(text);
        let root = yaml::parse(text).map_err(|problem| vec![problem.not_behind(end)])?;

        let mut problems = Vec::new();
        let draft = Draft::read(&root, &mut problems);
        if let Some(draft) = &draft {
            validate(draft, &mut problems);
        }
        let mut problems: Vec<_> = problems.into_iter().map(|problem| problem.not_behind(end)).collect();
        problems.sort();
        match draft.and_then(Draft::complete) {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(problems),
        }
    }
}

/// The position after `text`. A line ends as in YAML: with a line feed, a carriage return, or both.
fn end_of(text: &str) -> Position {
    let text = text.replace("\r\n", "\n");
    let mut lines = text.rsplit(['\n', '\r']);
    let column = lines.next().map_or(0, |last| last.chars().count()) + 1;
    Position { line: lines.count() + 1, column }
}
