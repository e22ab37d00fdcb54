//! Benchmarks: `cargo xtask bench`.
//!
//! A part measures ([`measure`]) and returns a [`Report`]; [`Pages`] writes that as Markdown with drawings ([`bars`],
//! [`lines`], both by [`svg`]) under `docs/bench/`. Everything is measured at least [`statistics::RUNS`] times, and what
//! is compared is measured in turns.

pub mod bars;
pub mod control;
pub mod datapath;
pub mod hosts;
pub mod lines;
pub mod machine;
pub mod pages;
pub mod peers;
pub mod report;
pub mod scale;
pub mod statistics;
pub mod svg;
pub mod tcp;
pub mod thresholds;

use machine::Machine;
pub use pages::Pages;
pub use report::{Part, Report};
pub use thresholds::Thresholds;

use std::{sync::LazyLock, thread, time::Instant};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// How much to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Enough for figures to be quoted: some minutes a part.
    Full,
    /// Rough figures, within a minute a part.
    Quick,
    /// Just enough to see that everything works.
    Smoke,
}

/// Measures one part.
pub fn measure(part: Part, extent: Extent, thresholds: &Thresholds) -> Result<Report> {
    // Before our own work adds to the load.
    let machine = Machine::ask()?;
    let report = measure_part(part, extent, thresholds)?;
    Ok(Report { machine, ..report })
}

fn measure_part(part: Part, extent: Extent, thresholds: &Thresholds) -> Result<Report> {
    match part {
        Part::Tcp => tcp::measure(
            match extent {
                Extent::Full => tcp::Plan::FULL,
                Extent::Quick => tcp::Plan::QUICK,
                Extent::Smoke => tcp::Plan::SMOKE,
            },
            thresholds,
        ),
        Part::Control => control::measure(
            match extent {
                Extent::Full => control::Plan::FULL,
                Extent::Quick => control::Plan::QUICK,
                Extent::Smoke => control::Plan::SMOKE,
            },
            thresholds,
        ),
        Part::Datapath => datapath::measure(
            &match extent {
                Extent::Full => datapath::Plan::full(),
                Extent::Quick => datapath::Plan::quick(),
                Extent::Smoke => datapath::Plan::smoke(),
            },
            thresholds,
        ),
        Part::Peers => peers::measure(extent, thresholds),
    }
}

/// A niceness.
const HIGHEST_PRIORITY: libc::c_int = -20;
const LOWEST_PRIORITY: libc::c_int = 19;

/// Tells who waits what is being done.
fn progress(what: &str) {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    eprintln!("{:6.1} s  {what}", START.elapsed().as_secs_f64());
}

/// Keeps the calling thread on one processor, by number as far as there are as many, before all others there: what moves
/// around or waits for others is another measurement.
fn pin(processor: usize) -> Result<()> {
    pin_with(processor, HIGHEST_PRIORITY)
}

/// The same, after all others there.
fn pin_behind_others(processor: usize) -> Result<()> {
    pin_with(processor, LOWEST_PRIORITY)
}

fn pin_with(processor: usize, priority: libc::c_int) -> Result<()> {
    let processors = thread::available_parallelism().context("counting processors")?.get();
    let mut set = CpuSet::new();
    set.set(processor % processors).context("naming a processor")?;
    sched_setaffinity(Pid::from_raw(0), &set).context("staying on one processor")?;
    // SAFETY: takes numbers only; the caller is the thread with the number 0.
    #[expect(unsafe_code, reason = "nix has no setpriority(2)")]
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, priority) };
    Errno::result(result).context("asking for priority").map(drop)
}
