//! The `dmvpn` command: its arguments, its output, its exit status.

mod capture;
mod check;
mod decode;
mod doctor;
mod import;
mod log;
mod report;
mod run;
mod show;
mod span;
mod table;
mod views;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A DMVPN hub or spoke for Linux with an eBPF/XDP data path.
///
/// `dmvpn run` is the agent: it speaks NHRP (RFC 2332, as Cisco, Huawei and FRR do) and keeps tunnel interfaces,
/// neighbours, routes and the data path's maps up to date. Tunnels keep forwarding when it is
/// killed, and the next agent takes them over; SIGTERM ends them in good order.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXIT_STATUS)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_STATUS: &str = "Exit status: 0 success, 1 failure, 2 wrong usage.";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArguments),
    Check(check::CheckArguments),
    Show(show::ShowArguments),
    Decode(decode::DecodeArguments),
    Capture(capture::CaptureArguments),
    Import(import::ImportArguments),
    Doctor(doctor::DoctorArguments),
}

/// Does what the arguments of the process say. Errors go to standard error.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // Also `--help` and `--version`, which are no failure.
        Err(usage) => usage.exit(),
    };
    let result = match arguments.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::check(&arguments),
        Command::Show(arguments) => show::show(&arguments),
        Command::Decode(arguments) => decode::decode(&arguments),
        Command::Capture(arguments) => capture::capture(&arguments),
        Command::Import(arguments) => import::import(&arguments),
        Command::Doctor(arguments) => doctor::doctor(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", report::describe(&error));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn takes_what_the_manual_says() {
        for line in [
            "dmvpn run --config /etc/dmvpn/hub.yaml",
            "dmvpn run --config hub.yaml --log debug --bpf-log warn",
            "dmvpn check hub.yaml",
            "dmvpn check --effective hub.yaml",
            "dmvpn show peers",
            "dmvpn show cache --json --socket /run/a.sock",
            "dmvpn show --socket /run/a.sock nhs",
            "dmvpn show shortcuts",
            "dmvpn show interfaces",
            "dmvpn show drops --all",
            "dmvpn show counters --all --json",
            "dmvpn doctor",
            "dmvpn doctor --json --socket /run/a.sock",
            "dmvpn decode capture.pcapng",
            "dmvpn decode --json --verify -",
            "dmvpn capture",
            "dmvpn capture --interface eth0 --interface eth1 -w nhrp.pcap --count 5",
            "dmvpn capture --tunnel dmvpn0 --socket /run/a.sock",
            "dmvpn import --from cisco hub.cfg",
            "dmvpn import --from opennhrp opennhrp.conf racoon.conf -o hub.yaml --force --json",
            "dmvpn import --from vyos hub.conf --address tun0=10.0.0.1/24 --source eth0 --dry-run",
        ] {
            let parsed = Arguments::try_parse_from(line.split(' '));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn wrong_usage_has_the_status_two() {
        for (line, kind) in [
            ("dmvpn walk", ErrorKind::InvalidSubcommand),
            ("dmvpn run", ErrorKind::MissingRequiredArgument),
            ("dmvpn run --config a --bpf-log loud", ErrorKind::InvalidValue),
            ("dmvpn check", ErrorKind::MissingRequiredArgument),
            ("dmvpn show peers --all", ErrorKind::UnknownArgument),
            ("dmvpn decode", ErrorKind::MissingRequiredArgument),
            ("dmvpn capture --interface eth0 --tunnel dmvpn0", ErrorKind::ArgumentConflict),
            ("dmvpn capture --count 0", ErrorKind::ValueValidation),
            ("dmvpn import hub.cfg", ErrorKind::MissingRequiredArgument),
            ("dmvpn import --from juniper hub.cfg", ErrorKind::InvalidValue),
        ] {
            let error = Arguments::try_parse_from(line.split(' ')).unwrap_err();
            assert_eq!((error.kind(), error.exit_code()), (kind, 2), "{line}");
        }
    }
}
