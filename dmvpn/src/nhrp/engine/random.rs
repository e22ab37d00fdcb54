//! Numbers that need to differ, not to be secret: request ids and jitter.

use std::time::Duration;

/// The `SplitMix64` generator: one seed, one sequence.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A request id.
    pub(super) const fn id(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }

    /// Between `low` percent of `span` and all of it.
    pub(super) fn jitter(&mut self, span: Duration, low: u32) -> Duration {
        let steps = u64::from(100 - low.min(100)) * 1000 + 1;
        #[expect(clippy::cast_possible_truncation, reason = "at most 100,000")]
        let part = low * 1000 + (self.next() % steps) as u32;
        span / 100_000 * part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let take = |seed| {
            let mut random = Random::new(seed);
            [random.next(), random.next(), u64::from(random.id())]
        };
        assert_eq!(take(7), take(7));
        assert_ne!(take(7), take(8));
    }

    #[test]
    fn jitter_stays_in_its_range_and_uses_it() {
        let mut random = Random::new(1);
        let spans: Vec<_> = (0..1000).map(|_| random.jitter(Duration::from_secs(64), 75)).collect();
        assert!(spans.iter().all(|span| (48..=64).contains(&span.as_secs())));
        assert!(spans.iter().any(|span| span.as_secs() < 50) && spans.iter().any(|span| span.as_secs() > 62));
    }
}
