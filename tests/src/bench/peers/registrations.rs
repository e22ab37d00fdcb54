//! The same crowd of spokes on paper at two servers, in the guest: our agent, and FRR's nhrpd.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::Plan;
use crate::{
    agent::Agent,
    bench::{control::memory::resident_mb, hosts::Hosts, progress, statistics::interleave},
    crowd::Crowd,
    labs::vm::frr::{Frr, Settings, Version},
};

const KEY: u32 = 42;
/// Seconds for which a registration is good: nobody renews it here.
const HOLDING_TIME: u16 = 7200;
/// Most neighbours that the kernel keeps; its own limit is 1024.
const NEIGHBOURS: &str = "65536";

/// What both servers showed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Servers {
    pub(super) agent: Server,
    pub(super) nhrpd: Server,
    /// Resident memory of FRR's zebra, without which nhrpd does nothing, in MB (10^6 bytes).
    pub(super) zebra_mb: f64,
}

/// What one server showed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Server {
    /// First registrations a second, by batch.
    pub(super) rates: Vec<f64>,
    /// Requests that were sent again.
    pub(super) repeated: usize,
    /// Resident memory before the first spoke, and with all of them, in MB (10^6 bytes).
    pub(super) resident: (f64, f64),
}

/// A server with a crowd at its wire.
struct Subject {
    label: &'static str,
    crowd: Crowd,
    batch: u32,
    registered: u32,
}

impl Subject {
    fn next_batch(&mut self) -> Result<f64> {
        let first = self.registered;
        self.registered += self.batch;
        let rate = self.crowd.register(first..self.registered);
        rate.with_context(|| format!("{}, spokes from number {first}", self.label))
    }
}

/// Measures, the servers in turn.
pub(super) fn measure(plan: Plan) -> Result<Servers> {
    // Of the whole machine, and for both.
    for number in [3, 2, 1] {
        let limit = format!("/proc/sys/net/ipv4/neigh/default/gc_thresh{number}");
        fs::write(&limit, NEIGHBOURS).with_context(|| format!("writing {limit}"))?;
    }
    progress("servers");
    let spokes = plan.batches * plan.batch;
    let ours = Hosts::new()?;
    let agent = start_agent(&ours, spokes)?;
    let theirs = Hosts::new()?;
    let frr = start_frr(&theirs)?;
    let [zebra, _, nhrpd] = frr.pids()[..] else { anyhow::bail!("FRR has other daemons") };
    let before = (resident_mb(agent.pid())?, resident_mb(nhrpd)?);

    let subject = |label, hosts| -> Result<Subject> {
        Ok(Subject { label, crowd: Crowd::gather(hosts, KEY)?, batch: plan.batch, registered: 0 })
    };
    let mut subjects = [subject("dmvpn", &ours)?, subject("nhrpd", &theirs)?];
    progress("registrations");
    let batches = usize::try_from(plan.batches)?;
    let rates = interleave(batches, &mut subjects, Subject::next_batch)
        .with_context(|| format!("{}\n{}", agent.log(), frr.log("nhrpd")))?;
    let after = (resident_mb(agent.pid())?, resident_mb(nhrpd)?);
    let known = (agent.cache()?.len(), frr.rows("cache")?.len());
    for known in [known.0, known.1] {
        ensure!(known >= spokes as usize, "{spokes} spokes were told they are registered, {known} are");
    }
    let server = |number: usize, resident| Server {
        rates: rates[number].results().to_vec(),
        repeated: subjects[number].crowd.repeated,
        resident,
    };
    Ok(Servers {
        agent: server(0, (before.0, after.0)),
        nhrpd: server(1, (before.1, after.1)),
        zebra_mb: resident_mb(zebra)?,
    })
}

fn start_agent(hosts: &Hosts, spokes: u32) -> Result<Agent> {
    let mut config = hosts.config(&hosts.a);
    config.address = ipnet::Ipv4Net::new_assert(hosts.a.address, 8).into();
    config.max_peers = Some(spokes);
    config.holding_time = HOLDING_TIME;
    config.log = "warn";
    "limits: {packets-total: 1048576}".clone_into(&mut config.more);
    Agent::start(&hosts.a, &config)
}

/// FRR as a server that says as little as our agent.
fn start_frr(hosts: &Hosts) -> Result<Frr> {
    let settings = Settings {
        version: Version::V8,
        authentication: None,
        key: Some(KEY),
        holding_time: HOLDING_TIME,
        servers: Vec::new(),
        routes: Vec::new(),
        unique: true,
        multicast: false,
    };
    let frr = Frr::start(&hosts.a, &settings)?;
    frr.ask("no debug nhrp all").context("telling nhrpd to be quiet")?;
    Ok(frr)
}
