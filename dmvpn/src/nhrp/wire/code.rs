//! Code points of client information entries and of Error Indications. Unknown numbers are kept.

use std::fmt;

/// Code of a client information entry: zero in requests, success or the reason of a refusal in replies
/// (RFC 2332 5.2.0.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CieCode(pub u8);

impl CieCode {
    /// Success; also the value in every request.
    pub const SUCCESS: Self = Self(0);
    /// Administratively prohibited.
    pub const PROHIBITED: Self = Self(4);
    /// Insufficient resources.
    pub const NO_RESOURCES: Self = Self(5);
    /// No binding exists: what we send. On receipt use [`Self::is_no_binding`].
    pub const NO_BINDING: Self = Self(12);
    /// A binding exists but is not unique.
    pub const NOT_UNIQUE: Self = Self(13);
    /// The address is already registered as unique by another NBMA address.
    pub const ALREADY_REGISTERED: Self = Self(14);

    /// Whether it says that no binding exists: RFC 2332 gives it the number 12, FRR and OpenNHRP 11.
    pub const fn is_no_binding(self) -> bool {
        matches!(self.0, 11 | 12)
    }
}

impl fmt::Display for CieCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::SUCCESS => "success",
            Self::PROHIBITED => "administratively prohibited",
            Self::NO_RESOURCES => "insufficient resources",
            code if code.is_no_binding() => "no binding",
            Self::NOT_UNIQUE => "binding not unique",
            Self::ALREADY_REGISTERED => "unique address already registered",
            Self(number) => return write!(f, "code {number}"),
        };
        f.write_str(name)
    }
}

/// Code of an Error Indication (RFC 2332 5.2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u16);

impl ErrorCode {
    /// An extension with the compulsory bit is unknown.
    pub const UNRECOGNIZED_EXTENSION: Self = Self(1);
    /// The packet came round: what we send. On receipt use [`Self::is_loop`].
    pub const LOOP_DETECTED: Self = Self(3);
    /// There is no way to the destination protocol address.
    pub const PROTOCOL_ADDRESS_UNREACHABLE: Self = Self(6);
    /// The packet breaks the protocol in a way that no other code names.
    pub const PROTOCOL_ERROR: Self = Self(7);
    /// The packet is too long to be sent on.
    pub const SDU_SIZE_EXCEEDED: Self = Self(8);
    /// An extension is malformed.
    pub const INVALID_EXTENSION: Self = Self(9);
    /// A Resolution Reply answers no request of ours.
    pub const INVALID_RESOLUTION_REPLY: Self = Self(10);
    /// The authentication extension is absent or wrong.
    pub const AUTHENTICATION_FAILURE: Self = Self(11);
    /// The hop count reached zero.
    pub const HOP_COUNT_EXCEEDED: Self = Self(15);

    /// Whether it says that a loop was found: RFC 2332 gives it the number 3, OpenNHRP and FRR 2.
    pub const fn is_loop(self) -> bool {
        matches!(self.0, 2 | 3)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::UNRECOGNIZED_EXTENSION => "unrecognized extension",
            code if code.is_loop() => "loop detected",
            Self::PROTOCOL_ADDRESS_UNREACHABLE => "protocol address unreachable",
            Self::PROTOCOL_ERROR => "protocol error",
            Self::SDU_SIZE_EXCEEDED => "packet too long",
            Self::INVALID_EXTENSION => "invalid extension",
            Self::INVALID_RESOLUTION_REPLY => "invalid resolution reply",
            Self::AUTHENTICATION_FAILURE => "authentication failure",
            Self::HOP_COUNT_EXCEEDED => "hop count exceeded",
            Self(number) => return write!(f, "error {number}"),
        };
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_numbers_of_no_binding_and_of_loop_are_understood() {
        assert!(CieCode(11).is_no_binding() && CieCode::NO_BINDING.is_no_binding());
        assert!(!CieCode::NOT_UNIQUE.is_no_binding());
        assert!(ErrorCode(2).is_loop() && ErrorCode::LOOP_DETECTED.is_loop());
        assert!(!ErrorCode::UNRECOGNIZED_EXTENSION.is_loop());
    }

    #[test]
    fn unknown_numbers_are_shown() {
        assert_eq!(CieCode(77).to_string(), "code 77");
        assert_eq!(ErrorCode(12).to_string(), "error 12");
    }
}
