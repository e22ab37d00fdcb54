//! The page about software of others.

use anyhow::Result;

use super::{
    Findings, Plan,
    transit::{Forwarding, GRE, NOTHING, TC, XDP},
};
use crate::bench::{
    bars::{Bars, Row},
    machine::Machine,
    report::{Figure, Part, Plot, Report, Section, Table},
    scale::written,
    statistics::{Sample, counter_as_f64},
    thresholds::Thresholds,
};

/// Makes the report.
pub(super) fn report(plan: Plan, findings: &Findings, thresholds: &Thresholds) -> Result<Report> {
    let rates = findings.forwarders.iter().map(Forwarding::sample).collect::<Result<Vec<_>>>()?;
    let servers = &findings.servers;
    let registered = [&servers.agent.rates, &servers.nhrpd.rates].map(|rates| Sample::new(rates.clone()));
    let [ours, theirs] = registered;
    let (ours, theirs) = (ours?, theirs?);
    let resident = Sample::single(servers.agent.resident.1 / servers.nhrpd.resident.1)?;
    let spokes = written(f64::from(plan.batches * plan.batch));
    let figures = vec![
        Figure::median(
            "guest_xdp_vs_gre",
            "forwarding, native XDP / kernel GRE (more is better)",
            "",
            &rates[XDP].over(&rates[GRE])?,
        ),
        Figure::median(
            "guest_tc_vs_gre",
            "forwarding, TC / kernel GRE (more is better)",
            "",
            &rates[TC].over(&rates[GRE])?,
        ),
        Figure::median(
            "agent_vs_nhrpd_registrations",
            "registrations a second, agent / nhrpd (more is better)",
            "",
            &ours.over(&theirs)?,
        ),
        Figure::median(
            "agent_vs_nhrpd_rss",
            &format!("resident memory with {spokes} spokes, agent / nhrpd (less is better)"),
            "",
            &resident,
        ),
    ];
    Ok(Report {
        part: Part::Peers,
        machine: Machine::ask()?,
        method: method(plan, findings),
        figures,
        sections: vec![
            forwarding(findings, &rates, thresholds)?,
            registrations(findings, &spokes, [&ours, &theirs])?,
            memory(findings, &spokes)?,
        ],
    })
}

fn method(plan: Plan, findings: &Findings) -> Vec<String> {
    vec![
        format!(
            "**The guest is emulated** in software, instruction by instruction: what an instruction costs, and what \
             waiting for memory costs, is not what it is on a machine. So these pages compare within one run only, and \
             no rate of this page is one to expect anywhere. The guest: {} CPUs, Linux {} of Debian, BPF JIT {}, FRR of \
             the same Debian; the agent is the release build.",
            findings.guest.processors, findings.guest.kernel, findings.guest.jit
        ),
        format!(
            "Forwarding: each forwarder has two network namespaces with a veth pair between them, all made alike. Frames \
             of 92 bytes (GRE with key around 50 bytes of UDP) come from 16 spokes on paper, each for a network behind \
             another; the forwarder decapsulates, routes, and encapsulates for that spoke. Frames enter as a NIC would \
             hand them over (XDP live frames), and leave by the same wire to an XDP program that counts and drops. Before \
             that, frames are looked at: right spoke, right length, time to live one less. The generator has the lowest priority, so that what is on its way goes first. Generator, forwarder and sink \
             share one processor, so rates are of all three, and ratios are smaller than those of the forwarders alone. \
             {} runs of {} frames, the forwarders in turn; ratios are taken run by run.",
            plan.runs, plan.frames
        ),
        "Kernel GRE is a multipoint device (`ip link add type gre … key 42`) with a permanent neighbour and a route for \
         each spoke: what nhrpd would have it do, without nhrpd's firewall rule that finds hairpins. The agents are hubs \
         of phase 3 with the same routes, and look for hairpins. At TC the agent falls back as it does where a driver has \
         no XDP."
            .to_owned(),
        format!(
            "Registrations: complete NHRP Registration Requests in GRE, each from an NBMA address of its own, 128 under \
             way at any time, none of them authenticated. Every answer is decoded and has to be a success. Both servers \
             say as little as they can (agent: log level warn; nhrpd: no debugging), the agent's rate limit is out of the \
             way, and the kernel may keep 65,536 neighbours. {} batches of {} first registrations, the servers in turn; at \
             the end both have to have all spokes in their cache.",
            plan.batches, plan.batch
        ),
        "Memory: what the kernel reports as resident (`VmRSS`), after the last registration. The agent's maps and the \
         kernel's GRE device, routes and neighbours are not in it; nor is zebra, which nhrpd needs to make routes."
            .to_owned(),
    ]
}

fn forwarding(findings: &Findings, rates: &[Sample], thresholds: &Thresholds) -> Result<Section> {
    let kernel = &rates[GRE];
    let ratios = rates.iter().map(|rate| rate.over(kernel)).collect::<Result<Vec<_>>>()?;
    let labels = findings.forwarders.iter().map(|forwarder| forwarder.label.as_str());
    let rows = labels.clone().zip(&ratios).enumerate().map(|(place, (label, ratio))| {
        let colour = usize::from(place == GRE || place == NOTHING);
        let row = Row::new(label, ratio.clone(), colour);
        let key = if place == XDP { "guest_xdp_vs_gre" } else { "guest_tc_vs_gre" };
        match thresholds.of(key).filter(|_| place == XDP || place == TC) {
            Some(threshold) => row.with_limit(threshold.aim, format!("aim {threshold}")),
            None => row,
        }
    });
    let bars = Bars {
        title: "Forwarding between spokes".to_owned(),
        subtitle: "the same frames in the same emulated guest; bar: median, dots: runs; more is better"
            .to_owned(),
        axis: "frames a second, kernel GRE = 1".to_owned(),
        rows: rows.collect(),
    };
    let mut table = Table::of_samples("forwarder", "kernel GRE = 1", labels.zip(&ratios));
    table.header.extend(["frames", "lost", "lost in a million"].map(str::to_owned));
    for (row, forwarder) in table.rows.iter_mut().zip(&findings.forwarders) {
        let share = counter_as_f64(forwarder.lost) * 1e6 / counter_as_f64(forwarder.sent);
        row.extend([forwarder.sent.to_string(), forwarder.lost.to_string(), written(share)]);
    }
    Ok(Section {
        title: "Forwarding".to_owned(),
        text: vec![
            "The last bar is what generator, wire and sink allow: a program that only sends each frame back."
                .to_owned(),
            "What is lost has cost time, too: a forwarder that loses frames would do somewhat better where they come more slowly."
                .to_owned(),
        ],
        plot: Some(Plot {
            name: "peers-forwarding".to_owned(),
            alt: "Frames a second by forwarder, against the kernel's GRE".to_owned(),
            svg: bars.draw(),
        }),
        table: Some(table),
        notes: Vec::new(),
    })
}

fn registrations(findings: &Findings, spokes: &str, [ours, theirs]: [&Sample; 2]) -> Result<Section> {
    let ratios = [ours.over(theirs)?, theirs.over(theirs)?];
    let bars = Bars {
        title: "First registrations".to_owned(),
        subtitle: "answered with success, the same crowd at both; bar: median, dots: batches; more is better"
            .to_owned(),
        axis: "registrations a second, nhrpd = 1".to_owned(),
        rows: vec![Row::new("dmvpn", ratios[0].clone(), 0), Row::new("FRR nhrpd", ratios[1].clone(), 1)],
    };
    let servers = &findings.servers;
    let slowdown = |rates: &[f64]| rates.last().zip(rates.first()).map_or(1.0, |(last, first)| last / first);
    let mut table =
        Table::new(["server", "median, nhrpd = 1", "last batch / first batch", "requests sent again"]);
    for (label, ratio, server) in
        [("dmvpn", &ratios[0], &servers.agent), ("FRR nhrpd", &ratios[1], &servers.nhrpd)]
    {
        table.push(vec![
            label.to_owned(),
            written(ratio.median()),
            written(slowdown(&server.rates)),
            server.repeated.to_string(),
        ]);
    }
    Ok(Section {
        title: "Registrations".to_owned(),
        text: vec![
            format!(
                "{spokes} spokes register with each server. A request is sent again when there is no answer within half \
                 a second."
            ),
            "The servers promise different things. nhrpd hands a new neighbour to zebra, and answers without waiting for \
             it; zebra brings it to the kernel, on the other processor. The agent answers when the peer is in the maps \
             and the neighbour in the kernel, so that whoever hears the answer may send at once, and does all of that \
             itself: 22 system calls for a first registration, 16 of them for maps, 4 for a route and the neighbour, 2 \
             for the packets. A renewal needs those two alone."
                .to_owned(),
            "Where the time goes, by a profile outside the guest (10,000 first registrations, `perf record -e cpu-clock`): \
             41 µs of processor time each, of which 31 % for maps, 22 % for route and neighbour, 18 % for the packets, \
             22 % in the agent's own code."
                .to_owned(),
        ],
        plot: Some(Plot {
            name: "peers-registrations".to_owned(),
            alt: "Registrations a second into the agent, against nhrpd".to_owned(),
            svg: bars.draw(),
        }),
        table: Some(table),
        notes: Vec::new(),
    })
}

fn memory(findings: &Findings, spokes: &str) -> Result<Section> {
    let servers = &findings.servers;
    let all = servers.nhrpd.resident.1;
    let rows = [
        ("dmvpn", servers.agent.resident.1, 0),
        ("FRR nhrpd", all, 1),
        ("FRR nhrpd and zebra", all + servers.zebra_mb, 1),
    ];
    let mut table = Table::new(["what", "nhrpd = 1"]);
    let before = [
        ("dmvpn, before the first spoke", servers.agent.resident.0),
        ("FRR nhrpd, before", servers.nhrpd.resident.0),
    ];
    for (label, mb) in before.into_iter().chain(rows.iter().map(|(label, mb, _)| (*label, *mb))) {
        table.push(vec![label.to_owned(), written(mb / all)]);
    }
    let rows =
        rows.iter().map(|(label, mb, colour)| Ok(Row::new(*label, Sample::single(mb / all)?, *colour)));
    let bars = Bars {
        title: format!("Resident memory with {spokes} spokes"),
        subtitle: "less is better".to_owned(),
        axis: "memory, nhrpd = 1".to_owned(),
        rows: rows.collect::<Result<_>>()?,
    };
    Ok(Section {
        title: "Memory".to_owned(),
        text: Vec::new(),
        plot: Some(Plot {
            name: "peers-memory".to_owned(),
            alt: "Resident memory of the agent, nhrpd and zebra".to_owned(),
            svg: bars.draw(),
        }),
        table: Some(table),
        notes: Vec::new(),
    })
}
