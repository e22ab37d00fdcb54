//! The GRE header (RFC 2784, RFC 2890).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |C| |K|S| Reserved0       | Ver |         Protocol Type         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |      Checksum (C)             |       Reserved1 (C)           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                         Key (K)                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    Sequence number (S)                        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

/// GRE header without options.
pub const LENGTH: u32 = 4;
/// GRE header with a key.
pub const KEYED_LENGTH: u32 = 8;

const CHECKSUM: u16 = 0x8000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
/// Reserved bits that a receiver ignores: 6 to 12 (RFC 2784, 2.3).
const IGNORED: u16 = 0x03f8;

/// What the first 16 bits say about the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No options.
    Plain,
    /// A key and nothing else.
    Keyed,
    /// Checksum or sequence number, which we accept but never send: work for the slow path.
    WithOptions,
    /// Another version, or a bit that a receiver must not ignore (RFC 2784, 2.3).
    Invalid,
}

impl Kind {
    /// Reads the first 16 bits.
    #[inline(always)]
    pub const fn of(flags: u16) -> Self {
        match flags & !IGNORED {
            0 => Self::Plain,
            KEY => Self::Keyed,
            flags if flags & !(CHECKSUM | KEY | SEQUENCE) == 0 => Self::WithOptions,
            _ => Self::Invalid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_kinds_apart() {
        for (flags, kind) in [
            (0x0000, Kind::Plain),
            (0x2000, Kind::Keyed),
            (0x03f8, Kind::Plain),
            (0x2008, Kind::Keyed),
            (0x8000, Kind::WithOptions),
            (0x1000, Kind::WithOptions),
            (0xb000, Kind::WithOptions),
            // Version 1 is PPTP's, with and without key.
            (0x0001, Kind::Invalid),
            (0x2001, Kind::Invalid),
            (0x3081, Kind::Invalid),
            (0x0007, Kind::Invalid),
            // Source routing and recursion control of RFC 1701.
            (0x4000, Kind::Invalid),
            (0x0800, Kind::Invalid),
            (0x0400, Kind::Invalid),
        ] {
            assert_eq!(Kind::of(flags), kind, "{flags:#06x}");
        }
    }
}
