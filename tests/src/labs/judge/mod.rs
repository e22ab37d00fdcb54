//! What was on the wires, read by three programs: nothing may be unknown to our decoder, whoever sent it, and neither tshark
//! nor tcpdump may have anything to say against what we sent.

mod decode;
mod tcpdump;
mod tshark;

use std::path::Path;

use anyhow::{Result, ensure};
use tshark::Tshark;

use super::{
    Report,
    captures::{Sender, Wire},
};

/// Complaints that are told; the others are counted.
const TOLD: usize = 5;

/// Adds a step for each program.
pub(super) fn judge(report: &mut Report, with_tshark: bool) {
    let mut wires = report.captures().wires();
    let captured = wires.len();
    wires.retain(|wire| wire.sender != Sender::Unjudged);
    if wires.is_empty() && captured > 0 {
        return;
    }
    // A step that failed is told, and the others do not rest on it.
    let _ = report.step("the wire: dmvpn decode knows all that was said", || {
        ensure!(!wires.is_empty(), "nothing was captured");
        let mut complaints = Complaints::default();
        let mut packets = 0;
        for Wire { file, .. } in &wires {
            let read = decode::read(file)?;
            ensure!(!read.frames.is_empty(), "{} holds no NHRP", file.display());
            packets += read.frames.len();
            complaints.add(file, read.complaints);
        }
        complaints.verdict(format!("{packets} packets on {} wires", wires.len()))
    });
    let ours: Vec<&Wire> = wires.iter().filter(|wire| wire.sender == Sender::Ours).collect();
    if with_tshark {
        let tshark = Tshark::get(|text| report.tell(text));
        let _ = report.step("the wire: tshark has nothing against what we sent", || {
            let tshark = tshark?;
            let mut complaints = Complaints::default();
            let mut packets = 0;
            for Wire { file, router, .. } in &ours {
                let read = tshark.read(file, router)?;
                ensure!(read.sent > 0, "no NHRP from the node in {}", file.display());
                let known = decode::read(file)?.frames;
                ensure!(read.frames == known, "{}: tshark finds NHRP in other frames", file.display());
                packets += read.sent;
                complaints.add(file, read.complaints);
            }
            complaints.verdict(format!("{packets} packets of NHRP, and all others, of {} nodes", ours.len()))
        });
    }
    let _ = report.step("the wire: tcpdump has nothing against what we sent", || {
        let mut complaints = Complaints::default();
        let mut packets = 0;
        for Wire { file, router, .. } in &ours {
            let read = tcpdump::read(file, router)?;
            ensure!(read.packets > 0, "nothing from the node in {}", file.display());
            packets += read.packets;
            complaints.add(file, read.complaints);
        }
        complaints.verdict(format!("{packets} packets of {} nodes", ours.len()))
    });
}

/// What was complained about in any file.
#[derive(Debug, Default)]
struct Complaints(Vec<String>);

impl Complaints {
    fn add(&mut self, file: &Path, complaints: Vec<String>) {
        let name = file.file_name().unwrap_or_default().display();
        self.0.extend(complaints.into_iter().map(|complaint| format!("{name}: {complaint}")));
    }

    /// `good` when there are none.
    fn verdict(self, good: String) -> Result<String> {
        let first = self.0.iter().take(TOLD).map(String::as_str).collect::<Vec<_>>().join("\n");
        ensure!(self.0.is_empty(), "{} complaints (--pcap DIR keeps the captures):\n{first}", self.0.len());
        Ok(good)
    }
}
