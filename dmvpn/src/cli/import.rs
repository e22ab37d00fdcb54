//! `dmvpn import`.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde::Serialize;

use super::{
    decode::count,
    show::print,
    table::{Column, render},
};
use crate::import::{self, Given, Import, Input, JudgedLine, Vendor, Verdict};

/// Convert the configuration of another DMVPN node.
///
/// Writes a configuration for `dmvpn run`; if there was IPsec, a fragment for strongSwan beside it
/// (`NAME.swanctl.conf`), and if there was routing, one for FRR (`NAME.frr.conf`). All are readable by their owner
/// only: they have passwords and keys in them. Prints what became of each line: converted; hinted, look at it;
/// ignored; refused, it cannot or must not be taken over; unknown. Fails when lines are refused or unknown, but
/// writes what it can. docs/import.md says more.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of the operator")]
pub(super) struct ImportArguments {
    /// Whose configuration it is.
    #[arg(long, value_enum)]
    from: Vendor,
    /// Its file; several files of one box are read as one.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where the new configuration goes; the fragments go beside it.
    #[arg(short, long, value_name = "FILE", default_value = "dmvpn.yaml")]
    output: PathBuf,
    /// Replace files that are there.
    #[arg(long)]
    force: bool,
    /// Only print the report.
    #[arg(long)]
    dry_run: bool,
    /// Print the report as JSON. The schema has a version and only grows.
    #[arg(long)]
    json: bool,
    /// Print all lines of the report, also empty ones and comments. JSON always has them.
    #[arg(long)]
    all: bool,
    /// Our address in the tunnel, where the files do not say it; TUNNEL is its old name.
    #[arg(long, value_name = "[TUNNEL=]ADDRESS/LENGTH")]
    address: Vec<String>,
    /// Our address outside, or the interface that has it, where the files do not say it or it is another now.
    #[arg(long, value_name = "[TUNNEL=]ADDRESS|INTERFACE")]
    source: Vec<String>,
}

/// Most bytes of all files together: 1 MiB.
const MAX_SIZE: usize = 1 << 20;

/// Version of the report as JSON.
const SCHEMA_VERSION: u32 = 1;

pub(super) fn import(arguments: &ImportArguments) -> anyhow::Result<()> {
    let texts = read(&arguments.files)?;
    let names: Vec<String> = arguments.files.iter().map(|path| short_name(path)).collect();
    let inputs: Vec<Input<'_>> = names.iter().zip(&texts).map(|(name, text)| Input { name, text }).collect();
    let given = Given {
        addresses: arguments.address.iter().map(|text| for_tunnel(text)).collect(),
        sources: arguments.source.iter().map(|text| for_tunnel(text)).collect(),
    };
    let imported = import::import(arguments.from, &inputs, &given);

    let outputs = if arguments.dry_run { Vec::new() } else { outputs(&arguments.output, &imported) };
    for (path, _) in &outputs {
        let is_free = arguments.force || path.symlink_metadata().is_err();
        ensure!(is_free, "{} is there already: --force replaces it", path.display());
    }
    for (path, text) in &outputs {
        write(path, text)?;
    }
    let written: Vec<String> = outputs.iter().map(|(path, _)| path.display().to_string()).collect();
    if arguments.json {
        print(&json(&imported, &written)?)?;
    } else {
        print(&text(&imported, arguments.all, names.len() > 1))?;
        for path in &written {
            eprintln!("wrote {path}");
        }
    }
    for warning in &imported.warnings {
        eprintln!("warning: {warning}");
    }
    if let Err(why) = &imported.configuration {
        bail!("nothing is written: {why}");
    }
    let of = |verdict| imported.lines.iter().filter(|line| line.verdict == verdict).count();
    let (refused, unknown) = (of(Verdict::Refused), of(Verdict::Unknown));
    ensure!(
        refused + unknown == 0,
        "not all of it is taken over: {refused} refused, {unknown} unknown (`dmvpn import` lists them)"
    );
    Ok(())
}

/// The files as text. What is not UTF-8 can only be in descriptions.
fn read(files: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let mut left = MAX_SIZE;
    let mut texts = Vec::new();
    for path in files {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(left as u64 + 1).read_to_end(&mut bytes))
            .with_context(|| format!("cannot read {}", path.display()))?;
        left = left.checked_sub(bytes.len()).with_context(|| {
            format!("{}: more than {MAX_SIZE} bytes: not a configuration", path.display())
        })?;
        texts.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    Ok(texts)
}

fn short_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// `TUNNEL=VALUE`, or `VALUE` for all.
fn for_tunnel(text: &str) -> (Option<String>, String) {
    match text.split_once('=') {
        Some((tunnel, value)) => (Some(tunnel.to_owned()), value.to_owned()),
        None => (None, text.to_owned()),
    }
}

/// The files to be written.
fn outputs<'a>(path: &Path, imported: &'a Import) -> Vec<(PathBuf, &'a str)> {
    let Ok(configuration) = &imported.configuration else { return Vec::new() };
    let beside = |ending: &str| {
        let mut name = path.file_stem().map_or_else(|| OsString::from("dmvpn"), OsString::from);
        name.push(ending);
        path.with_file_name(name)
    };
    let mut outputs = vec![(path.to_owned(), configuration.as_str())];
    outputs.extend(imported.swanctl.as_deref().map(|text| (beside(".swanctl.conf"), text)));
    outputs.extend(imported.frr.as_deref().map(|text| (beside(".frr.conf"), text)));
    outputs
}

/// Writes a file that only its owner can read, whole or not at all.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let what = || format!("cannot write {}", path.display());
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .with_context(|| format!("cannot make {}", new.display()))?;
    let written =
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // It is ours and has no use; the first error says what is wrong.
        let _ = fs::remove_file(&new);
    }
    written.with_context(what)
}

#[derive(Serialize)]
struct Json<'a> {
    version: u32,
    written: &'a [String],
    error: Option<&'a str>,
    warnings: &'a [String],
    summary: Summary,
    lines: &'a [JudgedLine],
}

#[derive(Serialize)]
struct Summary {
    converted: usize,
    hinted: usize,
    ignored: usize,
    refused: usize,
    unknown: usize,
}

fn json(imported: &Import, written: &[String]) -> anyhow::Result<String> {
    let of = |verdict| imported.lines.iter().filter(|line| line.verdict == verdict).count();
    let report = Json {
        version: SCHEMA_VERSION,
        written,
        error: imported.configuration.as_ref().err().map(String::as_str),
        warnings: &imported.warnings,
        summary: Summary {
            converted: of(Verdict::Converted),
            hinted: of(Verdict::Hinted),
            ignored: of(Verdict::Ignored),
            refused: of(Verdict::Refused),
            unknown: of(Verdict::Unknown),
        },
        lines: &imported.lines,
    };
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

/// The report as a table, and how many lines have which verdict.
fn text(imported: &Import, all: bool, several_files: bool) -> String {
    let shown = imported.lines.iter().filter(|line| all || !line.is_empty());
    let row = |line: &JudgedLine| {
        let mut row =
            vec![line.line.to_string(), line.verdict.to_string(), line.text.clone(), line.note.clone()];
        if several_files {
            row.insert(0, line.file.clone());
        }
        row
    };
    let mut columns =
        vec![Column::Number("Line"), Column::Words("Verdict"), Column::Words("Text"), Column::Words("Note")];
    if several_files {
        columns.insert(0, Column::Words("File"));
    }
    let mut text = render(&columns, shown.map(row));
    let _ = write!(text, "\n{}: ", count(imported.lines.len() as u64, "line"));
    for (place, verdict) in Verdict::ALL.into_iter().enumerate() {
        let number = imported.lines.iter().filter(|line| line.verdict == verdict).count();
        let separator = if place == 0 { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{number} {verdict}");
    }
    text.push('\n');
    text
}
