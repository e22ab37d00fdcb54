//! Spans of time as router operators read them.

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
const YEAR: u64 = 365 * DAY;

/// `00:01:23` below a day, then `1d02h`, `3w4d`, `1y05w`.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        ..DAY => format!("{:02}:{:02}:{:02}", seconds / HOUR, seconds % HOUR / MINUTE, seconds % MINUTE),
        DAY..WEEK => format!("{}d{:02}h", seconds / DAY, seconds % DAY / HOUR),
        WEEK..YEAR => format!("{}w{}d", seconds / WEEK, seconds % WEEK / DAY),
        YEAR.. => format!("{}y{:02}w", seconds / YEAR, seconds % YEAR / WEEK),
    }
}

/// As [`span`], or `never`.
pub(super) fn span_or_never(seconds: Option<u64>) -> String {
    seconds.map_or_else(|| "never".to_owned(), span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_like_ciscos() {
        for (seconds, text) in [
            (0, "00:00:00"),
            (83, "00:01:23"),
            (86_399, "23:59:59"),
            (86_400, "1d00h"),
            (93_784, "1d02h"),
            (604_799, "6d23h"),
            (604_800, "1w0d"),
            (31_535_999, "52w0d"),
            (31_536_000, "1y00w"),
            (u64::MAX, "584942417355y03w"),
        ] {
            assert_eq!(span(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn never_is_a_word() {
        assert_eq!(span_or_never(None), "never");
        assert_eq!(span_or_never(Some(1)), "00:00:01");
    }
}
