//! Whom a frame is for, in XDP: it sees all that the interface hears, and an interface may hear frames for others.

use dmvpn_common::{STATIONS, Station, Stations};

use crate::{ethernet, maps, packet::Packet};

/// The bytes of a link-layer address in a word of memory.
const ADDRESS: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);

/// Whether a frame with `link` bytes of link-layer header is for this box.
#[inline(always)]
pub fn is_ours<P: Packet>(packet: &P, link: u32) -> bool {
    let Some(stations) = maps::STATIONS.get(0) else { return true };
    let Some(header) = ethernet::header(packet) else { return false };
    let mut station = header.copy_out::<u64, 0>() & ADDRESS;
    if link != ethernet::LENGTH {
        let Some(tag) = packet.block::<2>(ethernet::LENGTH as usize) else { return false };
        station |= vlan(tag.half::<0>() & 0xfff);
    }
    word(stations, 0) == station || is_another(stations, station)
}

/// Whether it is any but the first, or nobody said who we are.
#[inline(never)]
fn is_another(stations: &Stations, station: u64) -> bool {
    if word(stations, 0) == 0 {
        return true;
    }
    let mut at = 1;
    while at < STATIONS {
        if word(stations, at) == station {
            return true;
        }
        at += 1;
    }
    false
}

/// A VLAN where [`Station::vlan`] is.
#[inline(always)]
const fn vlan(id: u16) -> u64 {
    if cfg!(target_endian = "little") { (id as u64) << 48 } else { id as u64 }
}

const _: () = assert!(core::mem::offset_of!(Station, vlan) == 6);

/// A station as a word of memory.
#[inline(always)]
#[expect(unsafe_code, reason = "two fields are read as one word")]
fn word(stations: &Stations, at: usize) -> u64 {
    // SAFETY: the place is one of the array, whose elements have eight bytes and are aligned to as many.
    unsafe { core::ptr::from_ref(stations).cast::<u64>().add(at).read() }
}
