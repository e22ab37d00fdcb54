//! Rate limits that the data path keeps by itself. Times are `CLOCK_MONOTONIC` in nanoseconds.

use crate::Address;

/// Who would be told about what.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RedirectKey {
    /// Index of the peer the traffic comes from.
    pub peer: u32,
    /// Inner destination; or the link-local source that the agent is told of, which is nobody's destination here.
    pub destination: Address,
}

/// Value of `REDIRECT_SEEN`, found by a hash of [`key`](Self::key). Who comes takes the place of who was there, and then
/// a redirect may be repeated too early: the agent limits them, too.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastRedirect {
    /// Whose place it is; peer 0: nobody's yet.
    pub key: RedirectKey,
    /// When the last redirect event was raised.
    pub time: u64,
}

/// Entries of `REDIRECT_SEEN` as a power of two.
pub const REDIRECT_SEEN_BITS: u32 = 15;

/// Value of `NHRP_RATE`, found by outer source address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NhrpRate {
    /// When the current second began.
    pub since: u64,
    /// NHRP packets from the source in it, whether let through or not.
    pub packets: u64,
}

const _: () = assert!(size_of::<RedirectKey>() == 24 && size_of::<LastRedirect>() == 32);
const _: () = assert!(size_of::<NhrpRate>() == 16);

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya reads and writes map values as plain bytes")]
mod pod {
    // SAFETY: `repr(C)`, no padding, no pointers; enums are only written by this project's code.
    unsafe impl aya::Pod for super::LastRedirect {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::NhrpRate {}
}
