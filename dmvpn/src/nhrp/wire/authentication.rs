//! The authentication extension (RFC 2332 5.3.4, in the form Cisco gave it).

use super::Opaque;

/// Value of an authentication extension.
///
/// ```text
///  0                   1                   2                   3
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |           Reserved            | Security Parameter Index (SPI)|
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                    Authentication data ...                    |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
///
/// Everyone interoperates with reserved 0, SPI 1 and the bare password as data: no source address (which the RFC
/// has), no NUL, no padding. Any other form is kept as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication(Opaque);

impl Authentication {
    /// Reserved 0 and SPI 1: a clear-text password follows.
    const CLEAR_TEXT: [u8; 4] = [0, 0, 0, 1];

    /// The clear-text form. `password` is 1 to 8 bytes for the peers' sake; that is the configuration's to check.
    pub fn clear_text(password: &[u8]) -> Self {
        Self([&Self::CLEAR_TEXT, password].concat().into())
    }

    /// The password, if this is the clear-text form. Compare it in constant time and never print it.
    pub fn password(&self) -> Option<&[u8]> {
        self.0.strip_prefix(&Self::CLEAR_TEXT)
    }

    /// The whole value as it is on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Authentication {
    /// Takes a value as it is on the wire, of whatever form.
    fn from(value: &[u8]) -> Self {
        Self(value.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_text_is_spi_one_and_the_bare_password() {
        let authentication = Authentication::clear_text(b"secret");
        assert_eq!(authentication.as_bytes(), b"\0\0\0\x01secret");
        assert_eq!(authentication.password(), Some(&b"secret"[..]));
    }

    #[test]
    fn another_form_has_no_password() {
        for value in [&b""[..], b"\0\0\x01", b"\0\0\0\x02secret", b"\0\x01\0\x01secret"] {
            assert_eq!(Authentication::from(value).password(), None, "{value:?}");
        }
    }

    #[test]
    fn debug_output_hides_the_password() {
        let shown = format!("{:?}", Authentication::clear_text(b"secret"));
        assert_eq!(shown, "Authentication([10 bytes])");
    }
}
