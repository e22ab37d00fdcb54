//! Reads fields one after the other and knows where it is.

use super::{DecodeError, ErrorCode, Fault};

/// A place in a packet.
pub(super) struct Reader<'a> {
    /// The packet from its first byte to the end of what may be read.
    bytes: &'a [u8],
    at: usize,
    /// The code of the errors found from here on.
    code: Option<ErrorCode>,
}

impl<'a> Reader<'a> {
    /// Starts at byte `at` of `bytes`; every error carries `code`.
    pub(super) fn new(bytes: &'a [u8], at: usize, code: Option<ErrorCode>) -> Self {
        Self { bytes, at: at.min(bytes.len()), code }
    }

    /// Offset of the next byte.
    #[inline]
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// What has not been read.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Takes the next bytes.
    #[inline]
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let Some((taken, _)) = self.rest().split_at_checked(length) else {
            return Err(self.truncated(length));
        };
        self.at += length;
        Ok(taken)
    }

    /// Takes as many bytes as the pattern on the left side has.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some(taken) = self.rest().first_chunk() else {
            return Err(self.truncated(N));
        };
        self.at += N;
        Ok(*taken)
    }

    /// Takes the next bytes for a reader of their own.
    pub(super) fn sub(&mut self, length: usize) -> Result<Self, DecodeError> {
        let start = self.at;
        self.take(length)?;
        Ok(Self { bytes: &self.bytes[..self.at], at: start, code: self.code })
    }

    /// An error at a byte.
    #[cold]
    pub(super) fn error(&self, offset: usize, fault: Fault) -> DecodeError {
        DecodeError::new(offset, fault, self.code)
    }

    #[cold]
    fn truncated(&self, needed: usize) -> DecodeError {
        self.error(self.at, Fault::Truncated { needed, left: self.rest().len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_at_the_end_and_says_where() {
        let mut reader = Reader::new(&[1, 2, 3, 4, 5, 6], 1, None);
        assert_eq!(reader.array().unwrap(), [2, 3]);
        let mut sub = reader.sub(2).unwrap();
        assert_eq!(sub.take(1).unwrap(), [4]);
        let error = sub.array::<2>().unwrap_err();
        assert_eq!((error.offset, error.fault), (4, Fault::Truncated { needed: 2, left: 1 }));
        assert_eq!(reader.rest(), [6]);
        assert_eq!(reader.take(usize::MAX).unwrap_err().offset, 5);
    }
}
