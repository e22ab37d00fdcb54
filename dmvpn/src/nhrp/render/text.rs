//! A packet as text: one line that says what it is, and a line for each field.

use std::{fmt, fmt::Write};

use super::{
    DataPacket, Quote,
    words::{Prefix, count, flags, has_codes, hex, hex16, is_about_source, traffic_code},
};
use crate::nhrp::wire::{
    Authentication, Body, Cie, CieCode, End, ErrorIndication, Extension, ExtensionKind, Extensions,
    Inspection, IpFamily, Packet, PacketKind, ProtocolType, TrafficIndication, Value,
};

/// `Registration Request, id 7, hop count 255, flags unique nat, 106 bytes`.
pub fn headline(inspection: &Inspection) -> String {
    let packet = &inspection.packet;
    let kind = packet.kind();
    let mut line = kind.to_string();
    if let Some(clients) = packet.body.clients() {
        add(&mut line, format_args!(", id {}", clients.request_id));
    }
    add(&mut line, format_args!(", hop count {}", packet.hop_count));
    match &flags(kind, packet.flags)[..] {
        [] => line.push_str(", no flags"),
        words => add(&mut line, format_args!(", flags {}", words.join(" "))),
    }
    add(&mut line, format_args!(", {}", count(inspection.size.into())));
    line
}

/// Everything that [`headline`] does not say: lines that are indented by four spaces or more.
pub fn details(inspection: &Inspection) -> String {
    let mut lines = Lines { text: String::new(), depth: 1 };
    lines.inspection(inspection, true);
    lines.text
}

struct Lines {
    text: String,
    /// Levels of indentation.
    depth: usize,
}

impl Lines {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        let indent = self.depth * 4;
        add(&mut self.text, format_args!("{:indent$}{line}\n", ""));
    }

    /// `with_quote`: whether a packet in it is shown in full, too. Not in a packet that is itself a quote: errors
    /// about errors are forbidden, and a forged one could be nested very deep.
    fn inspection(&mut self, inspection: &Inspection, with_quote: bool) {
        let packet = &inspection.packet;
        self.line(format_args!(
            "protocol: {} over {}",
            protocol(packet.protocol),
            family(packet.nbma_family)
        ));
        self.addresses(packet);
        self.body(packet, with_quote);
        match &packet.extensions {
            Some(extensions) => self.extensions(extensions, inspection.missing),
            None if inspection.missing > 0 => {}
            None => self.line(format_args!("extensions: none")),
        }
        let checksum = hex16(inspection.checksum);
        match inspection.right_checksum.map(hex16) {
            None => self.line(format_args!(
                "checksum: {checksum} (not checked: the last {} of the packet are missing)",
                count(inspection.missing)
            )),
            Some(_) if inspection.checksum_is_right() == Some(true) => {
                self.line(format_args!("checksum: {checksum} (right)"));
            }
            Some(right) => self.line(format_args!("checksum: {checksum} (WRONG, {right} is right)")),
        }
    }

    fn addresses(&mut self, packet: &Packet) {
        let mut source = String::new();
        match packet.source_protocol {
            Some(protocol) => add(&mut source, format_args!("{protocol}")),
            None => source.push_str("no protocol address"),
        }
        match packet.source_nbma {
            Some(nbma) => add(&mut source, format_args!(" at {nbma}")),
            None => source.push_str(", no NBMA address"),
        }
        if !packet.source_subaddress.is_empty() {
            add(&mut source, format_args!(", subaddress {}", hex(&packet.source_subaddress)));
        }
        self.line(format_args!("source: {source}"));
        match packet.destination_protocol {
            Some(destination) => self.line(format_args!("destination: {destination}")),
            None => self.line(format_args!("destination: no protocol address")),
        }
    }

    fn body(&mut self, packet: &Packet, with_quote: bool) {
        match &packet.body {
            Body::ErrorIndication(indication) => self.error(indication, with_quote),
            Body::TrafficIndication(indication) => self.traffic(indication),
            Body::ResolutionRequest(clients)
            | Body::ResolutionReply(clients)
            | Body::RegistrationRequest(clients)
            | Body::RegistrationReply(clients)
            | Body::PurgeRequest(clients)
            | Body::PurgeReply(clients) => {
                if clients.cies.is_empty() {
                    self.line(format_args!("entries: none"));
                }
                for cie in &clients.cies {
                    self.line(format_args!("entry: {}", entry(cie, Some(packet.kind()))));
                }
            }
        }
    }

    fn error(&mut self, indication: &ErrorIndication, with_quote: bool) {
        let ErrorIndication { code, offset, packet } = indication;
        self.line(format_args!("error: {} (code {}), at byte {offset}", code, code.0));
        match Quote::read(packet) {
            Quote::Packet(inspection) => {
                self.line(format_args!("packet in error: {}", headline(&inspection)));
                if with_quote {
                    self.depth += 1;
                    self.inspection(&inspection, false);
                    self.depth -= 1;
                }
            }
            Quote::Head(kind) => {
                self.line(format_args!("packet in error: {kind}, the first {}", count(packet.len())));
            }
            Quote::Unreadable => {
                self.line(format_args!("packet in error: {}, not readable", count(packet.len())));
            }
        }
    }

    fn traffic(&mut self, indication: &TrafficIndication) {
        let TrafficIndication { code, unused, head } = indication;
        self.line(format_args!("code: {} ({})", code, traffic_code(*code)));
        if *unused != 0 {
            self.line(format_args!("unused: {}", hex16(*unused)));
        }
        match DataPacket::parse(head) {
            Some(packet) => self.line(format_args!(
                "data packet: {packet}, {}, {} of them here",
                count(packet.length),
                head.len().min(packet.length)
            )),
            None => self.line(format_args!("data packet: {}, not an IP header", count(head.len()))),
        }
    }

    fn extensions(&mut self, extensions: &Extensions, missing: usize) {
        for extension in &extensions.list {
            self.extension(extension);
        }
        match &extensions.end {
            End::Missing if missing > 0 => {}
            End::Missing => self.line(format_args!("end: missing")),
            End::Marked { compulsory, trailing } => {
                let mut line = "end".to_owned();
                line.push_str(unlike(ExtensionKind::END, *compulsory));
                // Not the bytes: another extension, with a password, may be hidden in them.
                if !trailing.is_empty() {
                    let what = if trailing.iter().all(|byte| *byte == 0) { "zero" } else { "not shown" };
                    add(&mut line, format_args!(", then {} ({what})", count(trailing.len())));
                }
                self.line(format_args!("{line}"));
            }
        }
    }

    fn extension(&mut self, extension: &Extension) {
        let kind = extension.value.kind();
        let name = name(&extension.value);
        let unlike = unlike(kind, extension.compulsory);
        if let Some(cies) = extension.value.cies() {
            if cies.is_empty() {
                return self.line(format_args!("{name}{unlike}: empty"));
            }
            self.line(format_args!("{name}{unlike}:"));
            self.depth += 1;
            for cie in cies {
                self.line(format_args!("{}", entry(cie, None)));
            }
            self.depth -= 1;
            return;
        }
        let value = value(&extension.value);
        self.line(format_args!("{name}{unlike}: {value}"));
    }
}

/// The name of an extension as it begins a line: in lower case, but for acronyms and vendors.
fn name(value: &Value) -> String {
    match value {
        Value::ResponderAddress(_) => "responder address".into(),
        Value::ForwardTransit(_) => "forward transit NHS record".into(),
        Value::ReverseTransit(_) => "reverse transit NHS record".into(),
        Value::Authentication(_) => "authentication".into(),
        Value::MobileAuthentication(_) => "mobile authentication".into(),
        Value::VendorPrivate { .. } => "vendor private".into(),
        Value::NatAddress(_) => "NAT address".into(),
        Value::DeviceCapabilities(_) => "device capabilities".into(),
        Value::Other { kind, .. } => kind.to_string(),
    }
}

/// The value of an extension that is not a list of entries.
fn value(value: &Value) -> String {
    match value {
        Value::Authentication(value) | Value::MobileAuthentication(value) => hidden(value),
        Value::VendorPrivate { oui, data } => {
            let [a, b, c] = oui;
            format!("OUI {a:02x}-{b:02x}-{c:02x}, {}", bytes(data))
        }
        Value::DeviceCapabilities(masks) => {
            let (source, target) = masks.split_at(4);
            format!("source 0x{}, target 0x{}", hex(source), hex(target))
        }
        Value::Other { kind: ExtensionKind::HUAWEI_IDENTITY | ExtensionKind::HUAWEI_SERIAL, value } => {
            format!("\"{}\"", value.escape_ascii())
        }
        Value::Other { value, .. } => bytes(value),
        // These are lists.
        Value::ResponderAddress(_)
        | Value::ForwardTransit(_)
        | Value::ReverseTransit(_)
        | Value::NatAddress(_) => String::new(),
    }
}

/// How long the secret is, never what it is.
fn hidden(authentication: &Authentication) -> String {
    match authentication.password() {
        Some(password) => format!("{} (hidden)", count(password.len())),
        None => format!("not clear text, {} (hidden)", count(authentication.as_bytes().len())),
    }
}

fn bytes(bytes: &[u8]) -> String {
    if bytes.is_empty() { "empty".into() } else { format!("{}: {}", count(bytes.len()), hex(bytes)) }
}

/// A word about a compulsory bit that is not as everyone sends it.
const fn unlike(kind: ExtensionKind, compulsory: bool) -> &'static str {
    match (kind.is_compulsory(), compulsory) {
        (true, false) => " (not compulsory)",
        (false, true) => " (compulsory)",
        (true, true) | (false, false) => "",
    }
}

/// One client information entry: of the mandatory part of a packet of some kind, or of an extension.
fn entry(cie: &Cie, kind: Option<PacketKind>) -> String {
    let mut line = String::new();
    if kind.is_some_and(has_codes) || cie.code != CieCode::SUCCESS {
        add(&mut line, format_args!("{} (code {}), ", cie.code, cie.code.0));
    }
    match (cie.protocol, cie.nbma) {
        (Some(protocol), Some(nbma)) => add(&mut line, format_args!("{protocol} at {nbma}")),
        (Some(protocol), None) => add(&mut line, format_args!("{protocol}")),
        (None, Some(nbma)) => add(&mut line, format_args!("at {nbma}")),
        (None, None) if kind.is_some_and(is_about_source) => line.push_str("addresses of the source"),
        (None, None) => line.push_str("no addresses"),
    }
    add(
        &mut line,
        format_args!(", prefix {}, MTU {}, holding time {} s", Prefix(cie), cie.mtu, cie.holding_time),
    );
    if cie.preference != 0 {
        add(&mut line, format_args!(", preference {}", cie.preference));
    }
    if cie.unused != 0 {
        add(&mut line, format_args!(", unused {}", hex16(cie.unused)));
    }
    if !cie.subaddress.is_empty() {
        add(&mut line, format_args!(", subaddress {}", hex(&cie.subaddress)));
    }
    line
}

const fn family(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "IPv4",
        IpFamily::V6 => "IPv6",
    }
}

/// The protocol, with the fields that name it where they are not the usual ones.
fn protocol(protocol: ProtocolType) -> String {
    let name = family(protocol.family());
    if protocol == ProtocolType::of(protocol.family()) {
        return name.to_owned();
    }
    let (number, snap) = protocol.fields();
    format!("{name} (type {}, SNAP {})", hex16(number), hex(&snap))
}

/// Appends to a text.
fn add(text: &mut String, words: fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(words);
}
