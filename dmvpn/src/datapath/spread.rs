//! Spreading of received packets over CPUs: `SPREAD_QUEUES`, `SPREAD_CPUS` and `SPREAD_COUNTERS`.
//!
//! The queues are not pinned: they live as long as the program that fills them, which a pinned link holds. A new agent
//! fills queues of its own before it swaps its program in, and the kernel has the old ones emptied before it frees them.

use aya::{
    Ebpf,
    maps::{Array, CpuMap, MapData, PerCpuArray},
    programs::Xdp,
};
use dmvpn_common::{SpreadCounter, Traffic, map_names, program_names};

use super::{
    DataPathError,
    loader::{program, take_map},
};

/// Packets that may wait for a CPU: some milliseconds of what one can do. What is above is lost.
const QUEUE_SIZE: u32 = 2048;

/// Starts the queue of each of `cpus`, and tells the program that fills them.
pub(super) fn prepare(ebpf: &mut Ebpf, cpus: &[u32]) -> Result<(), DataPathError> {
    let worker = program::<Xdp>(ebpf, program_names::XDP_SPREAD_CPU)?;
    let worker = worker.fd().and_then(|fd| Ok(fd.try_clone()?)).map_err(|source| DataPathError::Program {
        program: program_names::XDP_SPREAD_CPU,
        source: Box::new(source),
    })?;
    let mut queues: CpuMap<_> = take_map(ebpf, map_names::SPREAD_QUEUES)?;
    let mut slots: Array<_, u32> = take_map(ebpf, map_names::SPREAD_CPUS)?;
    for (slot, &cpu) in (0..).zip(cpus) {
        queues
            .set(cpu, QUEUE_SIZE, Some(&worker), 0)
            .map_err(|source| DataPathError::Spread { cpu, source: Box::new(source) })?;
        slots.set(slot, cpu, 0).map_err(DataPathError::map(map_names::SPREAD_CPUS, "write"))?;
    }
    Ok(())
}

/// Packets that went from one CPU to another.
pub struct SpreadTable {
    counters: PerCpuArray<MapData, SpreadCounter>,
    cpus: Vec<u32>,
}

impl SpreadTable {
    pub(super) const fn new(counters: PerCpuArray<MapData, SpreadCounter>, cpus: Vec<u32>) -> Self {
        Self { counters, cpus }
    }

    /// The CPUs that share the work; none: packets stay where they come in.
    pub fn cpus(&self) -> &[u32] {
        &self.cpus
    }

    /// What a CPU was given by others since the maps were made, and what it took.
    pub fn counter(&self, cpu: u32) -> Result<SpreadCounter, DataPathError> {
        let values =
            self.counters.get(&cpu, 0).map_err(DataPathError::map(map_names::SPREAD_COUNTERS, "read"))?;
        Ok(values.iter().fold(SpreadCounter::default(), |total, value| total.plus(value)))
    }

    /// What was handed over and not taken: lost at full queues, but for what is in them at the moment.
    pub fn missing(&self) -> Result<Traffic, DataPathError> {
        let mut total = SpreadCounter::default();
        for cpu in 0..self.counters.len() {
            total = total.plus(&self.counter(cpu)?);
        }
        let SpreadCounter { handed_over, taken } = total;
        // A packet may be taken between the two readings.
        Ok(Traffic {
            packets: handed_over.packets.saturating_sub(taken.packets),
            bytes: handed_over.bytes.saturating_sub(taken.bytes),
        })
    }
}
