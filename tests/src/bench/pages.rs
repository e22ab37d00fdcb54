//! The pages and drawings below `docs/bench/`.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::{
    machine::Machine,
    report::{Figure, Part, Report, Table},
    thresholds::Thresholds,
};

/// File with the figures of every part's last run; the overview is made from it.
const FIGURES: &str = "figures.json";
/// The overview.
const OVERVIEW: &str = "README.md";

/// The last run of a part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Run {
    machine: Machine,
    figures: Vec<Figure>,
}

type Runs = BTreeMap<Part, Run>;

/// The directory.
#[derive(Clone, Debug)]
pub struct Pages(PathBuf);

impl Pages {
    /// The pages in `directory`, which is made when it is not there.
    pub fn open(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
        Ok(Self(directory.to_owned()))
    }

    /// Writes the page and the drawings of a report, and the overview of all parts anew.
    pub fn write(&self, report: &Report, thresholds: &Thresholds) -> Result<()> {
        for plot in report.sections.iter().filter_map(|section| section.plot.as_ref()) {
            self.write_file(&format!("{}.svg", plot.name), &plot.svg)?;
        }
        self.write_file(&format!("{}.md", report.part.name()), &report.page(thresholds))?;
        let mut runs = self.read_runs()?;
        runs.insert(report.part, Run { machine: report.machine.clone(), figures: report.figures.clone() });
        let json = serde_json::to_string_pretty(&runs).context("writing figures as JSON")?;
        self.write_file(FIGURES, &(json + "\n"))?;
        self.write_file(OVERVIEW, &overview(&runs, thresholds))
    }

    fn read_runs(&self) -> Result<Runs> {
        let path = self.0.join(FIGURES);
        if !path.exists() {
            return Ok(Runs::new());
        }
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged: remove it and run all parts again", path.display()))
    }

    fn write_file(&self, name: &str, content: &str) -> Result<()> {
        let path = self.0.join(name);
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))
    }
}

fn overview(runs: &Runs, thresholds: &Thresholds) -> String {
    let mut page = "# Benchmarks\n\n\
        `cargo xtask bench` measures everything anew and writes these pages; `cargo xtask bench --check` also fails when\n\
        a figure is beyond its limit in [thresholds.yaml](thresholds.yaml). Ratios are between runs of the same minute on \
        the\nsame machine, so they say more than absolute times.\n"
        .to_owned();
    for (part, run) in runs {
        let table = Table::of_figures(&run.figures, thresholds);
        let (title, name) = (part.title(), part.name());
        // Writing to a string does not fail.
        let _ = write!(page, "\n## [{title}]({name}.md)\n\n{table}\n{}.\n", run.machine.describe());
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::statistics::Sample;

    fn report(part: Part, key: &str) -> Report {
        let sample = Sample::new(vec![1.0, 2.0, 3.0]).unwrap();
        Report {
            part,
            machine: Machine::ask().unwrap(),
            method: Vec::new(),
            figures: vec![Figure::median(key, "something", "", &sample)],
            sections: Vec::new(),
        }
    }

    #[test]
    fn the_overview_keeps_the_parts_that_were_not_measured_again() {
        let directory = std::env::temp_dir().join(format!("dmvpn-pages-{}", std::process::id()));
        let pages = Pages::open(&directory).unwrap();
        pages.write(&report(Part::Tcp, "first"), &Thresholds::default()).unwrap();
        pages.write(&report(Part::Control, "second"), &Thresholds::default()).unwrap();
        pages.write(&report(Part::Tcp, "third"), &Thresholds::default()).unwrap();
        let overview = fs::read_to_string(directory.join(OVERVIEW)).unwrap();
        let page = fs::read_to_string(directory.join("tcp.md")).unwrap();
        fs::remove_dir_all(&directory).unwrap();
        assert!(overview.contains("`second`") && overview.contains("`third`"), "{overview}");
        assert!(!overview.contains("`first`"), "{overview}");
        assert!(page.contains("`third`"), "{page}");
    }
}
