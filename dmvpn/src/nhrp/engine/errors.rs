//! Error Indications (RFC 2332 5.2.7): ours about packets of others, and others' about ours.

use std::{net::IpAddr, ops::Range};

use super::{
    EventKind, Fault,
    tunnel::{Context, Tunnel},
};
use crate::nhrp::wire::{Body, DecodeError, ErrorCode, ErrorIndication, Packet, PacketKind};

/// Longest part of an offending packet to send back; more does not help to find the fault.
const LONGEST: usize = 512;

/// Where the kind of packet is.
const KIND: usize = 17;

impl Tunnel {
    /// Answers a packet with an Error Indication: never one about an error, few a second.
    pub(super) fn send_error(&mut self, cx: &mut Context<'_>, to: IpAddr, about: &Packet, code: ErrorCode) {
        let Some(destination) = about.source_protocol else { return };
        let mut bytes = Vec::new();
        if about.encode(&mut bytes).is_err() {
            return self.counters.count(Fault::Encode);
        }
        // Whoever does not know the password is not told it.
        let tell_password = code != ErrorCode::AUTHENTICATION_FAILURE;
        self.send_error_about(cx, (to, destination), &bytes, 0, code, tell_password);
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

/// Source protocol address of a packet that cannot be read as a whole (RFC 2332 5.1, 5.2.0.1).
fn source_protocol(bytes: &[u8]) -> Option<IpAddr> {
    const NBMA_LENGTHS: Range<usize> = 18..20;
    const PROTOCOL_LENGTH: usize = 20;
    const ADDRESSES: usize = 28;
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
