//! How fast the slow path may go.

use std::time::Duration;

use tokio::time::Instant;

/// What was not used in this time may be made up for at once.
const SPAN: Duration = Duration::from_millis(100);

/// A token bucket whose user waits for each token.
///
/// A reader that waits costs nothing: what comes meanwhile waits in the socket, and what that has no room for is dropped
/// by the kernel, at less cost than we could.
pub(super) struct Pace {
    interval: Duration,
    /// When the next token is there.
    next: Instant,
}

impl Pace {
    /// So many tokens a second, of which a tenth is there from the start.
    pub(super) fn new(rate: u32, now: Instant) -> Self {
        Self { interval: Duration::from_secs(1) / rate.max(1), next: now.checked_sub(SPAN).unwrap_or(now) }
    }

    /// Takes a token; returns when it is there.
    pub(super) fn take(&mut self, now: Instant) -> Instant {
        let at = self.next.max(now.checked_sub(SPAN).unwrap_or(now));
        self.next = at + self.interval;
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many tokens there are until `end` for one who never rests.
    fn taken_until(pace: &mut Pace, mut now: Instant, end: Instant) -> u32 {
        let mut taken = 0;
        loop {
            now = now.max(pace.take(now));
            if now > end {
                return taken;
            }
            taken += 1;
        }
    }

    #[test]
    fn keeps_the_rate_and_lets_a_burst_pass() {
        for rate in [1, 100, 10_000] {
            let start = Instant::now();
            let mut pace = Pace::new(rate, start);
            let end = start + Duration::from_secs(10);
            let (all, burst) = (rate * 10, rate / 10);
            let taken = taken_until(&mut pace, start, end);
            assert!((all + burst..=all + burst + 1).contains(&taken), "{taken} at {rate}");
            // A rest does not add up.
            let later = end + Duration::from_mins(1);
            let taken = taken_until(&mut pace, later, later);
            assert!((burst..=burst + 1).contains(&taken), "{taken} at once at {rate}");
        }
    }
}
