//! Error Indications (RFC 2332 5.2.7): ours about packets of others, and others' about ours.

use std::{net::IpAddr, ops::Range};

use super::{
    EventKind, Fault,
    transit::{record_kind, unknown_compulsory},
    tunnel::{Context, Tunnel},
};
use crate::nhrp::wire::{
    Body, DecodeError, ErrorCode, ErrorIndication, ExtensionKind, IpFamily, Packet, PacketKind,
};

/// Longest part of an offending packet to send back; more does not help to find the fault.
const LONGEST: usize = 512;

/// Where the kind of packet is.
const KIND: usize = 17;

/// Where the addresses begin.
const ADDRESSES: usize = 28;

impl Tunnel {
    /// Answers a packet with an Error Indication: never one about an error, few a second.
    pub(super) fn send_error(&mut self, cx: &mut Context<'_>, to: IpAddr, about: &Packet, code: ErrorCode) {
        // In a reply the source is who asked; what it answers, the destination, leads to who sent it.
        let sender = match about.kind() {
            PacketKind::ResolutionReply | PacketKind::RegistrationReply | PacketKind::PurgeReply => {
                about.destination_protocol
            }
            _ => about.source_protocol,
        };
        let Some(destination) = sender.filter(|&sender| !self.is_own(sender)) else { return };
        let mut bytes = Vec::new();
        if about.encode(&mut bytes).is_err() {
            return self.counters.count(Fault::Encode);
        }
        // Whoever does not know the password is not told it.
        let tell_password = code != ErrorCode::AUTHENTICATION_FAILURE;
        let offset = place(about, &bytes, code).unwrap_or(0);
        self.send_error_about(cx, (to, destination), &bytes, offset, code, tell_password);
    }

    /// The same about bytes that cannot be read as a packet, if enough of them can to say who sent them.
    pub(super) fn send_decode_error(
        &mut self,
        cx: &mut Context<'_>,
        to: IpAddr,
        bytes: &[u8],
        error: DecodeError,
    ) {
        let source = source_protocol(bytes).filter(|source| source.is_ipv4() == self.address().is_ipv4());
        let (Some(code), Some(destination)) = (error.code(), source) else { return };
        let offset = u16::try_from(error.offset).unwrap_or(0);
        // Whether the sender knows the password cannot be told; a peer once proved it.
        let tell_password = self.peers.contains(to);
        self.send_error_about(cx, (to, destination), bytes, offset, code, tell_password);
    }

    fn send_error_about(
        &mut self,
        cx: &mut Context<'_>,
        (to, destination): (IpAddr, IpAddr),
        bytes: &[u8],
        offset: u16,
        code: ErrorCode,
        tell_password: bool,
    ) {
        if bytes.get(KIND) == Some(&(PacketKind::ErrorIndication as u8)) {
            return;
        }
        if !self.errors.take(cx.now, 10, 20) {
            return self.counters.count(Fault::ErrorSuppressed);
        }
        let head = &bytes[..bytes.len().min(LONGEST)];
        let body = Body::ErrorIndication(ErrorIndication::new(code, offset, head));
        let packet = Packet::new(self.config.nbma, self.address_towards(destination), destination, body);
        if tell_password {
            self.send(cx, to, packet);
        } else {
            self.send_as_is(cx, to, &packet);
        }
    }

    /// A peer found fault with a packet of ours. If it was a Resolution Request, that has failed.
    pub(super) fn error_indication(&mut self, cx: &mut Context<'_>, source: IpAddr, error: &ErrorIndication) {
        self.counters.count(Fault::ErrorReceived);
        self.report_bounded(cx, EventKind::ErrorReceived { source, code: error.code });
        if let Some(id) = resolution_id(&error.packet)
            && self.peers.contains(source)
        {
            self.resolution_error(cx, id);
        }
    }
}

/// Request id of the Resolution Request an error is about, which may have been cut.
fn resolution_id(head: &[u8]) -> Option<u32> {
    const REQUEST_ID: Range<usize> = 24..28;

    let id = u32::from_be_bytes(head.get(REQUEST_ID)?.try_into().ok()?);
    (head[KIND] == PacketKind::ResolutionRequest as u8).then_some(id)
}

/// Where in a packet its fault is, in bytes from its start, as far as the code tells.
fn place(about: &Packet, bytes: &[u8], code: ErrorCode) -> Option<u16> {
    const HOP_COUNT: u16 = 9;

    match code {
        ErrorCode::HOP_COUNT_EXCEEDED => Some(HOP_COUNT),
        ErrorCode::UNRECOGNIZED_EXTENSION => extension_at(bytes, unknown_compulsory(about)?),
        ErrorCode::AUTHENTICATION_FAILURE => extension_at(bytes, ExtensionKind::AUTHENTICATION),
        ErrorCode::LOOP_DETECTED => extension_at(bytes, record_kind(about.kind())),
        ErrorCode::PROTOCOL_ADDRESS_UNREACHABLE => {
            let before = [about.source_nbma, about.source_protocol].into_iter().flatten();
            let length: usize =
                before.map(|address| usize::from(IpFamily::of(address).address_length())).sum();
            u16::try_from(ADDRESSES + length + about.source_subaddress.len()).ok()
        }
        _ => None,
    }
}

/// Where the first extension of a kind begins.
fn extension_at(bytes: &[u8], kind: ExtensionKind) -> Option<u16> {
    const FIRST: usize = 14;
    /// The bits of the type field that hold the number.
    const NUMBER: u16 = 0x3FFF;

    let field = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let mut at = usize::from(field(FIRST)?);
    while at > 0 && field(at)? & NUMBER != kind.0 {
        at += 4 + usize::from(field(at + 2)?);
    }
    u16::try_from(at).ok()
}

/// Source protocol address of a packet that cannot be read as a whole (RFC 2332 5.1, 5.2.0.1).
fn source_protocol(bytes: &[u8]) -> Option<IpAddr> {
    const NBMA_LENGTHS: Range<usize> = 18..20;
    const PROTOCOL_LENGTH: usize = 20;
    /// The bits of an NBMA length field that are the length.
    const LENGTH: u8 = 0x3F;

    let nbma: usize = bytes.get(NBMA_LENGTHS)?.iter().map(|length| usize::from(length & LENGTH)).sum();
    let address = bytes.get(ADDRESSES + nbma..)?;
    match *bytes.get(PROTOCOL_LENGTH)? {
        4 => Some(IpAddr::from(*address.first_chunk::<4>()?)),
        16 => Some(IpAddr::from(*address.first_chunk::<16>()?)),
        _ => None,
    }
}
