//! The pcap format (draft-ietf-opsawg-pcap): a header, then a record for each frame.

use std::{io::Read, time::Duration};

use super::{
    CaptureError, FileFault, LinkType, Time,
    file::{FrameHeader, frame_size},
    input::{ByteOrder, Input},
};

/// A file behind its first four bytes.
pub(super) struct Pcap<R> {
    input: Input<R>,
    order: ByteOrder,
    precision: Precision,
    link: LinkType,
}

/// Unit of the second half of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precision {
    Microseconds,
    Nanoseconds,
}

/// First four bytes of a little-endian file with microseconds.
pub(super) const MAGIC: u32 = 0xA1B2_C3D4;
const MAGIC_NANOSECONDS: u32 = 0xA1B2_3C4D;

/// The version that everyone writes.
pub(super) const VERSION: (u16, u16) = (2, 4);

impl<R: Read> Pcap<R> {
    /// What the first four bytes of a file say, if they are those of this format.
    pub(super) fn recognize(magic: [u8; 4]) -> Option<(ByteOrder, Precision)> {
        [ByteOrder::Little, ByteOrder::Big].into_iter().find_map(|order| match order.u32(magic) {
            MAGIC => Some((order, Precision::Microseconds)),
            MAGIC_NANOSECONDS => Some((order, Precision::Nanoseconds)),
            _ => None,
        })
    }

    /// Reads the rest of the file's header.
    pub(super) fn open(
        mut input: Input<R>,
        order: ByteOrder,
        precision: Precision,
    ) -> Result<Self, CaptureError> {
        let offset = input.offset();
        let [major, minor] = [order.u16(input.array()?), order.u16(input.array()?)];
        if major != VERSION.0 {
            let fault = FileFault::Version { major, minor, expected: "2.4" };
            return Err(CaptureError::File { offset, fault });
        }
        // Time zone, accuracy and snap length say nothing that is needed.
        input.array::<12>()?;
        let link = order.u32(input.array()?);
        Ok(Self { input, order, precision, link: LinkType::from_field(link) })
    }

    /// Reads the next frame into `buffer`.
    pub(super) fn next_frame(&mut self, buffer: &mut Vec<u8>) -> Result<Option<FrameHeader>, CaptureError> {
        let offset = self.input.offset();
        let Some(header) = self.input.array_or_end::<16>()? else { return Ok(None) };
        let (fields, _) = header.as_chunks::<4>();
        let &[seconds, fraction, captured, length] = fields else { return Ok(None) };
        let [seconds, fraction, captured, length] =
            [seconds, fraction, captured, length].map(|field| self.order.u32(field));
        let Some(size) = frame_size(captured) else {
            return Err(CaptureError::File { offset: offset + 8, fault: FileFault::FrameLength(captured) });
        };
        self.input.take(buffer, size)?;
        let fraction = match self.precision {
            Precision::Microseconds => Duration::from_micros(fraction.into()),
            Precision::Nanoseconds => Duration::from_nanos(fraction.into()),
        };
        Ok(Some(FrameHeader {
            time: Some(Time(Duration::from_secs(seconds.into()) + fraction)),
            link: self.link,
            length: length.max(captured),
            start: 0,
            captured: size,
        }))
    }
}
