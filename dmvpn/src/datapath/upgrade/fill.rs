//! Fills this version's maps with the entries of another's.

use std::{mem::offset_of, path::Path};

use dmvpn_common::{CachedRoute, CachedRoute6, CachedWay, map_names};
use tracing::info;

use super::raw_map::RawMap;
use crate::{
    btf::Conversion,
    datapath::{DataPathError, attach::in_one_line, pin_directory::PinDirectory},
};

/// What has to be as it was. All else begins anew: limits of a second, events, which the kernel's next question repeats.
///
/// What programs write all the time comes last, so that the least is missing. A program settles a slot of a cache in
/// `PEER_COUNTERS`; in this order what it settles meanwhile is there twice rather than not at all.
const MAPS: [&str; 14] = [
    map_names::TUNNELS,
    map_names::LOCAL,
    map_names::PEERS,
    map_names::PEER_BY_NBMA,
    map_names::UNDERLAY,
    map_names::CONTROL,
    map_names::INTERFACES,
    map_names::MULTICAST,
    map_names::POLICERS,
    map_names::SPREAD_COUNTERS,
    map_names::COUNTERS,
    map_names::ROUTE_CACHE,
    map_names::ROUTE_CACHE_IPV6,
    map_names::PEER_COUNTERS,
];

/// Copies every map from the directory `source` and returns how many entries there were. A map that the other version
/// does not have stays empty.
pub(super) fn fill(source: &Path, pins: &PinDirectory) -> Result<usize, DataPathError> {
    let mut entries = 0;
    for name in MAPS {
        entries += match fill_one(name, &source.join(name), &pins.map(name)) {
            Err(error) if map_names::CACHES.contains(&name) => {
                info!(error = in_one_line(&error), "a second of counting is lost");
                0
            }
            copied => copied?,
        };
    }
    Ok(entries)
}

fn fill_one(name: &'static str, from: &Path, to: &Path) -> Result<usize, DataPathError> {
    let Some(old) = RawMap::open(from)? else { return Ok(0) };
    let new = RawMap::open(to)?;
    let new = new.ok_or_else(|| DataPathError::ObjectIncomplete { what: format!("map {name}") })?;
    copy(name, from, &old, &new)
}

fn copy(name: &str, path: &Path, old: &RawMap, new: &RawMap) -> Result<usize, DataPathError> {
    let failed = |reason: String| DataPathError::TakeOver { path: path.to_owned(), reason };
    if old.kind != new.kind {
        return Err(failed("the other version has another kind of map under this name".to_owned()));
    }
    let keys = Conversion::new(&old.key, &new.key).map_err(|error| failed(format!("key: {error}")))?;
    let values = Conversion::new(&old.value, &new.value).map_err(|error| failed(error.to_string()))?;
    let mut copied = 0;
    old.for_each(|key, value| {
        // What nobody uses in an array is zero, and an array begins with zeros.
        if old.is_array() && value.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let converted = old.of_each_cpu(value).map(|value| values.apply(value)).collect::<Result<Vec<_>, _>>();
        let value = match converted {
            Ok(value) => value,
            // A reason for drops that this version does not know: nobody would ask for it.
            Err(_) if name == map_names::COUNTERS => return Ok(()),
            Err(error) => return Err(failed(error.to_string())),
        };
        let key = keys.apply(key).map_err(|error| failed(format!("key: {error}")))?;
        if let Some(place) = counted_bytes(name)
            && !is_worth_it(&key, &value, place, new)
        {
            return Ok(());
        }
        if let Some(index) = index(&key).filter(|index| new.is_array() && *index >= new.entries) {
            return Err(failed(format!(
                "entry {index} is in use, and this agent has room for {} only: give it the max-peers of the other one",
                new.entries
            )));
        }
        new.write(&key, &value)?;
        copied += 1;
        Ok(())
    })?;
    Ok(copied)
}

/// Of a route cache: where in a slot the bytes are that are not in `PEER_COUNTERS` yet. The routes themselves are given up
/// by the agent at its start; nor does a slot's place mean anything when caches are of different sizes.
fn counted_bytes(name: &str) -> Option<usize> {
    let way = match name {
        map_names::ROUTE_CACHE => offset_of!(CachedRoute, way),
        map_names::ROUTE_CACHE_IPV6 => offset_of!(CachedRoute6, way),
        _ => return None,
    };
    Some(way + offset_of!(CachedWay, bytes))
}

/// Whether a slot of a route cache has counted something, and there is a slot for it.
fn is_worth_it(key: &[u8], value: &[Vec<u8>], place: usize, new: &RawMap) -> bool {
    let counted = value.iter().any(|slot| slot.iter().skip(place).take(4).any(|byte| *byte != 0));
    counted && index(key).is_some_and(|index| index < new.entries)
}

/// The index in the key of an array.
fn index(key: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*key.as_array()?))
}
