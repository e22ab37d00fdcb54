//! YAML text to a tree that remembers where everything stands.
//!
//! Scalars stay text: what a number or an address looks like is for the key they belong to. So an `authentication:
//! 0042` is the four bytes that the operator wrote, not the number that YAML makes of them.
//!
//! Only what a configuration needs is accepted. Without aliases, a tree is never larger than its file.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::problem::{Position, Problem};

/// Deepest nesting of lists and mappings; the configuration needs five.
const MAX_DEPTH: usize = 16;

/// A value with its position.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Where it starts.
    pub(super) at: Position,
    /// What it is.
    pub(super) value: Value,
}

/// What a [`Node`] is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing was written, or `null`.
    Nothing,
    /// Text, a number, a truth value.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Mapping(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Where it starts.
    pub(super) at: Position,
    /// The key.
    pub(super) text: String,
}

/// A collection that is not complete yet.
struct Open {
    at: Position,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Mapping { entries: Vec<(Key, Node)>, key: Option<Key> },
}

/// Reads the one document in `text`; an empty text is [`Value::Nothing`].
pub(super) fn parse(text: &str) -> Result<Node, Problem> {
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;

    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| syntax(&error))?;
        let at = position(span);
        match event {
            Event::Alias(_) => {
                return Err(Problem::new(at, "aliases (`*name`) are not accepted: repeat the value"));
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => {
                return Err(Problem::new(at, "tags (`!name`) are not accepted: remove it"));
            }
            Event::DocumentStart(_) if root.is_some() => {
                return Err(Problem::new(at, "a second document: a configuration is one document"));
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() == MAX_DEPTH => {
                return Err(Problem::new(at, format!("nested more than {MAX_DEPTH} levels deep")));
            }
            Event::SequenceStart(..) => open.push(Open { at, content: Content::List(Vec::new()) }),
            Event::MappingStart(..) => {
                open.push(Open { at, content: Content::Mapping { entries: Vec::new(), key: None } });
            }
            Event::Scalar(text, style, ..) => {
                let nothing = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null");
                // A key is text even when it looks like nothing.
                let is_key =
                    matches!(open.last(), Some(Open { content: Content::Mapping { key: None, .. }, .. }));
                let value =
                    if nothing && !is_key { Value::Nothing } else { Value::Scalar(text.into_owned()) };
                add(&mut open, &mut root, Node { at, value })?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                // The parser closes only what it opened.
                if let Some(Open { at, content }) = open.pop() {
                    let value = match content {
                        Content::List(items) => Value::List(items),
                        Content::Mapping { entries, .. } => Value::Mapping(entries),
                    };
                    add(&mut open, &mut root, Node { at, value })?;
                }
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
    }
    Ok(root.unwrap_or(Node { at: Position { line: 1, column: 1 }, value: Value::Nothing }))
}

/// Puts a complete node where it belongs.
fn add(open: &mut [Open], root: &mut Option<Node>, node: Node) -> Result<(), Problem> {
    match open.last_mut().map(|parent| &mut parent.content) {
        None => *root = Some(node),
        Some(Content::List(items)) => items.push(node),
        Some(Content::Mapping { entries, key }) => match (key.take(), node) {
            (Some(key), node) => entries.push((key, node)),
            (None, Node { at, value: Value::Scalar(text) }) => *key = Some(Key { at, text }),
            (None, Node { at, .. }) => return Err(Problem::new(at, "a key must be a word")),
        },
    }
    Ok(())
}

fn position(span: Span) -> Position {
    Position { line: span.start.line(), column: span.start.col() + 1 }
}

fn syntax(error: &ScanError) -> Problem {
    let at = Position { line: error.marker().line(), column: error.marker().col() + 1 };
    Problem::new(at, format!("not YAML: {}", error.info()))
}
