//! `dmvpn decode`.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Args;

use crate::capture::{CaptureError, CaptureFile, NotNhrp, Record, SCHEMA_VERSION, Verdict, find};

/// Print every NHRP packet of a capture in full.
///
/// Reads pcap and pcapng files: Ethernet with and without VLANs, Linux cooked, loopback and raw IP; NHRP in GRE over
/// IPv4 or IPv6, and as IP protocol 54. Passwords are not shown.
#[derive(Debug, Args)]
pub(super) struct DecodeArguments {
    /// Capture file; `-` is standard input.
    file: PathBuf,
    /// Print JSON: one object with a list of packets, one packet a line. The schema has a version and only grows.
    #[arg(long)]
    json: bool,
    /// Also encode every packet again and compare it with the capture, byte by byte. Fails on a malformed packet and
    /// on a difference, unless the capture explains it: it cut the packet, or writes the checksum zero in its other
    /// form.
    #[arg(long)]
    verify: bool,
}

pub(super) fn decode(arguments: &DecodeArguments) -> anyhow::Result<()> {
    let DecodeArguments { file, json, verify } = arguments;
    let reader: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(file).with_context(|| format!("cannot read {}", file.display()))?)
    };
    let output = BufWriter::new(io::stdout().lock());
    let mut report = Report { output, json: *json, verify: *verify, summary: Summary::default() };
    let read = report.print_all(BufReader::new(reader));
    let printed = match read {
        // Whoever reads has seen enough (`| head`).
        Err(Stopped::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        Err(Stopped::Output(error)) => {
            return Err(error).context("cannot write to standard output");
        }
        Err(Stopped::Capture(error)) => Err(error).with_context(|| file.display().to_string()),
        Ok(()) => Ok(()),
    };
    eprint!("{}", report.summary.text(*verify));
    printed?;
    if *verify && report.summary.different + report.summary.malformed > 0 {
        bail!("not every packet gives the same bytes when it is encoded again");
    }
    Ok(())
}

/// What is printed, and how far it is.
struct Report<W> {
    output: W,
    json: bool,
    verify: bool,
    summary: Summary,
}

/// Why not everything was printed.
enum Stopped {
    Capture(CaptureError),
    Output(io::Error),
}

impl From<CaptureError> for Stopped {
    fn from(error: CaptureError) -> Self {
        Self::Capture(error)
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl<W: Write> Report<W> {
    fn print_all(&mut self, reader: impl Read) -> Result<(), Stopped> {
        if self.json {
            write!(self.output, "{{\"version\":{SCHEMA_VERSION},\"packets\":[")?;
        }
        let mut result = self.print_packets(reader);
        if self.json && !matches!(result, Err(Stopped::Output(_))) {
            // What a program reads is whole, also when the file is not.
            write!(self.output, "\n],\"frames\":{}", self.summary.frames)?;
            if let Err(Stopped::Capture(error)) = &result {
                write!(self.output, ",\"error\":{}", serde_json::Value::from(error.to_string()))?;
            }
            writeln!(self.output, "}}")?;
        }
        if let Err(error) = self.output.flush() {
            result = Err(error.into());
        }
        result
    }

    fn print_packets(&mut self, reader: impl Read) -> Result<(), Stopped> {
        let mut capture = CaptureFile::open(reader)?;
        while let Some(frame) = capture.next_frame()? {
            self.summary.frames += 1;
            match find(&frame) {
                Ok(found) => self.print(&Record::read(self.summary.frames, frame.time, found))?,
                Err(why) => *self.summary.others.entry(why).or_default() += 1,
            }
        }
        Ok(())
    }

    fn print(&mut self, record: &Record<'_>) -> io::Result<()> {
        let verdict = self.verify.then(|| record.verify());
        if self.json {
            let separator = if self.summary.packets == 0 { "\n" } else { ",\n" };
            self.output.write_all(separator.as_bytes())?;
            serde_json::to_writer(&mut self.output, &record.row(verdict.as_ref()))?;
        } else {
            self.output.write_all(record.text().as_bytes())?;
            if let Some(verdict) = &verdict {
                writeln!(self.output, "    encoded again: {verdict}")?;
            }
        }
        // Now, as the capture may be one that goes on.
        self.output.flush()?;
        self.summary.packets += 1;
        self.summary.malformed += u64::from(record.packet.is_err());
        match verdict {
            Some(Verdict::Same) => self.summary.same += 1,
            Some(Verdict::Explained(_)) => self.summary.explained += 1,
            Some(Verdict::Different(_)) => self.summary.different += 1,
            // Counted as malformed.
            Some(Verdict::NotDecoded) | None => {}
        }
        Ok(())
    }
}

/// A number and its noun.
pub(super) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// What a capture held.
#[derive(Debug, Default)]
struct Summary {
    frames: u64,
    /// NHRP packets.
    packets: u64,
    /// Of those, not readable.
    malformed: u64,
    /// Frames without NHRP, by what they have instead.
    others: BTreeMap<NotNhrp, u64>,
    same: u64,
    explained: u64,
    different: u64,
}

impl Summary {
    /// A line or two.
    fn text(&self, verify: bool) -> String {
        let Self { frames, packets, malformed, others, same, explained, different } = self;
        let mut text = format!("{} in {}", count(*packets, "NHRP packet"), count(*frames, "frame"));
        // Writing to a string cannot fail.
        if *malformed > 0 {
            let _ = write!(text, ", {malformed} of them malformed");
        }
        let mut separator = "; others: ";
        for (why, count) in others {
            let _ = write!(text, "{separator}{count} {why}");
            separator = ", ";
        }
        text.push('\n');
        if verify {
            let _ = writeln!(
                text,
                "encoded again: {same} the same, {explained} the same but for what the capture explains, {different} \
                 different, {malformed} malformed"
            );
        }
        text
    }
}
