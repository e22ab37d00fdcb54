//! Redirects: traffic that enters and leaves one NHRP network here could take a shorter way (draft-detienne-dmvpn,
//! "traffic indication"). The agent tells the sender; this module finds the traffic, without flooding the agent.
#![expect(unsafe_code, reason = "the time is updated in place")]

use dmvpn_common::{LastRedirect, REDIRECT_SEEN_BITS, RedirectKey};

use crate::{
    address,
    cache::{MULTIPLIER, pair},
    clock,
    maps::REDIRECT_SEEN,
    settings::REDIRECT_INTERVAL_NS,
};

/// Whether an event is due for `key`. When it is, the next one is not before the interval is over, unless another key
/// takes its place meanwhile.
#[inline(always)]
pub fn is_due(key: &RedirectKey) -> bool {
    let now = clock::now();
    let Some(last) = REDIRECT_SEEN.get_ptr_mut(place(key)) else { return false };
    // SAFETY: a value of an array is there for ever. Two CPUs at once raise two events at worst, or mix up two keys, which
    // is another key then.
    let last = unsafe { &mut *last };
    if is(&last.key, key) && now.wrapping_sub(last.time) < REDIRECT_INTERVAL_NS.load() {
        return false;
    }
    *last = LastRedirect { key: *key, time: now };
    true
}

/// Where a key is, if it is anywhere.
#[inline(always)]
fn place(key: &RedirectKey) -> u32 {
    let [first, second, third, fourth] = address::words(&key.destination);
    let mixed = (pair(key.peer, first) ^ pair(third, fourth).rotate_left(23)).wrapping_mul(MULTIPLIER);
    let mixed = (mixed ^ u64::from(second)).wrapping_mul(MULTIPLIER);
    (mixed >> (64 - REDIRECT_SEEN_BITS)) as u32
}

/// Whether two keys are one.
#[inline(always)]
fn is(one: &RedirectKey, other: &RedirectKey) -> bool {
    one.peer == other.peer && address::is_same(&one.destination, &other.destination)
}
