//! Rate limits that the data path keeps by itself. Times are `CLOCK_MONOTONIC` in nanoseconds.

use crate::Address;

/// Key of `REDIRECT_SEEN`: who would be told about what.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RedirectKey {
    /// Index of the peer the traffic comes from.
    pub peer: u32,
    /// Inner destination; or the link-local source that the agent is told of, which is nobody's destination here.
    pub destination: Address,
}

/// Value of `REDIRECT_SEEN`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastRedirect {
    /// When the last redirect event was raised.
    pub time: u64,
}

/// Value of `NHRP_RATE`, found by outer source address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NhrpRate {
    /// When the current second began.
    pub since: u64,
    /// NHRP packets from the source in it, whether let through or not.
    pub packets: u64,
}

const _: () = assert!(size_of::<RedirectKey>() == 24);
const _: () = assert!(size_of::<NhrpRate>() == 16);

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya reads and writes map values as plain bytes")]
mod pod {
    // SAFETY: `repr(C)`, no padding, no pointers; enums are only written by this project's code.
    unsafe impl aya::Pod for super::RedirectKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::LastRedirect {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::NhrpRate {}
}
