//! What a forwarder does live: frames of thousands of flows over a wire, through a program that the driver runs, and back.
//!
//! ```text
//!  generator --(bench_generate, redirect)--> underlay0: the program under test --(XDP_TX, or the stack)--> generator:
//!                                                                                            bench_sink counts and drops
//! ```
//!
//! Generator, forwarder and sink share one processor, so a time is that of all three; what differs is the forwarder.

use std::{
    os::fd::{BorrowedFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};

use super::kernel::{Kernel, Program};
use crate::{bench::statistics::counter_as_f64, bpf};

/// Longest wait for frames that are still on their way.
const STRAGGLERS: Duration = Duration::from_millis(500);

/// The wire with a program at both ends.
pub(super) struct Wire {
    forwarder: OwnedFd,
    _sink: OwnedFd,
    generator: u32,
}

/// What a run showed.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Run {
    /// Frames a second that came back.
    pub(in crate::bench) rate: f64,
    /// Frames that did not.
    pub(in crate::bench) lost: u64,
}

impl Wire {
    /// Attaches the sink at one end and something that returns at the other.
    pub(super) fn attach(kernel: &Kernel, generator: u32, underlay: u32) -> Result<Self> {
        let sink = bpf::attach_xdp(kernel.program(Program::Sink)?, generator).context("at the generator")?;
        let forwarder =
            bpf::attach_xdp(kernel.program(Program::Return)?, underlay).context("at the underlay")?;
        Ok(Self { forwarder, _sink: sink, generator })
    }

    /// Sends `frames` frames by way of `program`.
    pub(super) fn run(&self, kernel: &Kernel, program: BorrowedFd<'_>, frames: u32) -> Result<Run> {
        bpf::exchange(&self.forwarder, program)?;
        send(kernel, self.generator, frames)
    }
}

/// Sends `frames` frames by the generator's end of a wire, and waits for what comes back to its sink. To be called in the
/// generator's namespace.
pub(in crate::bench) fn send(kernel: &Kernel, generator: u32, frames: u32) -> Result<Run> {
    let (before, _) = kernel.sunk()?;
    let start = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
    bpf::send_live(kernel.program(Program::Generate)?, &kernel.packet, generator, frames)?;
    let expected = u64::from(frames);
    let (mut total, mut last) = kernel.sunk()?;
    let mut changed = Instant::now();
    while total - before < expected && changed.elapsed() < STRAGGLERS {
        // Leaves the processor to whoever has the frames.
        thread::sleep(Duration::from_micros(20));
        let (now, time) = kernel.sunk()?;
        if now != total {
            (total, last, changed) = (now, time, Instant::now());
        }
    }
    let seen = total - before;
    // The sink knows when the last frames came; this thread learns it when it is its turn again.
    let took = last.checked_sub(start).context("too few frames came back")?;
    Ok(Run { rate: counter_as_f64(seen) / took.as_secs_f64(), lost: expected.saturating_sub(seen) })
}
