//! The packet: fixed part, mandatory part and what they carry (RFC 2332 5.1, 5.2).

use std::net::IpAddr;

use super::{
    Authentication, Cie, DecodeError, EncodeError, ErrorCode, ExtensionKind, Extensions, Flags, IpFamily,
    Opaque, ProtocolType, Value,
};

/// An NHRP packet.
///
/// ```text
///  0                   1                   2                   3
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |            ar$afn             |          ar$pro.type          |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                          ar$pro.snap                          |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  ar$pro.snap  |   ar$hopcnt   |            ar$pktsz           |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |           ar$chksum           |            ar$extoff          |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | ar$op.version |   ar$op.type  |    ar$shtl    |    ar$sstl    |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | Src Proto Len | Dst Proto Len |           Flags               |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  Request ID; error code and offset; traffic code and unused   |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                  Source NBMA address (0, 4, 16)               |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                  Source NBMA subaddress (0-63)                |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                Source protocol address (0, 4, 16)             |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |             Destination protocol address (0, 4, 16)           |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |   Client information entries, or the packet that is spoken of |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                        Extensions ...                         |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
///
/// In a reply the source fields still name who asked, and the destination what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Family of the NBMA addresses (`ar$afn`).
    pub nbma_family: IpFamily,
    /// The protocol whose addresses are spoken of.
    pub protocol: ProtocolType,
    /// How many servers may send it on. Any value is right in a packet that is for us, 0 too.
    pub hop_count: u8,
    /// Flags; what they mean depends on the kind.
    pub flags: Flags,
    /// NBMA address of who asks.
    pub source_nbma: Option<IpAddr>,
    /// Its subaddress; empty with IP.
    pub source_subaddress: Opaque,
    /// Protocol address of who asks.
    pub source_protocol: Option<IpAddr>,
    /// Protocol address that is asked for.
    pub destination_protocol: Option<IpAddr>,
    /// The kind of packet and what only that kind has.
    pub body: Body,
    /// The extensions; `None` when there is no extensions part, not even an End.
    pub extensions: Option<Extensions>,
}

/// Kind of a packet (`ar$op.type`).
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
}

impl Packet {
    /// Hop count of a packet that we make.
    pub const HOP_COUNT: u8 = 255;

    /// A packet from us: families as the addresses have them, full hop count, no flags, no extensions part.
    pub fn new(
        source_nbma: IpAddr,
        source_protocol: IpAddr,
        destination_protocol: IpAddr,
        body: Body,
    ) -> Self {
        Self {
            nbma_family: IpFamily::of(source_nbma),
            protocol: ProtocolType::of(IpFamily::of(source_protocol)),
            hop_count: Self::HOP_COUNT,
            flags: Flags::default(),
            source_nbma: Some(source_nbma),
            source_subaddress: Opaque::default(),
            source_protocol: Some(source_protocol),
            destination_protocol: Some(destination_protocol),
            body,
            extensions: None,
        }
    }

    /// The same packet with these flags.
    #[must_use]
    pub fn with_flags(mut self, flags: Flags) -> Self {
        self.flags = flags;
        self
    }

    /// The same packet with one more extension, in Cisco's place for it: see [`Extensions::set`].
    #[must_use]
    pub fn with_extension(mut self, value: Value) -> Self {
        self.set_extension(value);
        self
    }

    /// Sets an extension, in Cisco's place for it: see [`Extensions::set`].
    pub fn set_extension(&mut self, value: Value) {
        self.extensions.get_or_insert_default().set(value);
    }

    /// The reply to this request: the same packet under the reply's type, with a full hop count. `None` when it
    /// is no request.
    #[must_use]
    pub fn into_reply(self) -> Option<Self> {
        Some(Self { body: self.body.into_reply()?, hop_count: Self::HOP_COUNT, ..self })
    }

    /// The kind of packet.
    pub const fn kind(&self) -> PacketKind {
        self.body.kind()
    }

    /// Entries of the first extension of a kind: transit records, responder address, NAT address. `None` when
    /// there is no such extension.
    pub fn records(&self, kind: ExtensionKind) -> Option<&Vec<Cie>> {
        self.extensions
            .as_ref()?
            .list
            .iter()
            .map(|extension| &extension.value)
            .find_map(|value| if value.kind() == kind { value.cies() } else { None })
    }

    /// The same, to change.
    pub fn records_mut(&mut self, kind: ExtensionKind) -> Option<&mut Vec<Cie>> {
        self.extensions
            .as_mut()?
            .list
            .iter_mut()
            .map(|extension| &mut extension.value)
            .find_map(|value| if value.kind() == kind { value.cies_mut() } else { None })
    }

    /// The authentication extension.
    pub fn authentication(&self) -> Option<&Authentication> {
        match &self.extensions.as_ref()?.get(ExtensionKind::AUTHENTICATION)?.value {
            Value::Authentication(authentication) => Some(authentication),
            _ => None,
        }
    }

    /// Reads a packet. Bytes past its own size (Ethernet padding) are left alone.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        super::decode::packet(bytes)
    }

    /// Writes the packet, in place of what `buffer` holds. After an error `buffer` is empty.
    pub fn encode(&self, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
        super::encode::packet(self, buffer)
    }
}
