//! What must never be, and how often it was.

use std::fmt;

use serde::Serialize;

use super::clock::Moment;

/// Something that has to hold at every step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Invariant {
    /// A mapping leads to its station, a server, or nowhere; not to a place that the station left longer ago than
    /// the holding time and one retry.
    Mapping,
    /// No packet comes to a node twice; no NHRP packet uses up its hops.
    Loop,
    /// No table has more entries than its bound.
    Tables,
    /// A spoke is registered again within the bound of the back-off.
    Registration,
    /// Data arrives: direct or by hubs, never lost, never elsewhere.
    Delivery,
    /// What engines want done can be done: no mapping without its peer, nothing removed that is not there.
    Actions,
}

impl Invariant {
    /// Every invariant.
    pub const ALL: [Self; 6] =
        [Self::Mapping, Self::Loop, Self::Tables, Self::Registration, Self::Delivery, Self::Actions];

    const fn name(self) -> &'static str {
        match self {
            Self::Mapping => "mapping",
            Self::Loop => "loop",
            Self::Tables => "tables",
            Self::Registration => "registration",
            Self::Delivery => "delivery",
            Self::Actions => "actions",
        }
    }
}

/// One violation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Virtual time, as hours:minutes:seconds.
    pub at: String,
    /// What should have held.
    pub invariant: Invariant,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}: {}: {}", self.at, self.invariant.name(), self.what)
    }
}

/// The violations of a run.
#[derive(Debug, Default)]
pub(super) struct Violations {
    counts: [u64; Invariant::ALL.len()],
    first: Vec<Violation>,
}

impl Violations {
    /// So many of each invariant are kept with their description.
    const KEPT: u64 = 5;

    pub(super) fn add(&mut self, now: Moment, invariant: Invariant, what: String) {
        let count = &mut self.counts[invariant as usize];
        *count += 1;
        if *count <= Self::KEPT {
            self.first.push(Violation { at: now.to_string(), invariant, what });
        }
    }

    /// How many there were.
    pub(super) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The first ones of each invariant.
    pub(super) fn into_first(self) -> Vec<Violation> {
        self.first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_the_first_of_each_kept() {
        let mut violations = Violations::default();
        for _ in 0..100 {
            violations.add(Moment(0), Invariant::Loop, "round".to_owned());
        }
        violations.add(Moment(61_000_000_000), Invariant::Delivery, "lost".to_owned());
        assert_eq!(violations.total(), 101);
        let first = violations.into_first();
        assert_eq!(first.len(), 6);
        assert_eq!(first[5].to_string(), "at 0:01:01: delivery: lost");
    }

    #[test]
    fn every_invariant_has_its_own_place() {
        for (index, invariant) in Invariant::ALL.into_iter().enumerate() {
            assert_eq!(invariant as usize, index);
        }
    }
}
