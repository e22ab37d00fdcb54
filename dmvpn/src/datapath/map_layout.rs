//! Checks that maps an earlier run pinned are the ones this agent expects.
//!
//! The loader re-uses a pinned map whatever it is and believes the object about its sizes: a value of another size
//! would be read past its end. So every pin is compared first.

use std::{io, path::Path};

use aya::{
    maps::{MapError, MapInfo},
    sys::SyscallError,
};
use aya_obj::{Map, Object, generated::bpf_map_type};
use dmvpn_common::map_names;

use super::{DataPathError, pin_directory::PinDirectory};

/// What the operation is called in errors.
const LOOK: &str = "look at the pinned";

/// A map whose size a setting decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct SizedMap {
    /// Name of the map.
    pub name: &'static str,
    /// Entries it is to have.
    pub entries: u32,
    /// The setting, as the operator knows it.
    pub setting: &'static str,
    /// Entries beyond the value of the setting: 1 where index 0 is not used.
    pub unused: u32,
}

/// Compares every pinned map with `object`. Maps that are not pinned yet are fine: the loader creates them. So it does
/// with a cache that does not fit, which is unpinned: programs of an earlier run use it until they are swapped.
pub(super) fn check_pinned(
    pins: &PinDirectory,
    object: &[u8],
    sized: &[SizedMap],
) -> Result<(), DataPathError> {
    let object = Object::parse(object)
        .map_err(|error| DataPathError::ObjectIncomplete { what: format!("readable content ({error})") })?;
    for name in map_names::ALL {
        let expected = object
            .maps
            .get(name)
            .ok_or_else(|| DataPathError::ObjectIncomplete { what: format!("map {name}") })?;
        let path = pins.map(name);
        match MapInfo::from_pin(&path) {
            Ok(pinned) => {
                let kind = pinned.map_type().map_err(DataPathError::map(name, LOOK))?;
                let sized = sized.iter().find(|sized| sized.name == name);
                match compare(&path, &pinned, kind as u32, expected, sized) {
                    Err(_) if map_names::CACHES.contains(&name) => pins.remove_map(name)?,
                    compared => compared?,
                }
            }
            Err(MapError::SyscallError(SyscallError { io_error, .. }))
                if io_error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(DataPathError::map(name, LOOK)(error)),
        }
    }
    Ok(())
}

fn compare(
    path: &Path,
    pinned: &MapInfo,
    pinned_type: u32,
    expected: &Map,
    sized: Option<&SizedMap>,
) -> Result<(), DataPathError> {
    let is_ring = expected.map_type() == bpf_map_type::BPF_MAP_TYPE_RINGBUF as u32;
    let entries = match sized {
        Some(sized) => sized.entries,
        None if is_ring => ring_size(expected.max_entries()),
        None => expected.max_entries(),
    };
    // The loader creates ring buffers without a value whatever the object says.
    let value_size = if is_ring { 0 } else { expected.value_size() };
    let properties = [
        ("map type", pinned_type, expected.map_type()),
        ("key size", pinned.key_size(), expected.key_size()),
        ("value size", pinned.value_size(), value_size),
        ("max_entries", pinned.max_entries(), entries),
    ];
    let Some((property, pinned, expected)) =
        properties.into_iter().find(|(_, pinned, expected)| pinned != expected)
    else {
        return Ok(());
    };
    let hint = match sized {
        Some(sized) if property == "max_entries" => {
            let SizedMap { setting, unused, entries, .. } = *sized;
            format!(
                ": it was made with {setting} {}, now it is {}; a map keeps its size, so either set {setting} back or \
                 start afresh",
                pinned.saturating_sub(unused),
                entries.saturating_sub(unused)
            )
        }
        _ => String::new(),
    };
    Err(DataPathError::PinnedMapMismatch { path: path.to_owned(), property, pinned, expected, hint })
}

/// Bytes the loader gives a ring buffer for which the object asks `bytes`: a power of two of whole pages.
fn ring_size(bytes: u32) -> u32 {
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|page| u32::try_from(page).ok())
        .unwrap_or(4096);
    bytes.div_ceil(page).next_power_of_two() * page
}
