//! Bounds on how often something is done.

use std::{net::IpAddr, time::Duration};

use super::{Time, ordered_map::OrderedMap, rare::Empty};

/// A token bucket, as the moment at which it is going to be full again: an empty one that is given `rate` tokens a
/// second is full after `burst / rate` seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket(Time);

impl Bucket {
    /// Takes a token. `rate` come back in a second; at most `burst` can be taken at once.
    pub(super) fn take(&mut self, now: Time, rate: u64, burst: u64) -> bool {
        let Some(one) = 1_000_000_000_u64.checked_div(rate) else { return false };
        let full = self.0.max(now) + Duration::from_nanos(one);
        let allowed = full.since(now) <= Duration::from_nanos(one.saturating_mul(burst));
        if allowed {
            self.0 = full;
        }
        allowed
    }
}

/// Buckets of sources that are not peers.
#[derive(Debug, Default)]
pub(super) struct Strangers(OrderedMap<IpAddr, Bucket>);

impl Empty for Strangers {
    const EMPTY: &'static Self = &Self(OrderedMap::new());
}

impl Strangers {
    /// Sources that are told apart.
    pub(super) const MOST: usize = 8192;

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes a token of a source's bucket.
    pub(super) fn take(&mut self, source: IpAddr, now: Time, rate: u64, burst: u64) -> bool {
        // Forged sources can fill the table at will. Forgetting all of them costs nothing then: the bucket of
        // everyone together still holds.
        if self.0.len() >= Self::MOST && !self.0.contains_key(&source) {
            self.0.clear();
        }
        self.0.get_or_insert_with(source, Bucket::default).take(now, rate, burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::new(Duration::from_millis(millis))
    }

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate() {
        let mut bucket = Bucket::default();
        let taken = (0..50).filter(|_| bucket.take(at(0), 10, 20)).count();
        assert_eq!(taken, 20);
        assert!(!bucket.take(at(99), 10, 20));
        assert!(bucket.take(at(100), 10, 20));
        assert!(!bucket.take(at(101), 10, 20));
        assert_eq!((0..50).filter(|_| bucket.take(at(600_000), 10, 20)).count(), 20);
    }

    #[test]
    fn a_bucket_without_a_rate_gives_nothing() {
        assert!(!Bucket::default().take(at(1000), 0, 10));
    }

    #[test]
    fn one_stranger_does_not_use_up_anothers_tokens() {
        let mut strangers = Strangers::default();
        let source = |n: u8| IpAddr::from([192, 0, 2, n]);
        assert!(strangers.take(source(1), at(0), 1, 1));
        assert!(!strangers.take(source(1), at(0), 1, 1));
        assert!(strangers.take(source(2), at(0), 1, 1));
    }
}
