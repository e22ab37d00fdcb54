//! How the programs of this package end.

use std::process::ExitCode;

use anyhow::Result;

/// Success when everything was as it should be; an error is said on standard error.
pub fn exit_code(result: Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
