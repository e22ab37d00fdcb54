//! Limits how much NHRP one source may send: strangers may speak NHRP, so this is where a flood of it ends.
#![expect(unsafe_code, reason = "the rate is updated in place")]

use dmvpn_common::{Address, NhrpRate};

use crate::{clock, maps::NHRP_RATE, settings::NHRP_SOURCE_LIMIT};

/// Length of the window in which packets are counted.
const WINDOW_NS: u64 = 1_000_000_000;

/// Whether `source` may send one more packet now.
#[inline(always)]
pub fn admits(source: &Address) -> bool {
    let limit = NHRP_SOURCE_LIMIT.load();
    if limit == 0 {
        return true;
    }
    let now = clock::now();
    let Some(rate) = NHRP_RATE.get_ptr_mut(source) else {
        // A full table makes room by itself. Should it fail all the same, a packet too many is let through.
        let _ = NHRP_RATE.insert(source, NhrpRate { since: now, packets: 1 }, 0);
        return true;
    };
    // SAFETY: the kernel keeps the value's memory while the program runs. Two CPUs that update it at once can lose a
    // count, which makes the limit a little less exact, nothing else.
    let rate = unsafe { &mut *rate };
    if now.wrapping_sub(rate.since) >= WINDOW_NS {
        *rate = NhrpRate { since: now, packets: 0 };
    }
    rate.packets += 1;
    rate.packets <= u64::from(limit)
}
