//! When a frame was recorded.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

/// Time since the start of 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

impl Time {
    /// The first second of the year 10000, which RFC 3339 cannot write.
    const END: u64 = 253_402_300_800;

    /// Now.
    pub fn now() -> Self {
        // A clock before 1970 is as good as one that stands at its start.
        Self(SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default())
    }
}

impl fmt::Display for Time {
    /// As in RFC 3339, with microseconds or, if there are any, nanoseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SystemTime::UNIX_EPOCH.checked_add(self.0) {
            Some(time) if self.0.as_secs() < Self::END && self.0.subsec_nanos().is_multiple_of(1000) => {
                humantime::format_rfc3339_micros(time).fmt(f)
            }
            Some(time) if self.0.as_secs() < Self::END => humantime::format_rfc3339_nanos(time).fmt(f),
            _ => write!(f, "second {}", self.0.as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_like_rfc_3339() {
        for (seconds, nanoseconds, text) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (1_422_173_081, 190_210_000, "2015-01-25T08:04:41.190210Z"),
            (1_422_173_081, 190_210_007, "2015-01-25T08:04:41.190210007Z"),
            (253_402_300_799, 0, "9999-12-31T23:59:59.000000Z"),
            (253_402_300_800, 0, "second 253402300800"),
            (u64::MAX, 999_999_999, "second 18446744073709551615"),
        ] {
            assert_eq!(Time(Duration::new(seconds, nanoseconds)).to_string(), text);
        }
    }
}
