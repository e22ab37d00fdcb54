//! The pcapng format (draft-ietf-opsawg-pcapng): blocks, of which those with frames and interfaces are read.

use std::{io::Read, time::Duration};

use super::{
    CaptureError, FileFault, LinkType, Time,
    file::{FrameHeader, frame_size},
    input::{ByteOrder, Input},
};

/// Most interfaces of one section.
pub(super) const MAX_INTERFACES: usize = 4096;

/// Most bytes of a block that is read: a frame, and any number of comments on it. Others are passed over.
const MAX_BLOCK: u32 = 1 << 20;

/// Bytes around a block's body: type and length before it, the length again behind it.
const AROUND: u32 = 12;

/// Block types.
const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// A file behind the type of its first block.
pub(super) struct Pcapng<R> {
    input: Input<R>,
    order: ByteOrder,
    /// Of the current section, by their number.
    interfaces: Vec<Interface>,
}

struct Interface {
    link: LinkType,
    /// Most bytes of a frame that were recorded; 0 for all.
    snap_length: u32,
    resolution: Resolution,
    /// To be added to every time, in seconds.
    offset: i64,
}

/// Unit of times: this part of a second.
#[derive(Clone, Copy)]
struct Resolution(u64);

impl Resolution {
    const MICROSECONDS: Self = Self(1_000_000);

    /// From the option: a power of ten, or with the highest bit a power of two.
    fn from_field(field: u8) -> Option<Self> {
        let units = if field & 0x80 == 0 {
            10_u64.checked_pow(field.into())
        } else {
            1_u64.checked_shl((field & 0x7F).into())
        };
        units.map(Self)
    }

    /// The time that is so many units, `offset` seconds later. `None` before 1970 or at the end of time.
    fn time(self, units: u64, offset: i64) -> Option<Time> {
        const SECOND: u128 = 1_000_000_000;

        let seconds = (units / self.0).checked_add_signed(offset)?;
        let nanoseconds = u128::from(units % self.0) * SECOND / u128::from(self.0);
        Some(Time(Duration::new(seconds, u32::try_from(nanoseconds).ok()?)))
    }
}

/// The body of a block, and where in the file it is.
struct Body<'a> {
    bytes: &'a [u8],
    at: usize,
    offset: u64,
    order: ByteOrder,
}

/// An option of a block, and where in the body its value is.
struct BlockOption<'a> {
    code: u16,
    at: usize,
    value: &'a [u8],
}

impl<'a> Body<'a> {
    fn error(&self, at: usize, fault: FileFault) -> CaptureError {
        CaptureError::File { offset: self.offset + at as u64, fault }
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..)?.get(..length)?;
        self.at += length;
        Some(taken)
    }

    /// A field of the fixed part. Blocks are checked to have it before they are read.
    fn array<const N: usize>(&mut self) -> Result<[u8; N], CaptureError> {
        let left = self.bytes.len().saturating_sub(self.at);
        let short = self.error(self.at, FileFault::Truncated { needed: N, left });
        self.take(N).and_then(|field| field.try_into().ok()).ok_or(short)
    }

    fn u16(&mut self) -> Result<u16, CaptureError> {
        self.array().map(|field| self.order.u16(field))
    }

    fn u32(&mut self) -> Result<u32, CaptureError> {
        self.array().map(|field| self.order.u32(field))
    }

    /// The next option; `None` at the end of the options.
    fn option(&mut self) -> Result<Option<BlockOption<'a>>, CaptureError> {
        const END: u16 = 0;

        if self.bytes.len() - self.at < 4 {
            return Ok(None);
        }
        let (code, length) = (self.u16()?, self.u16()?);
        if code == END {
            return Ok(None);
        }
        let at = self.at;
        let left = self.bytes.len() - at;
        let overrun = FileFault::OptionOverrun { length, left };
        let value = self.take(length.into()).ok_or_else(|| self.error(at - 2, overrun))?;
        // Padded to four bytes; the last one may lack its padding.
        self.at = (at + usize::from(length).next_multiple_of(4)).min(self.bytes.len());
        Ok(Some(BlockOption { code, at, value }))
    }
}

impl<R: Read> Pcapng<R> {
    /// First four bytes of a file: a block type that is the same in both byte orders.
    pub(super) const SECTION_HEADER: [u8; 4] = SECTION_HEADER.to_be_bytes();

    /// Reads the rest of the first block.
    pub(super) fn open(input: Input<R>) -> Result<Self, CaptureError> {
        let mut pcapng = Self { input, order: ByteOrder::Little, interfaces: Vec::new() };
        pcapng.section_header(&mut Vec::new())?;
        Ok(pcapng)
    }

    /// Reads blocks up to and with the next frame, which it leaves in `buffer`.
    pub(super) fn next_frame(&mut self, buffer: &mut Vec<u8>) -> Result<Option<FrameHeader>, CaptureError> {
        loop {
            let Some(kind) = self.input.array_or_end::<4>()? else { return Ok(None) };
            let frame = match self.order.u32(kind) {
                SECTION_HEADER => self.section_header(buffer).map(|()| None),
                INTERFACE => self.body(buffer, 8).and_then(|offset| self.interface(buffer, offset)),
                OBSOLETE_PACKET | ENHANCED_PACKET => {
                    let obsolete = self.order.u32(kind) == OBSOLETE_PACKET;
                    self.body(buffer, 20).and_then(|offset| self.packet(buffer, offset, obsolete))
                }
                SIMPLE_PACKET => self.body(buffer, 4).and_then(|offset| self.simple_packet(buffer, offset)),
                _ => self.skip().map(|()| None),
            };
            if let Some(frame) = frame? {
                return Ok(Some(frame));
            }
        }
    }

    /// Reads a section header behind its type. It names the byte order of all that follows, itself included.
    fn section_header(&mut self, buffer: &mut Vec<u8>) -> Result<(), CaptureError> {
        const BYTE_ORDER_MARK: u32 = 0x1A2B_3C4D;

        let offset = self.input.offset();
        let length: [u8; 4] = self.input.array()?;
        let mark: [u8; 4] = self.input.array()?;
        self.order = [ByteOrder::Little, ByteOrder::Big]
            .into_iter()
            .find(|order| order.u32(mark) == BYTE_ORDER_MARK)
            .ok_or(CaptureError::File {
                offset: offset + 4,
                fault: FileFault::ByteOrder(ByteOrder::Big.u32(mark)),
            })?;
        let length = self.order.u32(length);
        let error = |offset, fault| Err(CaptureError::File { offset, fault });
        if length < AROUND + 16 || !length.is_multiple_of(4) || length > MAX_BLOCK {
            return error(offset, FileFault::BlockLength(length));
        }
        let (major, minor) = (self.order.u16(self.input.array()?), self.order.u16(self.input.array()?));
        if major != 1 {
            return error(offset + 8, FileFault::Version { major, minor, expected: "1.0" });
        }
        // What is left: the section's length, options. The mark and the version are read.
        self.input.take(buffer, (length - AROUND - 8) as usize)?;
        self.interfaces.clear();
        self.end(length)
    }

    /// Reads the body of a block, behind its type, that has so many bytes at least. Returns where it begins.
    fn body(&mut self, buffer: &mut Vec<u8>, fixed: u32) -> Result<u64, CaptureError> {
        let offset = self.input.offset();
        let length = self.order.u32(self.input.array()?);
        if length < AROUND + fixed || !length.is_multiple_of(4) || length > MAX_BLOCK {
            return Err(CaptureError::File { offset, fault: FileFault::BlockLength(length) });
        }
        let start = self.input.offset();
        self.input.take(buffer, (length - AROUND) as usize)?;
        self.end(length)?;
        Ok(start)
    }

    /// Passes over a block, behind its type.
    fn skip(&mut self) -> Result<(), CaptureError> {
        let offset = self.input.offset();
        let length = self.order.u32(self.input.array()?);
        if length < AROUND || !length.is_multiple_of(4) {
            return Err(CaptureError::File { offset, fault: FileFault::BlockLength(length) });
        }
        self.input.skip((length - AROUND).into())?;
        self.end(length)
    }

    /// Reads the length at the end of a block.
    fn end(&mut self, start: u32) -> Result<(), CaptureError> {
        let offset = self.input.offset();
        let end = self.order.u32(self.input.array()?);
        if end == start {
            return Ok(());
        }
        Err(CaptureError::File { offset, fault: FileFault::BlockLengths { start, end } })
    }

    /// An interface is described.
    fn interface(&mut self, bytes: &[u8], offset: u64) -> Result<Option<FrameHeader>, CaptureError> {
        const TIME_RESOLUTION: u16 = 9;
        const TIME_OFFSET: u16 = 14;

        let mut body = Body { bytes, at: 0, offset, order: self.order };
        if self.interfaces.len() == MAX_INTERFACES {
            return Err(body.error(0, FileFault::TooManyInterfaces));
        }
        let link = LinkType::from_field(body.u16()?.into());
        // Reserved.
        body.u16()?;
        let snap_length = body.u32()?;
        let mut interface = Interface { link, snap_length, resolution: Resolution::MICROSECONDS, offset: 0 };
        while let Some(BlockOption { code, at, value }) = body.option()? {
            match (code, value) {
                (TIME_RESOLUTION, &[field, ..]) => {
                    interface.resolution = Resolution::from_field(field)
                        .ok_or_else(|| body.error(at, FileFault::TimeResolution(field)))?;
                }
                (TIME_OFFSET, value) => {
                    if let Ok(value) = value.try_into() {
                        interface.offset = self.order.i64(value);
                    }
                }
                _ => {}
            }
        }
        self.interfaces.push(interface);
        Ok(None)
    }

    /// A frame with a time: of the form that is written today, or of the one before it.
    fn packet(&self, bytes: &[u8], offset: u64, obsolete: bool) -> Result<Option<FrameHeader>, CaptureError> {
        let mut body = Body { bytes, at: 0, offset, order: self.order };
        let number = if obsolete {
            let number = u32::from(body.u16()?);
            // Drops.
            body.u16()?;
            number
        } else {
            body.u32()?
        };
        let interface = self
            .interfaces
            .get(usize::try_from(number).unwrap_or(usize::MAX))
            .ok_or_else(|| body.error(0, FileFault::UnknownInterface(number)))?;
        let time = (u64::from(body.u32()?) << 32) | u64::from(body.u32()?);
        let captured_at = body.at;
        let (captured, length) = (body.u32()?, body.u32()?);
        let room = bytes.len() - body.at;
        let size =
            frame_size(captured).ok_or_else(|| body.error(captured_at, FileFault::FrameLength(captured)))?;
        if size > room {
            return Err(body.error(captured_at, FileFault::BlockOverrun { frame: captured, room }));
        }
        Ok(Some(FrameHeader {
            time: interface.resolution.time(time, interface.offset),
            link: interface.link,
            length: length.max(captured),
            start: body.at,
            captured: size,
        }))
    }

    /// A frame without a time, of the first interface.
    fn simple_packet(&self, bytes: &[u8], offset: u64) -> Result<Option<FrameHeader>, CaptureError> {
        let mut body = Body { bytes, at: 0, offset, order: self.order };
        let interface =
            self.interfaces.first().ok_or_else(|| body.error(0, FileFault::UnknownInterface(0)))?;
        let length = body.u32()?;
        let recorded = if interface.snap_length == 0 { length } else { length.min(interface.snap_length) };
        let room = bytes.len() - body.at;
        let size = frame_size(recorded).ok_or_else(|| body.error(0, FileFault::FrameLength(recorded)))?;
        if size > room {
            return Err(body.error(0, FileFault::BlockOverrun { frame: recorded, room }));
        }
        Ok(Some(FrameHeader { time: None, link: interface.link, length, start: body.at, captured: size }))
    }
}
