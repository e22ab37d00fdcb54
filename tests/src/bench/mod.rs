//! Benchmarks: `cargo xtask bench`.
//!
//! A part measures (see [`Part`]) and returns a [`Report`]; [`Pages`] writes that as Markdown with drawings ([`bars`],
//! [`lines`], both by [`svg`]) under `docs/bench/`. Everything is measured at least [`statistics::RUNS`] times, and what
//! is compared is measured in turns.

pub mod bars;
pub mod lines;
pub mod machine;
pub mod pages;
pub mod report;
pub mod scale;
pub mod statistics;
pub mod svg;
pub mod thresholds;

pub use pages::Pages;
pub use report::{Part, Report};
pub use thresholds::Thresholds;
