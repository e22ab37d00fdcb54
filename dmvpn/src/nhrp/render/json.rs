//! A packet as JSON, in the style of [`control::protocol`](crate::control::protocol): addresses are text, times are
//! seconds, sizes are bytes, words are kebab-case. A field is never renamed; what is absent is left out.

use std::net::IpAddr;

use serde::Serialize;

use super::{
    DataPacket, Quote,
    words::{flags, has_codes, hex, hex16, traffic_code},
};
use crate::nhrp::wire::{
    Authentication, Body, Cie, CieCode, End, ErrorIndication, Extension, ExtensionKind, Extensions,
    Inspection, IpFamily, Packet, PacketKind, TrafficIndication, Value,
};

/// A packet. Made from an [`Inspection`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PacketRow {
    /// As in `registration-request`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Of requests and replies.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<u32>,
    hop_count: u8,
    flags: Vec<String>,
    /// The packet size field.
    size: u16,
    /// Bytes that the capture cut off.
    #[serde(skip_serializing_if = "is_zero")]
    missing: usize,
    checksum: ChecksumRow,
    nbma_family: &'static str,
    protocol_family: &'static str,
    /// `ar$pro.type`.
    protocol_type: String,
    /// `ar$pro.snap`.
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol_snap: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_nbma: Option<IpAddr>,
    #[serde(skip_serializing_if = "String::is_empty")]
    source_subaddress: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_protocol: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_protocol: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<Vec<EntryRow>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traffic: Option<TrafficRow>,
    /// Absent when there is no extensions part.
    #[serde(skip_serializing_if = "Option::is_none")]
    extensions: Option<Vec<ExtensionRow>>,
    /// How the extensions end.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<EndRow>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct ChecksumRow {
    value: String,
    state: ChecksumState,
    /// Absent when the capture cut the packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    right_value: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum ChecksumState {
    Right,
    Wrong,
    NotChecked,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct EntryRow {
    code: u8,
    /// Absent for the zero that requests and extensions have.
    #[serde(skip_serializing_if = "Option::is_none")]
    meaning: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbma: Option<IpAddr>,
    #[serde(skip_serializing_if = "String::is_empty")]
    subaddress: String,
    prefix_length: u8,
    mtu: u16,
    holding_time_seconds: u16,
    preference: u8,
    #[serde(skip_serializing_if = "is_zero_field")]
    unused: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct ErrorRow {
    code: u16,
    meaning: String,
    offset: u16,
    /// Bytes of the packet in error that are quoted.
    quoted_bytes: usize,
    /// The packet in error; absent when it cannot be read, and in a packet that is itself quoted.
    #[serde(skip_serializing_if = "Option::is_none")]
    packet: Option<Box<PacketRow>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct TrafficRow {
    code: u16,
    meaning: &'static str,
    #[serde(skip_serializing_if = "is_zero_field")]
    unused: u16,
    quoted_bytes: usize,
    /// The data packet; absent when its head is not an IP header.
    #[serde(skip_serializing_if = "Option::is_none")]
    packet: Option<DataPacket>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct ExtensionRow {
    /// Number without the compulsory bit.
    #[serde(rename = "type")]
    kind: u16,
    name: String,
    compulsory: bool,
    #[serde(flatten)]
    value: ValueRow,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum ValueRow {
    Entries(Vec<EntryRow>),
    /// The secret is not shown.
    Authentication {
        clear_text: bool,
        bytes: usize,
    },
    VendorPrivate {
        oui: String,
        data: String,
    },
    DeviceCapabilities {
        source: String,
        target: String,
    },
    Text(String),
    /// Hexadecimal digits.
    Data(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct EndRow {
    /// With an End extension, or with the packet's last byte.
    marked: bool,
    /// The compulsory bit of the End extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    compulsory: Option<bool>,
    /// Bytes behind it, which are not shown: another extension, with a password, may be hidden in them.
    #[serde(skip_serializing_if = "is_zero")]
    trailing_bytes: usize,
}

impl From<&Inspection> for PacketRow {
    fn from(inspection: &Inspection) -> Self {
        Self::new(inspection, true)
    }
}

impl PacketRow {
    /// `with_quote` as in the text: one packet in another, no deeper.
    fn new(inspection: &Inspection, with_quote: bool) -> Self {
        let packet = &inspection.packet;
        let (number, snap) = packet.protocol.fields();
        let clients = packet.body.clients();
        Self {
            kind: packet.kind().name(),
            request_id: clients.map(|clients| clients.request_id),
            hop_count: packet.hop_count,
            flags: flags(packet.kind(), packet.flags),
            size: inspection.size,
            missing: inspection.missing,
            checksum: ChecksumRow::new(inspection),
            nbma_family: family(packet.nbma_family),
            protocol_family: family(packet.protocol.family()),
            protocol_type: hex16(number),
            protocol_snap: (snap != [0; 5]).then(|| hex(&snap)),
            source_nbma: packet.source_nbma,
            source_subaddress: hex(&packet.source_subaddress),
            source_protocol: packet.source_protocol,
            destination_protocol: packet.destination_protocol,
            entries: clients.map(|clients| entries(&clients.cies, Some(packet.kind()))),
            error: error(packet, with_quote),
            traffic: traffic(packet),
            extensions: packet.extensions.as_ref().map(extensions),
            end: packet.extensions.as_ref().and_then(|extensions| end(&extensions.end, inspection.missing)),
        }
    }
}

impl ChecksumRow {
    fn new(inspection: &Inspection) -> Self {
        Self {
            value: hex16(inspection.checksum),
            state: match inspection.checksum_is_right() {
                Some(true) => ChecksumState::Right,
                Some(false) => ChecksumState::Wrong,
                None => ChecksumState::NotChecked,
            },
            right_value: inspection.right_checksum.map(hex16),
        }
    }
}

/// Entries of the mandatory part of a packet of some kind, or of an extension.
fn entries(cies: &[Cie], kind: Option<PacketKind>) -> Vec<EntryRow> {
    cies.iter()
        .map(|cie| EntryRow {
            code: cie.code.0,
            meaning: (kind.is_some_and(has_codes) || cie.code != CieCode::SUCCESS)
                .then(|| cie.code.to_string()),
            protocol: cie.protocol,
            nbma: cie.nbma,
            subaddress: hex(&cie.subaddress),
            prefix_length: cie.prefix_length,
            mtu: cie.mtu,
            holding_time_seconds: cie.holding_time,
            preference: cie.preference,
            unused: cie.unused,
        })
        .collect()
}

fn error(packet: &Packet, with_quote: bool) -> Option<ErrorRow> {
    let Body::ErrorIndication(ErrorIndication { code, offset, packet }) = &packet.body else { return None };
    let quote = match Quote::read(packet) {
        Quote::Packet(inspection) if with_quote => Some(Box::new(PacketRow::new(&inspection, false))),
        _ => None,
    };
    Some(ErrorRow {
        code: code.0,
        meaning: code.to_string(),
        offset: *offset,
        quoted_bytes: packet.len(),
        packet: quote,
    })
}

fn traffic(packet: &Packet) -> Option<TrafficRow> {
    let Body::TrafficIndication(TrafficIndication { code, unused, head }) = &packet.body else { return None };
    Some(TrafficRow {
        code: *code,
        meaning: traffic_code(*code),
        unused: *unused,
        quoted_bytes: head.len(),
        packet: DataPacket::parse(head),
    })
}

fn extensions(extensions: &Extensions) -> Vec<ExtensionRow> {
    extensions
        .list
        .iter()
        .map(|Extension { compulsory, value }| ExtensionRow {
            kind: value.kind().0,
            name: match value {
                Value::DeviceCapabilities(_) => "Device Capabilities".into(),
                _ => value.kind().to_string(),
            },
            compulsory: *compulsory,
            value: value_row(value),
        })
        .collect()
}

fn value_row(value: &Value) -> ValueRow {
    match value {
        Value::ResponderAddress(cies)
        | Value::ForwardTransit(cies)
        | Value::ReverseTransit(cies)
        | Value::NatAddress(cies) => ValueRow::Entries(entries(cies, None)),
        Value::Authentication(value) | Value::MobileAuthentication(value) => authentication(value),
        Value::VendorPrivate { oui, data } => ValueRow::VendorPrivate { oui: hex(oui), data: hex(data) },
        Value::DeviceCapabilities(masks) => {
            let (source, target) = masks.split_at(4);
            ValueRow::DeviceCapabilities { source: hex(source), target: hex(target) }
        }
        Value::Other { kind: ExtensionKind::HUAWEI_IDENTITY | ExtensionKind::HUAWEI_SERIAL, value } => {
            ValueRow::Text(value.escape_ascii().to_string())
        }
        Value::Other { value, .. } => ValueRow::Data(hex(value)),
    }
}

fn authentication(value: &Authentication) -> ValueRow {
    match value.password() {
        Some(password) => ValueRow::Authentication { clear_text: true, bytes: password.len() },
        None => ValueRow::Authentication { clear_text: false, bytes: value.as_bytes().len() },
    }
}

/// Nothing is known of the end of a cut packet.
fn end(end: &End, missing: usize) -> Option<EndRow> {
    match end {
        End::Marked { compulsory, trailing } => {
            Some(EndRow { marked: true, compulsory: Some(*compulsory), trailing_bytes: trailing.len() })
        }
        End::Missing if missing > 0 => None,
        End::Missing => Some(EndRow { marked: false, compulsory: None, trailing_bytes: 0 }),
    }
}

const fn family(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "ipv4",
        IpFamily::V6 => "ipv6",
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero_field(number: &u16) -> bool {
    *number == 0
}
