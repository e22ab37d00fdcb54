//! What every figure should be: `docs/bench/thresholds.yaml`.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::scale::written;

/// Which way is better, and how far is good enough.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Entry {
    at_most: Option<f64>,
    at_least: Option<f64>,
    aim: Option<f64>,
}

/// The threshold of one figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// Whether less is better.
    pub less_is_better: bool,
    /// What is aimed at; drawn in the charts.
    pub aim: f64,
    /// What `--check` insists on: the aim unless the file says otherwise.
    pub limit: f64,
}

impl Threshold {
    /// Whether the aim is reached.
    pub fn is_reached(&self, value: f64) -> bool {
        self.is_within(value, self.aim)
    }

    /// Whether `--check` is content.
    pub fn is_kept(&self, value: f64) -> bool {
        self.is_within(value, self.limit)
    }

    fn is_within(&self, value: f64, bound: f64) -> bool {
        if self.less_is_better { value <= bound } else { value >= bound }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.less_is_better { "≤" } else { "≥" }, written(self.aim))
    }
}

/// The thresholds, by the figure's key.
#[derive(Clone, Debug, Default)]
pub struct Thresholds(BTreeMap<String, Threshold>);

impl Thresholds {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    /// Reads its text.
    pub fn parse(text: &str) -> Result<Self> {
        let entries: BTreeMap<String, Entry> = serde_yaml::from_str(text)?;
        let mut thresholds = BTreeMap::new();
        for (key, entry) in entries {
            let (less_is_better, limit) = match (entry.at_most, entry.at_least) {
                (Some(limit), None) => (true, limit),
                (None, Some(limit)) => (false, limit),
                _ => anyhow::bail!("{key}: give either at-most or at-least"),
            };
            let threshold = Threshold { less_is_better, aim: entry.aim.unwrap_or(limit), limit };
            ensure!(threshold.is_kept(threshold.aim), "{key}: the aim is worse than the limit");
            thresholds.insert(key, threshold);
        }
        Ok(Self(thresholds))
    }

    /// The threshold of a figure, where there is one.
    pub fn of(&self, key: &str) -> Option<Threshold> {
        self.0.get(key).copied()
    }

    /// The figures that have one.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_better_from_worse_both_ways() {
        let all = Thresholds::parse("cost: {at-most: 45}\nrate: {at-least: 100, aim: 150}").unwrap();
        let (cost, rate) = (all.of("cost").unwrap(), all.of("rate").unwrap());
        assert!(cost.is_kept(45.0) && !cost.is_kept(45.1) && cost.is_reached(44.0));
        assert!(rate.is_kept(120.0) && !rate.is_reached(120.0) && !rate.is_kept(99.0));
        assert_eq!((cost.to_string(), rate.to_string()), ("≤ 45".to_owned(), "≥ 150".to_owned()));
        assert_eq!(all.of("other"), None);
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for text in ["a: {}", "a: {at-most: 1, at-least: 1}", "a: {at-most: 1, aim: 2}", "a: {at-mots: 1}"] {
            assert!(Thresholds::parse(text).is_err(), "{text}");
        }
    }
}
