//! `policy-map`: of queueing only the rates count, which `ip nhrp map group` may refer to.

use super::super::{
    line::{At, LineId},
    model::{Model, Policy},
    verdict::{Judgement, ignored},
};

/// The place of the policy `name`; a new one if there is none yet.
pub(super) fn of(model: &mut Model, name: &str) -> usize {
    if let Some(place) = model.policies.iter().position(|policy| policy.name == name) {
        return place;
    }
    model.policies.push(Policy { name: name.to_owned(), rates: Vec::new() });
    model.policies.len() - 1
}

/// A line below it. Planning corrects the verdict where a group uses it.
pub(super) fn line(model: &mut Model, place: usize, at: LineId, words: &[&str]) -> Judgement {
    if let ["shape", "average" | "peak", rate, ..] | ["police", "cir", rate, ..] | ["police", rate, ..] =
        words
        && let Ok(rate) = rate.parse()
        && let Some(policy) = model.policies.get_mut(place)
    {
        policy.rates.push(At::new(at, rate));
    }
    ignored("queueing is the kernel's (`tc`)")
}
