//! The policers: `POLICERS`.

use aya::maps::{Array, MapData};
use dmvpn_common::{Policer, map_names};

use super::DataPathError;

/// What bounds the packets that are sent to peers, by the index of the peer.
pub struct PolicerTable {
    map: Array<MapData, Policer>,
}

impl PolicerTable {
    pub(super) const fn new(map: Array<MapData, Policer>) -> Self {
        Self { map }
    }

    /// Lets `rate` bytes a second and `burst` bytes at once through. One that does so already keeps its counts, any other
    /// starts anew with a full bucket.
    pub fn set(&mut self, index: u32, rate: u64, burst: u32) -> Result<(), DataPathError> {
        let old = self.get(index)?;
        if (old.rate, old.burst) == (rate, burst) {
            return Ok(());
        }
        let policer = Policer { rate, burst, tokens: burst.into(), ..Policer::default() };
        self.map.set(index, policer, 0).map_err(DataPathError::map(map_names::POLICERS, "write"))
    }

    /// Forgets the policer of a peer that is no more: the next one with its index starts anew.
    pub fn clear(&mut self, index: u32) -> Result<(), DataPathError> {
        self.set(index, 0, 0)
    }

    /// A policer and what it has counted.
    pub fn get(&self, index: u32) -> Result<Policer, DataPathError> {
        self.map.get(&index, 0).map_err(DataPathError::map(map_names::POLICERS, "read"))
    }
}
