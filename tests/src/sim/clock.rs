//! Virtual time.

use std::{fmt, ops::Add, time::Duration};

use dmvpn::nhrp::engine::Time;

/// Nanoseconds since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub(super) u64);

impl Moment {
    /// Later than any moment that comes.
    pub(super) const NEVER: Self = Self(u64::MAX);

    /// The moment for the engine.
    pub(super) fn time(self) -> Time {
        Time::new(Duration::from_nanos(self.0))
    }

    /// Time that has passed since an earlier moment.
    pub(super) const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl From<Time> for Moment {
    fn from(time: Time) -> Self {
        Self(nanoseconds(time.since_start()))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(span)))
    }
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1_000_000_000;
        write!(f, "{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_exactly_the_engines_time() {
        let at = Moment(7_265_000_000_001);
        assert_eq!(Moment::from(at.time()), at);
        assert_eq!(at.to_string(), "2:01:05");
        assert_eq!((at + Duration::from_secs(5)).since(at), Duration::from_secs(5));
    }
}
