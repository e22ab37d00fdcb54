//! The agent's log: standard error, a line an event.

use std::io::{IsTerminal, stderr};

use anyhow::Context;
use tracing_subscriber::EnvFilter;

/// Filter when neither the command line nor `RUST_LOG` has one.
const DEFAULT_FILTER: &str = "info";

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
    EnvFilter::try_new(directives).with_context(|| {
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
    fn says_what_is_expected() {
        assert_eq!(
            parse("dmvpn=loud").unwrap_err().to_string(),
            "`dmvpn=loud` is no log level: expected error, warn, info, debug or trace, or `target=level` pairs with \
             commas between them"
        );
    }
}
