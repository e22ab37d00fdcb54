//! How an error looks to whoever ran the command.

use std::fmt::Write;

use crate::config::ConfigError;

/// `error: ...` with a line for each cause below. What is wrong in a configuration already starts with file, line
/// and column, as editors want it.
pub(super) fn describe(error: &anyhow::Error) -> String {
    if let Some(invalid @ ConfigError::Invalid { .. }) = error.downcast_ref() {
        return invalid.to_string();
    }
    let mut text = format!("error: {error}");
    for cause in error.chain().skip(1) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  because: {cause}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use anyhow::Context;

    use super::*;
    use crate::config::Config;

    #[test]
    fn shows_each_cause_on_a_line() {
        let error = Config::load(Path::new("/nonexistent")).map(|_| ()).context("cannot start").unwrap_err();
        assert_eq!(
            describe(&error),
            "error: cannot start\n  because: cannot read /nonexistent\n  because: No such file or directory (os error \
             2)"
        );
    }

    #[test]
    fn shows_what_is_wrong_in_a_file_as_compilers_do() {
        let problems = Config::parse(b"tunnels: 5").unwrap_err();
        let error = ConfigError::Invalid { path: "hub.yaml".into(), problems }.into();
        assert_eq!(describe(&error), "hub.yaml:1:10: `tunnels`: expected a list (lines with `- `)");
    }
}
