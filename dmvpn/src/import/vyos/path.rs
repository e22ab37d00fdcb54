//! Where a line is: `edit` and `top`, or braces.

use super::super::{
    line::Line,
    verdict::{Judgement, ignored, unknown},
};

/// Most levels of braces, and words of a place: real configurations have a dozen.
const DEPTH: usize = 32;

/// Where the next line is.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// `edit`.
    edit: Vec<String>,
    /// Each open brace and the words in front of it.
    braces: Vec<Vec<String>>,
}

/// What a line is.
#[derive(Debug)]
pub(super) enum Step {
    /// It sets something at the end of this path.
    Path { words: Vec<String>, here: Here },
    /// It has been judged.
    Said(Judgement),
}

/// How a path is made from its line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Here {
    /// Words in front that are of other lines.
    pub(super) before: usize,
    /// Words of the line that are not in the path: `set`, 1 or 0; also a prompt.
    pub(super) set: usize,
}

/// Commands that change nothing here.
const COMMANDS: [&str; 15] = [
    "configure",
    "commit",
    "commit-confirm",
    "save",
    "show",
    "compare",
    "run",
    "ping",
    "reset",
    "exit",
    "discard",
    "load",
    "reboot",
    "apt",
    "dpkg",
];

impl Place {
    /// What the next line is.
    pub(super) fn read(&mut self, line: &Line<'_>) -> Step {
        let words = line.words();
        let prompt = usize::from(words.first().is_some_and(|word| is_prompt(word)));
        let words = words.get(prompt..).unwrap_or_default();
        let said = match words {
            [] => ignored("empty"),
            [first, ..]
                if first.starts_with(['#', '!']) || first.starts_with("/*") || first.starts_with("//") =>
            {
                ignored("comment")
            }
            [first] if first.starts_with('[') && first.ends_with(']') => ignored("where the editor is"),
            ["[edit", ..] => ignored("where the editor is"),
            ["top"] => {
                self.edit.clear();
                ignored("context")
            }
            ["up"] => {
                self.edit.pop();
                ignored("context")
            }
            ["edit", rest @ ..] => {
                if self.edit.len() + rest.len() > DEPTH {
                    return Step::Said(unknown(TOO_DEEP));
                }
                self.edit.extend(rest.iter().map(|word| (*word).to_owned()));
                ignored("context")
            }
            ["set", rest @ ..] => {
                let mut path = self.edit.clone();
                let before = path.len();
                path.extend(rest.iter().map(|word| (*word).to_owned()));
                return Step::Path { words: path, here: Here { before, set: 1 + prompt } };
            }
            ["delete" | "rename" | "copy" | "deactivate", ..] => unknown("only what is set is read"),
            ["}"] => {
                if self.braces.pop().is_none() {
                    return Step::Said(unknown("nothing is open"));
                }
                ignored("context")
            }
            [rest @ .., "{"] => {
                if self.braces.len() >= DEPTH || rest.len() > DEPTH {
                    return Step::Said(unknown(TOO_DEEP));
                }
                self.braces.push(rest.iter().map(|word| (*word).to_owned()).collect());
                ignored("context")
            }
            // Braces first: a leaf may be called `load`.
            rest if !self.braces.is_empty() => {
                let mut path: Vec<String> = self.braces.iter().flatten().cloned().collect();
                let before = path.len();
                path.extend(rest.iter().map(|word| (*word).to_owned()));
                return Step::Path { words: path, here: Here { before, set: prompt } };
            }
            [first, ..] if COMMANDS.contains(first) => ignored("a command, not configuration"),
            _ => unknown("neither `set ...` nor in braces"),
        };
        Step::Said(said)
    }
}

const TOO_DEEP: &str = "too many levels";

/// `vyos@vyos:~$` or `vyos@vyos#`.
fn is_prompt(word: &str) -> bool {
    word.contains('@') && word.ends_with(['$', '#'])
}

#[cfg(test)]
mod tests {
    use super::{super::super::line::Cut, *};

    fn paths(text: &str) -> Vec<String> {
        let mut place = Place::default();
        text.lines()
            .enumerate()
            .filter_map(|(number, raw)| {
                match place.read(&Line::new(number, 0, number + 1, raw, Cut::Quoted)) {
                    Step::Path { words, .. } => Some(words.join(" ")),
                    Step::Said(_) => None,
                }
            })
            .collect()
    }

    #[test]
    fn both_forms_give_the_same_paths() {
        let commands =
            "top\nedit protocols nhrp tunnel tun0\nset redirect\nup\nset tun1 shortcut\ntop\nset a 'b c'";
        let braces = "protocols {\n nhrp {\n  tunnel tun0 {\n   redirect\n  }\n  tunnel tun1 {\n   shortcut\n  }\n }\n}\n\
                      a {\n \"b c\"\n}";
        let expected =
            ["protocols nhrp tunnel tun0 redirect", "protocols nhrp tunnel tun1 shortcut", "a b c"];
        assert_eq!(paths(commands), expected);
        assert_eq!(paths(braces), expected);
    }

    #[test]
    fn depth_is_bounded() {
        assert_eq!(paths(&"a {\n".repeat(1000)).len(), 0);
    }
}
