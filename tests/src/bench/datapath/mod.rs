//! What a packet costs in the data path: in the programs alone ([`cost`]), on a live path ([`live`]), and how that grows
//! with peers and flows.

mod box_under_test;
mod cost;
pub(super) mod flow;
pub(super) mod kernel;
mod latency;
pub(super) mod live;
mod pages;

use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, ensure};
use aya::programs::ProgramFd;
use dmvpn::datapath::Options;
use dmvpn_common::FastPath;

use self::{
    box_under_test::{Box, Site},
    cost::{Effort, Feed, Subject, XDP_REDIRECT, XDP_TX},
    kernel::{Kernel, Program},
    live::{Run, Wire},
};
use super::{
    progress,
    report::Report,
    statistics::{Sample, counter_as_f64},
    thresholds::Thresholds,
};
use crate::bpf;

/// How much to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Peers and prefixes of the main figures.
    pub peers: u32,
    /// Peers and prefixes for the growth.
    pub sizes: Vec<u32>,
    /// Flows of [`Plan::peers`] peers, for the growth.
    pub flows: Vec<u32>,
    /// Runs of the main figures.
    pub runs: usize,
    /// Packets of a run of a program.
    pub packets: u32,
    /// Frames of a live run; a tenth of it by the stack.
    pub frames: u32,
}

impl Plan {
    /// For figures to be quoted.
    pub fn full() -> Self {
        Self {
            peers: 10_000,
            sizes: vec![10, 1000, 10_000, 100_000],
            flows: vec![1000, 10_000, 50_000, 200_000, 1_000_000],
            runs: 11,
            packets: 200_000,
            frames: 300_000,
        }
    }

    /// For rough figures, within a minute.
    pub fn quick() -> Self {
        Self {
            sizes: vec![10, 1000, 10_000],
            flows: vec![1000, 100_000],
            runs: 7,
            packets: 50_000,
            frames: 50_000,
            ..Self::full()
        }
    }

    /// To see that it works.
    pub fn smoke() -> Self {
        Self { peers: 20, sizes: vec![10, 20], flows: vec![10, 50], runs: 2, packets: 2000, frames: 2000 }
    }
}

/// Costs of a packet over the floor, in nanoseconds.
struct Costs {
    floor: Sample,
    transit: Transit,
    /// Transit when there are few peers: without waiting for memory.
    small: Transit,
    /// Transit of packets of which nothing is remembered, and whose route takes the slot of another one.
    unseen: Sample,
    /// LAN to tunnel, routes cached.
    encap: Sample,
    /// Tunnel to LAN, routes cached.
    decap: Sample,
    latencies: Vec<Latency>,
}

/// The same at one size, of transit only.
struct Growth {
    /// Peers and prefixes, or flows.
    size: u32,
    costs: Transit,
}

/// Costs of transit over the floor, in nanoseconds.
#[derive(Clone)]
struct Transit {
    hit: Sample,
    miss: Sample,
    /// Only two questions to the kernel's routing table.
    fib: Sample,
}

/// What a read costs.
struct Latency {
    /// Among how many kilobytes (2^10).
    kilobytes: u32,
    nanoseconds: Sample,
}

/// Ways of a live frame.
struct Live {
    label: &'static str,
    /// Million frames a second.
    rate: Sample,
    /// Frames that did not come back, of all runs.
    lost: u64,
    /// Frames sent in all runs.
    sent: u64,
}

/// Everything that was measured.
struct Results {
    costs: Costs,
    live: Vec<Live>,
    by_peers: Vec<Growth>,
    by_flows: Vec<Growth>,
}

/// Places in [`Results::live`].
const NOTHING: usize = 0;
const TRANSIT: usize = 1;
const FIB: usize = 2;
const STACK: usize = 3;

/// Measures.
pub fn measure(plan: &Plan, thresholds: &Thresholds) -> Result<Report> {
    let mut by_peers = Vec::new();
    for size in plan.sizes.iter().filter(|size| **size != plan.peers) {
        progress(&format!("{size} peers"));
        by_peers.push(in_a_box(*size, |device| at_size(device, plan))?);
    }
    let small = by_peers.first().context("no small size")?.costs.clone();
    progress("without room for routes");
    let unseen = in_a_box_with(plan.peers, NO_ROUTES, |device| unseen(device, plan))?;
    let (costs, live, by_flows) = in_a_box(plan.peers, |device| {
        progress("program cost");
        let costs = measure_costs(device, plan, small, unseen).context("program cost")?;
        progress("live path");
        let live = measure_live(device, plan).context("live path")?;
        let flows = plan.flows.iter().map(|flows| {
            progress(&format!("{flows} flows"));
            with_flows(device, *flows, plan)
        });
        Ok((costs, live, flows.collect::<Result<Vec<_>>>()?))
    })?;
    by_peers.push(Growth { size: plan.peers, costs: costs.transit.clone() });
    by_peers.sort_by_key(|growth| growth.size);
    pages::report(plan, &Results { costs, live, by_peers, by_flows }, thresholds)
}

/// As many slots of the route cache as there have to be.
const NO_ROUTES: u32 = 4;

/// Makes a box with `peers` peers, and does `work` inside its namespace, on one processor.
fn in_a_box<T: Send>(peers: u32, work: impl FnOnce(&mut Box) -> Result<T> + Send) -> Result<T> {
    in_a_box_with(peers, Options::default_route_cache(peers), work)
}

/// The same with so many slots of the route cache.
fn in_a_box_with<T: Send>(
    peers: u32,
    routes: u32,
    work: impl FnOnce(&mut Box) -> Result<T> + Send,
) -> Result<T> {
    let site = Site::prepare()?;
    site.namespace.run(|| {
        super::pin(1)?;
        progress(&format!("a box with {peers} peers"));
        let mut device =
            Box::open(&site, peers, routes).with_context(|| format!("a box with {peers} peers"))?;
        work(&mut device)
    })
}

/// Transit with as many flows as there are peers.
fn at_size(device: &Box, plan: &Plan) -> Result<Growth> {
    let packets = device.transit();
    let effort = Effort { runs: plan.runs.min(super::statistics::RUNS), packets: plan.packets };
    Ok(Growth { size: device.peers, costs: transit(device, &packets, effort)? })
}

/// Transit with `flows` flows between the peers of a box.
fn with_flows(device: &Box, flows: u32, plan: &Plan) -> Result<Growth> {
    let packets = device.pairs(flows);
    let effort = Effort { runs: plan.runs.min(super::statistics::RUNS), packets: plan.packets };
    Ok(Growth { size: flows, costs: transit(device, &packets, effort)? })
}

/// Costs of transit over the floor where every packet finds another one's route in its slot.
fn unseen(device: &Box, plan: &Plan) -> Result<Sample> {
    let underlay = device.ways.underlay;
    let mut kernel = Kernel::load(&device.transit(), device.ways, &device.pins())?;
    let _wire = Wire::attach(&kernel, device.ways.generator, underlay)?;
    let program = device.underlay_program()?;
    let subject = Subject { feed: Feed::Cached, program: &program, verdict: XDP_TX };
    cost::over_floor(&mut kernel, underlay, &subject, Effort { runs: plan.runs, packets: plan.packets })
}

/// Costs of transit over the floor, with and without cached routes, and of the questions alone.
fn transit(device: &Box, packets: &[Vec<u8>], effort: Effort) -> Result<Transit> {
    let underlay = device.ways.underlay;
    let mut kernel = Kernel::load(packets, device.ways, &device.pins())?;
    let _wire = Wire::attach(&kernel, device.ways.generator, underlay)?;
    let program = device.underlay_program()?;
    // One after the other: a packet without a cached route makes all cached routes worthless.
    let fib = kernel.clone_of(Program::Fib)?;
    let mut over_floor = |feed, program| {
        let subject = Subject { feed, program, verdict: XDP_TX };
        cost::over_floor(&mut kernel, underlay, &subject, effort)
    };
    Ok(Transit {
        hit: over_floor(Feed::Cached, &program)?,
        miss: over_floor(Feed::New, &program)?,
        fib: over_floor(Feed::Cached, &fib)?,
    })
}

fn measure_costs(device: &Box, plan: &Plan, small: Transit, unseen: Sample) -> Result<Costs> {
    let effort = Effort { runs: plan.runs, packets: plan.packets };
    let packets = device.transit();
    let mut kernel = Kernel::load(&packets, device.ways, &device.pins())?;
    let wire = Wire::attach(&kernel, device.ways.generator, device.ways.underlay)?;
    let (underlay, lan) = (device.underlay_program()?, device.lan_program()?);
    cost::check(&mut kernel, device.ways.underlay, (&underlay, XDP_TX), cost::check_peer)
        .context("transit")?;
    let floor = cost::floor(&mut kernel, device.ways.underlay, effort)?;
    drop(wire);
    let transit = transit(device, &packets, effort)?;
    let encap = redirected(device, &device.outbound(), (&lan, device.ways.lan), cost::check_peer, effort)
        .context("LAN to tunnel")?;
    let decap =
        redirected(device, &device.inbound(), (&underlay, device.ways.underlay), cost::check_host, effort)
            .context("tunnel to LAN")?;
    let latency = |kilobytes: u32| -> Result<Latency> {
        let nanoseconds = latency::of_reads(kilobytes as usize * 1024, plan.runs)?;
        Ok(Latency { kilobytes, nanoseconds })
    };
    let latencies = [32, 512, 1024, 2048, 4096, 16_384, 65_536].map(latency).into_iter();
    Ok(Costs { floor, transit, small, unseen, encap, decap, latencies: latencies.collect::<Result<_>>()? })
}

/// Cost over the floor of packets that come in by an interface and leave by another one, their routes cached.
fn redirected(
    device: &Box,
    packets: &[Vec<u8>],
    (program, interface): (&ProgramFd, u32),
    is_right: fn(&[u8]) -> Result<()>,
    effort: Effort,
) -> Result<Sample> {
    let mut kernel = Kernel::load(packets, device.ways, &device.pins())?;
    // The kernel pretends that a frame came in by an interface only when that has a program.
    let _attached = bpf::attach_xdp(kernel.program(Program::Return)?, interface)?;
    cost::check(&mut kernel, interface, (program, XDP_REDIRECT), is_right)?;
    let subject = Subject { feed: Feed::Cached, program, verdict: XDP_REDIRECT };
    cost::over_floor(&mut kernel, interface, &subject, effort)
}

fn measure_live(device: &mut Box, plan: &Plan) -> Result<Vec<Live>> {
    let kernel = Kernel::load(&device.transit(), device.ways, &device.pins())?;
    let wire = Wire::attach(&kernel, device.ways.generator, device.ways.underlay)?;
    let underlay = device.underlay_program()?;
    device.attach_tunnel_program()?;
    let labels = [
        "a program that only returns the frame",
        "dmvpn, transit",
        "two bpf_fib_lookup calls a frame",
        "dmvpn, fast path off: the kernel's stack",
    ];
    let mut runs: [Vec<Run>; 4] = std::array::from_fn(|_| Vec::new());
    let mut sent = [0_u64; 4];
    let mut places = [NOTHING, TRANSIT, FIB, STACK];
    // The first turn fills caches and tables, and does not count.
    for counts in [false].into_iter().chain(std::iter::repeat_n(true, plan.runs)) {
        for place in places {
            let program = match place {
                NOTHING => kernel.program(Program::Return)?,
                FIB => kernel.program(Program::Fib)?,
                _ => underlay.as_fd(),
            };
            device.set_fast_path(if place == STACK { FastPath::Off } else { FastPath::Full })?;
            // Every change makes cached routes worthless; a real box is not changed all the time.
            wire.run(&kernel, program, (plan.frames / 4).max(8 * device.peers))?;
            let frames = if place == STACK { plan.frames / 5 } else { plan.frames };
            let run = wire.run(&kernel, program, frames)?;
            ensure!(run.rate > 0.0, "{}: no frame came back", labels[place]);
            if counts {
                runs[place].push(run);
                sent[place] += u64::from(frames);
            }
        }
        places.rotate_left(1);
    }
    let live = labels.into_iter().zip(runs).zip(sent).map(|((label, runs), sent)| {
        Ok(Live {
            label,
            rate: Sample::new(runs.iter().map(|run| run.rate / 1e6).collect())?,
            lost: runs.iter().map(|run| run.lost).sum(),
            sent,
        })
    });
    live.collect()
}

impl Live {
    /// Lost frames in a million.
    fn loss(&self) -> f64 {
        counter_as_f64(self.lost) * 1e6 / counter_as_f64(self.sent)
    }
}
