//! An NHRP packet of a capture, with what is around it: as text, as JSON, and compared with what encoding it gives.

use std::{
    fmt::{self, Write},
    net::IpAddr,
};

use serde::Serialize;

use super::{Envelope, Found, Time};
use crate::{
    gre::{Gre, GreChecksum},
    nhrp::{
        render::{PacketRow, details, headline},
        wire::{Comparison, DecodeError, Inspection, Packet},
    },
};

/// Version of the JSON: of the object around a list of [`RecordRow`]s.
pub const SCHEMA_VERSION: u32 = 1;

/// An NHRP packet of a capture, read as far as it can be.
pub struct Record<'a> {
    /// Number of its frame in the capture, from 1.
    pub frame: u64,
    /// When it was recorded.
    pub time: Option<Time>,
    /// The packet's bytes, and what is around it.
    pub found: Found<'a>,
    /// What they say, or why they are not a packet.
    pub packet: Result<Inspection, DecodeError>,
}

/// Whether encoding a packet gives the bytes it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Same,
    /// It does not, for a reason that is neither the packet's fault nor ours.
    Explained(&'static str),
    /// It does not.
    Different(String),
    /// There is no packet to encode: the bytes are malformed.
    NotDecoded,
}

impl<'a> Record<'a> {
    /// Reads what was found in a frame.
    pub fn read(frame: u64, time: Option<Time>, found: Found<'a>) -> Self {
        let packet = Packet::inspect(found.bytes, found.length);
        Self { frame, time, found, packet }
    }

    /// Compares the packet with what encoding it gives.
    pub fn verify(&self) -> Verdict {
        let Ok(inspection) = &self.packet else { return Verdict::NotDecoded };
        match inspection.compare(self.found.bytes) {
            Comparison::Same => Verdict::Same,
            Comparison::OtherZero => Verdict::Explained("a checksum of zero is written as 0xffff"),
            Comparison::Cut => Verdict::Explained("size and checksum speak of bytes that were not captured"),
            Comparison::Different { offset, bytes } => {
                let mut why = if bytes == 1 {
                    format!("byte {offset} differs")
                } else {
                    format!("{bytes} bytes differ, the first is byte {offset}")
                };
                if inspection.checksum_is_right() == Some(false) {
                    why.push_str("; the checksum in the capture is wrong");
                }
                Verdict::Different(why)
            }
            Comparison::NotEncoded(error) => Verdict::Different(format!("it cannot be encoded: {error}")),
        }
    }

    /// One line that says what it is, and indented lines with everything in it.
    pub fn text(&self) -> String {
        let mut text = format!("#{} ", self.frame);
        match self.time {
            Some(time) => add(&mut text, format_args!("{time} ")),
            None => text.push_str("no time "),
        }
        let Envelope { vlans, source, destination, tos, ttl, gre } = &self.found.envelope;
        add(&mut text, format_args!("{source} > {destination} "));
        match gre {
            Some(Gre { key: Some(key), .. }) => add(&mut text, format_args!("GRE key {key}: ")),
            Some(_) => text.push_str("GRE: "),
            None => text.push_str("IP protocol 54: "),
        }
        match &self.packet {
            Ok(inspection) => text.push_str(&headline(inspection)),
            Err(_) => add(&mut text, format_args!("malformed NHRP, {} bytes", self.found.length)),
        }
        add(&mut text, format_args!("\n    outer: TOS {tos:#04x}, TTL {ttl}"));
        for vlan in vlans {
            add(&mut text, format_args!(", VLAN {vlan}"));
        }
        if let Some(gre) = gre {
            if let Some(sequence) = gre.sequence {
                add(&mut text, format_args!(", GRE sequence number {sequence}"));
            }
            if let Some(checksum) = gre.checksum {
                add(&mut text, format_args!(", GRE checksum {}", checksum_word(checksum)));
            }
        }
        text.push('\n');
        match &self.packet {
            Ok(inspection) => text.push_str(&details(inspection)),
            Err(error) => add(&mut text, format_args!("    malformed: {error}\n")),
        }
        text
    }

    /// The same for programs. `verdict`: of [`Self::verify`], where that was asked for.
    pub fn row(&self, verdict: Option<&Verdict>) -> RecordRow {
        let Envelope { vlans, source, destination, tos, ttl, gre } = &self.found.envelope;
        RecordRow {
            frame: self.frame,
            time: self.time.map(|time| time.to_string()),
            source: *source,
            destination: *destination,
            tos: *tos,
            ttl: *ttl,
            vlans: vlans.clone(),
            gre: gre.map(|gre| GreRow {
                key: gre.key,
                sequence: gre.sequence,
                checksum: gre.checksum.map(checksum_name),
            }),
            captured_bytes: self.found.bytes.len(),
            packet: self.packet.as_ref().ok().map(PacketRow::from),
            malformed: self
                .packet
                .as_ref()
                .err()
                .map(|error| MalformedRow { offset: error.offset, reason: error.fault.to_string() }),
            verify: verdict.map(|verdict| match verdict {
                Verdict::Same => VerdictRow { result: "same", reason: None },
                Verdict::Explained(why) => {
                    VerdictRow { result: "explained", reason: Some((*why).to_owned()) }
                }
                Verdict::Different(why) => VerdictRow { result: "different", reason: Some(why.clone()) },
                Verdict::NotDecoded => VerdictRow { result: "not-decoded", reason: None },
            }),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("the same bytes"),
            Self::Explained(why) => write!(f, "the same bytes, but {why}"),
            Self::Different(why) => write!(f, "NOT the same bytes: {why}"),
            Self::NotDecoded => f.write_str("not possible"),
        }
    }
}

/// A [`Record`] as JSON. A field is never renamed; what is absent is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordRow {
    frame: u64,
    /// RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    source: IpAddr,
    destination: IpAddr,
    tos: u8,
    ttl: u8,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vlans: Vec<u16>,
    /// Absent when NHRP is directly in IP.
    #[serde(skip_serializing_if = "Option::is_none")]
    gre: Option<GreRow>,
    /// Bytes of the NHRP packet that were recorded.
    captured_bytes: usize,
    /// Absent when it is malformed.
    #[serde(skip_serializing_if = "Option::is_none")]
    packet: Option<PacketRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    malformed: Option<MalformedRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verify: Option<VerdictRow>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct GreRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct MalformedRow {
    /// Bytes from the start of the NHRP packet.
    offset: usize,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct VerdictRow {
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

const fn checksum_word(checksum: GreChecksum) -> &'static str {
    match checksum {
        GreChecksum::Right => "right",
        GreChecksum::Wrong => "WRONG",
        GreChecksum::NotChecked => "not checked",
    }
}

const fn checksum_name(checksum: GreChecksum) -> &'static str {
    match checksum {
        GreChecksum::Right => "right",
        GreChecksum::Wrong => "wrong",
        GreChecksum::NotChecked => "not-checked",
    }
}

/// Appends to a text.
fn add(text: &mut String, words: fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(words);
}
