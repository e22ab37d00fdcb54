//! Reading a packet to look at it: a wrong checksum, or a capture that cut the packet, does not hide the rest.

use super::{
    DecodeError, EncodeError, Fault, Packet,
    packet::{CHECKSUM, EXTENSION_OFFSET, HEADER, SIZE, VERSION, VERSION_OFFSET},
    reader::Reader,
};
use crate::checksum;

/// A packet, and what its encoder worked out: for tools that show packets. To act on one, use
/// [`Packet::decode`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The packet. Of a cut one, the extensions that are there as a whole, and no End.
    pub packet: Packet,
    /// The packet size field.
    pub size: u16,
    /// The checksum field.
    pub checksum: u16,
    /// The checksum that would be right; `None` when the capture cut the packet.
    pub right_checksum: Option<u16>,
    /// Bytes at its end that the capture cut off.
    pub missing: usize,
    /// Bytes that [`Self::packet`] was read from.
    read: usize,
}

/// What encoding a packet gave, against the bytes it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The same bytes.
    Same,
    /// The same but for the checksum, which is 0xFFFF in the capture: the other way to write zero.
    OtherZero,
    /// The capture cut the packet. What was read from it is the same, but for size, checksum and extension offset,
    /// which speak of bytes that are not there.
    Cut,
    /// Different bytes.
    Different {
        /// Offset of the first that differs.
        offset: usize,
        /// How many differ, bytes that only one of both has counted in.
        bytes: usize,
    },
    /// It cannot be encoded.
    NotEncoded(EncodeError),
}

impl Packet {
    /// Reads a packet of which `captured` was recorded out of `length` bytes that were sent. The checksum may be
    /// wrong, and the extensions may be cut.
    pub fn inspect(captured: &[u8], length: usize) -> Result<Inspection, DecodeError> {
        let mut reader = Reader::new(captured, 0, None);
        reader.take(SIZE)?;
        let size = reader.array().map(u16::from_be_bytes)?;
        let checksum = reader.array().map(u16::from_be_bytes)?;
        if usize::from(size) < HEADER || usize::from(size) > length.max(captured.len()) {
            return Err(reader.error(SIZE, Fault::Size { size, received: length }));
        }
        let extensions_at = reader.array().map(u16::from_be_bytes)?;
        match reader.array()? {
            [VERSION] => {}
            [other] => return Err(reader.error(VERSION_OFFSET, Fault::Version(other))),
        }

        let (bytes, missing) = match captured.get(..size.into()) {
            Some(bytes) => (bytes, 0),
            None => (captured, usize::from(size) - captured.len()),
        };
        let (bytes, extensions_at) = match usize::from(extensions_at) {
            at if missing == 0 || at == 0 => (bytes, extensions_at),
            at if at > bytes.len() => (bytes, 0),
            at => (&bytes[..end_of_whole_extensions(bytes, at)], extensions_at),
        };
        Ok(Inspection {
            packet: Self::read(bytes, extensions_at)?,
            size,
            checksum,
            right_checksum: (missing == 0).then(|| right_checksum(bytes)),
            missing,
            read: bytes.len(),
        })
    }
}

impl Inspection {
    /// Whether the checksum is right; `None` when the capture cut the packet.
    pub fn checksum_is_right(&self) -> Option<bool> {
        // Both ways to write zero are right.
        self.right_checksum.map(|right| right == self.checksum || (right, self.checksum) == (0, 0xFFFF))
    }

    /// Encodes the packet and compares the outcome with `captured`, the bytes it was read from.
    pub fn compare(&self, captured: &[u8]) -> Comparison {
        let mut encoded = Vec::new();
        if let Err(error) = self.packet.encode(&mut encoded) {
            return Comparison::NotEncoded(error);
        }
        let mut original = captured[..self.read.min(captured.len())].to_vec();
        let explained = if self.missing > 0 {
            for part in [SIZE..CHECKSUM, CHECKSUM..EXTENSION_OFFSET, EXTENSION_OFFSET..VERSION_OFFSET] {
                if let (Some(original), Some(encoded)) = (original.get_mut(part.clone()), encoded.get(part)) {
                    original.copy_from_slice(encoded);
                }
            }
            Comparison::Cut
        } else if (self.checksum, self.right_checksum) == (0xFFFF, Some(0)) {
            if let Some(field) = original.get_mut(CHECKSUM..EXTENSION_OFFSET) {
                field.fill(0);
            }
            Comparison::OtherZero
        } else {
            Comparison::Same
        };
        let differing = |offset: &usize| original.get(*offset) != encoded.get(*offset);
        let mut differences = (0..original.len().max(encoded.len())).filter(differing);
        match differences.next() {
            None => explained,
            Some(offset) => Comparison::Different { offset, bytes: 1 + differences.count() },
        }
    }
}

/// The checksum of a packet, whatever its own field holds.
fn right_checksum(bytes: &[u8]) -> u16 {
    let mut blank = bytes.to_vec();
    blank[CHECKSUM..EXTENSION_OFFSET].fill(0);
    !checksum::sum(&blank)
}

/// Where the last extension ends that is there as a whole: the end of all bytes behind an End extension.
fn end_of_whole_extensions(bytes: &[u8], start: usize) -> usize {
    let mut end = start;
    while let Some(&[type_high, type_low, length_high, length_low]) =
        bytes.get(end..).and_then(<[u8]>::first_chunk)
    {
        if [type_high & 0x3F, type_low] == [0, 0] {
            return bytes.len();
        }
        let next = end + 4 + usize::from(u16::from_be_bytes([length_high, length_low]));
        if next > bytes.len() {
            break;
        }
        end = next;
    }
    end
}
