//! Packets as text for people and as JSON for programs. Passwords are never shown, whatever carries them.

mod data_packet;
mod json;
#[cfg(test)]
mod tests;
mod text;
mod words;

pub use data_packet::DataPacket;
pub use json::PacketRow;
pub use text::{details, headline};

use super::wire::{Inspection, Packet, PacketKind};

/// The packet that an Error Indication quotes, often not the whole of it. Never shown as bytes: a password may be
/// among them.
enum Quote {
    /// Readable, at least up to some extension.
    Packet(Box<Inspection>),
    /// Too short for its addresses.
    Head(PacketKind),
    /// Not an NHRP packet.
    Unreadable,
}

impl Quote {
    fn read(bytes: &[u8]) -> Self {
        const VERSION_AND_TYPE: std::ops::Range<usize> = 16..18;

        if let Ok(inspection) = Packet::inspect(bytes, usize::from(u16::MAX)) {
            return Self::Packet(Box::new(inspection));
        }
        match bytes.get(VERSION_AND_TYPE) {
            Some(&[1, number]) => PacketKind::from_number(number).map_or(Self::Unreadable, Self::Head),
            _ => Self::Unreadable,
        }
    }
}
