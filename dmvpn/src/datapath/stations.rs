//! Which link-layer addresses XDP takes frames for: `STATIONS`.

use std::collections::BTreeSet;

use aya::maps::{Array, MapData};
use dmvpn_common::{STATIONS, Station, Stations, map_names};

use super::{ControlTable, DataPathError};

/// Our link-layer addresses on the underlay.
pub struct StationTable {
    map: Array<MapData, Stations>,
    control: ControlTable,
    own: BTreeSet<Station>,
}

impl StationTable {
    /// Goes on with what an earlier agent wrote.
    pub(super) fn open(map: Array<MapData, Stations>, control: ControlTable) -> Result<Self, DataPathError> {
        let written = map.get(&0, 0).map_err(DataPathError::map(map_names::STATIONS, "read"))?;
        let own = written.own.into_iter().filter(|station| *station != Station::default()).collect();
        Ok(Self { map, control, own })
    }

    /// Has frames for these taken as well.
    pub fn add(&mut self, stations: &BTreeSet<Station>) -> Result<bool, DataPathError> {
        self.set(self.own.union(stations).copied().collect())
    }

    /// Has frames for these taken, and for no others; for all, when there are more than [`STATIONS`] or none. Returns
    /// whether they are told apart.
    pub fn set(&mut self, stations: BTreeSet<Station>) -> Result<bool, DataPathError> {
        let known = stations.len() <= STATIONS;
        if stations != self.own {
            let mut value = Stations::default();
            for (place, station) in value.own.iter_mut().zip(stations.iter().filter(|_| known)) {
                *place = *station;
            }
            self.map.set(0, value, 0).map_err(DataPathError::map(map_names::STATIONS, "write"))?;
            self.control.forget_routes()?;
            self.own = stations;
        }
        Ok(known)
    }
}
