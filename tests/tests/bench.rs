//! The benchmarks work: a few milliseconds of each. Their figures are not looked at, only whether there are any.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use dmvpn_tests::bench::{self, Extent, Part, Thresholds};

fn thresholds() -> Result<Thresholds> {
    Thresholds::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/bench/thresholds.yaml"))
}

/// Measures a part quickly; it has to have all of `keys`, and a page with a drawing in every section.
fn measures(part: Part, keys: &[&str]) -> Result<()> {
    let thresholds = thresholds()?;
    let report = bench::measure(part, Extent::Smoke, &thresholds)?;
    for key in keys {
        let figure = report.figures.iter().find(|figure| figure.key == *key);
        let figure = figure.with_context(|| format!("no figure {key}"))?;
        ensure!(figure.value.is_finite() && figure.runs > 0, "{figure:?}");
    }
    let page = report.page(&thresholds);
    for section in &report.sections {
        let plot = section.plot.as_ref().with_context(|| format!("no drawing: {}", section.title))?;
        ensure!(plot.svg.starts_with("<svg") && plot.svg.ends_with("</svg>\n"), "{}", plot.svg);
        ensure!(page.contains(&format!("]({}.svg)", plot.name)), "{} is not on the page", plot.name);
    }
    Ok(())
}

#[test]
fn the_data_path_is_measured() -> Result<()> {
    measures(
        Part::Datapath,
        &["transit_hit_ns", "transit_miss_ns", "live_vs_noop", "live_vs_fib", "live_vs_stack"],
    )
}

#[test]
fn tcp_is_measured() -> Result<()> {
    measures(Part::Tcp, &["tcp_vs_vxlan", "tcp_vs_plain"])
}

#[test]
fn the_control_plane_is_measured() -> Result<()> {
    measures(
        Part::Control,
        &["agent_registrations_per_s", "agent_rss_mb", "map_mb", "shortcut_p50_ms", "shortcut_p99_ms"],
    )
}
