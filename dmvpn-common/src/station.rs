//! Which link-layer addresses are this box's own: frames for others are none of its business.

/// A link-layer address of this box on the underlay, and the VLAN it is on.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Station {
    /// The address.
    pub mac: [u8; 6],
    /// VLAN (802.1Q) of the frames, 1 to 4094; 0: no tag.
    pub vlan: u16,
}

/// Most stations that are told apart; see [`Stations`].
pub const STATIONS: usize = 16;

/// Value of `STATIONS`, which has one entry: what XDP takes frames for. TC asks the kernel, which knows.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stations {
    /// Without gaps, the rest is zero. All zero: frames are taken whoever they are for.
    pub own: [Station; STATIONS],
}

const _: () = assert!(size_of::<Station>() == 8);
const _: () = assert!(size_of::<Stations>() == 128);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, no padding, no pointers.
#[expect(unsafe_code, reason = "aya reads and writes map values as plain bytes")]
unsafe impl aya::Pod for Stations {}
