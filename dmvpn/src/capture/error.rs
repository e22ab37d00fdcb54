//! Why a capture file cannot be read.

use std::io;

use thiserror::Error;

use super::MAX_FRAME;

/// A capture file that cannot be read, or not to its end.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// The system could not.
    #[error("cannot read the capture")]
    Read(#[from] io::Error),
    /// What is in it makes no sense.
    #[error("byte {offset}: {fault}")]
    File {
        /// Offset of the field at fault from the start of the file.
        offset: u64,
        /// What is wrong with it.
        fault: FileFault,
    },
}

/// What is wrong in a capture file.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileFault {
    /// The first four bytes are those of no format we read.
    #[error(
        "neither a pcap nor a pcapng file: it begins with {0:#010x} (is it compressed? convert other formats with \
         `editcap`)"
    )]
    Magic(u32),
    /// The file has no bytes.
    #[error("the file is empty")]
    Empty,
    /// The file ends where a field or a frame should go on.
    #[error("the file ends too early: {needed} bytes needed, {left} left")]
    Truncated {
        /// Bytes needed.
        needed: usize,
        /// Bytes left.
        left: usize,
    },
    /// A version that was never published.
    #[error("format version {major}.{minor}; {expected} is known")]
    Version {
        /// First number.
        major: u16,
        /// Second number.
        minor: u16,
        /// What is known.
        expected: &'static str,
    },
    /// A frame that is longer than any.
    #[error("a frame of {0} bytes; the limit is {MAX_FRAME}")]
    FrameLength(u32),
    /// The byte order mark of a pcapng section is neither order's.
    #[error("byte order mark {0:#010x}, not 0x1a2b3c4d in either byte order")]
    ByteOrder(u32),
    /// A pcapng block that is shorter than its fixed fields, no multiple of four, or too long.
    #[error("a block of {0} bytes")]
    BlockLength(u32),
    /// The length at the end of a pcapng block is not that at its start.
    #[error("the block ends with the length {end}, but begins with {start}")]
    BlockLengths {
        /// At its start.
        start: u32,
        /// At its end.
        end: u32,
    },
    /// A frame that is longer than its block.
    #[error("a frame of {frame} bytes in a block that has room for {room}")]
    BlockOverrun {
        /// Bytes of the frame.
        frame: u32,
        /// Bytes there is room for.
        room: usize,
    },
    /// An option that is longer than its block.
    #[error("an option of {length} bytes in a block with {left} left")]
    OptionOverrun {
        /// Length the option claims.
        length: u16,
        /// Bytes there are.
        left: usize,
    },
    /// A frame of an interface that no block described.
    #[error("a frame of interface {0}, which was not described")]
    UnknownInterface(u32),
    /// More interfaces than we keep.
    #[error("more than {} interfaces in a section", super::pcapng::MAX_INTERFACES)]
    TooManyInterfaces,
    /// A time resolution that cannot be.
    #[error("time resolution {0:#04x}")]
    TimeResolution(u8),
}
