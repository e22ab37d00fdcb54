//! Lines of the old configuration and their words.

use super::verdict::Hidden;

/// A line by its place among all lines of all files, from 0.
pub(super) type LineId = usize;

/// Something that a line said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) at: LineId,
    pub(super) value: T,
}

impl<T> At<T> {
    pub(super) fn new(at: LineId, value: T) -> Self {
        Self { at, value }
    }
}

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Line<'a> {
    pub(super) id: LineId,
    /// Which of the files.
    pub(super) file: usize,
    /// In its file, from 1.
    pub(super) number: usize,
    /// Spaces and tabs in front of it.
    pub(super) indent: usize,
    /// Without white space around it, and without a prompt in front.
    pub(super) text: &'a str,
    words: Vec<Word<'a>>,
}

#[derive(Clone, Copy, Debug)]
struct Word<'a> {
    /// Without quotes.
    text: &'a str,
    /// Where it starts in the line's text, quotes included.
    start: usize,
    end: usize,
}

/// How a line is cut into words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// At white space.
    Plain,
    /// At white space outside of quotes.
    Quoted,
    /// The same; braces and semicolons are words, and `#` starts a comment.
    Braces,
}

/// Words behind which a password stands, whatever the line is about.
const BEFORE_SECRETS: [&str; 14] = [
    "password",
    "secret",
    "pre-shared-key",
    "pre-shared-secret",
    "cisco-authentication",
    "authentication-key",
    "message-digest-key",
    "community",
    "key-string",
    "passphrase",
    "psk",
    "private-key",
    "plaintext-password",
    "encrypted-password",
];

/// Stands for what is secret.
const HIDDEN: &str = "(hidden)";

impl<'a> Line<'a> {
    pub(super) fn new(id: LineId, file: usize, number: usize, raw: &'a str, cut: Cut) -> Self {
        let text = raw.trim_matches(|letter: char| letter.is_whitespace() || letter == '\u{feff}');
        let indent = raw.chars().take_while(|letter| letter.is_whitespace()).count();
        Self { id, file, number, indent, text, words: cut_words(text, cut) }
    }

    pub(super) fn words(&self) -> Vec<&'a str> {
        self.words.iter().map(|word| word.text).collect()
    }

    /// How many words it has more than `shorter`, a line without its prompt.
    pub(super) fn words_before(&self, shorter: &Self) -> usize {
        self.words.len().saturating_sub(shorter.words.len())
    }

    /// The text without its first `bytes`, for instance a prompt. `bytes` is at the start of a character.
    pub(super) fn without(&self, bytes: usize, cut: Cut) -> Self {
        let text = self.text.get(bytes..).unwrap_or_default().trim_start();
        Self { text, words: cut_words(text, cut), ..self.clone() }
    }

    /// The text as it may be shown: no passwords, no control characters.
    pub(super) fn shown(&self, secret: Hidden) -> String {
        let by_rule = self.words.iter().position(|word| {
            BEFORE_SECRETS
                .iter()
                .any(|before| word.text.trim_end_matches(['=', ':']).eq_ignore_ascii_case(before))
        });
        let span = |from: usize, to: usize| {
            Some((self.words.get(from)?.start, self.words.get(to).map_or(self.text.len(), |word| word.end)))
        };
        let marked = match secret {
            Hidden::Nothing => None,
            Hidden::Word(index) => span(index, index),
            Hidden::From(index) => span(index, usize::MAX),
        };
        let hidden = marked.or_else(|| span(by_rule? + 1, usize::MAX));
        let text = match hidden {
            // Offsets are of words, so they are at characters.
            Some((start, end)) => {
                let (before, after) = (self.text.get(..start), self.text.get(end..));
                format!("{}{HIDDEN}{}", before.unwrap_or_default(), after.unwrap_or_default())
            }
            None => self.text.to_owned(),
        };
        printable(&text)
    }
}

/// `text` on one line, without what a terminal or a YAML reader would take for a command.
pub(super) fn printable(text: &str) -> String {
    let harmless = |letter: char| {
        if letter == '\t' {
            ' '
        } else if letter.is_control()
            || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
        {
            '?'
        } else {
            letter
        }
    };
    text.chars().map(harmless).collect()
}

fn cut_words(text: &str, cut: Cut) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut rest = text.char_indices().peekable();
    while let Some(&(start, first)) = rest.peek() {
        if first.is_whitespace() {
            rest.next();
            continue;
        }
        if cut == Cut::Braces && first == '#' {
            break;
        }
        if cut == Cut::Braces && "{};".contains(first) {
            rest.next();
            words.push(Word { text: &text[start..=start], start, end: start + 1 });
            continue;
        }
        if cut != Cut::Plain && (first == '"' || first == '\'') {
            rest.next();
            let inside = start + 1;
            let close = rest.find(|(_, letter)| *letter == first).map(|(at, _)| at);
            let end = close.unwrap_or(text.len());
            words.push(Word { text: &text[inside..end], start, end: close.map_or(end, |at| at + 1) });
            continue;
        }
        let mut end = text.len();
        while let Some(&(at, letter)) = rest.peek() {
            if letter.is_whitespace() || cut == Cut::Braces && "{};".contains(letter) {
                end = at;
                break;
            }
            rest.next();
        }
        words.push(Word { text: &text[start..end], start, end });
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, cut: Cut) -> Line<'_> {
        Line::new(0, 0, 1, text, cut)
    }

    #[test]
    fn cuts_at_white_space_quotes_and_braces() {
        assert_eq!(line("  ip  mtu\t1400 ", Cut::Plain).words(), ["ip", "mtu", "1400"]);
        assert_eq!(line("set a 'b c' \"d\"", Cut::Quoted).words(), ["set", "a", "b c", "d"]);
        assert_eq!(line("set a 'b c", Cut::Quoted).words(), ["set", "a", "b c"]);
        assert_eq!(
            line("remote anonymous{ dh_group 2; # why", Cut::Braces).words(),
            ["remote", "anonymous", "{", "dh_group", "2", ";"]
        );
    }

    #[test]
    fn hides_what_is_secret() {
        let key = line("crypto isakmp key s3cret address 0.0.0.0", Cut::Plain);
        assert_eq!(key.shown(Hidden::Word(3)), "crypto isakmp key (hidden) address 0.0.0.0");
        assert_eq!(
            line("pre-shared-key cipher s3cret", Cut::Plain).shown(Hidden::Nothing),
            "pre-shared-key (hidden)"
        );
        assert_eq!(line("set x 's3 cret' y", Cut::Quoted).shown(Hidden::From(2)), "set x (hidden)");
        assert_eq!(line("set x", Cut::Quoted).shown(Hidden::From(2)), "set x");
        assert_eq!(line("a \u{1b}[2J b", Cut::Plain).shown(Hidden::Nothing), "a ?[2J b");
    }
}
