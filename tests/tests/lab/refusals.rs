//! What an agent cannot work with: it says what is wrong and what to do, and leaves nothing behind.

use std::{collections::BTreeSet, fs, os::unix::fs::DirBuilderExt as _, path::PathBuf, process::Command};

use anyhow::Result;
use dmvpn_common::LAYOUT_VERSION;
use dmvpn_tests::{
    agent::{Agent, Failure},
    command,
    config::{Config, TUNNEL},
    lab::{Lab, Plan},
};

/// Starts the hub's agent, which must give up and name all of `words`; nothing of it may be left.
fn refuses(lab: &Lab, failure: &Failure, words: &[&str]) {
    assert_eq!(failure.status.code(), Some(1), "{failure:?}");
    for word in words {
        assert!(failure.log.contains(word), "no \"{word}\" in:\n{}", failure.log);
    }
    assert!(!failure.log.contains("panicked"), "{}", failure.log);
    assert!(!lab.hub.has_interface(TUNNEL), "the tunnel interface was left behind");
    let socket = lab.config(&lab.hub).control_socket;
    assert!(!socket.exists(), "the socket was left behind");
}

fn lab() -> Result<Lab> {
    Lab::new(Plan { spokes: 1, ..Plan::default() })
}

/// The directory of a layout, as an agent would have made it.
fn private_directory(config: &Config, version: u32) -> Result<PathBuf> {
    let directory = config.pin_directory.join(format!("v{version}"));
    for path in [&config.pin_directory, &directory] {
        fs::DirBuilder::new().mode(0o700).create(path)?;
    }
    Ok(directory)
}

#[test]
fn pins_of_another_layout_version() -> Result<()> {
    let lab = lab()?;
    let config = lab.config(&lab.hub);
    let directory = private_directory(&config, LAYOUT_VERSION + 1)?;
    let pin = directory.join("PEERS");
    let map = pin.display();
    command::run(&format!("bpftool map create {map} type array key 4 value 12 entries 1 name PEERS"))?;

    let failure = Agent::fail(&lab.hub, &config, |program| Command::new(program))?;
    refuses(
        &lab,
        &failure,
        &[&directory.display().to_string(), "another version of dmvpn", "did not make it"],
    );
    assert!(pin.exists(), "a map that is not ours was removed");
    assert!(!config.pin_directory.join(format!("v{LAYOUT_VERSION}")).exists(), "pins were left behind");
    Ok(())
}

#[test]
fn a_map_of_another_layout() -> Result<()> {
    let lab = lab()?;
    let config = lab.config(&lab.hub);
    let directory = private_directory(&config, LAYOUT_VERSION)?;
    let pin = directory.join("PEERS");
    let map = pin.display();
    command::run(&format!("bpftool map create {map} type array key 4 value 12 entries 1 name PEERS"))?;

    let failure = Agent::fail(&lab.hub, &config, |program| Command::new(program))?;
    refuses(&lab, &failure, &[&pin.display().to_string()]);
    assert!(pin.exists(), "a map that is not ours was removed");
    let left: Vec<_> =
        fs::read_dir(&directory)?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
    assert_eq!(left, ["PEERS"], "pins were left behind");
    Ok(())
}

#[test]
fn missing_capabilities() -> Result<()> {
    let lab = lab()?;
    let config = lab.config(&lab.hub);
    let failure = Agent::fail(&lab.hub, &config, |program| {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-net_admin,-bpf,-sys_admin", "--inh-caps=-all"]).arg(program);
        command
    })?;
    refuses(&lab, &failure, &["CAP_NET_ADMIN"]);
    assert!(!config.pin_directory.exists(), "pins were left behind");
    Ok(())
}

#[test]
fn no_bpf_file_system() -> Result<()> {
    let lab = lab()?;
    let config = lab.config(&lab.hub);
    let failure = Agent::fail(&lab.hub, &config, |program| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", "umount /sys/fs/bpf && exec \"$0\" \"$@\""]).arg(program);
        command
    })?;
    refuses(&lab, &failure, &["BPF file system", "mount -t bpf"]);
    assert!(!config.pin_directory.exists(), "pins were left behind");
    Ok(())
}

#[test]
fn a_source_address_that_exists_nowhere() -> Result<()> {
    let lab = lab()?;
    let mut config = lab.config(&lab.hub);
    config.source = "203.0.113.77".to_owned();
    let failure = Agent::fail(&lab.hub, &config, |program| Command::new(program))?;
    refuses(&lab, &failure, &["203.0.113.77"]);
    assert!(!config.pin_directory.exists(), "pins were left behind");
    Ok(())
}

#[test]
fn a_second_agent_on_the_same_socket() -> Result<()> {
    let lab = lab()?;
    let mut first = lab.start(&lab.hub)?;
    let failure = Agent::fail(&lab.hub, &lab.config(&lab.hub), |program| Command::new(program))?;
    assert_eq!(failure.status.code(), Some(1), "{failure:?}");
    assert!(failure.log.contains("another dmvpn"), "{}", failure.log);
    // The first one is not disturbed.
    assert!(first.is_running()?);
    assert_eq!(first.interfaces()?.len(), 1);
    assert!(lab.hub.has_interface(TUNNEL));
    Ok(())
}

/// The last step of a start: the interface, its program, maps and the socket are there by then.
#[test]
fn an_underlay_interface_that_another_program_has() -> Result<()> {
    let lab = lab()?;
    let config = lab.config(&lab.hub);
    lab.hub.occupy_xdp("underlay0")?;
    let failure = Agent::fail(&lab.hub, &config, |program| Command::new(program))?;
    refuses(&lab, &failure, &["underlay0", "XDP"]);
    assert!(!config.pin_directory.exists(), "pins were left behind");
    let links = lab.hub.namespace.command("bpftool net show")?;
    assert!(!links.contains("dmvpn_"), "a program was left behind: {links}");
    Ok(())
}

/// What an agent that was killed has left stays, what the failed start has added goes.
#[test]
fn a_second_tunnel_that_cannot_be_beside_one_that_runs() -> Result<()> {
    let lab = lab()?;
    let config = lab.config(&lab.hub);
    lab.start(&lab.hub)?.kill()?;
    let namespace = &lab.hub.namespace;
    let files = || -> Result<BTreeSet<_>> {
        let layout = config.pin_directory.join(format!("v{LAYOUT_VERSION}"));
        fs::read_dir(layout)?.map(|entry| Ok(entry?.file_name())).collect()
    };
    let before = (namespace.command("ip -br link show")?, files()?);

    namespace.command("ip link add second0 type veth peer name second1")?;
    namespace.command("ip address add 198.18.200.1/24 dev second0")?;
    namespace.command("ip link set second0 up")?;
    lab.hub.occupy_xdp("second0")?;
    let mut two = config.clone();
    two.further_tunnels = "- {name: dmvpn1, address: 10.9.0.1/24, source: second0}\n".to_owned();
    let failure = Agent::fail(&lab.hub, &two, |program| Command::new(program))?;
    assert_eq!(failure.status.code(), Some(1), "{failure:?}");
    assert!(failure.log.contains("tunnel dmvpn1"), "{}", failure.log);
    namespace.command("ip link del second0")?;
    assert_eq!((namespace.command("ip -br link show")?, files()?), before);
    assert!(!config.control_socket.exists(), "the socket was left behind");
    // And all is well with the one that was there.
    let hub = lab.start(&lab.hub)?;
    let spoke = lab.start(&lab.spokes[0])?;
    spoke.wait_registered()?;
    hub.wait_cached(spoke.node())
}

#[test]
fn a_cpu_that_does_not_run_is_refused() -> Result<()> {
    let lab = lab()?;
    let config = Config { spread: Some("[0, 8191]"), ..lab.config(&lab.hub) };
    let failure = Agent::fail(&lab.hub, &config, |program| Command::new(program))?;
    refuses(&lab, &failure, &["spread: CPU 8191 is not online: the CPUs of this box that are, are 0"]);
    assert!(!config.pin_directory.exists(), "pins were left behind");
    Ok(())
}
