//! FRR's spokes at our hub: registration in all its forms, and what happens when either side goes away.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::{
    super::{Entry, Report, Stage},
    cloud::{Cloud, Extra, Kind, PATIENCE, Peer, capture, plan},
    frr,
};
use crate::{
    agent::Agent,
    lab::{self, Lab, Node, Plan},
    poll,
    wire::UNDERLAY,
};

const HOLDING_TIME: u16 = 10;

pub(super) const LAB: Entry = Entry {
    name: "vm-frr-spokes",
    what: "our hub, FRR's spokes: renewal, restarts of the hub, changed addresses, uniqueness, authentication",
    needs_vm: false,
    build: |_name, _report| Ok(Box::new(OurHub)),
};

struct OurHub;

impl Stage for OurHub {
    fn play(&mut self, report: &mut Report) -> Result<()> {
        let plan = Plan { holding_time: HOLDING_TIME, ..plan() };
        let spokes = [Kind::Frr, Kind::Frr];
        let mut cloud = Cloud::start(report, "FRR's spokes", &plan, Kind::Ours, &spokes, &Extra::default())?;
        cloud.shortcut(report, "FRR's spokes", 0, 1)?;
        report.step("registrations are renewed", || cloud.stay_registered(HOLDING_TIME))?;
        cloud = hub_restarts(report, "the hub is killed and started again", cloud, Agent::kill)?;
        let what = "the hub ends in good order and is started again";
        cloud = hub_restarts(report, what, cloud, |agent| {
            let status = agent.terminate()?;
            ensure!(status.success(), "{status}");
            Ok(())
        })?;
        report.step("a spoke comes back with another address", || {
            let old = cloud.lab.spokes[0].nbma;
            let moved = move_spoke(&mut cloud, &Extra::default())?;
            cloud.hub.wait_cached(moved.address, moved.nbma)?;
            cloud.wait_reachable(1, 0)?;
            Ok(format!("{old}, now {}", moved.nbma))
        })?;

        let unique = Extra { unique: true, ..Extra::default() };
        // Longer than FRR takes to start.
        let plan = Plan { holding_time: 40, ..plan };
        let mut cloud = Cloud::start(report, "unique registrations", &plan, Kind::Ours, &spokes, &unique)?;
        report.step("a unique registration is refused from another address until it has expired", || {
            let moved = move_spoke(&mut cloud, &unique)?;
            let Peer::Frr(frr) = &cloud.spokes[0] else { bail!("the spoke is FRR's") };
            let refused = format!("CIE registration: {}: 14", moved.address);
            poll::until("FRR to be told: unique address already registered (14)", PATIENCE, || {
                Ok(frr.text()?.contains(&refused).then_some(()))
            })
            .map_err(|error| anyhow!("{error:#}\n{}", frr.log("nhrpd")))?;
            cloud.hub.wait_cached(moved.address, moved.nbma)?;
            Ok(format!("refused with 14; after that {} is accepted", moved.nbma))
        })?;
        refuses_without_authentication(report)
    }

    fn keep(self: Box<Self>) -> String {
        String::new()
    }
}

/// Ends our hub by `end`, starts it again, and waits until all is as before.
fn hub_restarts(
    report: &mut Report,
    what: &str,
    cloud: Cloud,
    end: impl FnOnce(Agent) -> Result<()>,
) -> Result<Cloud> {
    let Cloud { hub, spokes, lab } = cloud;
    let Peer::Ours(agent) = hub else { bail!("the hub is ours") };
    let mut cloud = None;
    report.step(what, || {
        end(*agent)?;
        let hub = Peer::Ours(Box::new(lab.start(&lab.hub)?));
        let again = Cloud { hub, spokes, lab };
        again.wait_registered()?;
        again.wait_reachable(0, 1)?;
        let stayed = again.stay_registered(HOLDING_TIME)?;
        cloud = Some(again);
        Ok(stayed)
    })?;
    cloud.context("started above")
}

/// Ends FRR on the first spoke, gives that another NBMA address, starts FRR again. Returns the node as it is now.
fn move_spoke(cloud: &mut Cloud, extra: &Extra) -> Result<Node> {
    let node = &cloud.lab.spokes[0];
    let [a, b, c, _] = node.nbma.octets();
    let moved = Node { nbma: Ipv4Addr::new(a, b, c, 77), ..node.clone() };
    let gateway = lab::gateway_of(node.nbma);
    cloud.spokes.remove(0).kill()?;
    for line in [
        format!("ip link delete {}", frr::TUNNEL),
        format!("ip address flush dev {UNDERLAY} scope global"),
        format!("ip address add {}/24 dev {UNDERLAY}", moved.nbma),
        format!("ip route replace default via {gateway}"),
    ] {
        node.namespace.command(&line)?;
    }
    cloud.spokes.insert(0, Peer::start(&cloud.lab, &moved, Kind::Frr, extra)?);
    cloud.lab.spokes[0] = moved.clone();
    Ok(moved)
}

/// FRR 8.4 has no authentication, so our hub, which asks for it, must not know its spoke.
fn refuses_without_authentication(report: &mut Report) -> Result<()> {
    let lab = Lab::new(Plan { spokes: 1, authentication: Some("secret"), ..plan() })?;
    capture(report, "no authentication", &lab, [Kind::Ours, Kind::Frr])?;
    let hub = lab.start(&lab.hub)?;
    let node = &lab.spokes[0];
    report.step("a spoke without authentication is refused by a hub that asks for it", || {
        let _frr = Peer::start(&lab, node, Kind::Frr, &Extra::default())?;
        let refused = || -> Result<u64> {
            let counters = hub.counters()?;
            let errors = counters.iter().flat_map(|row| &row.errors);
            Ok(errors.filter(|row| row.cause == "authentication-failed").map(|row| row.count).sum())
        };
        poll::until_matches("the hub to refuse twice", PATIENCE, refused, |count| *count >= 2)?;
        ensure!(hub.cache()?.iter().all(|row| row.protocol.addr() != node.address), "the hub knows it");
        Ok(format!("{} packets refused", refused()?))
    })
}
