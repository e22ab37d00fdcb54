//! Scripted peers where something is refused. What goes well is in the labs `peer-...`, which are tests as well.

use std::time::Duration;

use anyhow::Result;
use dmvpn::control::protocol::CacheKind;
use dmvpn_tests::{
    agent::Agent,
    lab::{Lab, Node, Plan},
    peer::{self, Profile, Role, Running},
};

const PATIENCE: Duration = Duration::from_secs(30);
const PASSWORD: &str = "secret";

fn profile(name: &str) -> &'static Profile {
    peer::find(name).expect("a profile of that name")
}

fn knows(hub: &Agent, node: &Node) -> Result<bool> {
    Ok(hub.cache()?.iter().any(|row| {
        row.protocol.addr() == node.address
            && row.nbma == Some(node.nbma.into())
            && row.kind == CacheKind::Dynamic
    }))
}

#[test]
fn a_wrong_password_is_refused_and_said() -> Result<()> {
    let lab = Lab::new(Plan { spokes: 1, ..Plan::default() })?;
    let hub = lab.start(&lab.hub)?;
    let script = Running::spoke(&lab, &lab.spokes[0], profile("ios-xe"), "wrong");
    script.wait("error of", PATIENCE)?;
    assert!(!knows(&hub, &lab.spokes[0])?, "{:?}", hub.cache()?);
    Ok(())
}

/// What a Huawei hub does to requests with MTU 0 is why we never send them.
#[test]
fn a_hub_that_ignores_mtu_zero_hears_none_from_us() -> Result<()> {
    let lab = Lab::new(Plan::default())?;
    let script =
        Running::in_lab(&lab, &lab.hub, profile("huawei-usg"), Role::Hub { routes: Vec::new() }, PASSWORD);
    let spoke = lab.start(&lab.spokes[0])?;
    spoke.wait_registered()?;
    assert!(!script.lines().iter().any(|line| line.contains("MTU 0")), "{:?}", script.lines());
    let other = Running::spoke(&lab, &lab.spokes[1], profile("frr"), PASSWORD);
    script.wait("a request with MTU 0", PATIENCE)?;
    assert!(!other.lines().iter().any(|line| line.contains("registered")), "{:?}", other.lines());
    Ok(())
}

/// The second of two routers with one address is refused by a hub that keeps unique addresses, also by ours.
#[test]
fn two_routers_with_one_address_are_told_apart() -> Result<()> {
    let lab = Lab::new(Plan::default())?;
    let hub = lab.start(&lab.hub)?;
    let first = Running::spoke(&lab, &lab.spokes[0], profile("ios-xe"), PASSWORD);
    first.wait("registered with", PATIENCE)?;
    let twin = Node { address: lab.spokes[0].address, ..lab.spokes[1].clone() };
    let second = Running::spoke(&lab, &twin, profile("ios-xe"), PASSWORD);
    second.wait("was refused", PATIENCE)?;
    assert!(knows(&hub, &lab.spokes[0])?, "{:?}", hub.cache()?);
    Ok(())
}
