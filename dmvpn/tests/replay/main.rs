//! Record and replay: inputs of the engine and everything it does about them, as files a person can read.
//!
//! Every directory of `cases` is a test under its name; `README.md` beside this file says what is in it.
//! `DMVPN_BLESS=1 cargo test -p dmvpn --test replay` writes `expected.txt` anew: read the difference before it is
//! committed.

mod case;
mod conformance;
mod data_packet;
mod kernel;
mod notation;
mod player;
mod script;
mod show;
mod transcript;
mod words;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let cases = match case::all() {
        Ok(cases) => cases,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    };
    let names: Vec<_> = cases.iter().map(|case| case.name.clone()).collect();
    let mut trials: Vec<_> = cases
        .into_iter()
        .map(|case| Trial::test(case.name.clone(), move || case.check().map_err(|error| failed(&error))))
        .collect();
    trials.push(Trial::test("every_test_of_the_conformance_table_exists", move || {
        conformance::check(&names).map_err(|error| failed(&error))
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// An error with all of its causes.
fn failed(error: &anyhow::Error) -> Failed {
    format!("{error:#}").into()
}
