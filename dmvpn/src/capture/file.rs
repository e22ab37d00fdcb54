//! Capture files of either format.
//!
//! Read by hand: what is needed is a handful of fixed structures, and an error that says which byte is wrong and
//! why. `pcap-parser` (0.17) says neither, refuses time resolutions that are powers of two and reads the time offset
//! of a big-endian file backwards; `pcap-file` (3.0) is a release candidate.

use std::io::Read;

use super::{
    CaptureError, FileFault, LinkType, MAX_FRAME, Time,
    input::{ByteOrder, Input},
    pcap::Pcap,
    pcapng::Pcapng,
};

/// A capture file that is being read, in the format that its first bytes say.
pub struct CaptureFile<R> {
    format: Format<R>,
    /// The frame that was handed out last.
    buffer: Vec<u8>,
}

enum Format<R> {
    Pcap(Pcap<R>),
    Pcapng(Pcapng<R>),
}

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// When it was recorded; `None` where the file does not say.
    pub time: Option<Time>,
    /// What its first bytes are.
    pub link: LinkType,
    /// What was recorded of it.
    pub bytes: &'a [u8],
    /// Bytes it had.
    pub length: u32,
}

/// A frame without its bytes, which are in the buffer.
pub(super) struct FrameHeader {
    pub(super) time: Option<Time>,
    pub(super) link: LinkType,
    pub(super) length: u32,
    /// Where in the buffer the frame begins, and how long it is.
    pub(super) start: usize,
    pub(super) captured: usize,
}

impl<R: Read> CaptureFile<R> {
    /// Starts reading. Give it a buffered reader: it reads a few bytes at a time.
    pub fn open(reader: R) -> Result<Self, CaptureError> {
        let mut input = Input::new(reader);
        let Some(magic) = input.array_or_end::<4>()? else {
            return Err(CaptureError::File { offset: 0, fault: FileFault::Empty });
        };
        let format = if magic == Pcapng::<R>::SECTION_HEADER {
            Format::Pcapng(Pcapng::open(input)?)
        } else if let Some((order, precision)) = Pcap::<R>::recognize(magic) {
            Format::Pcap(Pcap::open(input, order, precision)?)
        } else {
            let fault = FileFault::Magic(ByteOrder::Big.u32(magic));
            return Err(CaptureError::File { offset: 0, fault });
        };
        Ok(Self { format, buffer: Vec::new() })
    }

    /// The next frame; `None` at the end of the file. Do not go on after an error.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, CaptureError> {
        let header = match &mut self.format {
            Format::Pcap(pcap) => pcap.next_frame(&mut self.buffer)?,
            Format::Pcapng(pcapng) => pcapng.next_frame(&mut self.buffer)?,
        };
        Ok(header.map(|FrameHeader { time, link, length, start, captured }| Frame {
            time,
            link,
            bytes: self.buffer.get(start..start + captured).unwrap_or_default(),
            length,
        }))
    }
}

/// Bytes of a frame, if they are not too many.
pub(super) fn frame_size(length: u32) -> Option<usize> {
    usize::try_from(length).ok().filter(|size| *size <= MAX_FRAME)
}
