//! What several runs of one measurement say together.
//!
//! A shared machine is disturbed in one direction: a run is slower than it would be alone, never faster. So nothing here
//! is an average: the median is what is quoted, and the extremes say how quiet the machine was.

use anyhow::{Result, ensure};
use serde::Serialize;

/// Least number of runs behind a quoted figure.
pub const RUNS: usize = 7;

/// The results of the runs of one measurement, in the order of the runs. Never empty, and every result is a number.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// Takes the results; fails when there are none or one is not a finite number.
    pub fn new(results: Vec<f64>) -> Result<Self> {
        ensure!(!results.is_empty(), "a measurement without a run");
        ensure!(results.iter().all(|result| result.is_finite()), "a result is not a number: {results:?}");
        Ok(Self(results))
    }

    /// A figure that is counted, not measured several times.
    pub fn single(result: f64) -> Result<Self> {
        Self::new(vec![result])
    }

    /// The results, in the order of the runs.
    pub fn results(&self) -> &[f64] {
        &self.0
    }

    /// How many runs there were.
    pub fn runs(&self) -> usize {
        self.0.len()
    }

    /// The smallest result.
    pub fn min(&self) -> f64 {
        self.quantile(0.0)
    }

    /// The largest result.
    pub fn max(&self) -> f64 {
        self.quantile(1.0)
    }

    /// The middle result; between the two middle ones when their number is even.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The result below which the share `q` (0 to 1) of all results lies, interpolated between neighbours.
    pub fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len() - 1;
        let place = q.clamp(0.0, 1.0) * as_f64(last);
        let below = floor_index(place).min(last);
        let above = (below + 1).min(last);
        let share = place - as_f64(below);
        sorted[below] + (sorted[above] - sorted[below]) * share
    }

    /// The sample with every result changed by `change`.
    pub fn map(&self, change: impl Fn(f64) -> f64) -> Result<Self> {
        Self::new(self.0.iter().map(|result| change(*result)).collect())
    }

    /// Run by run, this over the other: what was measured side by side is compared side by side.
    pub fn over(&self, other: &Self) -> Result<Self> {
        self.pairwise(other, |this, other| this / other)
    }

    /// Run by run, this less the other.
    pub fn less(&self, other: &Self) -> Result<Self> {
        self.pairwise(other, |this, other| this - other)
    }

    fn pairwise(&self, other: &Self, join: impl Fn(f64, f64) -> f64) -> Result<Self> {
        ensure!(self.runs() == other.runs(), "{} runs against {}", self.runs(), other.runs());
        Self::new(self.0.iter().zip(&other.0).map(|(this, other)| join(*this, *other)).collect())
    }
}

/// Measures each of `subjects` `runs` times, one run of each in turn, so that whatever disturbs the machine meets all of
/// them. The turn starts with another subject every time: none is always the one after the same other.
pub fn interleave<S>(
    runs: usize,
    subjects: &mut [S],
    mut measure: impl FnMut(&mut S) -> Result<f64>,
) -> Result<Vec<Sample>> {
    let mut results = vec![Vec::with_capacity(runs); subjects.len()];
    for run in 0..runs {
        for turn in 0..subjects.len() {
            let place = (run + turn) % subjects.len();
            results[place].push(measure(&mut subjects[place])?);
        }
    }
    results.into_iter().map(Sample::new).collect()
}

/// A count as a number to calculate with; counts here are far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub fn as_f64(count: usize) -> f64 {
    count as f64
}

/// The same for counters.
#[expect(clippy::cast_precision_loss, reason = "counters are far below 2^52")]
pub fn counter_as_f64(counter: u64) -> f64 {
    counter as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a length")]
fn floor_index(place: f64) -> usize {
    place.floor() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(results: &[f64]) -> Sample {
        Sample::new(results.to_vec()).unwrap()
    }

    fn is(value: f64, expected: f64) -> bool {
        (value - expected).abs() < 1e-9
    }

    #[test]
    fn the_median_is_the_middle_result_whatever_the_order() {
        assert!(is(sample(&[9.0, 1.0, 5.0]).median(), 5.0));
        assert!(is(sample(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5));
        assert!(is(sample(&[7.0]).median(), 7.0));
    }

    #[test]
    fn one_disturbed_run_does_not_move_the_median() {
        assert!(is(sample(&[10.0, 11.0, 10.0, 900.0, 10.0, 11.0, 10.0]).median(), 10.0));
    }

    #[test]
    fn quantiles_interpolate_and_end_at_the_extremes() {
        let sample = sample(&[0.0, 10.0, 20.0, 30.0, 40.0]);
        assert!(is(sample.min(), 0.0) && is(sample.max(), 40.0));
        assert!(is(sample.quantile(0.25), 10.0));
        assert!(is(sample.quantile(0.99), 39.6));
        assert!(is(sample.quantile(7.0), 40.0));
    }

    #[test]
    fn ratios_and_differences_are_run_by_run() {
        let (slow, quick) = (sample(&[10.0, 40.0]), sample(&[5.0, 10.0]));
        assert_eq!(slow.over(&quick).unwrap(), sample(&[2.0, 4.0]));
        assert_eq!(slow.less(&quick).unwrap(), sample(&[5.0, 30.0]));
        assert!(slow.over(&sample(&[1.0])).is_err());
    }

    #[test]
    fn refuses_what_is_not_a_measurement() {
        assert!(Sample::new(Vec::new()).is_err());
        assert!(Sample::new(vec![1.0, f64::NAN]).is_err());
        assert!(sample(&[1.0]).over(&sample(&[0.0])).is_err());
    }

    #[test]
    fn interleaves_and_changes_who_is_first() {
        let mut order = Vec::new();
        let samples = interleave(2, &mut [1.0, 2.0], |subject| {
            order.push(*subject);
            Ok(*subject)
        });
        assert_eq!(samples.unwrap(), [sample(&[1.0, 1.0]), sample(&[2.0, 2.0])]);
        assert_eq!(order, [1.0, 2.0, 2.0, 1.0]);
    }
}
