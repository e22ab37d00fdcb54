//! What the route caches have counted and the programs have not added to `PEER_COUNTERS` yet.
//!
//! There are hundreds of thousands of slots, so they are read as memory. A packet may change a slot while it is read:
//! then a count is off by what was in that slot, and right the next time.
#![expect(unsafe_code, reason = "memory that is shared with the kernel is reached by pointer")]

use std::{
    collections::HashMap,
    marker::PhantomData,
    num::NonZeroUsize,
    os::fd::AsFd as _,
    ptr::{self, NonNull},
};

use aya::maps::{MapData, MapError};
use dmvpn_common::{CachedRoute, CachedRoute6, CachedVerdict, PeerCounters, Traffic, map_names};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::DataPathError;

/// The slots of both caches.
pub(super) struct CachedCounts {
    ipv4: Slots<CachedRoute>,
    ipv6: Slots<CachedRoute6>,
}

impl CachedCounts {
    /// The slots of `ROUTE_CACHE` and `ROUTE_CACHE_IPV6`.
    pub(super) fn open(ipv4: &MapData, ipv6: &MapData) -> Result<Self, DataPathError> {
        Ok(Self {
            ipv4: Slots::open(map_names::ROUTE_CACHE, ipv4)?,
            ipv6: Slots::open(map_names::ROUTE_CACHE_IPV6, ipv6)?,
        })
    }

    /// What is to be added to the counters of each peer. `generation` is the present one, `since` says in which one a
    /// peer was added (0: there is none with this index).
    pub(super) fn read(
        &self,
        generation: u32,
        mut since: impl FnMut(u32) -> Result<Option<u32>, DataPathError>,
    ) -> Result<HashMap<u32, PeerCounters>, DataPathError> {
        let mut counts = HashMap::<u32, PeerCounters>::new();
        let mut known = HashMap::<u32, Option<u32>>::new();
        // SAFETY: inside a slot, see `Slots`.
        let ipv4 = self.ipv4.iter().map(|slot| unsafe { &raw const (*slot).way });
        // SAFETY: as above.
        let ipv6 = self.ipv6.iter().map(|slot| unsafe { &raw const (*slot).way });
        for way in ipv4.chain(ipv6) {
            // SAFETY: as above. Nearly all slots are empty, so this is looked at first.
            if unsafe { (&raw const (*way).bytes).read_volatile() } == 0 {
                continue;
            }
            // SAFETY: as above. Only the programs write there, and only values of the enumeration.
            let way = unsafe { way.read_volatile() };
            let mut is_the_same = |peer: u32| -> Result<bool, DataPathError> {
                let since = match known.get(&peer) {
                    Some(since) => *since,
                    None => *known.entry(peer).or_insert(since(peer)?),
                };
                Ok(since.is_some_and(|since| way.is_younger(since, generation)))
            };
            let traffic = Traffic { packets: way.hits.into(), bytes: way.bytes.into() };
            if way.source_peer != 0 && is_the_same(way.source_peer)? {
                let of_peer = counts.entry(way.source_peer).or_default();
                of_peer.received_xdp = of_peer.received_xdp.plus(traffic);
            }
            if way.verdict == CachedVerdict::Peer && is_the_same(way.to)? {
                let of_peer = counts.entry(way.to).or_default();
                let sum = if way.source_peer == 0 { &mut of_peer.sent_xdp } else { &mut of_peer.transit_xdp };
                *sum = sum.plus(traffic);
            }
        }
        Ok(counts)
    }
}

/// The values of an array map as memory that can be read.
struct Slots<T> {
    first: NonNull<libc::c_void>,
    length: usize,
    size: NonZeroUsize,
    values: PhantomData<T>,
}

// SAFETY: it is a pointer to memory that stays where it is until `drop`, and only read.
unsafe impl<T> Send for Slots<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Slots<T> {}

impl<T> Slots<T> {
    fn open(name: &'static str, map: &MapData) -> Result<Self, DataPathError> {
        // The kernel puts the values of an array one after the other, each at a multiple of eight bytes.
        const { assert!(size_of::<T>().is_multiple_of(8)) };
        let failed = DataPathError::map(name, "see the memory of");
        let info = map.info().map_err(DataPathError::map(name, "look at"))?;
        let length = info.max_entries() as usize;
        let size = NonZeroUsize::new(length * size_of::<T>())
            .filter(|_| info.value_size() as usize == size_of::<T>());
        let Some(size) = size else {
            return Err(failed(MapError::IoError(std::io::ErrorKind::InvalidData.into())));
        };
        // SAFETY: a new mapping, which nothing else uses.
        let first =
            unsafe { mmap(None, size, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, map.fd().as_fd(), 0) };
        let first = first.map_err(|error| failed(MapError::IoError(error.into())))?;
        Ok(Self { first, length, size, values: PhantomData })
    }

    fn iter(&self) -> impl Iterator<Item = *const T> {
        let first: *const T = self.first.as_ptr().cast_const().cast();
        (0..self.length).map(move |index| first.wrapping_add(index))
    }
}

impl<T> Drop for Slots<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own.
        let result = unsafe { munmap(self.first, self.size.get()) };
        debug_assert_eq!(result, Ok(()), "{}", ptr::from_ref(self).addr());
    }
}
