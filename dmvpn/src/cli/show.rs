//! `dmvpn show`.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Context;
use clap::{Args, Subcommand};

use super::views;
use crate::{
    config::DEFAULT_CONTROL_SOCKET,
    control::{
        client,
        protocol::{Request, View},
    },
};

/// Show what a running agent knows.
#[derive(Debug, Args)]
pub(super) struct ShowArguments {
    #[command(subcommand)]
    what: What,
    /// Print JSON instead of a table. Times are in seconds; the schema has a version and only grows.
    #[arg(long, global = true)]
    json: bool,
    /// The agent's control socket (`control-socket` in its configuration).
    #[arg(long, global = true, value_name = "PATH", default_value = DEFAULT_CONTROL_SOCKET)]
    socket: PathBuf,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum What {
    /// Remote nodes and their traffic, like Cisco's `show dmvpn`.
    ///
    /// Attributes: S static, D dynamic, I incomplete, N behind NAT, L local, T1 a shortcut route leads to it.
    /// The index is that in the neighbour's link-layer address and in the map PEERS.
    Peers,
    /// The NHRP cache, like Cisco's `show ip nhrp` and FRR's `show ip nhrp cache`.
    Cache,
    /// Next hop servers, like Cisco's `show ip nhrp nhs detail`.
    ///
    /// States: E expecting replies, R responding, W waiting, D dynamic address.
    Nhs,
    /// Shortcut routes.
    Shortcuts,
    /// Tunnel interfaces, and how the data path is attached.
    Interfaces,
    /// Packets that the data path dropped, by reason.
    Drops(All),
    /// Groups of peers whose traffic is limited, and what was dropped for it.
    Groups,
    /// NHRP packets and errors, like Cisco's `show ip nhrp traffic`.
    Counters(All),
}

#[derive(Clone, Copy, Debug, Args)]
struct All {
    /// Also show what never happened. JSON always does.
    #[arg(long)]
    all: bool,
}

impl What {
    fn view(self) -> View {
        match self {
            Self::Peers => View::Peers,
            Self::Cache => View::Cache,
            Self::Nhs => View::Nhs,
            Self::Shortcuts => View::Shortcuts,
            Self::Interfaces => View::Interfaces,
            Self::Drops(_) => View::Drops,
            Self::Groups => View::Groups,
            Self::Counters(_) => View::Counters,
        }
    }

    fn all(self) -> bool {
        match self {
            Self::Drops(All { all }) | Self::Counters(All { all }) => all,
            Self::Peers | Self::Cache | Self::Nhs | Self::Shortcuts | Self::Interfaces | Self::Groups => {
                false
            }
        }
    }
}

pub(super) fn show(arguments: &ShowArguments) -> anyhow::Result<()> {
    let response = client::ask(&arguments.socket, Request::Show(arguments.what.view()))?;
    if arguments.json {
        print(&(serde_json::to_string_pretty(&response)? + "\n"))
    } else {
        print(&views::text(response.answer, arguments.what.all()))
    }
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no failure.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}
