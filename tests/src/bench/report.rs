//! What a part of the benchmark found: figures with a key each, and the sections of its page.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{
    machine::Machine,
    scale::written,
    statistics::Sample,
    thresholds::{Threshold, Thresholds},
};

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// What a packet costs in the eBPF programs, alone and on a live path, and how that grows.
    Datapath,
    /// Bulk TCP through the tunnel, through a kernel VXLAN device, and without a tunnel.
    Tcp,
    /// Registrations, memory and shortcuts of real agents.
    Control,
    /// Against the kernel's multipoint GRE and FRR's nhrpd, in a virtual machine.
    Peers,
}

impl Part {
    /// Name of its page, without the extension.
    pub fn name(self) -> &'static str {
        match self {
            Self::Datapath => "datapath",
            Self::Tcp => "tcp",
            Self::Control => "control",
            Self::Peers => "peers",
        }
    }

    /// Title of its page.
    pub fn title(self) -> &'static str {
        match self {
            Self::Datapath => "The data path",
            Self::Tcp => "TCP through the tunnel",
            Self::Control => "The control plane",
            Self::Peers => "Against software of others",
        }
    }
}

/// One number that counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Its name in JSON and in the thresholds.
    pub key: String,
    /// What it is.
    pub what: String,
    /// Its unit; empty for a ratio.
    pub unit: String,
    /// The number itself: the median of the runs, or another quantile where `what` says so.
    pub value: f64,
    /// Smallest and largest result.
    pub range: (f64, f64),
    /// How many results.
    pub runs: usize,
}

impl Figure {
    /// The median of a sample.
    pub fn median(key: &str, what: &str, unit: &str, sample: &Sample) -> Self {
        Self::quantile(key, what, unit, sample, 0.5)
    }

    /// Another quantile of a sample.
    pub fn quantile(key: &str, what: &str, unit: &str, sample: &Sample, q: f64) -> Self {
        Self {
            key: key.to_owned(),
            what: what.to_owned(),
            unit: unit.to_owned(),
            value: sample.quantile(q),
            range: (sample.min(), sample.max()),
            runs: sample.runs(),
        }
    }

    /// Its cells in a table: what, measured, range, runs, aim, whether reached.
    fn cells(&self, thresholds: &Thresholds) -> Vec<String> {
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        let range = if self.runs > 1 {
            format!("{} – {}", written(self.range.0), written(self.range.1))
        } else {
            String::new()
        };
        let threshold = thresholds.of(&self.key);
        let verdict = |threshold: Threshold| if threshold.is_reached(self.value) { "yes" } else { "**no**" };
        vec![
            self.what.clone(),
            format!("**{}**{unit}", written(self.value)),
            range,
            self.runs.to_string(),
            threshold.map_or_else(String::new, |threshold| threshold.to_string()),
            threshold.map_or("", verdict).to_owned(),
            format!("`{}`", self.key),
        ]
    }
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Titles of the columns.
    pub header: Vec<String>,
    /// The rows; each as long as the header.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new<const N: usize>(header: [&str; N]) -> Self {
        Self { header: header.map(str::to_owned).to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// The table of figures.
    pub fn of_figures<'a>(figures: impl IntoIterator<Item = &'a Figure>, thresholds: &Thresholds) -> Self {
        let header = ["figure", "measured", "range of the runs", "runs", "aim", "reached", "key"];
        let mut table = Self::new(header);
        table.rows.extend(figures.into_iter().map(|figure| figure.cells(thresholds)));
        table
    }

    /// A row for each sample, with its median and its runs.
    pub fn of_samples<'a>(
        what: &str,
        unit: &str,
        samples: impl IntoIterator<Item = (&'a str, &'a Sample)>,
    ) -> Self {
        let mut table = Self::new([what, &format!("median, {unit}"), "smallest", "largest", "runs"]);
        for (label, sample) in samples {
            table.push(vec![
                label.to_owned(),
                written(sample.median()),
                written(sample.min()),
                written(sample.max()),
                sample.runs().to_string(),
            ]);
        }
        table
    }
}

/// As Markdown, aligned so that it is read as easily in a terminal.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = || std::iter::once(&self.header).chain(&self.rows);
        let width = |column: usize| {
            rows().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        for (number, row) in rows().enumerate() {
            for (cell, width) in row.iter().zip(&widths) {
                write!(f, "| {cell:<width$} ")?;
            }
            writeln!(f, "|")?;
            if number == 0 {
                for width in &widths {
                    write!(f, "|{:-<1$}", "", width + 2)?;
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

/// A drawing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plot {
    /// Name of its file, without the extension.
    pub name: String,
    /// What it shows, for those who do not see it.
    pub alt: String,
    /// The file's content.
    pub svg: String,
}

/// A section of a page.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// Its paragraphs, before the drawing.
    pub text: Vec<String>,
    /// Its drawing.
    pub plot: Option<Plot>,
    /// Its table.
    pub table: Option<Table>,
    /// Paragraphs behind the table: what explains the figures.
    pub notes: Vec<String>,
}

/// What a part found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which part.
    pub part: Part,
    /// On what.
    pub machine: Machine,
    /// How it was measured, a sentence or two each.
    pub method: Vec<String>,
    /// The figures, the most important first.
    pub figures: Vec<Figure>,
    /// The sections.
    pub sections: Vec<Section>,
}

impl Report {
    /// Figures that `--check` is not content with, a line each.
    pub fn broken(&self, thresholds: &Thresholds) -> Vec<String> {
        self.figures
            .iter()
            .filter_map(|figure| {
                let threshold = thresholds.of(&figure.key)?;
                let bound = if threshold.less_is_better { "at most" } else { "at least" };
                let (value, limit) = (written(figure.value), written(threshold.limit));
                (!threshold.is_kept(figure.value))
                    .then(|| format!("{} is {value}, but has to be {bound} {limit}", figure.key))
            })
            .collect()
    }

    /// The page, in Markdown.
    pub fn page(&self, thresholds: &Thresholds) -> String {
        let mut page = format!("# {}\n\n", self.part.title());
        let mut paragraph = |text: &str| {
            page.push_str(text.trim_end());
            page.push_str("\n\n");
        };
        paragraph(&Table::of_figures(&self.figures, thresholds).to_string());
        paragraph(&format!("Measured on: {}.", self.machine.describe()));
        paragraph(&format!(
            "Reproduce with `cargo xtask bench {}`. {}",
            self.part.name(),
            "A *range* is from the smallest to the largest result of all runs; a shared machine disturbs some."
        ));
        for section in &self.sections {
            paragraph(&format!("## {}", section.title));
            section.text.iter().for_each(|text| paragraph(text));
            if let Some(plot) = &section.plot {
                paragraph(&format!("![{}]({}.svg)", plot.alt, plot.name));
            }
            if let Some(table) = &section.table {
                paragraph(&table.to_string());
            }
            section.notes.iter().for_each(|text| paragraph(text));
        }
        paragraph("## Method");
        let method: Vec<String> = self.method.iter().map(|text| format!("- {text}")).collect();
        paragraph(&method.join("\n"));
        page.truncate(page.trim_end().len());
        page.push('\n');
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(value: f64) -> Report {
        let sample = Sample::new(vec![value, value + 1.0, value - 1.0]).unwrap();
        Report {
            part: Part::Tcp,
            machine: Machine::ask().unwrap(),
            method: vec!["carefully".to_owned()],
            figures: vec![Figure::median("cost", "what it costs", "ns", &sample)],
            sections: vec![Section {
                title: "A section".to_owned(),
                plot: Some(Plot { name: "plot".to_owned(), alt: "a plot".to_owned(), svg: String::new() }),
                table: Some(Table::of_samples("case", "ns", [("one", &sample)])),
                ..Section::default()
            }],
        }
    }

    #[test]
    fn a_missed_aim_is_on_the_page_and_fails_the_check() {
        let thresholds = Thresholds::parse("cost: {at-most: 45}").unwrap();
        let missed = report(50.0);
        assert!(missed.page(&thresholds).contains("**no**"));
        assert_eq!(missed.broken(&thresholds), ["cost is 50, but has to be at most 45"]);
        let reached = report(40.0);
        assert!(reached.page(&thresholds).contains("| yes "));
        assert!(reached.broken(&thresholds).is_empty());
    }

    #[test]
    fn the_page_has_every_part_of_the_report() {
        let page = report(40.0).page(&Thresholds::default());
        for text in ["# TCP", "**40** ns", "39 – 41", "## A section", "![a plot](plot.svg)", "- carefully"]
        {
            assert!(page.contains(text), "no {text} in {page}");
        }
    }

    #[test]
    fn columns_of_a_table_are_aligned() {
        let mut table = Table::new(["a", "long title"]);
        table.push(vec!["wide cell".to_owned(), "≤ 1".to_owned()]);
        let text = table.to_string();
        let lengths: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
        assert_eq!(lengths.len(), 3);
        assert!(lengths.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
    }
}
