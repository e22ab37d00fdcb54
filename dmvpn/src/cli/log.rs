//! The agent's log: standard error, a line an event.
//!
//! A level alone is that of this program. The libraries below it log every map and message in all detail: who wants
//! that names them (`info,dmvpn=debug,aya=debug`).

use std::io::{IsTerminal, stderr};

use anyhow::Context;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// Filter when neither the command line nor `RUST_LOG` has one.
const DEFAULT_FILTER: &str = "info";
/// The most that libraries log unless they are named. What this program logs has targets that begin with `dmvpn`,
/// the eBPF programs' too.
const LIBRARIES: LevelFilter = LevelFilter::INFO;

/// Starts logging what `filter`, else the environment variable `RUST_LOG`, lets through. Once a process.
pub(super) fn start(filter: Option<&str>) -> anyhow::Result<()> {
    let from_environment = std::env::var(EnvFilter::DEFAULT_ENV).ok();
    let directives = filter.or(from_environment.as_deref()).unwrap_or(DEFAULT_FILTER);
    let filter = parse(directives)?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        .try_init()
        .map_err(|error| anyhow::anyhow!(error).context("cannot start the log"))
}

fn parse(directives: &str) -> anyhow::Result<EnvFilter> {
    let level = directives.parse::<LevelFilter>().ok().filter(|level| *level > LIBRARIES);
    let all = level.map_or_else(|| directives.to_owned(), |level| format!("{LIBRARIES},dmvpn={level}"));
    EnvFilter::try_new(all).with_context(|| {
        format!(
            "`{directives}` is no log level: expected error, warn, info, debug or trace, or `target=level` pairs with \
             commas between them"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_level_or_targets() {
        for directives in ["off", "debug", "warn,dmvpn::nhrp=trace"] {
            assert!(parse(directives).is_ok(), "{directives}");
        }
    }

    #[test]
    fn a_level_alone_is_not_that_of_the_libraries() {
        for (directives, filter) in [
            ("debug", "dmvpn=debug,info"),
            ("trace", "dmvpn=trace,info"),
            ("info", "info"),
            ("warn", "warn"),
            ("off", "off"),
            ("info,dmvpn=debug,aya=debug", "dmvpn=debug,aya=debug,info"),
            ("dmvpn::agent=trace", "dmvpn::agent=trace"),
        ] {
            assert_eq!(parse(directives).unwrap().to_string(), filter, "{directives}");
        }
    }

    #[test]
    fn says_what_is_expected() {
        assert_eq!(
            parse("dmvpn=loud").unwrap_err().to_string(),
            "`dmvpn=loud` is no log level: expected error, warn, info, debug or trace, or `target=level` pairs with \
             commas between them"
        );
    }
}
