//! The `dmvpn` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    dmvpn::cli::main()
}
