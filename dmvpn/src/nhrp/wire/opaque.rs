//! Bytes that are carried, not read.

use std::{fmt, ops::Deref};

/// Bytes that are carried, not read. Debug output says how many there are, never what they are: they can hold
/// a password, or a whole packet that holds one.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Opaque(Vec<u8>);

impl Deref for Opaque {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Opaque {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<Vec<u8>> for Opaque {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_the_bytes() {
        assert_eq!(format!("{:?}", Opaque::from(&b"secret"[..])), "[6 bytes]");
    }
}
