//! The control plane of real agents: registrations a second, memory, time to a shortcut.

pub(super) mod memory;
mod shortcuts;

use anyhow::{Context as _, Result, ensure};

use super::{
    bars::{Bars, Row},
    hosts::Hosts,
    lines::{Lines, Point, Series},
    machine::Machine,
    progress,
    report::{Figure, Part, Plot, Report, Section, Table},
    scale::{Spacing, written},
    statistics::Sample,
    thresholds::Thresholds,
};
use crate::{agent::Agent, crowd::Crowd};

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Batches of spokes that register for the first time; together they are all peers.
    pub batches: u32,
    /// Spokes of a batch.
    pub batch: u32,
    /// Runs of renewals, of a batch each.
    pub renewals: u32,
    /// Shortcuts to make.
    pub shortcuts: u8,
}

impl Plan {
    /// For figures to be quoted.
    pub const FULL: Self = Self { batches: 10, batch: 10_000, renewals: 7, shortcuts: 200 };
    /// For rough figures.
    pub const QUICK: Self = Self { batches: 5, batch: 2000, renewals: 7, shortcuts: 50 };
    /// To see that it works.
    pub const SMOKE: Self = Self { batches: 2, batch: 50, renewals: 1, shortcuts: 3 };
}

/// GRE key of the hub's tunnel.
const KEY: u32 = 42;

/// What the hub showed.
struct Hub {
    /// First registrations a second, a batch each.
    first: Vec<f64>,
    /// Renewals a second, a batch each.
    renewals: Vec<f64>,
    /// MB of the agent before and after.
    resident: (f64, f64),
    /// Its maps.
    maps: Vec<memory::MapMemory>,
    /// Requests that had to be repeated.
    repeated: usize,
}

/// Measures.
pub fn measure(plan: Plan, thresholds: &Thresholds) -> Result<Report> {
    progress("registrations");
    let hub = measure_hub(plan).context("registering")?;
    progress("shortcuts");
    let shortcuts = shortcuts::times(plan.shortcuts).context("making shortcuts")?;
    let first = Sample::new(hub.first.clone())?;
    let renewals = Sample::new(hub.renewals.clone())?;
    let resident = Sample::single(hub.resident.1)?;
    let map_mb = Sample::single(hub.maps.iter().map(|map| map.mb).sum())?;
    let peers = written(f64::from(plan.batches * plan.batch));
    let figures = vec![
        Figure::median("agent_registrations_per_s", "first registrations a second, one agent", "/s", &first),
        Figure::median("agent_renewals_per_s", "renewals a second, one agent", "/s", &renewals),
        Figure::median(
            "agent_rss_mb",
            &format!("resident memory of the agent with {peers} peers"),
            "MB",
            &resident,
        ),
        Figure::median("map_mb", &format!("its maps in the kernel, made for {peers} peers"), "MB", &map_mb),
        Figure::median("shortcut_p50_ms", "first packet to direct path: median", "ms", &shortcuts),
        Figure::quantile("shortcut_p99_ms", "first packet to direct path: 99 %", "ms", &shortcuts, 0.99),
    ];
    Ok(Report {
        part: Part::Control,
        machine: Machine::ask()?,
        method: vec![
            "Registrations: one agent (release build, log level warn) on one end of a wire, a crowd of spokes on paper \
             on the other: complete NHRP Registration Requests in GRE, each from an NBMA address of its own, 128 of \
             them under way at any time. Every request is answered by the agent over the same wire, every answer is \
             decoded and has to be a success; a peer is then in the maps and in the kernel's neighbour table. The \
             agent's rate limit is set out of the way (`packets-total`). Crowd and agent share the machine's processors."
                .to_owned(),
            "Memory: resident memory of the agent's process as the kernel reports it (`VmRSS`), and what the kernel \
             accounts for each pinned map (`memlock` in `fdinfo`). MB are 10^6 bytes."
                .to_owned(),
            "Shortcuts: a hub and two spokes in network namespaces with a router between them, real agents. A host \
             behind one spoke sends a packet every 0.2 ms to a network behind the other that it never sent to. The \
             time ends when the first packet arrives that has not been by the hub, which its time to live tells."
                .to_owned(),
        ],
        figures,
        sections: vec![
            registrations(plan, &hub, &first, &renewals, thresholds),
            memory_section(&peers, &hub),
            shortcut_section(&shortcuts, thresholds),
        ],
    })
}

fn measure_hub(plan: Plan) -> Result<Hub> {
    let hosts = Hosts::new()?;
    let peers = plan.batches * plan.batch;
    let mut config = hosts.config(&hosts.a);
    config.address = ipnet::Ipv4Net::new_assert(hosts.a.address, 8).into();
    config.max_peers = Some(peers);
    config.log = "warn";
    "limits: {packets-total: 1048576}".clone_into(&mut config.more);
    let agent = Agent::start(&hosts.a, &config)?;
    let before = memory::resident_mb(agent.pid())?;

    let mut crowd = Crowd::gather(&hosts, KEY)?;
    let batch = |number: u32| number * plan.batch..(number + 1) * plan.batch;
    let rate = |crowd: &mut Crowd, number: u32| {
        crowd.register(batch(number)).with_context(|| agent.log()).with_context(|| format!("batch {number}"))
    };
    let first = (0..plan.batches).map(|number| rate(&mut crowd, number)).collect::<Result<Vec<_>>>()?;
    // Spread over the table.
    let renewals =
        (0..plan.renewals).map(|run| rate(&mut crowd, run * 3 % plan.batches)).collect::<Result<Vec<_>>>()?;
    let resident = memory::resident_mb(agent.pid())?;
    let maps = memory::maps(&hosts.a.pins)?;
    let cached = agent.cache()?.len();
    ensure!(cached >= peers as usize, "{peers} spokes were told they are registered, {cached} are");
    Ok(Hub { first, renewals, resident: (before, resident), maps, repeated: crowd.repeated })
}

fn registrations(
    plan: Plan,
    hub: &Hub,
    first: &Sample,
    renewals: &Sample,
    thresholds: &Thresholds,
) -> Section {
    let points = |rates: &[f64]| -> Vec<Point> {
        let batches = (1..).map(|number: u32| f64::from(number * plan.batch));
        batches.zip(rates).map(|(x, rate)| Point { x, y: *rate, range: Some((*rate, *rate)) }).collect()
    };
    let aim = thresholds.of("agent_registrations_per_s");
    let lines = Lines {
        title: "Registrations into one agent".to_owned(),
        subtitle: "answered with success; each batch of spokes registers for the first time; more is better"
            .to_owned(),
        x_axis: "peers registered at the end of the batch".to_owned(),
        x_spacing: Spacing::Linear,
        y_axis: "registrations a second".to_owned(),
        series: vec![Series {
            label: "first registrations".to_owned(),
            colour: 0,
            points: points(&hub.first),
        }],
        y_limits: aim.iter().map(|aim| (aim.aim, format!("aim {aim}/s"))).collect(),
        x_limits: Vec::new(),
        x_end: None,
    };
    let samples = [("first registration", first), ("renewal", renewals)];
    Section {
        title: "Registrations".to_owned(),
        text: vec![format!(
            "{} spokes register one after the other, then some of them again. {} requests had to be repeated.",
            written(f64::from(plan.batches * plan.batch)),
            hub.repeated
        )],
        plot: Some(Plot {
            name: "registrations".to_owned(),
            alt: "Registrations a second while the number of peers grows".to_owned(),
            svg: lines.draw(),
        }),
        table: Some(Table::of_samples("kind", "a second", samples)),
        notes: Vec::new(),
    }
}

fn memory_section(peers: &str, hub: &Hub) -> Section {
    let row = |label: &str, mb: f64, colour| Sample::single(mb).map(|sample| Row::new(label, sample, colour));
    let agent = row("agent", hub.resident.1, 0);
    let maps = hub.maps.iter().filter(|map| map.mb >= 0.1).map(|map| row(&map.name, map.mb, 1));
    let bars = Bars {
        title: format!("Memory with {peers} peers"),
        subtitle: "the agent's resident memory, and its maps in the kernel (0.1 MB and more)".to_owned(),
        axis: "MB (10⁶ bytes)".to_owned(),
        rows: std::iter::once(agent).chain(maps).filter_map(Result::ok).collect(),
    };
    let mut table = Table::new(["what", "MB"]);
    table.push(vec!["agent, before the first peer".to_owned(), written(hub.resident.0)]);
    table.push(vec![format!("agent, with {peers} peers"), written(hub.resident.1)]);
    for map in &hub.maps {
        table.push(vec![format!("map `{}`", map.name), written(map.mb)]);
    }
    Section {
        title: "Memory".to_owned(),
        text: vec![
            "Maps have their full size from the start, whatever the number of peers; what is per CPU is there once for \
             each."
                .to_owned(),
        ],
        plot: Some(Plot {
            name: "memory".to_owned(),
            alt: format!("Memory of the agent and its maps with {peers} peers"),
            svg: bars.draw(),
        }),
        table: Some(table),
        notes: Vec::new(),
    }
}

fn shortcut_section(times: &Sample, thresholds: &Thresholds) -> Section {
    let aim = thresholds.of("shortcut_p99_ms");
    let mark = |q: f64, text: &str| {
        let value = times.quantile(q);
        (value, format!("{text}: {} ms", written(value)))
    };
    let mut x_limits = vec![mark(0.5, "median")];
    x_limits.extend(aim.iter().map(|aim| (aim.aim, format!("aim for 99 %: {aim} ms"))));
    let lines = Lines {
        title: "From the first packet to the direct path".to_owned(),
        subtitle: format!("{} shortcuts; the curve says which share was there in which time", times.runs()),
        x_axis: "milliseconds since the first packet".to_owned(),
        x_spacing: Spacing::Linear,
        y_axis: "shortcuts in use, %".to_owned(),
        series: vec![Series::distribution("shortcuts", 0, times)],
        y_limits: Vec::new(),
        x_limits,
        x_end: Some(1.2 * times.quantile(0.99).max(aim.map_or(0.0, |aim| aim.aim))),
    };
    let mut table = Table::new(["share of the shortcuts", "within, ms"]);
    for (label, q) in [("half", 0.5), ("90 %", 0.9), ("99 %", 0.99), ("all", 1.0)] {
        table.push(vec![label.to_owned(), written(times.quantile(q))]);
    }
    Section {
        title: "Shortcuts".to_owned(),
        text: vec![
            "In between: the hub's data path raises an event, its agent sends a Traffic Indication, the spoke asks by \
             way of the hub, the other spoke makes a mapping and answers, the first one makes neighbour and route."
                .to_owned(),
        ],
        plot: Some(Plot {
            name: "shortcuts".to_owned(),
            alt: "Distribution of the time from first packet to direct path".to_owned(),
            svg: lines.draw(),
        }),
        table: Some(table),
        notes: Vec::new(),
    }
}
