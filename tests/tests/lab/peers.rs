//! Scripted peers: each make of router that is known, as spoke of our hub and as hub of our spokes.

use std::time::Duration;

use anyhow::Result;
use dmvpn::control::protocol::CacheKind;
use dmvpn_tests::{
    agent::Agent,
    lab::{Lab, Node, Plan},
    peer::{self, Profile, Role, Running, Settings},
    poll,
};
use ipnet::Ipv4Net;

const PATIENCE: Duration = Duration::from_secs(30);
const PASSWORD: &str = "secret";
const KEY: u32 = 42;

fn profile(name: &str) -> &'static Profile {
    peer::find(name).expect("a profile of that name")
}

/// Lets a scripted peer be `node`.
fn play(node: &Node, profile: &'static Profile, role: Role, password: &str) -> Running {
    let settings = Settings {
        profile,
        address: node.address,
        network: Ipv4Net::new_assert(node.address, 24).trunc(),
        nbma: node.nbma,
        password: Some(password.to_owned()),
        holding_time: 60,
        lans: node.lan.iter().map(|lan| lan.prefix).collect(),
    };
    let script = peer::Node::new(settings, role, 1);
    Running::start(&node.namespace, script, node.nbma, Some(KEY))
}

fn as_spoke(lab: &Lab, node: &Node, profile: &'static Profile, password: &str) -> Running {
    let ping = lab.spokes[0].lan.as_ref().map(|lan| lan.address);
    let role = Role::Spoke { server: lab.hub.address, nbma: lab.hub.nbma, ping };
    play(node, profile, role, password)
}

fn knows(hub: &Agent, node: &Node) -> Result<bool> {
    Ok(hub.cache()?.iter().any(|row| {
        row.protocol.addr() == node.address
            && row.nbma == Some(node.nbma.into())
            && row.kind == CacheKind::Dynamic
    }))
}

/// It registers, pings a host behind our spoke by way of our hub, is redirected, asks, and goes directly. The other way
/// round our spoke makes a shortcut to the network behind it.
fn a_spoke_of_our_hub(name: &str) -> Result<()> {
    let lab = Lab::new(Plan::default())?;
    let hub = lab.start(&lab.hub)?;
    let ours = lab.start(&lab.spokes[0])?;
    ours.wait_registered()?;
    let theirs = &lab.spokes[1];
    let script = as_spoke(&lab, theirs, profile(name), PASSWORD);
    script.wait(&format!("registered with {}", lab.hub.address), PATIENCE)?;
    assert!(knows(&hub, theirs)?, "{:?}", hub.cache()?);
    script.wait("answered directly", PATIENCE)?;

    let lan = theirs.lan.as_ref().expect("a spoke has a LAN");
    let host = &lab.spokes[0].lan.as_ref().expect("a spoke has a LAN").host;
    poll::until("a shortcut to the network behind it", PATIENCE, || {
        host.command(&format!("ping -c 1 -W 1 {}", lan.address)).ok();
        let rows = ours.shortcuts()?;
        let there = rows.iter().find(|row| row.prefix == lan.prefix.into());
        Ok(there.filter(|row| row.nbma == Some(theirs.nbma.into())).map(drop))
    })?;
    let forwarded = hub.packets_sent()?;
    let answers = host.command(&format!("ping -c 5 -i 0.2 -W 2 {}", lan.address))?;
    assert!(answers.contains(" 5 received"), "{answers}");
    assert_eq!(hub.packets_sent()?, forwarded, "the hub still forwards");
    Ok(())
}

/// Our spokes register with it, talk through it, and make shortcuts when it redirects them.
fn a_hub_of_our_spokes(name: &str) -> Result<()> {
    let lab = Lab::new(Plan::default())?;
    let routes = lab.spokes.iter().filter_map(|spoke| Some((spoke.lan.as_ref()?.prefix, spoke.address)));
    let script = play(&lab.hub, profile(name), Role::Hub { routes: routes.collect() }, PASSWORD);
    let spokes: Vec<_> = lab.spokes.iter().map(|spoke| lab.start(spoke)).collect::<Result<_>>()?;
    for spoke in &spokes {
        spoke.wait_registered()?;
        script.wait(&format!("{} has registered", spoke.node().address), PATIENCE)?;
    }
    let stream = lab.stream(0, 1, 200)?;
    spokes[0].wait_shortcut(lab.spoke_lan(1)?.prefix)?;
    script.wait("redirect for", PATIENCE)?;
    stream.wait_received(200)?;
    assert_eq!(lab.path(0, 1)?, ["lan-a", "spoke-a", "spoke-b", "lan-b"]);
    stream.finish()?;
    Ok(())
}

macro_rules! profiles {
    ($($spoke:ident $hub:ident $name:literal,)*) => {
        $(
            #[test]
            fn $spoke() -> Result<()> {
                a_spoke_of_our_hub($name)
            }

            #[test]
            fn $hub() -> Result<()> {
                a_hub_of_our_spokes($name)
            }
        )*

        #[test]
        fn every_profile_is_met() {
            assert_eq!([$($name),*], peer::ALL.map(|profile| profile.name));
        }
    };
}

profiles! {
    ios_spoke ios_hub "ios",
    ios_xe_spoke ios_xe_hub "ios-xe",
    huawei_usg_spoke huawei_usg_hub "huawei-usg",
    huawei_ar_spoke huawei_ar_hub "huawei-ar",
    opennhrp_spoke opennhrp_hub "opennhrp",
    frr_spoke frr_hub "frr",
}

#[test]
fn a_wrong_password_is_refused_and_said() -> Result<()> {
    let lab = Lab::new(Plan { spokes: 1, ..Plan::default() })?;
    let hub = lab.start(&lab.hub)?;
    let script = as_spoke(&lab, &lab.spokes[0], profile("ios-xe"), "wrong");
    script.wait("error of", PATIENCE)?;
    assert!(!knows(&hub, &lab.spokes[0])?, "{:?}", hub.cache()?);
    Ok(())
}

/// What a Huawei hub does to requests with MTU 0 is why we never send them.
#[test]
fn a_hub_that_ignores_mtu_zero_hears_none_from_us() -> Result<()> {
    let lab = Lab::new(Plan::default())?;
    let script = play(&lab.hub, profile("huawei-usg"), Role::Hub { routes: Vec::new() }, PASSWORD);
    let spoke = lab.start(&lab.spokes[0])?;
    spoke.wait_registered()?;
    assert!(!script.lines().iter().any(|line| line.contains("MTU 0")), "{:?}", script.lines());
    let other = as_spoke(&lab, &lab.spokes[1], profile("frr"), PASSWORD);
    script.wait("a request with MTU 0", PATIENCE)?;
    assert!(!other.lines().iter().any(|line| line.contains("registered")), "{:?}", other.lines());
    Ok(())
}

/// The second of two routers with one address is refused by a hub that keeps unique addresses, also by ours.
#[test]
fn two_routers_with_one_address_are_told_apart() -> Result<()> {
    let lab = Lab::new(Plan::default())?;
    let hub = lab.start(&lab.hub)?;
    let first = as_spoke(&lab, &lab.spokes[0], profile("ios-xe"), PASSWORD);
    first.wait("registered with", PATIENCE)?;
    let twin = Node { address: lab.spokes[0].address, ..lab.spokes[1].clone() };
    let second = as_spoke(&lab, &twin, profile("ios-xe"), PASSWORD);
    second.wait("was refused", PATIENCE)?;
    assert!(knows(&hub, &lab.spokes[0])?, "{:?}", hub.cache()?);
    Ok(())
}
