//! The bytes of a capture file, and where in it they are.

use std::io::{ErrorKind, Read};

use super::{CaptureError, FileFault};

/// A file that is read from its start to its end. It may be a pipe.
pub(super) struct Input<R> {
    reader: R,
    offset: u64,
}

impl<R: Read> Input<R> {
    pub(super) const fn new(reader: R) -> Self {
        Self { reader, offset: 0 }
    }

    /// Offset of the next byte.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads as many bytes as the pattern on the left side has.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], CaptureError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// The same; `None` when the file ends before the first of them.
    pub(super) fn array_or_end<const N: usize>(&mut self) -> Result<Option<[u8; N]>, CaptureError> {
        let mut bytes = [0; N];
        let offset = self.offset;
        match self.read_up_to(&mut bytes)? {
            0 => Ok(None),
            read if read == N => Ok(Some(bytes)),
            left => Err(CaptureError::File { offset, fault: FileFault::Truncated { needed: N, left } }),
        }
    }

    /// Reads so many bytes, in place of what `buffer` holds. The caller has checked that they are not too many.
    pub(super) fn take(&mut self, buffer: &mut Vec<u8>, length: usize) -> Result<(), CaptureError> {
        buffer.clear();
        buffer.resize(length, 0);
        self.fill(buffer)
    }

    /// Passes over so many bytes.
    pub(super) fn skip(&mut self, length: u64) -> Result<(), CaptureError> {
        let offset = self.offset;
        let skipped = std::io::copy(&mut self.reader.by_ref().take(length), &mut std::io::sink())?;
        self.offset += skipped;
        if skipped == length {
            return Ok(());
        }
        let size = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        let fault = FileFault::Truncated { needed: size(length), left: size(skipped) };
        Err(CaptureError::File { offset, fault })
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), CaptureError> {
        let (offset, needed) = (self.offset, bytes.len());
        match self.read_up_to(bytes)? {
            read if read == needed => Ok(()),
            left => Err(CaptureError::File { offset, fault: FileFault::Truncated { needed, left } }),
        }
    }

    /// Reads until `bytes` is full or the file ends.
    fn read_up_to(&mut self, bytes: &mut [u8]) -> Result<usize, CaptureError> {
        let mut read = 0;
        while read < bytes.len() {
            match self.reader.read(&mut bytes[read..]) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.offset += read as u64;
        Ok(read)
    }
}

/// The byte order of a file: that of the machine that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    pub(super) const fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    pub(super) const fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    pub(super) const fn i64(self, bytes: [u8; 8]) -> i64 {
        match self {
            Self::Little => i64::from_le_bytes(bytes),
            Self::Big => i64::from_be_bytes(bytes),
        }
    }
}
