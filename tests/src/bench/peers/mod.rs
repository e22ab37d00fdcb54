//! Against software of others: the kernel's multipoint GRE as a forwarder, and FRR's nhrpd as a server.
//!
//! Both run in a virtual machine: most kernels at hand have no GRE. This side boots it ([`guest`]) and makes the page
//! ([`pages`]); the same program, started in there, measures ([`run_in_guest`]) and writes a line of JSON.

mod guest;
mod pages;
mod registrations;
mod transit;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use self::{registrations::Servers, transit::Forwarding};
use super::{Extent, machine::Machine, report::Report, thresholds::Thresholds};

/// How much to measure.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Runs of each forwarder.
    runs: usize,
    /// Frames of a run.
    frames: u32,
    /// Batches of spokes that register with each server, a run each.
    batches: u32,
    /// Spokes of a batch.
    batch: u32,
}

impl Plan {
    /// For figures to be quoted.
    const FULL: Self = Self { runs: 9, frames: 15_000, batches: 7, batch: 200 };
    /// For rough figures.
    const QUICK: Self = Self { runs: 7, frames: 4000, batches: 7, batch: 40 };

    /// No emulated machine does anything within milliseconds: the smallest plan is the rough one.
    fn of(extent: Extent) -> Self {
        match extent {
            Extent::Full => Self::FULL,
            Extent::Quick | Extent::Smoke => Self::QUICK,
        }
    }
}

/// What was found in the guest.
#[derive(Debug, Serialize, Deserialize)]
struct Findings {
    /// What the guest thinks it runs on.
    guest: Machine,
    /// The forwarders, in the order of [`transit`]'s constants.
    forwarders: Vec<Forwarding>,
    servers: Servers,
}

/// Measures.
pub fn measure(extent: Extent, thresholds: &Thresholds) -> Result<Report> {
    let findings = guest::findings(extent)?;
    pages::report(Plan::of(extent), &findings, thresholds)
}

/// Measures in the guest, and writes the findings as a line of JSON to standard output.
pub fn run_in_guest(extent: Extent) -> Result<()> {
    let plan = Plan::of(extent);
    let findings = Findings {
        guest: Machine::ask()?,
        forwarders: transit::measure(plan).context("forwarding")?,
        servers: registrations::measure(plan).context("registering")?,
    };
    println!("{}", serde_json::to_string(&findings).context("writing the findings")?);
    Ok(())
}
