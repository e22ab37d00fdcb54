//! Our spokes at FRR's hub, and Phase 2 at both hubs.

use std::net::Ipv4Addr;

use anyhow::{Result, anyhow, bail, ensure};
use dmvpn::control::protocol::{ErrorCount, NhsRow, NhsState};

use super::{
    super::{Entry, Report, Stage},
    cloud::{Cloud, Extra, Kind, PATIENCE, Password, Peer, plan},
};
use crate::{
    lab::{self, Plan},
    poll,
    wire::UNDERLAY,
};

const HOLDING_TIME: u16 = 10;

pub(super) const LAB: Entry = Entry {
    name: "vm-frr-hub",
    what: "FRR's hub, our spokes: renewal, restart of the hub, a changed address, authentication; Phase 2",
    needs_vm: false,
    build: |_name, _report| Ok(Box::new(FrrHub)),
};

struct FrrHub;

impl Stage for FrrHub {
    fn play(&mut self, report: &mut Report) -> Result<()> {
        let plan = Plan { holding_time: HOLDING_TIME, registration_interval: 3, ..plan() };
        let extra = Extra { by_interface: true, ..Extra::default() };
        let spokes = [Kind::Ours, Kind::Ours];
        let mut cloud = Cloud::start(report, "FRR's hub", &plan, Kind::Frr, &spokes, &extra)?;
        cloud.shortcut(report, "FRR's hub", 0, 1)?;
        report.step("registrations are renewed", || cloud.stay_registered(HOLDING_TIME))?;
        report.step("the hub is killed and started again", || {
            restart_hub(&mut cloud, &extra)?;
            cloud.wait_registered()?;
            cloud.wait_reachable(0, 1)?;
            Ok("all spokes are known, and traffic passes".to_owned())
        })?;
        report.step("a spoke gets another address", || {
            let node = &mut cloud.lab.spokes[0];
            let [a, b, c, _] = node.nbma.octets();
            let (old, new) = (node.nbma, Ipv4Addr::new(a, b, c, 77));
            for line in [
                format!("ip address del {old}/24 dev {UNDERLAY}"),
                format!("ip address add {new}/24 dev {UNDERLAY}"),
                format!("ip route replace default via {}", lab::gateway_of(new)),
            ] {
                node.namespace.command(&line)?;
            }
            node.nbma = new;
            cloud.wait_registered()?;
            cloud.wait_reachable(0, 1)?;
            Ok(format!("{old}, now {new}"))
        })?;
        authentication(report, Kind::Frr)?;
        for (title, hub) in [("Phase 2, FRR's hub", Kind::Frr), ("Phase 2, our hub", Kind::Ours)] {
            phase2(report, title, hub)?;
        }
        Ok(())
    }

    fn keep(self: Box<Self>) -> String {
        String::new()
    }
}

/// Ends FRR on the hub, waits until the spokes have noticed, and starts it again.
fn restart_hub(cloud: &mut Cloud, extra: &Extra) -> Result<()> {
    let Peer::Frr(hub) = &mut cloud.hub else { bail!("the hub is FRR's") };
    hub.kill();
    for spoke in &cloud.spokes {
        let Peer::Ours(agent) = spoke else { bail!("the spokes are ours") };
        let gone = |rows: &Vec<_>| !rows.iter().any(is_responding);
        poll::until_matches("the spoke to notice", PATIENCE, || agent.nhs(), gone)?;
    }
    cloud.hub = Peer::start(&cloud.lab, &cloud.lab.hub, Kind::Frr, extra)?;
    Ok(())
}

fn is_responding(row: &NhsRow) -> bool {
    row.state == NhsState::Responding
}

/// An FRR that has no password, as 8.4, which has no authentication at all. It copies what it does not know of a request into its answer, so our spoke registers; but
/// what it sends of its own accord, redirects, is without, and must not be believed.
pub(super) fn authentication(report: &mut Report, hub: Kind) -> Result<()> {
    let title = "authentication at our spokes only";
    let plan = Plan { authentication: Some("secret"), ..plan() };
    let spokes = [Kind::Ours, Kind::Ours];
    let extra = Extra { password_of_frr: Password::None, ..Extra::default() };
    let cloud = Cloud::start(report, title, &plan, hub, &spokes, &extra)?;
    report.step(format!("{title}: FRR's redirects are refused"), || {
        let Peer::Ours(agent) = &cloud.spokes[0] else { bail!("the spokes are ours") };
        poll::until("a redirect to be refused", PATIENCE, || {
            cloud.wait_reachable(0, 1)?;
            let counters = agent.counters()?;
            let mut errors = counters.iter().flat_map(|row| &row.errors);
            let is_it = |row: &ErrorCount| {
                row.cause == "authentication-failed" && row.packet.as_deref() == Some("traffic-indication")
            };
            Ok(errors.any(|row| is_it(row) && row.count > 0).then_some(()))
        })
        .map_err(|error| anyhow!("{error:#}\n{:?}\n{}", agent.counters(), agent.log()))?;
        ensure!(agent.shortcuts()?.is_empty(), "a shortcut was made");
        let path = cloud.lab.path(0, 1)?;
        ensure!(path == ["lan-a", "spoke-a", "hub", "spoke-b", "lan-b"], "{path:?}");
        Ok("traffic goes by the hub".to_owned())
    })
}

/// Our spoke asks for FRR's spoke, which routing names as next hop. FRR itself asks only when it gets a redirect; but it
/// learns from the request where our spoke is.
fn phase2(report: &mut Report, title: &str, hub: Kind) -> Result<()> {
    let plan = Plan { phase: 2, ..plan() };
    let cloud = Cloud::start(report, title, &plan, hub, &[Kind::Ours, Kind::Frr], &Extra::default())?;
    report.step(format!("{title}: our spoke resolves FRR's, and sends to it directly"), || {
        cloud.wait_reachable(0, 1)?;
        let path = poll::until_matches(
            "the direct way",
            PATIENCE,
            || cloud.lab.path(0, 1),
            |path| path.iter().eq(["lan-a", "spoke-a", "spoke-b", "lan-b"].iter()),
        )?;
        ensure!(cloud.spokes[0].has_cached(cloud.lab.spokes[1].address, cloud.lab.spokes[1].nbma)?);
        Ok(path.join(" > "))
    })?;
    report.step(format!("{title}: FRR's spoke answers"), || {
        Ok(format!("after {:.1?}; {}", cloud.wait_reachable(1, 0)?, cloud.lab.path(1, 0)?.join(" > ")))
    })
}
