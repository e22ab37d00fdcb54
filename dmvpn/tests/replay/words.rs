//! A line of a script, word by word.

use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};

/// The words of a line; text in double quotes is one word and may have spaces.
#[derive(Clone, Debug)]
pub(super) struct Words {
    words: Vec<String>,
    next: usize,
}

impl Words {
    pub(super) fn of(line: &str) -> Result<Self> {
        let mut words = Vec::new();
        let mut rest = line.trim();
        while !rest.is_empty() {
            let (word, after) = if let Some(quoted) = rest.strip_prefix('"') {
                quoted.split_once('"').context("a quote that does not end")?
            } else {
                rest.split_once(char::is_whitespace).unwrap_or((rest, ""))
            };
            words.push(word.to_owned());
            rest = after.trim_start();
        }
        Ok(Self { words, next: 0 })
    }

    pub(super) fn peek(&self) -> Option<&str> {
        self.words.get(self.next).map(String::as_str)
    }

    /// The next word; `what` says what it should be.
    pub(super) fn word(&mut self, what: &str) -> Result<String> {
        let word = self.words.get(self.next).ok_or_else(|| anyhow!("expected {what} at the end"))?;
        self.next += 1;
        Ok(word.clone())
    }

    /// The next word as a value.
    pub(super) fn value<T: FromStr>(&mut self, what: &str) -> Result<T> {
        let word = self.word(what)?;
        word.parse().map_err(|_| anyhow!("expected {what}, not `{word}`"))
    }

    /// Takes the next word if it is this one.
    pub(super) fn take(&mut self, keyword: &str) -> bool {
        let found = self.peek() == Some(keyword);
        self.next += usize::from(found);
        found
    }

    /// Takes the next word, which has to be this one.
    pub(super) fn expect(&mut self, keyword: &str) -> Result<()> {
        if self.take(keyword) {
            return Ok(());
        }
        let found = self.peek().map_or_else(|| "the end".to_owned(), |word| format!("`{word}`"));
        bail!("expected `{keyword}`, not {found}")
    }

    /// Every word that is left.
    pub(super) fn rest(&mut self) -> &[String] {
        let from = std::mem::replace(&mut self.next, self.words.len());
        &self.words[from..]
    }

    /// There has to be no word left.
    pub(super) fn end(&self) -> Result<()> {
        match self.peek() {
            Some(word) => bail!("`{word}` is one word too many"),
            None => Ok(()),
        }
    }
}

/// A number, decimal or hexadecimal with `0x`.
pub(super) fn number<T: TryFrom<u64>>(word: &str) -> Result<T> {
    let number = match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => word.parse(),
    };
    let number = number.map_err(|_| anyhow!("expected a number, not `{word}`"))?;
    T::try_from(number).map_err(|_| anyhow!("{word} is too large"))
}

/// Bytes from hexadecimal digits, in groups of any size.
pub(super) fn hex(groups: &[String]) -> Result<Vec<u8>> {
    let digits = groups.concat();
    if !digits.is_ascii() || digits.len() % 2 != 0 {
        bail!("expected pairs of hexadecimal digits, not `{digits}`");
    }
    let byte = |at: usize| {
        u8::from_str_radix(&digits[at..at + 2], 16)
            .with_context(|| format!("`{}` is no byte", &digits[at..at + 2]))
    };
    (0..digits.len()).step_by(2).map(byte).collect()
}
