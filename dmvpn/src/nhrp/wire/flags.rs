//! The flags word of the mandatory part.

use std::ops::BitOr;

/// Flags of a packet. What a bit means depends on the kind of packet (RFC 2332 5.2.1, 5.2.3, 5.2.5); the names
/// say which. Bits without a name are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u16);

impl Flags {
    /// Resolution: the source of the request is a router (Q).
    pub const RESOLUTION_ROUTER: Self = Self(0x8000);
    /// Resolution: request: answer only from first-hand knowledge; reply: the answer is first-hand (A).
    pub const RESOLUTION_AUTHORITATIVE: Self = Self(0x4000);
    /// Resolution reply: the destination's binding is stable (D).
    pub const RESOLUTION_DESTINATION_STABLE: Self = Self(0x2000);
    /// Resolution: request: only a unique binding will do; reply: the binding is unique (U).
    pub const RESOLUTION_UNIQUE: Self = Self(0x1000);
    /// Resolution: the source's binding is stable (S).
    pub const RESOLUTION_SOURCE_STABLE: Self = Self(0x0800);
    /// Registration: the binding is unique, nobody else may register the address (U).
    pub const REGISTRATION_UNIQUE: Self = Self(0x8000);
    /// Purge: no reply wanted (N).
    pub const PURGE_NO_REPLY: Self = Self(0x8000);
    /// Resolution and registration: the sender knows the NAT address extension (Cisco).
    pub const NAT: Self = Self(0x0002);

    /// Whether every bit of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits that are set in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The same without the bits of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combines_and_takes_apart() {
        let flags = Flags::REGISTRATION_UNIQUE | Flags::NAT;
        assert_eq!(flags, Flags(0x8002));
        assert!(flags.contains(Flags::NAT));
        assert!(!flags.contains(Flags::NAT | Flags::RESOLUTION_UNIQUE));
        assert_eq!(flags.without(Flags::NAT), Flags::REGISTRATION_UNIQUE);
        assert_eq!(flags.intersection(Flags::NAT), Flags::NAT);
    }
}
