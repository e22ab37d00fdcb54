//! The packet format: bytes to typed packets and back (RFC 2332 section 5, and what Cisco added to it).
//!
//! Liberal in, exact out. [`Packet::decode`] accepts what the known implementations send: any order of extensions,
//! absent addresses, old code points, an End extension of either form or none. It keeps all of it, so that
//! [`Packet::encode`] gives back the very bytes: a transit node changes only what it means to change. A packet
//! built by hand comes out the way Cisco sends it.
//!
//! One thing is not kept: a checksum of 0xFFFF, which is the other way to write 0, comes out as 0.

mod address;
mod authentication;
mod body;
mod cie;
mod code;
mod error;
mod extension;
mod flags;
mod inspection;
mod opaque;
mod packet;
mod reader;
#[cfg(test)]
pub(crate) mod tests;

pub use address::{IpFamily, ProtocolType};
pub use authentication::Authentication;
pub use body::{Body, Clients, ErrorIndication, PacketKind, TrafficIndication};
pub use cie::Cie;
pub use code::{CieCode, ErrorCode};
pub use error::{DecodeError, EncodeError, Fault};
pub use extension::{End, Extension, ExtensionKind, Extensions, Value};
pub use flags::Flags;
pub use inspection::{Comparison, Inspection};
pub use opaque::Opaque;
pub use packet::Packet;

/// Most client information entries in one packet, all lists together.
pub const MAX_CIES: usize = 512;

/// Most extensions in one packet, the End extension not counted.
pub const MAX_EXTENSIONS: usize = 32;
