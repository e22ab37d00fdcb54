//! What the kinds of packet do not share (RFC 2332 5.2).

use std::fmt;

use super::{
    Cie, DecodeError, EncodeError, ErrorCode, Opaque,
    cie::{self, Budget, Families},
    reader::Reader,
};

/// Kind of a packet (`ar$op.type`).
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PacketKind {
    /// Where is this address?
    ResolutionRequest = 1,
    /// There.
    ResolutionReply = 2,
    /// I am here.
    RegistrationRequest = 3,
    /// Noted, or refused.
    RegistrationReply = 4,
    /// Forget this binding.
    PurgeRequest = 5,
    /// Forgotten.
    PurgeReply = 6,
    /// A packet of yours is wrong.
    ErrorIndication = 7,
    /// A data packet of yours has a better way (Cisco; "redirect").
    TrafficIndication = 8,
}

impl PacketKind {
    /// Name in JSON and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ResolutionRequest => "resolution-request",
            Self::ResolutionReply => "resolution-reply",
            Self::RegistrationRequest => "registration-request",
            Self::RegistrationReply => "registration-reply",
            Self::PurgeRequest => "purge-request",
            Self::PurgeReply => "purge-reply",
            Self::ErrorIndication => "error-indication",
            Self::TrafficIndication => "traffic-indication",
        }
    }

    /// The kind with that number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::ResolutionRequest,
            2 => Self::ResolutionReply,
            3 => Self::RegistrationRequest,
            4 => Self::RegistrationReply,
            5 => Self::PurgeRequest,
            6 => Self::PurgeReply,
            7 => Self::ErrorIndication,
            8 => Self::TrafficIndication,
            _ => return None,
        })
    }
}

impl fmt::Display for PacketKind {
    /// The name in RFC 2332.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ResolutionRequest => "Resolution Request",
            Self::ResolutionReply => "Resolution Reply",
            Self::RegistrationRequest => "Registration Request",
            Self::RegistrationReply => "Registration Reply",
            Self::PurgeRequest => "Purge Request",
            Self::PurgeReply => "Purge Reply",
            Self::ErrorIndication => "Error Indication",
            Self::TrafficIndication => "Traffic Indication",
        })
    }
}

/// What only one kind of packet has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Type 1: none or one entry (RFC 2332 5.2.1).
    ResolutionRequest(Clients),
    /// Type 2: one entry or more, the best first; one only in a refusal (RFC 2332 5.2.2).
    ResolutionReply(Clients),
    /// Type 3 (RFC 2332 5.2.3).
    RegistrationRequest(Clients),
    /// Type 4: the entries of the request with their codes (RFC 2332 5.2.4).
    RegistrationReply(Clients),
    /// Type 5 (RFC 2332 5.2.5).
    PurgeRequest(Clients),
    /// Type 6: as the request (RFC 2332 5.2.6).
    PurgeReply(Clients),
    /// Type 7 (RFC 2332 5.2.7).
    ErrorIndication(ErrorIndication),
    /// Type 8 (Cisco).
    TrafficIndication(TrafficIndication),
}

/// Body of requests and replies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    /// Pairs a reply with its request.
    pub request_id: u32,
    /// The entries.
    pub cies: Vec<Cie>,
}

/// Body of an Error Indication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorIndication {
    /// What is wrong.
    pub code: ErrorCode,
    /// Where in the offending packet, in bytes from its start.
    pub offset: u16,
    /// The offending packet or its head.
    pub packet: Opaque,
}

impl ErrorIndication {
    /// An error about `packet`, which is cut to an even length: without extensions, which errors do not have,
    /// FRR and OpenNHRP get the checksum of an odd length wrong.
    pub fn new(code: ErrorCode, offset: u16, packet: &[u8]) -> Self {
        Self { code, offset, packet: packet[..packet.len() & !1].into() }
    }
}

/// Body of a Traffic Indication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrafficIndication {
    /// 0 for a redirect; nothing else is known.
    pub code: u16,
    /// Not used; zero when sent, kept when received.
    pub unused: u16,
    /// Head of the data packet: at least its IP header.
    pub head: Opaque,
}

impl TrafficIndication {
    /// A redirect for the data packet that begins with `head`.
    pub fn redirect(head: &[u8]) -> Self {
        Self { code: 0, unused: 0, head: head.into() }
    }
}

impl Body {
    /// The kind of packet.
    pub const fn kind(&self) -> PacketKind {
        match self {
            Self::ResolutionRequest(_) => PacketKind::ResolutionRequest,
            Self::ResolutionReply(_) => PacketKind::ResolutionReply,
            Self::RegistrationRequest(_) => PacketKind::RegistrationRequest,
            Self::RegistrationReply(_) => PacketKind::RegistrationReply,
            Self::PurgeRequest(_) => PacketKind::PurgeRequest,
            Self::PurgeReply(_) => PacketKind::PurgeReply,
            Self::ErrorIndication(_) => PacketKind::ErrorIndication,
            Self::TrafficIndication(_) => PacketKind::TrafficIndication,
        }
    }

    /// Request id and entries of a request or reply; `None` for the two indications.
    pub const fn clients(&self) -> Option<&Clients> {
        match self {
            Self::ResolutionRequest(clients)
            | Self::ResolutionReply(clients)
            | Self::RegistrationRequest(clients)
            | Self::RegistrationReply(clients)
            | Self::PurgeRequest(clients)
            | Self::PurgeReply(clients) => Some(clients),
            Self::ErrorIndication(_) | Self::TrafficIndication(_) => None,
        }
    }

    /// The same, to change.
    pub const fn clients_mut(&mut self) -> Option<&mut Clients> {
        match self {
            Self::ResolutionRequest(clients)
            | Self::ResolutionReply(clients)
            | Self::RegistrationRequest(clients)
            | Self::RegistrationReply(clients)
            | Self::PurgeRequest(clients)
            | Self::PurgeReply(clients) => Some(clients),
            Self::ErrorIndication(_) | Self::TrafficIndication(_) => None,
        }
    }

    /// The reply to a request: the same content under the reply's type. `None` when it is no request.
    #[must_use]
    pub fn into_reply(self) -> Option<Self> {
        match self {
            Self::ResolutionRequest(clients) => Some(Self::ResolutionReply(clients)),
            Self::RegistrationRequest(clients) => Some(Self::RegistrationReply(clients)),
            Self::PurgeRequest(clients) => Some(Self::PurgeReply(clients)),
            _ => None,
        }
    }

    /// The word after the flags, whose meaning depends on the kind.
    pub(super) const fn kind_word(&self) -> [u8; 4] {
        let (a, b) = match self {
            Self::ErrorIndication(error) => (error.code.0, error.offset),
            Self::TrafficIndication(traffic) => (traffic.code, traffic.unused),
            Self::ResolutionRequest(clients)
            | Self::ResolutionReply(clients)
            | Self::RegistrationRequest(clients)
            | Self::RegistrationReply(clients)
            | Self::PurgeRequest(clients)
            | Self::PurgeReply(clients) => return clients.request_id.to_be_bytes(),
        };
        let ([a0, a1], [b0, b1]) = (a.to_be_bytes(), b.to_be_bytes());
        [a0, a1, b0, b1]
    }
}

/// Reads what follows the addresses, to the end of the mandatory part.
pub(super) fn read(
    reader: &mut Reader<'_>,
    kind: PacketKind,
    kind_word: [u8; 4],
    families: Families,
    budget: &mut Budget,
) -> Result<Body, DecodeError> {
    let [a0, a1, b0, b1] = kind_word;
    let (a, b) = (u16::from_be_bytes([a0, a1]), u16::from_be_bytes([b0, b1]));
    let mut clients = || {
        let cies = cie::read_list(reader, families, budget)?;
        Ok(Clients { request_id: u32::from_be_bytes(kind_word), cies })
    };
    Ok(match kind {
        PacketKind::ResolutionRequest => Body::ResolutionRequest(clients()?),
        PacketKind::ResolutionReply => Body::ResolutionReply(clients()?),
        PacketKind::RegistrationRequest => Body::RegistrationRequest(clients()?),
        PacketKind::RegistrationReply => Body::RegistrationReply(clients()?),
        PacketKind::PurgeRequest => Body::PurgeRequest(clients()?),
        PacketKind::PurgeReply => Body::PurgeReply(clients()?),
        PacketKind::ErrorIndication => {
            let packet = reader.rest().into();
            Body::ErrorIndication(ErrorIndication { code: ErrorCode(a), offset: b, packet })
        }
        PacketKind::TrafficIndication => {
            let head = reader.rest().into();
            Body::TrafficIndication(TrafficIndication { code: a, unused: b, head })
        }
    })
}

/// Appends what follows the addresses.
pub(super) fn write(
    buffer: &mut Vec<u8>,
    body: &Body,
    families: Families,
    budget: &mut Budget,
) -> Result<(), EncodeError> {
    match body {
        Body::ErrorIndication(error) => buffer.extend_from_slice(&error.packet),
        Body::TrafficIndication(traffic) => buffer.extend_from_slice(&traffic.head),
        Body::ResolutionRequest(clients)
        | Body::ResolutionReply(clients)
        | Body::RegistrationRequest(clients)
        | Body::RegistrationReply(clients)
        | Body::PurgeRequest(clients)
        | Body::PurgeReply(clients) => cie::write_list(buffer, &clients.cies, families, budget)?,
    }
    Ok(())
}
