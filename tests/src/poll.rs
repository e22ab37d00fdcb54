//! Waiting for a condition instead of sleeping for a time.

use std::{
    fmt::Debug,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Between two looks: short enough to be exact, long enough to leave the processor to the agents.
const INTERVAL: Duration = Duration::from_millis(20);

/// Calls `look` until it returns `Ok(Some(value))` and returns the value.
///
/// Fails after `patience`, naming `what` was awaited and the last error seen: an error of `look` is a reason to try
/// again, as an agent that is just starting gives errors.
pub fn until<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        let seen = match look() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if start.elapsed() >= patience {
            match seen {
                Some(error) => return Err(error.context(format!("waited {patience:?} for: {what}"))),
                None => bail!("waited {patience:?} for: {what}"),
            }
        }
        thread::sleep(INTERVAL);
    }
}

/// Calls `look` until `wanted` holds for what it returns; fails after `patience`, showing what it last returned.
pub fn until_matches<T: Debug>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> Result<T>,
    wanted: impl Fn(&T) -> bool,
) -> Result<T> {
    let mut last = None;
    until(what, patience, || {
        let seen = look()?;
        if wanted(&seen) {
            return Ok(Some(seen));
        }
        last = Some(seen);
        Ok(None)
    })
    .map_err(|error| match last {
        Some(seen) => error.context(format!("last seen: {seen:#?}")),
        None => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_as_soon_as_the_condition_holds() {
        let mut calls = 0;
        let value = until("the third call", Duration::from_secs(10), || {
            calls += 1;
            Ok((calls == 3).then_some(calls))
        });
        assert_eq!(value.unwrap(), 3);
    }

    #[test]
    fn says_what_was_awaited_and_what_was_seen() {
        let error = until_matches("a seven", Duration::from_millis(1), || Ok(5), |n| *n == 7).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("a seven") && text.contains("last seen: 5"), "{text}");
    }
}
