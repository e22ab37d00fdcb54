//! The packet: fixed part, mandatory part and what they carry (RFC 2332 5.1, 5.2).

use std::net::IpAddr;

use super::{
    Authentication, Body, Cie, DecodeError, EncodeError, ErrorCode, ExtensionKind, Extensions, Fault, Flags,
    IpFamily, Opaque, PacketKind, ProtocolType, Value,
    address::{
        address_from, address_length, check_length, check_subaddress_length, check_type_and_length,
        subaddress_length, write_address,
    },
    body,
    cie::{Budget, Families},
    extension,
    reader::Reader,
};
use crate::checksum;

/// The only version (`ar$op.version`).
pub(super) const VERSION: u8 = 1;

/// Bytes before the first address: the shortest packet.
pub(super) const HEADER: usize = 28;

/// Where fields are that are not read or written in their turn.
pub(super) const SIZE: usize = 10;
pub(super) const CHECKSUM: usize = 12;
pub(super) const EXTENSION_OFFSET: usize = 14;
pub(super) const VERSION_OFFSET: usize = 16;

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
        let bytes = own_bytes(bytes)?;
        Self::read(bytes, extensions_at(bytes))
    }

    /// Reads a packet that is all of `bytes`, whatever its size and checksum fields say. The extensions begin at
    /// `extensions_at`; there are none when that is 0.
    pub(super) fn read(bytes: &[u8], extensions_at: u16) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, 0, Some(ErrorCode::PROTOCOL_ERROR));

        let nbma_family = reader.array().map(u16::from_be_bytes)?;
        let protocol_number = reader.array().map(u16::from_be_bytes)?;
        let snap = reader.array()?;
        let [hop_count, _, _, _, _, _, _] = reader.array()?;
        let [_, kind, nbma_length, subaddress_length] = reader.array()?;
        let [source_length, destination_length] = reader.array()?;
        let flags = Flags(reader.array().map(u16::from_be_bytes)?);
        let kind_word = reader.array()?;

        let nbma_family = IpFamily::from_number(nbma_family)
            .ok_or_else(|| reader.error(0, Fault::NbmaFamily(nbma_family)))?;
        let protocol = ProtocolType::from_fields(protocol_number, snap)
            .ok_or_else(|| reader.error(2, Fault::ProtocolType(protocol_number)))?;
        let kind = PacketKind::from_number(kind).ok_or_else(|| reader.error(17, Fault::PacketType(kind)))?;
        let family = protocol.family();
        let lengths = [
            (18, check_type_and_length(nbma_length, Some(nbma_family))),
            (19, check_subaddress_length(subaddress_length)),
            (20, check_length(source_length, Some(family))),
            (21, check_length(destination_length, Some(family))),
        ];
        for (offset, result) in lengths {
            result.map_err(|fault| reader.error(offset, fault))?;
        }

        let mandatory_end = match usize::from(extensions_at) {
            0 => bytes.len(),
            end if (reader.offset()..=bytes.len()).contains(&end) => end,
            _ => return Err(reader.error(EXTENSION_OFFSET, Fault::ExtensionOffset(extensions_at))),
        };
        let mut mandatory = reader.sub(mandatory_end - reader.offset())?;
        let mut budget = Budget::full();
        Ok(Self {
            nbma_family,
            protocol,
            hop_count,
            flags,
            source_nbma: address_from(mandatory.take(nbma_length.into())?),
            source_subaddress: mandatory.take(subaddress_length.into())?.into(),
            source_protocol: address_from(mandatory.take(source_length.into())?),
            destination_protocol: address_from(mandatory.take(destination_length.into())?),
            body: body::read(
                &mut mandatory,
                kind,
                kind_word,
                Families::of_packet(nbma_family, family),
                &mut budget,
            )?,
            extensions: if extensions_at == 0 {
                None
            } else {
                let mut part = Reader::new(bytes, mandatory_end, Some(ErrorCode::INVALID_EXTENSION));
                Some(extension::read_all(&mut part, &mut budget)?)
            },
        })
    }

    /// Writes the packet, in place of what `buffer` holds. After an error `buffer` is empty.
    pub fn encode(&self, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
        buffer.clear();
        self.write(buffer).inspect_err(|_| buffer.clear())
    }

    fn write(&self, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
        let family = self.protocol.family();
        let mut budget = Budget::full();
        let (protocol_number, snap) = self.protocol.fields();
        buffer.extend_from_slice(&self.nbma_family.number().to_be_bytes());
        buffer.extend_from_slice(&protocol_number.to_be_bytes());
        buffer.extend_from_slice(&snap);
        buffer.push(self.hop_count);
        // Size, checksum and extension offset: filled in when they are known.
        buffer.extend_from_slice(&[0; 6]);
        buffer.extend_from_slice(&[
            VERSION,
            self.kind() as u8,
            address_length(self.source_nbma, Some(self.nbma_family))?,
            subaddress_length(&self.source_subaddress)?,
            address_length(self.source_protocol, Some(family))?,
            address_length(self.destination_protocol, Some(family))?,
        ]);
        buffer.extend_from_slice(&self.flags.0.to_be_bytes());
        buffer.extend_from_slice(&self.body.kind_word());
        write_address(buffer, self.source_nbma);
        buffer.extend_from_slice(&self.source_subaddress);
        write_address(buffer, self.source_protocol);
        write_address(buffer, self.destination_protocol);
        body::write(buffer, &self.body, Families::of_packet(self.nbma_family, family), &mut budget)?;

        let mut extensions_at = 0;
        if let Some(extensions) = &self.extensions {
            extensions_at = buffer.len();
            extension::write_all(buffer, extensions, &mut budget)?;
        }
        let field = |length: usize| u16::try_from(length).map_err(|_| EncodeError::TooLong(buffer.len()));
        let [size, extensions_at] = [field(buffer.len())?, field(extensions_at)?];
        buffer[SIZE..SIZE + 2].copy_from_slice(&size.to_be_bytes());
        buffer[EXTENSION_OFFSET..EXTENSION_OFFSET + 2].copy_from_slice(&extensions_at.to_be_bytes());
        let checksum = !checksum::sum(buffer);
        buffer[CHECKSUM..CHECKSUM + 2].copy_from_slice(&checksum.to_be_bytes());
        Ok(())
    }
}

/// Where the extensions begin, as the packet says; 0 when it is too short to say.
pub(super) fn extensions_at(bytes: &[u8]) -> u16 {
    match bytes.get(EXTENSION_OFFSET..VERSION_OFFSET) {
        Some(&[high, low]) => u16::from_be_bytes([high, low]),
        _ => 0,
    }
}

/// The packet's own bytes, once size, checksum and version say that it is one.
fn own_bytes(received: &[u8]) -> Result<&[u8], DecodeError> {
    let mut reader = Reader::new(received, 0, None);
    reader.take(SIZE)?;
    let size = reader.array().map(u16::from_be_bytes)?;
    let bytes = match received.get(..size.into()) {
        Some(bytes) if bytes.len() >= HEADER => bytes,
        _ => return Err(reader.error(SIZE, Fault::Size { size, received: received.len() })),
    };
    if checksum::sum(bytes) != 0xFFFF {
        return Err(reader.error(CHECKSUM, Fault::Checksum));
    }
    match bytes[VERSION_OFFSET] {
        VERSION => Ok(bytes),
        other => Err(reader.error(VERSION_OFFSET, Fault::Version(other))),
    }
}
