//! Configurations of other DMVPN nodes: text -> lines (`line`) -> a vendor's reader (`cisco`, `huawei`, `vyos`,
//! `opennhrp`) -> what they have in common (`model`) -> what is to be written (`plan`) -> `yaml`, `swanctl`, `frr`.
//!
//! A reader says of every line what becomes of it; planning may correct that when only the whole file shows it.

mod ciphers;
mod cisco;
mod frr;
mod huawei;
mod judgements;
mod line;
mod model;
mod opennhrp;
mod plan;
mod prefix;
mod settings;
mod swanctl;
mod verdict;
mod vyos;
mod yaml;

pub use self::verdict::Verdict;
use self::{
    judgements::Judgements,
    line::{Cut, Line},
    model::Model,
    verdict::Judgement,
};

/// Whose configuration it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Vendor {
    /// Cisco IOS and IOS XE.
    Cisco,
    /// Huawei USG and AR.
    Huawei,
    /// VyOS, as `set` commands or with braces.
    Vyos,
    /// OpenNHRP: opennhrp.conf, and racoon.conf, psk.txt, setkey.conf, ifcfg files, `ip` commands, ripd.conf.
    Opennhrp,
}

/// A file of the old box.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Its name in reports and comments.
    pub name: &'a str,
    /// What is in it.
    pub text: &'a str,
}

/// What the files do not say, or not well: each is for the tunnel with the old name, or for all tunnels.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Our addresses in tunnels, with lengths.
    pub addresses: Vec<(Option<String>, String)>,
    /// Our NBMA addresses, or interfaces of the new box.
    pub sources: Vec<(Option<String>, String)>,
}

/// What became of a configuration.
#[derive(Clone, Debug)]
pub struct Import {
    /// All lines of all files, in order.
    pub lines: Vec<JudgedLine>,
    /// The configuration for `dmvpn run`, or why there is none.
    pub configuration: Result<String, String>,
    /// Connections and secrets for strongSwan, when there was IPsec.
    pub swanctl: Option<String>,
    /// Lines for FRR, when there was routing.
    pub frr: Option<String>,
    /// What to know before using any of it.
    pub warnings: Vec<String>,
}

/// A line and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct JudgedLine {
    /// Its file.
    pub file: String,
    /// Its number there, from 1.
    pub line: usize,
    /// What became of it.
    pub verdict: Verdict,
    /// The line, without its secrets.
    pub text: String,
    /// The key or setting that it became, or why it became none.
    pub note: String,
}

/// Reads one vendor's lines.
trait Read: Default {
    /// How a line is cut into words.
    const CUT: Cut;

    /// Takes the next line and says what becomes of it.
    fn line(&mut self, line: &Line<'_>) -> Judgement;

    /// Everything that was read.
    fn finish(self) -> Model;
}

/// Converts the files of one box.
pub fn import(vendor: Vendor, inputs: &[Input<'_>], given: &Given) -> Import {
    match vendor {
        Vendor::Cisco => import_with::<cisco::Reader>(vendor, inputs, given),
        Vendor::Huawei => import_with::<huawei::Reader>(vendor, inputs, given),
        Vendor::Vyos => import_with::<vyos::Reader>(vendor, inputs, given),
        Vendor::Opennhrp => import_with::<opennhrp::Reader>(vendor, inputs, given),
    }
}

fn import_with<R: Read>(vendor: Vendor, inputs: &[Input<'_>], given: &Given) -> Import {
    let mut lines = Vec::new();
    for (file, input) in inputs.iter().enumerate() {
        for (number, raw) in input.text.lines().enumerate() {
            lines.push(Line::new(lines.len(), file, number + 1, raw, R::CUT));
        }
    }
    let mut reader = R::default();
    let mut judgements = Judgements::new(lines.iter().map(|line| reader.line(line)).collect());
    let mut model = reader.finish();
    for (at, judgement) in std::mem::take(&mut model.revisions) {
        judgements.revise(at, judgement);
    }

    let places = Places { inputs, lines: &lines };
    let plan = plan::plan(vendor, &model, given, &mut judgements);
    let configuration = yaml::write(&plan, &places, &mut judgements);
    let swanctl = swanctl::write(&model, &plan, &places);
    let frr = frr::write(&model, &plan, &places);
    Import {
        lines: lines
            .iter()
            .zip(judgements.list())
            .map(|(line, judgement)| places.judged(line, judgement))
            .collect(),
        configuration,
        swanctl,
        frr,
        warnings: plan.warnings,
    }
}

/// Where lines are, for people.
struct Places<'a> {
    inputs: &'a [Input<'a>],
    lines: &'a [Line<'a>],
}

impl Places<'_> {
    /// `line 5`, or `racoon.conf:5` where there are several files.
    fn name(&self, at: line::LineId) -> String {
        let Some(line) = self.lines.get(at) else { return String::new() };
        match self.inputs {
            [_] => format!("line {}", line.number),
            inputs => {
                let file = inputs.get(line.file).map_or("", |input| input.name);
                format!("{}:{}", line::printable(file), line.number)
            }
        }
    }

    /// The names of several lines, in order.
    fn names(&self, lines: impl IntoIterator<Item = line::LineId>) -> String {
        let mut lines: Vec<_> = lines.into_iter().collect();
        lines.sort_unstable();
        lines.dedup();
        let names: Vec<String> = lines.into_iter().map(|at| self.name(at)).collect();
        match self.inputs {
            // `lines 1, 2` is shorter.
            [_] if names.len() > 1 => {
                let numbers: Vec<&str> =
                    names.iter().map(|name| name.strip_prefix("line ").unwrap_or(name)).collect();
                format!("lines {}", numbers.join(", "))
            }
            _ => names.join(", "),
        }
    }

    fn judged(&self, line: &Line<'_>, judgement: &Judgement) -> JudgedLine {
        JudgedLine {
            file: self.inputs.get(line.file).map_or_else(String::new, |input| line::printable(input.name)),
            line: line.number,
            verdict: judgement.verdict,
            text: line.shown(judgement.secret),
            note: line::printable(&judgement.note),
        }
    }
}

impl JudgedLine {
    /// Whether it has nothing in it but a comment or white space.
    pub fn is_empty(&self) -> bool {
        self.verdict == Verdict::Ignored && matches!(self.note.as_str(), "empty" | "comment")
    }
}
