//! What it costs this machine to read memory: the measure for whatever looks things up in large tables.

use std::{hint::black_box, time::Duration};

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};

use crate::bench::statistics::{Sample, as_f64};

/// Bytes of a cache line: what is read at once.
const LINE: usize = 64;
/// Numbers in a line.
const STEP: usize = LINE / size_of::<u32>();
/// Reads of a run.
const READS: usize = 200_000;

/// Nanoseconds of one read among `bytes` bytes, when each tells where the next one is, in random order: the processor can
/// do nothing ahead.
pub(super) fn of_reads(bytes: usize, runs: usize) -> Result<Sample> {
    let lines = u32::try_from(bytes / LINE).context("too much memory to read")?;
    let chain = chain(lines);
    let mut place = 0_usize;
    let mut run = || -> Result<f64> {
        let start = used()?;
        for _ in 0..READS {
            place = chain[place * STEP] as usize;
        }
        black_box(place);
        Ok(used()?.saturating_sub(start).as_secs_f64() * 1e9 / as_f64(READS))
    };
    run()?;
    Sample::new((0..runs).map(|_| run()).collect::<Result<_>>()?)
}

/// Time this thread has used.
fn used() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("asking for the time used")?.into())
}

/// Lines that each name the next one; all of them in one circle, in random order (Sattolo's shuffle).
fn chain(lines: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..lines).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for last in (1..order.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let other = usize::try_from(state % last as u64).unwrap_or(0);
        order.swap(last, other);
    }
    let mut chain = vec![0; order.len() * STEP];
    for (line, next) in order.into_iter().enumerate() {
        chain[line * STEP] = next;
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_meets_every_line_before_it_comes_back() {
        let chain = chain(1000);
        let (mut place, mut steps) = (0_usize, 0);
        loop {
            place = chain[place * STEP] as usize;
            steps += 1;
            if place == 0 {
                break;
            }
        }
        assert_eq!(steps, 1000);
    }
}
