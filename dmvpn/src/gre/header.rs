//! The GRE header (RFC 2784, RFC 2890).

use thiserror::Error;

use crate::checksum::sum;

/// What a GRE header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gre {
    /// EtherType of the payload; 0x2001 is NHRP.
    pub protocol: u16,
    /// The key, if there is one. Key 0 is a key.
    pub key: Option<u32>,
    /// The sequence number, if there is one.
    pub sequence: Option<u32>,
    /// The checksum, if there is one.
    pub checksum: Option<GreChecksum>,
    /// Bytes of the header.
    pub length: usize,
}

/// A GRE checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GreChecksum {
    /// It fits.
    Right,
    /// It does not.
    Wrong,
    /// The capture or a fragment does not hold all of the packet.
    NotChecked,
}

/// Why bytes are not a GRE packet.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum GreFault {
    /// They end inside the header.
    #[error("a GRE header of {needed} bytes, of which {there} are there")]
    Truncated {
        /// Bytes the header has at least.
        needed: usize,
        /// Bytes there are.
        there: usize,
    },
    /// Version 1 is PPTP; no other exists.
    #[error("GRE version {0}")]
    Version(u16),
    /// Routing, strict source route or recursion (RFC 1701), which nobody sends and a receiver must not ignore.
    #[error("GRE flags {0:#06x}")]
    Flags(u16),
}

impl Gre {
    /// Reads the header at the start of `bytes`; `whole`: these are all the bytes of the GRE packet.
    ///
    /// Reserved bits that a receiver ignores are ignored: 6 to 12 (RFC 2784, 2.3).
    pub fn parse(bytes: &[u8], whole: bool) -> Result<Self, GreFault> {
        const CHECKSUM: u16 = 0x8000;
        const KEY: u16 = 0x2000;
        const SEQUENCE: u16 = 0x1000;
        const IGNORED: u16 = 0x03f8;
        const VERSION: u16 = 0x0007;

        let field = |at: usize| -> Result<[u8; 4], GreFault> {
            let field = bytes.get(at..).and_then(<[u8]>::first_chunk).copied();
            field.ok_or(GreFault::Truncated { needed: at + 4, there: bytes.len() })
        };
        let [f0, f1, p0, p1] = field(0)?;
        let flags = u16::from_be_bytes([f0, f1]);
        if flags & VERSION != 0 {
            return Err(GreFault::Version(flags & VERSION));
        }
        if flags & !(CHECKSUM | KEY | SEQUENCE | IGNORED) != 0 {
            return Err(GreFault::Flags(flags));
        }
        let mut length = 4;
        let mut next = |flag: u16| {
            if flags & flag == 0 {
                return Ok(None);
            }
            let word = field(length)?;
            length += 4;
            Ok(Some(u32::from_be_bytes(word)))
        };
        let (checksum, key, sequence) = (next(CHECKSUM)?, next(KEY)?, next(SEQUENCE)?);
        let checksum = checksum.map(|_| match (whole, sum(bytes)) {
            (false, _) => GreChecksum::NotChecked,
            (true, 0xFFFF) => GreChecksum::Right,
            (true, _) => GreChecksum::Wrong,
        });
        Ok(Self { protocol: u16::from_be_bytes([p0, p1]), key, sequence, checksum, length })
    }
}
