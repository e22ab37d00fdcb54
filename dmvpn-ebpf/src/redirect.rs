//! Redirects: traffic that enters and leaves one NHRP network here could take a shorter way (draft-detienne-dmvpn,
//! "traffic indication"). The agent tells the sender; this module finds the traffic, without flooding the agent.
#![expect(unsafe_code, reason = "the time is updated in place")]

use dmvpn_common::{LastRedirect, RedirectKey};

use crate::{clock, maps::REDIRECT_SEEN, settings::REDIRECT_INTERVAL_NS};

/// Whether an event is due for `key`. When it is, the next one is not before the interval is over.
#[inline(always)]
pub fn is_due(key: &RedirectKey) -> bool {
    let now = clock::now();
    let Some(last) = REDIRECT_SEEN.get_ptr_mut(key) else {
        // A full table makes room by itself. Should it fail all the same, there is an event too many.
        let _ = REDIRECT_SEEN.insert(key, LastRedirect { time: now }, 0);
        return true;
    };
    // SAFETY: the kernel keeps the value's memory while the program runs. Two CPUs at once raise two events at worst.
    let last = unsafe { &mut *last };
    if now.wrapping_sub(last.time) < REDIRECT_INTERVAL_NS.load() {
        return false;
    }
    last.time = now;
    true
}
