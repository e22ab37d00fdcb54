//! The page of the data path.

use anyhow::Result;

use super::{FIB, Growth, Live, NOTHING, Plan, Results, STACK, TRANSIT};
use crate::bench::{
    bars::{Bars, Row},
    lines::{Lines, Point, Series},
    machine::Machine,
    report::{Figure, Part, Plot, Report, Section, Table},
    scale::{Spacing, written},
    statistics::Sample,
    thresholds::Thresholds,
};

pub(super) fn report(plan: &Plan, results: &Results, thresholds: &Thresholds) -> Result<Report> {
    let costs = &results.costs;
    let live = &results.live;
    let ratio = |place: usize| live[TRANSIT].rate.over(&live[place].rate);
    let cost = |key, what: &str, sample| Figure::median(key, what, "ns", sample);
    let figures = vec![
        cost("transit_hit_ns", "peer to peer, route cached", &costs.transit.hit),
        cost("transit_miss_ns", "peer to peer, cached route out of date", &costs.transit.miss),
        cost("transit_unseen_ns", "peer to peer, nothing cached", &costs.unseen),
        cost("encap_hit_ns", "LAN to tunnel, route cached", &costs.encap),
        cost("decap_hit_ns", "tunnel to LAN, route cached", &costs.decap),
        Figure::median("live_vs_noop", "live transit / a program that does nothing", "", &ratio(NOTHING)?),
        Figure::median("live_vs_fib", "live transit / two FIB look-ups a frame", "", &ratio(FIB)?),
        Figure::median("live_vs_stack", "live transit / the kernel's stack", "", &ratio(STACK)?),
    ];
    Ok(Report {
        part: Part::Datapath,
        machine: Machine::ask()?,
        method: method(plan),
        figures,
        sections: vec![
            cost_section(plan, results, thresholds),
            live_section(plan, live, thresholds),
            peers_section(&results.by_peers, thresholds),
            flows_section(plan, &results.by_flows, thresholds),
        ],
    })
}

fn method(plan: &Plan) -> Vec<String> {
    vec![
        format!(
            "Program cost: the kernel runs the real program {} times in a row on one processor (`BPF_PROG_TEST_RUN`) and \
             gives the average. Before each run a small program makes the packet the next one of a random flow: it \
             undoes any change of length, copies 64 bytes of headers, and goes on with the program under test. The \
             same with a program that only returns is the floor; the figure is the difference, measured in turns. {} \
             runs.",
            written(f64::from(plan.packets)),
            plan.runs
        ),
        format!(
            "{} peers, each with a neighbour entry and a /24 of its own; every packet is for another network in random \
             order, and from a peer that is not the one behind it. 64-byte inner frames, GRE with a key.",
            written(f64::from(plan.peers))
        ),
        "The measuring thread stays on one processor and has the highest priority there (niceness -20).".to_owned(),
        "*Out of date*: the generation of cached routes is raised before every packet, so each one looks up the tunnel, \
         makes sure of the peer, asks the kernel's routing table, and fills its slot: what happens to every flow after a \
         change of any route. *Nothing cached*: the cache has four slots, so nothing is remembered of any packet's flow. \
         It looks up the peer in a hash table, too, and adds to the counters of two other peers what was counted in the \
         slot that it takes: what happens to the first packet of a flow in a full cache."
            .to_owned(),
        "Before measuring, packets are checked: each has to come out addressed to the peer whose network it is for, or to \
         the host of the LAN, with its time to live lowered by one."
            .to_owned(),
        format!(
            "Live path: real frames (`BPF_F_TEST_XDP_LIVE_FRAMES`) over a veth pair with native XDP at both ends: a \
             generator sends {} frames of all flows, the program under test sends them back by the same interface, a \
             sink counts and drops. All three share one processor. A time is that of the whole path, so ratios to the \
             program that does nothing say how much of it is ours. The four ways take turns; frames that do not come \
             back are counted.",
            written(f64::from(plan.frames))
        ),
    ]
}

fn cost_section(plan: &Plan, results: &Results, thresholds: &Thresholds) -> Section {
    let costs = &results.costs;
    let row = |label: &str, key: &str, sample: &Sample, colour| {
        let row = Row::new(label, sample.clone(), colour);
        match thresholds.of(key) {
            Some(threshold) => row.with_limit(threshold.aim, format!("aim {threshold}")),
            None => row,
        }
    };
    let bars = Bars {
        title: "What a packet costs in the programs".to_owned(),
        subtitle: format!(
            "{} peers and prefixes in random order; over the floor; bar: median, dots: runs; less is better",
            written(f64::from(plan.peers))
        ),
        axis: "nanoseconds a packet".to_owned(),
        rows: vec![
            row("peer to peer, cached", "transit_hit_ns", &costs.transit.hit, 0),
            row("the same, few peers", "", &costs.small.hit, 1),
            row("LAN to tunnel, cached", "encap_hit_ns", &costs.encap, 0),
            row("tunnel to LAN, cached", "decap_hit_ns", &costs.decap, 0),
            row("peer to peer, out of date", "transit_miss_ns", &costs.transit.miss, 2),
            row("the same, few peers", "", &costs.small.miss, 1),
            row("peer to peer, nothing cached", "transit_unseen_ns", &costs.unseen, 2),
            row("two FIB look-ups alone", "", &costs.transit.fib, 1),
            row("the same, few peers", "", &costs.small.fib, 1),
        ],
    };
    let samples = [
        ("peer to peer, route cached", &costs.transit.hit),
        ("peer to peer, cached route out of date", &costs.transit.miss),
        ("peer to peer, nothing cached", &costs.unseen),
        ("LAN to tunnel, route cached", &costs.encap),
        ("tunnel to LAN, route cached", &costs.decap),
        ("two bpf_fib_lookup calls alone", &costs.transit.fib),
        ("few peers: route cached", &costs.small.hit),
        ("few peers: cached route out of date", &costs.small.miss),
        ("few peers: two bpf_fib_lookup calls alone", &costs.small.fib),
        ("the floor itself (not included)", &costs.floor),
    ];
    Section {
        title: "Program cost".to_owned(),
        plot: Some(Plot {
            name: "program-cost".to_owned(),
            alt: "Nanoseconds a packet in the programs".to_owned(),
            svg: bars.draw(),
        }),
        table: Some(Table::of_samples("way", "ns", samples)),
        notes: where_time_goes(plan, results),
        ..Section::default()
    }
}

/// What explains the costs: the same instructions are run whatever the number of peers; the rest is memory.
fn where_time_goes(plan: &Plan, results: &Results) -> Vec<String> {
    let costs = &results.costs;
    let (hit, small) = (costs.transit.hit.median(), costs.small.hit.median());
    let (miss, small_miss) = (costs.transit.miss.median(), costs.small.miss.median());
    let (fib, small_fib) = (costs.transit.fib.median(), costs.small.fib.median());
    let mut table = Table::new(["read among", "ns"]);
    for latency in &costs.latencies {
        let size = format!("{} KiB", written(f64::from(latency.kilobytes)));
        table.push(vec![size, written(latency.nanoseconds.median())]);
    }
    let few = plan.sizes.iter().min().copied().unwrap_or_default();
    vec![
        format!(
            "**Where the time goes.** The programs run the same instructions however many peers there are. With {few} \
             peers everything they look at is in the processor's nearest caches: {} ns for a cached route, {} ns \
             when it is out of date. The rest at {} peers, {} and {} ns, is waiting for memory. A packet with a cached route reads \
             two lines of 64 bytes that belong to its flow, one after the other: the slot of the route, which names the \
             peer and counts; and the peer with its header. With {} flows these are {} KiB, beside the packets' own \
             headers. When the route is out of date, the line of the peer it comes from is the third.",
            written(small),
            written(small_miss),
            written(f64::from(plan.peers)),
            written(hit - small),
            written(miss - small_miss),
            written(f64::from(plan.peers)),
            written(f64::from(plan.peers) * 2.0 * 64.0 / 1024.0)
        ),
        format!(
            "Then there are the hash table of tunnels and the kernel's own tables: two \
             `bpf_fib_lookup` calls alone cost {} ns at this size and {} ns with few peers, and one of them is needed. What \
             the kernel reads for that, and the programs for each flow, is more than the caches hold together, so each \
             makes the other one slower.",
            written(fib),
            written(small_fib)
        ),
        "What one read costs on this machine, when it has to wait for the one before:".to_owned(),
        table.to_string(),
    ]
}

fn live_section(plan: &Plan, live: &[Live], thresholds: &Thresholds) -> Section {
    let mut rows: Vec<Row> = live
        .iter()
        .enumerate()
        .map(|(place, way)| Row::new(way.label, way.rate.clone(), usize::from(place != TRANSIT)))
        .collect();
    if let Some(threshold) = thresholds.of("live_vs_noop") {
        let aim = live[NOTHING].rate.median() * threshold.aim;
        rows[TRANSIT] = rows[TRANSIT].clone().with_limit(aim, format!("aim {threshold} × nothing"));
    }
    let bars = Bars {
        title: "Frames a second on a live path".to_owned(),
        subtitle: format!(
            "one processor generates, forwards and counts; {} flows; more is better",
            written(f64::from(plan.peers))
        ),
        axis: "million frames a second".to_owned(),
        rows,
    };
    let mut table = Table::of_samples("forwarder", "Mpps", live.iter().map(|way| (way.label, &way.rate)));
    table.header.extend(["ns a frame", "transit is × as fast", "lost"].map(str::to_owned));
    for (row, way) in table.rows.iter_mut().zip(live) {
        let lost = if way.lost == 0 {
            "0".to_owned()
        } else {
            format!("{} ({} in a million)", way.lost, written(way.loss()))
        };
        row.extend([
            written(1e3 / way.rate.median()),
            written(live[TRANSIT].rate.median() / way.rate.median()),
            lost,
        ]);
    }
    Section {
        title: "Live path".to_owned(),
        plot: Some(Plot {
            name: "live-path".to_owned(),
            alt: "Million frames a second by four forwarders on the same path".to_owned(),
            svg: bars.draw(),
        }),
        table: Some(table),
        notes: vec![what_bounds_the_ratios(live)],
        ..Section::default()
    }
}

/// Most of a frame's time is the path's own, so ratios of rates have a ceiling.
fn what_bounds_the_ratios(live: &[Live]) -> String {
    let rate = |place: usize| live[place].rate.median();
    let nanoseconds = |place: usize| written(1e3 / rate(place));
    format!(
        "**What bounds the ratios.** Generator, wire and sink take {} of the {} ns of a frame in transit. A forwarder that \
         costs nothing at all would be {} times as fast as two look-ups and {} times as fast as the kernel's stack on \
         this path; dmvpn is at {} and {}.",
        nanoseconds(NOTHING),
        nanoseconds(TRANSIT),
        written(rate(NOTHING) / rate(FIB)),
        written(rate(NOTHING) / rate(STACK)),
        written(rate(TRANSIT) / rate(FIB)),
        written(rate(TRANSIT) / rate(STACK)),
    )
}

fn growth_table(what: &str, growth: &[Growth]) -> Table {
    let mut table =
        Table::new([what, "cached, ns", "range", "out of date, ns", "range", "two FIB look-ups alone, ns"]);
    let range = |sample: &Sample| format!("{} – {}", written(sample.min()), written(sample.max()));
    for at in growth {
        table.push(vec![
            written(f64::from(at.size)),
            written(at.costs.hit.median()),
            range(&at.costs.hit),
            written(at.costs.miss.median()),
            range(&at.costs.miss),
            written(at.costs.fib.median()),
        ]);
    }
    table
}

fn growth_lines(growth: &[Growth], thresholds: &Thresholds) -> (Vec<Series>, Vec<(f64, String)>) {
    let points = |sample: fn(&Growth) -> &Sample| -> Vec<Point> {
        growth.iter().map(|at| Point::of(f64::from(at.size), sample(at))).collect()
    };
    let series = |label: &str, colour, points| Series { label: label.to_owned(), colour, points };
    let limit = |key: &str, what: &str| {
        let threshold = thresholds.of(key)?;
        Some((threshold.aim, format!("aim, {what}: {threshold} ns")))
    };
    let limits = [limit("transit_hit_ns", "cached"), limit("transit_miss_ns", "out of date")];
    (
        vec![
            series("route cached", 0, points(|at| &at.costs.hit)),
            series("route out of date", 2, points(|at| &at.costs.miss)),
            series("two FIB look-ups alone", 1, points(|at| &at.costs.fib)),
        ],
        limits.into_iter().flatten().collect(),
    )
}

fn peers_section(growth: &[Growth], thresholds: &Thresholds) -> Section {
    let (series, y_limits) = growth_lines(growth, thresholds);
    let lines = Lines {
        title: "Growth with the number of peers".to_owned(),
        subtitle: "peer to peer, one prefix and one flow for each peer; over the floor; less is better"
            .to_owned(),
        x_axis: "peers, prefixes and flows (logarithmic)".to_owned(),
        x_spacing: Spacing::Logarithmic,
        y_axis: "nanoseconds a packet".to_owned(),
        series,
        y_limits,
        x_limits: Vec::new(),
        x_end: None,
    };
    Section {
        title: "Growth with peers and prefixes".to_owned(),
        plot: Some(Plot {
            name: "growth-peers".to_owned(),
            alt: "Nanoseconds a packet against the number of peers".to_owned(),
            svg: lines.draw(),
        }),
        table: Some(growth_table("peers and prefixes", growth)),
        ..Section::default()
    }
}

fn flows_section(plan: &Plan, growth: &[Growth], thresholds: &Thresholds) -> Section {
    let (mut series, y_limits) = growth_lines(growth, thresholds);
    // The route cache is filled as far as it goes, so this curve is both.
    if let Some(cached) = series.first_mut() {
        "cached where it fits".clone_into(&mut cached.label);
    }
    let lines = Lines {
        title: "Growth with the number of flows".to_owned(),
        subtitle: format!(
            "{} peers, flows between random pairs of them, packets in random order; less is better",
            written(f64::from(plan.peers))
        ),
        x_axis: "flows at the same time (logarithmic)".to_owned(),
        x_spacing: Spacing::Logarithmic,
        y_axis: "nanoseconds a packet".to_owned(),
        series,
        y_limits,
        x_limits: Vec::new(),
        x_end: None,
    };
    Section {
        title: "Growth with flows: when the cache is too small".to_owned(),
        text: vec![
            "The route cache has a fixed number of slots for each processor. With more flows at the same time than slots, \
             and packets in random order - the worst case - most packets push out a route that another needs."
                .to_owned(),
        ],
        plot: Some(Plot {
            name: "growth-flows".to_owned(),
            alt: "Nanoseconds a packet against the number of flows".to_owned(),
            svg: lines.draw(),
        }),
        table: Some(growth_table("flows", growth)),
        ..Section::default()
    }
}
