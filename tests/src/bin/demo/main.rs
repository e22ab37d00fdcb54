//! The demo: a hub, two spokes and a file, told to someone who has never seen DMVPN.

mod farewell;
mod scenes;
mod story;
mod summary;

use std::{
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::Parser;
use dmvpn_tests::{exit::exit_code, lab};
use scenes::Demo;
use story::Story;
use summary::Summary;

/// Shows two spokes and a hub make a shortcut, in network namespaces. Needs root.
#[derive(Parser)]
#[command(name = "demo")]
struct Arguments {
    /// Leave everything running and print what to look at.
    #[arg(long)]
    keep: bool,
    /// Print the summary as JSON on standard output, the story on standard error.
    #[arg(long)]
    json: bool,
    /// Remove what an earlier demo left, and do nothing else.
    #[arg(long)]
    clean: bool,
    /// First part of the namespaces' names; letters and digits.
    #[arg(long, default_value = "demo", hide = true)]
    name: String,
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}

/// Whether everything that was to be shown was seen.
fn run(arguments: &Arguments) -> Result<bool> {
    let _alone = claim(&arguments.name)?;
    if arguments.clean {
        lab::remove(&arguments.name)?;
        println!("Nothing of the demo is left.");
        return Ok(true);
    }

    let story = Story::new(arguments.json);
    let mut summary = Summary::default();
    let demo = match Demo::play(&arguments.name, &story, &mut summary) {
        Ok(demo) => Some(demo),
        Err(error) => {
            summary.failures.push(format!("{error:#}"));
            None
        }
    };
    story.blank();
    story.lines(&summary.to_string());
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&summary).context("writing the summary")?);
    }
    let succeeded = summary.failures.is_empty();
    if let Some(demo) = demo
        && arguments.keep
    {
        farewell::keep(demo, &story);
    } else {
        story.say("Everything has been removed: no namespace, no process, no pinned map is left.");
    }
    Ok(succeeded)
}

/// Makes sure that no other demo of this name runs: the kernel frees an abstract socket's name when its owner ends.
fn claim(name: &str) -> Result<UnixListener> {
    let address = SocketAddr::from_abstract_name(format!("dmvpn-demo-{name}")).context("the demo's name")?;
    UnixListener::bind_addr(&address)
        .context("another demo is running: wait for its end, or end it with Ctrl-C")
}
