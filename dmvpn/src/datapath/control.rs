//! What the agent tells the data path about the whole box: `CONTROL`.

use std::sync::{Arc, Mutex, PoisonError};

use aya::maps::{Array, MapData};
use dmvpn_common::{Control, ControlFlags, map_names};
use nix::time::{ClockId, clock_gettime};

use super::DataPathError;

/// What the box's routing depends on beside the destination, and so what cached routes have to respect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RouteSelection {
    /// Nothing.
    #[default]
    ByDestination,
    /// The source address: there are policy rules that ask for it, routes with several next hops, or sources are
    /// checked.
    BySource,
    /// Type of service or protocol: nothing is cached.
    ByMore,
}

/// The handle of `CONTROL`; all clones are one.
#[derive(Clone)]
pub struct ControlTable {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    map: Array<MapData, Control>,
    /// What is in the map: nobody else writes it.
    value: Control,
}

impl ControlTable {
    /// Continues where an earlier agent stopped, with routes that the programs have to look up anew.
    pub(super) fn open(map: Array<MapData, Control>) -> Result<Self, DataPathError> {
        let value = map.get(&0, 0).map_err(DataPathError::map(map_names::CONTROL, "read"))?;
        let table = Self { inner: Arc::new(Mutex::new(Inner { map, value })) };
        table.change(|control| control.seconds = seconds_now())?;
        table.forget_routes()?;
        Ok(table)
    }

    /// Makes the data path look every route up anew. To be called after *every* change that the kernel reports of a
    /// route, rule, neighbour, address or link. The tables of this module do it by themselves for what they change,
    /// and after they have changed it: a packet that sees the new generation sees the change too.
    pub fn forget_routes(&self) -> Result<(), DataPathError> {
        self.change(|control| control.generation = control.generation.wrapping_add(1))
    }

    /// Tells the data path the time. To be called about once a second: redirects are repeated by it.
    pub fn tick(&self) -> Result<(), DataPathError> {
        let now = seconds_now();
        self.change(|control| control.seconds = now)
    }

    /// Says what routing depends on. When that is something else than before, routes are looked up anew, and the result
    /// is `true`.
    pub fn set_route_selection(&self, selection: RouteSelection) -> Result<bool, DataPathError> {
        let before = self.value();
        self.change(|control| {
            (control.flags, control.source_mask) = match selection {
                RouteSelection::ByDestination => (0, 0),
                RouteSelection::BySource => (0, u32::MAX),
                RouteSelection::ByMore => (ControlFlags::NO_CACHE, 0),
            };
        })?;
        let now = self.value();
        let changed = (now.flags, now.source_mask) != (before.flags, before.source_mask);
        if changed {
            self.forget_routes()?;
        }
        Ok(changed)
    }

    /// What the data path is told now.
    pub fn value(&self) -> Control {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).value
    }

    fn change(&self, change: impl FnOnce(&mut Control)) -> Result<(), DataPathError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut value = inner.value;
        change(&mut value);
        if value != inner.value {
            inner.map.set(0, value, 0).map_err(DataPathError::map(map_names::CONTROL, "write"))?;
            inner.value = value;
        }
        Ok(())
    }
}

/// `CLOCK_MONOTONIC` in whole seconds; 0 when the kernel does not tell, which only delays redirects.
fn seconds_now() -> u32 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).ok().and_then(|now| u32::try_from(now.tv_sec()).ok()).unwrap_or(0)
}
