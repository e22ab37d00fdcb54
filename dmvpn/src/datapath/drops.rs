//! Why packets were dropped, and how often: `COUNTERS`.

use aya::maps::{MapData, PerCpuArray, PerCpuValues};
use dmvpn_common::{DropCounter, DropReason, map_names};

use super::DataPathError;

/// Drops for one reason since the maps were made, all CPUs and the agent together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropTotal {
    /// The reason.
    pub reason: DropReason,
    /// Packets.
    pub packets: u64,
    /// Their bytes, as they were when dropped.
    pub bytes: u64,
}

/// The drop counters: the programs' in the kernel, where the map has room for more reasons than there are, and the
/// agent's own beside them, as it cannot add to counters that the programs write.
pub struct DropCounters {
    map: PerCpuArray<MapData, DropCounter>,
    own: [(u64, u64); DropReason::ALL.len()],
}

impl DropCounters {
    /// Also writes into each counter what it counts, for those who dump the map. Only where that is missing: then no
    /// program has run yet, so no count is lost.
    pub(super) fn open(map: PerCpuArray<MapData, DropCounter>) -> Result<Self, DataPathError> {
        let mut counters = Self { map, own: [(0, 0); DropReason::ALL.len()] };
        for reason in DropReason::ALL {
            let old = counters.read(reason)?;
            if old.iter().any(|cpu| cpu.reason != reason) {
                let named = old.iter().map(|cpu| DropCounter { reason, ..*cpu }).collect::<Vec<_>>();
                let failed = DataPathError::map(map_names::COUNTERS, "write");
                PerCpuValues::try_from(named)
                    .map_err(Into::into)
                    .and_then(|named| counters.map.set(reason as u32, named, 0))
                    .map_err(failed)?;
            }
        }
        Ok(counters)
    }

    /// Counts packets of `bytes` bytes in all that the agent drops.
    pub fn count(&mut self, reason: DropReason, packets: u64, bytes: u64) {
        if let Some(own) = self.own.get_mut(reason as usize) {
            *own = (own.0.wrapping_add(packets), own.1.wrapping_add(bytes));
        }
    }

    /// Every reason with its counts, in the order of the reasons. The agent's own begin with the agent.
    pub fn totals(&self) -> Result<Vec<DropTotal>, DataPathError> {
        let total = |reason| {
            let (packets, bytes) = self.own.get(reason as usize).copied().unwrap_or_default();
            let own = DropTotal { reason, packets, bytes };
            Ok(self.read(reason)?.iter().fold(own, |sum, cpu| DropTotal {
                reason,
                packets: sum.packets.wrapping_add(cpu.packets),
                bytes: sum.bytes.wrapping_add(cpu.bytes),
            }))
        };
        DropReason::ALL.into_iter().map(total).collect()
    }

    fn read(&self, reason: DropReason) -> Result<PerCpuValues<DropCounter>, DataPathError> {
        self.map.get(&(reason as u32), 0).map_err(DataPathError::map(map_names::COUNTERS, "read"))
    }
}
