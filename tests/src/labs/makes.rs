//! Other makes of routers, played by scripts: each as spoke of our hub, and as hub of our spokes.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use dmvpn::control::protocol::CacheKind;

use super::{Entry, Report, Stage, captures::Sender};
use crate::{
    lab::{Lab, Plan},
    peer::{self, Profile, Role, Running},
    poll,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// The lab of the profile of this name.
macro_rules! lab {
    ($name:literal, $make:literal) => {
        Entry {
            name: concat!("peer-", $name),
            what: concat!(
                "a script that speaks like ",
                $make,
                ": as spoke of our hub, and as hub of our spokes"
            ),
            needs_vm: false,
            build: |_name, _report| {
                let profile = peer::find($name).context("no such profile")?;
                Ok(Box::new(Make { profile }))
            },
        }
    };
}

pub(super) const LABS: &[Entry] = &[
    lab!("ios", "Cisco IOS"),
    lab!("ios-xe", "Cisco IOS-XE"),
    lab!("huawei-usg", "a Huawei USG firewall"),
    lab!("huawei-ar", "a Huawei AR router"),
    lab!("opennhrp", "OpenNHRP"),
    lab!("frr", "FRR"),
];

struct Make {
    profile: &'static Profile,
}

impl Stage for Make {
    fn play(&mut self, report: &mut Report) -> Result<()> {
        as_spoke(report, self.profile)?;
        as_hub(report, self.profile)
    }

    fn keep(self: Box<Self>) -> String {
        format!(
            "  nothing: the script has ended. By hand: cargo xtask peer --like {}. What was on the wires is in the \
             files of --pcap.",
            self.profile.name
        )
    }
}

/// A network in which one node is the script's. All wires are captured.
fn network(report: &mut Report, title: &str, scripted: impl Fn(&Lab) -> &str) -> Result<Lab> {
    let lab = Lab::new(Plan::default())?;
    for node in lab.nodes() {
        let sender = if node.name == scripted(&lab) { Sender::Other } else { Sender::Ours };
        report.capture(&lab.underlay, &node.name, &format!("{title}-{}", node.name), sender)?;
    }
    Ok(lab)
}

/// It registers, pings a host behind our spoke by way of our hub, is redirected, asks, and goes directly. The other way
/// round our spoke makes a shortcut to the network behind it.
fn as_spoke(report: &mut Report, profile: &'static Profile) -> Result<()> {
    let lab = network(report, "as-spoke", |lab| &lab.spokes[1].name)?;
    let theirs = &lab.spokes[1];
    let hub = lab.start(&lab.hub)?;
    let ours = lab.start(&lab.spokes[0])?;
    ours.wait_registered()?;
    let script = Running::spoke(&lab, theirs, profile, "secret");
    report.step("as spoke: it registers with our hub", || {
        script.wait(&format!("registered with {}", lab.hub.address), PATIENCE)?;
        let rows = hub.cache()?;
        let is_it = rows.iter().any(|row| {
            row.protocol.addr() == theirs.address
                && row.nbma == Some(theirs.nbma.into())
                && row.kind == CacheKind::Dynamic
        });
        ensure!(is_it, "the hub does not know it: {rows:?}");
        Ok(format!("{} at {}", theirs.address, theirs.nbma))
    })?;
    report.step("as spoke: it is redirected, and finds the direct way to our spoke", || {
        script.wait("answered directly", PATIENCE)
    })?;
    let lan = lab.spoke_lan(1)?;
    let host = &lab.spoke_lan(0)?.host;
    report.step("as spoke: our spoke makes a shortcut to the network behind it", || {
        poll::until("the shortcut", PATIENCE, || {
            host.command(&format!("ping -c 1 -W 1 {}", lan.address)).ok();
            let rows = ours.shortcuts()?;
            let there = rows.iter().find(|row| row.prefix == lan.prefix.into());
            Ok(there.filter(|row| row.nbma == Some(theirs.nbma.into())).map(drop))
        })?;
        Ok(format!("{} at {}", lan.prefix, theirs.nbma))
    })?;
    report.step("as spoke: traffic goes directly", || {
        let forwarded = hub.packets_sent()?;
        let answers = host.command(&format!("ping -c 5 -i 0.2 -W 2 {}", lan.address))?;
        ensure!(answers.contains(" 5 received"), "{answers}");
        let more = hub.packets_sent()? - forwarded;
        ensure!(more == 0, "the hub has forwarded {more} packets");
        Ok("5 of 5 pings answered, and the hub has sent nothing".to_owned())
    })
}

/// Our spokes register with it, talk through it, and make shortcuts when it redirects them.
fn as_hub(report: &mut Report, profile: &'static Profile) -> Result<()> {
    let lab = network(report, "as-hub", |lab| &lab.hub.name)?;
    let routes = lab.spokes.iter().filter_map(|spoke| Some((spoke.lan.as_ref()?.prefix, spoke.address)));
    let script = Running::in_lab(&lab, &lab.hub, profile, Role::Hub { routes: routes.collect() }, "secret");
    let spokes: Vec<_> = lab.spokes.iter().map(|spoke| lab.start(spoke)).collect::<Result<_>>()?;
    report.step("as hub: our spokes register with it", || {
        for spoke in &spokes {
            spoke.wait_registered()?;
            script.wait(&format!("{} has registered", spoke.node().address), PATIENCE)?;
        }
        Ok(format!("{} spokes", spokes.len()))
    })?;
    let stream = lab.stream(0, 1, 200)?;
    report.step("as hub: it redirects our spoke, which makes a shortcut", || {
        let row = spokes[0].wait_shortcut(lab.spoke_lan(1)?.prefix)?;
        script.wait("redirect for", PATIENCE)?;
        Ok(format!("{} at {}", row.prefix, lab.spokes[1].nbma))
    })?;
    report.step("as hub: traffic goes directly", || {
        stream.wait_received(200)?;
        let path = lab.path(0, 1)?;
        ensure!(path == ["lan-a", "spoke-a", "spoke-b", "lan-b"], "{path:?}");
        stream.finish()?;
        Ok(path.join(" > "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_has_a_lab() {
        let names: Vec<_> = LABS.iter().filter_map(|entry| entry.name.strip_prefix("peer-")).collect();
        assert_eq!(names, peer::ALL.map(|profile| profile.name));
    }
}
