//! The keys of one mapping: takes the known ones, reports the others.

use std::collections::HashMap;

use super::{
    problem::{Position, Problem},
    yaml::{Key, Node, Value},
};

/// A value that was read, with its position for what later turns out to be wrong with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<T> {
    pub(super) at: Position,
    pub(super) value: T,
}

/// What a key accepts.
pub(super) struct Kind<T> {
    /// Completes "expected ...".
    pub(super) expected: &'static str,
    /// Reads a scalar.
    pub(super) read: fn(&str) -> Option<T>,
    /// Its value must not be printed.
    pub(super) secret: bool,
}

/// A mapping whose keys are being read.
pub(super) struct Section<'n, 'p> {
    at: Position,
    entries: &'n [(Key, Node)],
    known: Vec<&'static str>,
    problems: &'p mut Vec<Problem>,
}

impl<'n, 'p> Section<'n, 'p> {
    /// Starts to read `node`; `what` completes "expected a mapping with ...".
    pub(super) fn new(node: &'n Node, what: &str, problems: &'p mut Vec<Problem>) -> Option<Self> {
        if let Value::Mapping(entries) = &node.value {
            Some(Self { at: node.at, entries, known: Vec::new(), problems })
        } else {
            problems.push(Problem::new(node.at, format!("expected a mapping with the keys of {what}")));
            None
        }
    }

    /// The value of a key that must be there.
    pub(super) fn required<T>(&mut self, key: &'static str, kind: &Kind<T>) -> Option<At<T>> {
        if self.find(key).is_none() {
            self.known.push(key);
            let message = format!("missing key `{key}`: expected {}", kind.expected);
            self.problems.push(Problem::new(self.at, message));
            return None;
        }
        self.optional(key, kind)
    }

    /// The value of a key that may be there.
    pub(super) fn optional<T>(&mut self, key: &'static str, kind: &Kind<T>) -> Option<At<T>> {
        self.known.push(key);
        let (at_key, node) = self.find(key)?;
        if node.value == Value::Nothing {
            let message = format!("`{key}` has no value: expected {}", kind.expected);
            self.problems.push(Problem::new(at_key, message));
            return None;
        }
        self.value(key, node, kind)
    }

    /// The value of `node`, which stands below `key`.
    fn value<T>(&mut self, key: &str, node: &Node, kind: &Kind<T>) -> Option<At<T>> {
        let expected = kind.expected;
        let message = match &node.value {
            Value::Scalar(text) => match (kind.read)(text) {
                Some(value) => return Some(At { at: node.at, value }),
                None if kind.secret => format!("`{key}`: this value is not accepted: expected {expected}"),
                None => format!("`{key}`: `{}` is not accepted: expected {expected}", text.escape_debug()),
            },
            Value::Nothing => format!("`{key}`: nothing is not accepted: expected {expected}"),
            Value::List(_) => format!("`{key}`: a list is not accepted: expected {expected}"),
            Value::Mapping(_) => format!("`{key}`: a mapping is not accepted: expected {expected}"),
        };
        self.problems.push(Problem::new(node.at, message));
        None
    }

    /// The elements of a list that may be there; none when it is empty or absent.
    pub(super) fn list(&mut self, key: &'static str) -> &'n [Node] {
        self.items(key).unwrap_or_default()
    }

    /// The values of a list that may be there; none when it is empty or absent. What is wrong is left out.
    pub(super) fn values<T>(&mut self, key: &'static str, kind: &Kind<T>) -> Vec<At<T>> {
        self.list(key).iter().filter_map(|item| self.value(key, item, kind)).collect()
    }

    /// The values of a list that must have some; `what` completes "expected at least one ...". What is wrong is left out.
    pub(super) fn filled_values<T>(&mut self, key: &'static str, what: &str, kind: &Kind<T>) -> Vec<At<T>> {
        self.filled_list(key, what).iter().filter_map(|item| self.value(key, item, kind)).collect()
    }

    /// Whether there is a list, of a key that also has other values.
    pub(super) fn is_list(&self, key: &str) -> bool {
        self.find(key).is_some_and(|(_, node)| matches!(node.value, Value::List(_)))
    }

    /// A mapping that may be there.
    pub(super) fn mapping(&mut self, key: &'static str) -> Option<&'n Node> {
        self.known.push(key);
        self.find(key).map(|(_, node)| node).filter(|node| node.value != Value::Nothing)
    }

    /// The elements of a list that must have some; `what` completes "expected at least one ...".
    pub(super) fn filled_list(&mut self, key: &'static str, what: &str) -> &'n [Node] {
        let items = self.items(key);
        if items.is_some_and(<[Node]>::is_empty) {
            let at = self.find(key).map_or(self.at, |(at_key, _)| at_key);
            self.problems
                .push(Problem::new(at, format!("no `{key}`: expected a list with at least one {what}")));
        }
        items.unwrap_or_default()
    }

    /// `None` when there is something else than a list, which is reported.
    fn items(&mut self, key: &'static str) -> Option<&'n [Node]> {
        self.known.push(key);
        let Some((_, node)) = self.find(key) else { return Some(&[]) };
        match &node.value {
            Value::List(items) => Some(items),
            Value::Nothing => Some(&[]),
            Value::Scalar(_) | Value::Mapping(_) => {
                self.problems
                    .push(Problem::new(node.at, format!("`{key}`: expected a list (lines with `- `)")));
                None
            }
        }
    }

    /// Reports what nobody asked for. To be called after all known keys were read.
    pub(super) fn finish(self) {
        let mut lines = HashMap::new();
        for (key, _) in self.entries {
            if let Some(line) = lines.insert(&key.text, key.at.line) {
                let message =
                    format!("duplicate key `{}`: it is on line {line} too", key.text.escape_debug());
                self.problems.push(Problem::new(key.at, message));
            } else if !self.known.contains(&key.text.as_str()) {
                let hint = similar(&key.text, &self.known)
                    .map_or_else(String::new, |known| format!(", did you mean `{known}`?"));
                let accepted = self.known.join(", ");
                let message =
                    format!("unknown key `{}`{hint} (accepted: {accepted})", key.text.escape_debug());
                self.problems.push(Problem::new(key.at, message));
            }
        }
    }

    /// Where `key` stands, and its value.
    fn find(&self, key: &str) -> Option<(Position, &'n Node)> {
        self.entries.iter().find(|(entry, _)| entry.text == key).map(|(entry, node)| (entry.at, node))
    }
}

/// The word of `known` that `word` is probably a misspelling of.
fn similar(word: &str, known: &[&'static str]) -> Option<&'static str> {
    // One error in short words, two in long ones; long input is no misspelling and costs time.
    let allowed = if word.len() <= 4 { 1 } else { 2 };
    if word.len() > 40 {
        return None;
    }
    let word = word.replace('_', "-").to_lowercase();
    known
        .iter()
        .map(|candidate| (strsim::osa_distance(&word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}
