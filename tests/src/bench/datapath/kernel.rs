//! The bench's own eBPF programs, loaded for one set of packets.

use std::{
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData, PerCpuArray, ProgramArray},
    programs::{ProgramFd, Xdp},
};

use super::flow::FRONT;

static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("BENCH_OBJECT"));

/// Head of a packet, as the programs copy it.
type Front = [u64; FRONT / 8];
/// Packets, bytes, and when one of the last packets came: `CLOCK_MONOTONIC` in nanoseconds.
type Tally = [u64; 3];

/// Programs that can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) enum Program {
    /// Makes the next packet and goes on with the program under test.
    Feed,
    /// The same, with every cached route made worthless before.
    FeedNew,
    /// Returns.
    Return,
    /// Asks the kernel's routing table twice.
    Fib,
    /// Sends the next packet to the box.
    Generate,
    /// Counts and drops.
    Sink,
}

impl Program {
    const ALL: [Self; 6] = [Self::Feed, Self::FeedNew, Self::Return, Self::Fib, Self::Generate, Self::Sink];

    const fn name(self) -> &'static str {
        match self {
            Self::Feed => "bench_feed",
            Self::FeedNew => "bench_feed_new",
            Self::Return => "bench_return",
            Self::Fib => "bench_fib",
            Self::Generate => "bench_generate",
            Self::Sink => "bench_sink",
        }
    }
}

/// The interfaces the programs use.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Ways {
    /// Where `Generate` sends by: the generator's end of the wire.
    pub(in crate::bench) generator: u32,
    /// The other end, where packets come in.
    pub(in crate::bench) underlay: u32,
    /// The tunnel interface.
    pub(in crate::bench) tunnel: u32,
    /// The LAN's interface.
    pub(in crate::bench) lan: u32,
}

/// The loaded programs.
pub(in crate::bench) struct Kernel {
    ebpf: Ebpf,
    next: ProgramArray<MapData>,
    sink: PerCpuArray<MapData, Tally>,
    /// A packet to begin with.
    pub(in crate::bench) packet: Vec<u8>,
    /// How many flows there are.
    pub(super) flows: u32,
}

impl Kernel {
    /// Loads the programs for packets that all have the same length and differ in their heads only. `pins` is where the
    /// data path's maps are.
    pub(in crate::bench) fn load(packets: &[Vec<u8>], ways: Ways, pins: &Path) -> Result<Self> {
        let packet = packets.first().context("no packets")?.clone();
        ensure!(packets.iter().all(|other| other.len() == packet.len()), "packets of several lengths");
        let (flows, length) = (u32::try_from(packets.len())?, u32::try_from(packet.len())?);
        let mut ebpf = EbpfLoader::new()
            .override_global("BENCH_FLOWS", &flows, true)
            .override_global("BENCH_LENGTH", &length, true)
            .override_global("BENCH_INTERFACE", &ways.generator, true)
            .override_global("BENCH_UNDERLAY", &ways.underlay, true)
            .override_global("BENCH_TUNNEL", &ways.tunnel, true)
            .map_max_entries("BENCH_FRONTS", flows)
            .map_pin_path("CONTROL", pins.join("CONTROL"))
            .load(OBJECT)
            .context("loading the bench's programs")?;
        let mut fronts =
            Array::<_, Front>::try_from(ebpf.map_mut("BENCH_FRONTS").context("no BENCH_FRONTS")?)?;
        for (index, packet) in (0..).zip(packets) {
            fronts.set(index, front(packet)?, 0).context("writing BENCH_FRONTS")?;
        }
        for program in Program::ALL {
            let loaded = xdp(&mut ebpf, program)?;
            loaded.load().with_context(|| format!("loading {}", program.name()))?;
        }
        let next = ProgramArray::try_from(ebpf.take_map("BENCH_NEXT").context("no BENCH_NEXT")?)?;
        let sink = PerCpuArray::try_from(ebpf.take_map("BENCH_SINK").context("no BENCH_SINK")?)?;
        Ok(Self { ebpf, next, sink, packet, flows })
    }

    /// Makes `program` the one that is fed.
    pub(super) fn feed_to(&mut self, program: &ProgramFd) -> Result<()> {
        self.next.set(0, program, 0).context("naming the program under test")
    }

    /// Makes the program that only returns the one that is fed.
    pub(super) fn feed_to_nobody(&mut self) -> Result<()> {
        let program = self.clone_of(Program::Return)?;
        self.next.set(0, &program, 0).context("naming the floor")
    }

    /// A program, to be fed.
    pub(super) fn clone_of(&mut self, program: Program) -> Result<ProgramFd> {
        xdp(&mut self.ebpf, program)?.fd()?.try_clone().context("sharing a program")
    }

    /// A program, to be run or attached.
    pub(in crate::bench) fn program(&self, program: Program) -> Result<BorrowedFd<'_>> {
        let loaded = self.ebpf.program(program.name()).context("no such program")?;
        let loaded: &Xdp = loaded.try_into()?;
        Ok(loaded.fd()?.as_fd())
    }

    /// Packets the sink has seen, and when it saw one of the last of them.
    pub(super) fn sunk(&self) -> Result<(u64, Duration)> {
        let tallies = self.sink.get(&0, 0).context("reading BENCH_SINK")?;
        let last = tallies.iter().map(|[_, _, time]| *time).max().unwrap_or(0);
        Ok((tallies.iter().map(|[packets, ..]| packets).sum(), Duration::from_nanos(last)))
    }
}

fn xdp(ebpf: &mut Ebpf, program: Program) -> Result<&mut Xdp> {
    let found = ebpf.program_mut(program.name()).with_context(|| format!("no {}", program.name()))?;
    Ok(found.try_into()?)
}

/// The head of a packet as words that lie in memory as it does.
fn front(packet: &[u8]) -> Result<Front> {
    let (words, _) = packet.as_chunks::<8>();
    let words: Vec<u64> = words.iter().take(FRONT / 8).map(|word| u64::from_ne_bytes(*word)).collect();
    words.try_into().ok().with_context(|| format!("a packet of less than {FRONT} bytes"))
}
