//! What a packet costs in a program: the kernel runs the program some hundred thousand times (`BPF_PROG_TEST_RUN`) and
//! tells the average time of a run.
//!
//! Every run begins with a program that makes the packet the next one of a random flow, whatever became of the last one,
//! and goes on with the program under test. The floor is the same with a program that only returns. So the difference is
//! what the program under test costs by itself.

use anyhow::{Context as _, Result, bail, ensure};
use aya::programs::ProgramFd;

use super::{
    box_under_test::{lan_address, lan_mac},
    flow,
    kernel::{Kernel, Program},
};
use crate::{
    bench::statistics::{Sample, interleave},
    bpf,
};

/// Verdict of an XDP program: back by the same interface.
pub(super) const XDP_TX: u32 = 3;
/// Out by another interface.
pub(super) const XDP_REDIRECT: u32 = 4;

/// How a program is fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feed {
    /// Routes are cached as far as there is room.
    Cached,
    /// No route is cached.
    New,
}

impl Feed {
    const fn program(self) -> Program {
        match self {
            Self::Cached => Program::Feed,
            Self::New => Program::FeedNew,
        }
    }
}

/// What is measured: a program, and what it has to return.
pub(super) struct Subject<'a> {
    pub(super) feed: Feed,
    pub(super) program: &'a ProgramFd,
    pub(super) verdict: u32,
}

/// How often, and how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    pub(super) runs: usize,
    /// Packets of a run.
    pub(super) packets: u32,
}

/// Nanoseconds a packet over the floor, run by run.
pub(super) fn over_floor(
    kernel: &mut Kernel,
    interface: u32,
    subject: &Subject<'_>,
    effort: Effort,
) -> Result<Sample> {
    warm_up(kernel, interface, subject)?;
    let samples = interleave(effort.runs, &mut [true, false], |whole| {
        if *whole {
            kernel.feed_to(subject.program)?;
            run(kernel, interface, subject.feed, subject.verdict, effort.packets)
        } else {
            kernel.feed_to_nobody()?;
            run(kernel, interface, subject.feed, XDP_TX, effort.packets)
        }
    })?;
    let [whole, floor] = samples.as_slice() else { bail!("two subjects have two samples") };
    whole.less(floor)
}

/// Nanoseconds a packet of the floor itself.
pub(super) fn floor(kernel: &mut Kernel, interface: u32, effort: Effort) -> Result<Sample> {
    kernel.feed_to_nobody()?;
    let runs = (0..effort.runs).map(|_| run(kernel, interface, Feed::Cached, XDP_TX, effort.packets));
    Sample::new(runs.collect::<Result<_>>()?)
}

fn run(kernel: &Kernel, interface: u32, feed: Feed, verdict: u32, packets: u32) -> Result<f64> {
    let result = bpf::test_run(kernel.program(feed.program())?, &kernel.packet, interface, packets)?;
    ensure!(result.verdict == verdict, "a program returned {}, not {verdict}", result.verdict);
    Ok(f64::from(result.nanoseconds))
}

/// Lets the program meet every flow some times, so that caches and branch predictors have settled.
fn warm_up(kernel: &mut Kernel, interface: u32, subject: &Subject<'_>) -> Result<()> {
    kernel.feed_to(subject.program)?;
    let packets = kernel.flows.saturating_mul(8).clamp(1000, 1_000_000);
    run(kernel, interface, subject.feed, subject.verdict, packets).map(drop)
}

/// Checks some packets that come out of a program. What is quick and wrong is not worth measuring.
pub(super) fn check(
    kernel: &mut Kernel,
    interface: u32,
    (program, verdict): (&ProgramFd, u32),
    is_right: impl Fn(&[u8]) -> Result<()>,
) -> Result<()> {
    kernel.feed_to(program)?;
    for feed in [Feed::New, Feed::Cached] {
        for _ in 0..200 {
            let result = bpf::test_run(kernel.program(feed.program())?, &kernel.packet, interface, 1)?;
            ensure!(result.verdict == verdict, "a program returned {}, not {verdict}", result.verdict);
            is_right(&result.packet)?;
        }
    }
    Ok(())
}

/// Whether the frame is a plain packet for a host of the LAN, with one hop less to live.
pub(super) fn check_host(packet: &[u8]) -> Result<()> {
    let destination: [u8; 4] = packet.get(14 + 16..14 + 20).context("too short")?.try_into()?;
    let number = u32::from_be_bytes(destination).wrapping_sub(lan_address(0).to_bits());
    ensure!(packet.len() == flow::PLAIN, "it is {} bytes long", packet.len());
    ensure!(packet.get(..6) == Some(&lan_mac(number)[..]), "it does not go to host {number}");
    ensure!(packet.get(14 + 8) == Some(&63), "its time to live was not lowered by one");
    Ok(())
}

/// Whether the packet is GRE to the peer that its inner destination is behind, with one hop less to live.
pub(super) fn check_peer(packet: &[u8]) -> Result<()> {
    let address = |at: usize| -> Result<std::net::Ipv4Addr> {
        let bytes: [u8; 4] = packet.get(at..at + 4).context("too short")?.try_into()?;
        Ok(bytes.into())
    };
    let (from, to, inner) = (address(14 + 12)?, address(14 + 16)?, address(14 + 28 + 16)?);
    let number = (inner.to_bits() - flow::network(0).to_bits()) >> 8;
    ensure!(from == flow::LOCAL, "it comes from {from}");
    ensure!(to == flow::nbma(number), "it goes to {to}, its payload to {inner}");
    ensure!(packet.get(14 + 28 + 8) == Some(&63), "its time to live was not lowered by one");
    Ok(())
}
