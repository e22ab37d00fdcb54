//! What became of a line.

use std::{borrow::Cow, fmt};

use serde::Serialize;

/// What became of one line of the old configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The new configuration or the swanctl fragment does the same.
    Converted,
    /// It is not this program's to do: advice is in a fragment, or in a comment of the configuration.
    Hinted,
    /// It has nothing to say to the new box.
    Ignored,
    /// It must not, or cannot, be taken over. Weak ciphers are kept in the swanctl fragment, and marked there.
    Refused,
    /// It was not understood.
    Unknown,
}

impl Verdict {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 5] = [Self::Converted, Self::Hinted, Self::Ignored, Self::Refused, Self::Unknown];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Converted => "converted",
            Self::Hinted => "hinted",
            Self::Ignored => "ignored",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A verdict, and what it means for this line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) verdict: Verdict,
    /// What became of the line, or why nothing did.
    pub(super) note: Cow<'static, str>,
    /// Words of the line that nobody may see.
    pub(super) secret: Hidden,
}

/// Which words of a line are secret, beside those that `Line::shown` finds by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hidden {
    Nothing,
    /// The word of this index.
    Word(usize),
    /// This word and all behind it.
    From(usize),
}

impl Hidden {
    /// The same words of a line that has so many more in front.
    pub(super) fn behind(self, words: usize) -> Self {
        match self {
            Self::Nothing => Self::Nothing,
            Self::Word(place) => Self::Word(place + words),
            Self::From(place) => Self::From(place + words),
        }
    }
}

impl Judgement {
    fn new(verdict: Verdict, note: impl Into<Cow<'static, str>>) -> Self {
        Self { verdict, note: note.into(), secret: Hidden::Nothing }
    }

    pub(super) fn secret(self, secret: Hidden) -> Self {
        Self { secret, ..self }
    }
}

/// Became the key or the setting that `note` names.
pub(super) fn converted(note: impl Into<Cow<'static, str>>) -> Judgement {
    Judgement::new(Verdict::Converted, note)
}

pub(super) fn hinted(note: impl Into<Cow<'static, str>>) -> Judgement {
    Judgement::new(Verdict::Hinted, note)
}

pub(super) fn ignored(note: impl Into<Cow<'static, str>>) -> Judgement {
    Judgement::new(Verdict::Ignored, note)
}

pub(super) fn refused(note: impl Into<Cow<'static, str>>) -> Judgement {
    Judgement::new(Verdict::Refused, note)
}

pub(super) fn unknown(note: impl Into<Cow<'static, str>>) -> Judgement {
    Judgement::new(Verdict::Unknown, note)
}
