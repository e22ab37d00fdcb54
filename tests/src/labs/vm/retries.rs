//! A resolution that nobody answers: how often it is asked for again, by FRR and by us, and that an answer which comes late is used.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;

use super::{
    super::{Entry, Report, Stage},
    cloud::{Cloud, Extra, Kind, PATIENCE, plan},
    said,
};
use crate::{
    command,
    lab::{Node, Plan},
    poll,
    traffic::ping,
};

/// Seconds from each request to the next, of FRR and of ours alike; after 30 s nobody asks any more.
const PAUSES: [f64; 6] = [1.0, 2.0, 4.0, 7.0, 7.0, 7.0];
/// How far a busy machine may be off, in seconds.
const TOLERANCE: f64 = 0.9;
/// Who asks, and the numbers of that spoke and of the one that should answer.
type Asker = (&'static str, usize, usize);
const OURS: Asker = ("our spoke", 0, 1);
const FRR: Asker = ("FRR's spoke", 1, 0);
/// Longest time until the last request has been sent, and some more to see that it was the last.
const ALL_OF_THEM: Duration = Duration::from_secs(90);

pub(super) const LAB: Entry = Entry {
    name: "vm-frr10-retries",
    what: "resolutions that are not answered, asked by FRR 10.3 and by us: six retries; one that is answered late makes a shortcut",
    needs_vm: false,
    build: |_name, _report| Ok(Box::new(Retries)),
};

struct Retries;

impl Stage for Retries {
    fn play(&mut self, report: &mut Report) -> Result<()> {
        // Nobody has to renew a registration meanwhile.
        let plan =
            Plan { holding_time: 600, registration_interval: 200, authentication: Some("secret"), ..plan() };
        for (title, hub, [late, never]) in
            [("our hub", Kind::Ours, [OURS, FRR]), ("FRR's hub", Kind::Frr10, [FRR, OURS])]
        {
            let spokes = [Kind::Ours, Kind::Frr10];
            let cloud = Cloud::start(report, title, &plan, hub, &spokes, &Extra::default())?;
            answered_late(report, title, &cloud, late)?;
            never_answered(report, title, &cloud, never)?;
        }
        Ok(())
    }

    fn keep(self: Box<Self>) -> String {
        String::new()
    }
}

/// Nothing reaches the spoke that could answer: the other asks as often as it should, has no shortcut, and gets one later.
fn never_answered(report: &mut Report, title: &str, cloud: &Cloud, (who, from, to): Asker) -> Result<()> {
    let wire = said::hub_wire(report)?;
    report.step(format!("{title}, {who} asks: six retries, and no shortcut"), || {
        let before = requests(&wire, cloud, from)?.len();
        cut_off(cloud, &cloud.lab.spokes[to])?;
        provoke(&wire, cloud, from, to)?;
        let wanted = PAUSES.len() + 1;
        let seen = poll::until_matches(
            "the last retry",
            ALL_OF_THEM,
            || Ok(requests(&wire, cloud, from)?.split_off(before)),
            |seen| seen.len() >= wanted,
        )
        .map_err(|error| anyhow!("{error:#}\n{}", cloud.spokes[from].log()))?;
        let prefix = cloud.lab.spoke_lan(to)?.prefix;
        ensure!(!cloud.spokes[from].has_shortcut(prefix)?, "there is a shortcut");
        let told = check_pauses(&seen)?;
        // Longer than the longest pause.
        let more = poll::until("one more", Duration::from_secs(9), || {
            let now = requests(&wire, cloud, from)?.len() - before;
            Ok((now > wanted).then_some(now))
        });
        ensure!(more.is_err(), "{more:?} requests");
        connect(cloud)?;
        Ok(told)
    })?;
    report.step(
        format!("{title}, {who} asks: asked again when there is traffic, answered, a shortcut"),
        || {
            let (a, b) = (cloud.lab.spoke_lan(from)?, cloud.lab.spoke_lan(to)?);
            let mut sequence = 200;
            // Ours does not ask again for the negative time.
            poll::until(&format!("a shortcut to {}", b.prefix), PATIENCE * 2, || {
                sequence += 1;
                ping(&a.host, b.address, sequence, Duration::from_millis(500))?;
                Ok(cloud.spokes[from].has_shortcut(b.prefix)?.then_some(()))
            })
            .map_err(|error| anyhow!("{error:#}\n{}", cloud.spokes[from].log()))?;
            Ok(b.prefix.to_string())
        },
    )
}

/// The spoke that could answer can be reached again after the second retry: the next one is answered, without any traffic.
fn answered_late(report: &mut Report, title: &str, cloud: &Cloud, (who, from, to): Asker) -> Result<()> {
    let wire = said::hub_wire(report)?;
    report.step(format!("{title}, {who} asks: answered late, a shortcut"), || {
        let before = requests(&wire, cloud, from)?.len();
        cut_off(cloud, &cloud.lab.spokes[to])?;
        provoke(&wire, cloud, from, to)?;
        let what = "the second retry";
        let seen = || Ok(requests(&wire, cloud, from)?.len() - before);
        poll::until_matches(what, ALL_OF_THEM, seen, |seen| *seen >= 3)
            .map_err(|error| anyhow!("{error:#}\n{}", cloud.spokes[from].log()))?;
        connect(cloud)?;
        let prefix = cloud.lab.spoke_lan(to)?.prefix;
        poll::until(&format!("a shortcut to {prefix}"), ALL_OF_THEM, || {
            Ok(cloud.spokes[from].has_shortcut(prefix)?.then_some(()))
        })
        .map_err(|error| anyhow!("{error:#}\n{}", cloud.spokes[from].log()))?;
        Ok(format!("{prefix} after {} requests", seen()?))
    })
}

/// Pings until the spoke has asked for the other's LAN: what makes it do so is a redirect.
fn provoke(wire: &Path, cloud: &Cloud, from: usize, to: usize) -> Result<()> {
    let (a, b) = (cloud.lab.spoke_lan(from)?, cloud.lab.spoke_lan(to)?);
    let before = requests(wire, cloud, from)?.len();
    let mut sequence = 0;
    poll::until("a first request", PATIENCE, || {
        sequence += 1;
        ping(&a.host, b.address, sequence, Duration::from_millis(200))?;
        Ok((requests(wire, cloud, from)?.len() > before).then_some(()))
    })
    .map_err(|error| anyhow!("{error:#}\n{}", cloud.spokes[from].log()))
}

/// Resolution Requests of a spoke, as they come to the hub.
fn requests(wire: &Path, cloud: &Cloud, from: usize) -> Result<Vec<Value>> {
    said::between(wire, "resolution-request", cloud.lab.spokes[from].nbma, cloud.lab.hub.nbma)
}

/// Checks the times between requests, and returns them in words.
fn check_pauses(requests: &[Value]) -> Result<String> {
    let times: Vec<f64> = requests.iter().map(said::second).collect::<Result<_>>()?;
    // A day has 86400 s, and one may end meanwhile.
    let pauses: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]).rem_euclid(86_400.0)).collect();
    let close = |(seen, wanted): (&f64, &f64)| (seen - wanted).abs() < TOLERANCE;
    ensure!(pauses.len() == PAUSES.len() && pauses.iter().zip(&PAUSES).all(close), "pauses: {pauses:.1?} s");
    let ids: Vec<&Value> = requests.iter().map(|request| &request["packet"]["request_id"]).collect();
    let first = ids.first().context("no request")?;
    let same = if ids.iter().all(|id| id == first) { "the same id" } else { "a new id each" };
    Ok(format!("pauses {pauses:.1?} s, {same}"))
}

/// The underlay lets nothing through to this node any more.
fn cut_off(cloud: &Cloud, node: &Node) -> Result<()> {
    let rules = format!(
        "table ip cut\ndelete table ip cut\ntable ip cut {{\nchain forward {{\
         type filter hook forward priority 0; ip daddr {} drop\n}}\n}}\n",
        node.nbma
    );
    let file = node.files.join("cut.nft");
    std::fs::write(&file, rules).with_context(|| format!("cannot write {}", file.display()))?;
    cloud.lab.underlay.run(|| command::output(Command::new("nft").arg("-f").arg(&file))).map(drop)
}

/// It does again.
fn connect(cloud: &Cloud) -> Result<()> {
    cloud.lab.underlay.command("nft delete table ip cut").map(drop)
}
