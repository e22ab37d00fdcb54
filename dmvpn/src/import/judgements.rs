//! The verdict of every line: exactly one.

use super::{
    line::LineId,
    verdict::{Hidden, Judgement, Verdict},
};

/// A judgement for each line, by its place.
#[derive(Debug)]
pub(super) struct Judgements(Vec<Judgement>);

impl Judgements {
    pub(super) fn new(list: Vec<Judgement>) -> Self {
        Self(list)
    }

    /// Replaces the judgement of a line; what was secret stays secret.
    pub(super) fn revise(&mut self, at: LineId, judgement: Judgement) {
        if let Some(old) = self.0.get_mut(at) {
            let secret = if judgement.secret == Hidden::Nothing { old.secret } else { judgement.secret };
            *old = judgement.secret(secret);
        }
    }

    pub(super) fn verdict(&self, at: LineId) -> Option<Verdict> {
        self.0.get(at).map(|judgement| judgement.verdict)
    }

    pub(super) fn list(&self) -> &[Judgement] {
        &self.0
    }
}
