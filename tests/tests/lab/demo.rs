//! The demo: what it prints for machines, and that it cleans up.

use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use dmvpn_tests::{command, lab, namespace, poll, undo::Undo};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// Under this name there is no other demo.
fn name(test: &str) -> String {
    format!("demo{test}{}", std::process::id())
}

fn start(name: &str, flags: &[&str]) -> Result<Child> {
    Command::new(env!("CARGO_BIN_EXE_demo"))
        .args(["--name", name])
        .args(flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting the demo")
}

fn summary(output: &Output) -> Result<Value> {
    let story = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{story}", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("standard output is not JSON; {story}"))
}

fn assert_gone(name: &str) {
    assert_eq!(namespace::names_with(&format!("{name}-")), Vec::<String>::new());
    assert!(!Path::new(&format!("/run/dmvpn-{name}")).exists());
    assert!(!Path::new(&format!("/sys/fs/bpf/dmvpn-{name}-hub")).exists());
}

#[test]
fn shows_a_shortcut_and_cleans_up() -> Result<()> {
    let name = name("plain");
    let output = start(&name, &["--json"])?.wait_with_output()?;
    let summary = summary(&output)?;
    let story = String::from_utf8_lossy(&output.stderr);
    let by_hub = "lan-a > spoke-a > hub > spoke-b > lan-b";
    // In the story and in the summary at its end.
    assert_eq!(story.matches(by_hub).count(), 2, "{story}");
    assert_eq!(summary["registered"], true);
    assert_eq!(summary["shortcut_established"], true);
    assert_eq!(summary["first_path"], serde_json::json!(["lan-a", "spoke-a", "hub", "spoke-b", "lan-b"]));
    assert_eq!(summary["final_path"], serde_json::json!(["lan-a", "spoke-a", "spoke-b", "lan-b"]));
    assert_eq!(summary["packets_lost"], 0);
    assert!(summary["packets_sent"].as_u64() > Some(100), "{summary}");
    assert!(summary["time_to_shortcut_ms"].as_u64() < Some(5000), "{summary}");
    assert_eq!(summary["hub_packets_after_shortcut"], 0);
    assert_gone(&name);
    Ok(())
}

#[test]
fn stays_with_keep_until_it_is_cleaned() -> Result<()> {
    let name = name("keep");
    let output = start(&name, &["--json", "--keep"])?.wait_with_output()?;
    let owned = name.clone();
    let _undo = Undo::with(move || drop(lab::remove(&owned)))?;
    summary(&output)?;
    assert!(String::from_utf8_lossy(&output.stderr).contains("demo --clean"));
    let agents = namespace::names_with(&format!("{name}-spoke"))
        .iter()
        .map(|namespace| command::run(&format!("ip netns pids {namespace}")))
        .collect::<Result<Vec<_>>>()?;
    assert!(agents.len() == 2 && agents.iter().all(|pids| !pids.is_empty()), "no agents: {agents:?}");
    assert_eq!(namespace::names_with(&format!("{name}-")).len(), 6);

    let output = start(&name, &["--clean"])?.wait_with_output()?;
    assert!(output.status.success());
    assert_gone(&name);
    Ok(())
}

#[test]
fn cleans_up_when_it_is_interrupted() -> Result<()> {
    let name = name("interrupted");
    let demo = start(&name, &[])?;
    poll::until("the demo's agents", Duration::from_secs(30), || {
        Ok(Path::new(&format!("/run/dmvpn-{name}/spoke-b.log")).exists().then_some(()))
    })?;
    kill(Pid::from_raw(i32::try_from(demo.id())?), Signal::SIGINT)?;
    let output = demo.wait_with_output()?;
    assert!(!output.status.success());
    assert_gone(&name);
    Ok(())
}
