//! Why bytes are not a packet, and why a packet cannot be bytes.

use std::net::IpAddr;

use thiserror::Error;

use super::{ErrorCode, ExtensionKind, MAX_CIES, MAX_EXTENSIONS};

/// Bytes that are not an NHRP packet: where, and why.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("byte {offset}: {fault}")]
pub struct DecodeError {
    /// Offset of the field at fault, from the first byte of the NHRP packet.
    pub offset: usize,
    /// What is wrong with it.
    pub fault: Fault,
    code: Option<ErrorCode>,
}

impl DecodeError {
    pub(super) const fn new(offset: usize, fault: Fault, code: Option<ErrorCode>) -> Self {
        Self { offset, fault, code }
    }

    /// The code of the Error Indication that answers it (RFC 2332 5.2.7). `None` when size, checksum or version
    /// are wrong: then nothing in it can be believed, and it is dropped in silence.
    pub const fn code(&self) -> Option<ErrorCode> {
        self.code
    }
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The part of the packet ends inside a field.
    #[error("{needed} bytes needed, {left} left")]
    Truncated {
        /// Bytes the field needs.
        needed: usize,
        /// Bytes there are.
        left: usize,
    },
    /// The packet size field says less than a header or more than was received.
    #[error("packet size {size}, but {received} bytes received")]
    Size {
        /// The field.
        size: u16,
        /// Bytes received.
        received: usize,
    },
    /// The checksum does not fit.
    #[error("wrong checksum")]
    Checksum,
    /// Only version 1 exists.
    #[error("version {0}, not 1")]
    Version(u8),
    /// A packet type that nobody defined.
    #[error("unknown packet type {0}")]
    PacketType(u8),
    /// NBMA addresses that are neither IPv4 nor IPv6.
    #[error("NBMA address family {0} is neither IPv4 (1) nor IPv6 (2)")]
    NbmaFamily(u16),
    /// Protocol addresses that are neither IPv4 nor IPv6.
    #[error("protocol type {0:#06x} is neither IPv4 nor IPv6")]
    ProtocolType(u16),
    /// The type bits of an address field are not those of an IP address.
    #[error("address type and length {0:#04x} is not of an IP address")]
    AddressType(u8),
    /// An address whose length does not fit its family.
    #[error("address of {0} bytes does not fit its family")]
    AddressLength(u8),
    /// Extensions that begin inside the mandatory part's fixed fields or after the packet's end.
    #[error("extensions at byte {0}: inside the header or past the end")]
    ExtensionOffset(u16),
    /// More client information entries than one packet may have.
    #[error("more than {MAX_CIES} client information entries")]
    TooManyCies,
    /// More extensions than one packet may have.
    #[error("more than {MAX_EXTENSIONS} extensions")]
    TooManyExtensions,
    /// An extension that is longer than what is left of the packet.
    #[error("extension of {length} bytes, {left} left")]
    ExtensionOverrun {
        /// Length the extension claims.
        length: u16,
        /// Bytes there are.
        left: usize,
    },
    /// The unused bit of an extension type, which must be zero (RFC 2332 5.3).
    #[error("extension type {0:#06x} has the reserved bit set")]
    ReservedBit(u16),
    /// An End extension with a value.
    #[error("End extension with a value")]
    EndWithValue,
    /// Authentication twice. IOS refuses it, and two passwords are never right.
    #[error("second authentication extension")]
    DuplicateAuthentication,
}

/// A packet that the format cannot express.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// Longer than the packet size field can say.
    #[error("packet of {0} bytes; the format allows 65535")]
    TooLong(usize),
    /// A subaddress longer than its length field can say.
    #[error("subaddress of {0} bytes; the format allows 63")]
    SubaddressTooLong(usize),
    /// An address in the mandatory part that is not of the packet's family.
    #[error("{0} is not of the address family that the packet names")]
    AddressFamily(IpAddr),
    /// More client information entries than we would accept.
    #[error("more than {MAX_CIES} client information entries")]
    TooManyCies,
    /// More extensions than we would accept.
    #[error("more than {MAX_EXTENSIONS} extensions")]
    TooManyExtensions,
    /// [`Value::Other`](super::Value::Other) with a number that has a value of its own, or that does not fit
    /// in 14 bits.
    #[error("{0} cannot be a raw extension")]
    ExtensionKind(ExtensionKind),
    /// Authentication twice.
    #[error("second authentication extension")]
    DuplicateAuthentication,
}
