//! Random numbers from a seed.

use std::time::Duration;

/// The `SplitMix64` generator: one seed, one sequence.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        // The high half of a product: no division, and a bias that nobody can see with bounds of this size.
        let wide = u128::from(self.next()) * u128::from(bound);
        u32::try_from(wide >> 64).unwrap_or(0)
    }

    /// One element of a slice that is not empty.
    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(u32::try_from(from.len()).unwrap_or(u32::MAX)) as usize]
    }

    /// True in `percent` of 100 cases.
    pub(super) fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// A time between two times.
    pub(super) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        least + most.saturating_sub(least).mul_f64(self.fraction())
    }

    /// The time to the next of events that come at random, `mean` apart.
    pub(super) fn gap(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.fraction()).ln())
    }

    /// A number from 0 up to, not including, 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit exactly")]
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let take = |seed| {
            let mut random = Random::new(seed);
            std::iter::repeat_with(|| random.next()).take(5).collect::<Vec<_>>()
        };
        assert_eq!(take(1), take(1));
        assert_ne!(take(1), take(2));
    }

    #[test]
    fn numbers_stay_in_their_range_and_use_it() {
        let mut random = Random::new(3);
        let mut seen = [0; 5];
        for _ in 0..1000 {
            seen[random.below(5) as usize] += 1;
        }
        assert!(seen.iter().all(|&count| count > 150), "{seen:?}");
        let hits = (0..1000).filter(|_| random.chance(5)).count();
        assert!((20..90).contains(&hits), "{hits}");
    }

    #[test]
    fn gaps_have_their_mean() {
        let mut random = Random::new(4);
        let total: Duration = (0..10_000).map(|_| random.gap(Duration::from_secs(10))).sum();
        assert!((95_000..105_000).contains(&total.as_secs()), "{total:?}");
    }
}
