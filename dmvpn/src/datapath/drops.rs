//! Why packets were dropped, and how often: `COUNTERS`.

use aya::maps::{MapData, PerCpuArray, PerCpuValues};
use dmvpn_common::{DropCounter, DropReason, map_names};

use super::DataPathError;

/// Drops for one reason since the maps were made, all CPUs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropTotal {
    /// The reason.
    pub reason: DropReason,
    /// Packets.
    pub packets: u64,
    /// Their bytes, as they were when dropped.
    pub bytes: u64,
}

/// The drop counters in the kernel. The map has room for more reasons than there are.
pub struct DropCounters {
    map: PerCpuArray<MapData, DropCounter>,
}

impl DropCounters {
    /// Also writes into each counter what it counts, for those who dump the map. Only where that is missing: then no
    /// program has run yet, so no count is lost.
    pub(super) fn open(map: PerCpuArray<MapData, DropCounter>) -> Result<Self, DataPathError> {
        let mut counters = Self { map };
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

    /// Every reason with its counts, in the order of the reasons.
    pub fn totals(&self) -> Result<Vec<DropTotal>, DataPathError> {
        let total = |reason| {
            let zero = DropTotal { reason, packets: 0, bytes: 0 };
            Ok(self.read(reason)?.iter().fold(zero, |sum, cpu| DropTotal {
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
