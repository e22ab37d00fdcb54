//! Address families and the address fields of the packet.

use std::net::{IpAddr, Ipv4Addr};

/// Which IP an address belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IpFamily {
    /// IPv4: address family number 1, 4 bytes.
    #[default]
    V4,
    /// IPv6: address family number 2, 16 bytes.
    V6,
}

impl IpFamily {
    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Bytes of an address.
    pub const fn address_length(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }

    /// Prefix length of a single address.
    pub const fn host_prefix(self) -> u8 {
        self.address_length() * 8
    }

    /// The IANA address family number, `ar$afn`.
    pub(super) const fn number(self) -> u16 {
        match self {
            Self::V4 => 1,
            Self::V6 => 2,
        }
    }

    /// The family with that address family number.
    pub(super) const fn from_number(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::V4),
            2 => Some(Self::V6),
            _ => None,
        }
    }
}

/// The internetwork protocol, `ar$pro.type` and `ar$pro.snap` (RFC 2332 5.1).
///
/// There are several ways to write IP. The `EtherType` is the one to send; the way that was received is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProtocolType {
    number: u16,
    snap: [u8; 5],
}

impl ProtocolType {
    /// IPv4 by its `EtherType`.
    pub const IPV4: Self = Self { number: 0x0800, snap: [0; 5] };
    /// IPv6 by its `EtherType`.
    pub const IPV6: Self = Self { number: 0x86DD, snap: [0; 5] };
    /// `ar$pro.type` that says "see the SNAP bytes": an organization and, for organization 0, an `EtherType`.
    const SNAP: u16 = 0x0080;
    /// Network layer protocol identifiers of IPv4 and IPv6.
    const NLPID_IPV4: u16 = 0x00CC;
    const NLPID_IPV6: u16 = 0x008E;

    /// The type to send for a family.
    pub const fn of(family: IpFamily) -> Self {
        match family {
            IpFamily::V4 => Self::IPV4,
            IpFamily::V6 => Self::IPV6,
        }
    }

    /// From the two fields; `None` when they name neither IPv4 nor IPv6.
    pub const fn from_fields(number: u16, snap: [u8; 5]) -> Option<Self> {
        let this = Self { number, snap };
        match this.lookup() {
            Some(_) => Some(this),
            None => None,
        }
    }

    /// The two fields: `ar$pro.type` and `ar$pro.snap`.
    pub const fn fields(self) -> (u16, [u8; 5]) {
        (self.number, self.snap)
    }

    /// The family of the protocol addresses.
    pub const fn family(self) -> IpFamily {
        match self.lookup() {
            Some(IpFamily::V6) => IpFamily::V6,
            // `from_fields` refused everything that is neither.
            Some(IpFamily::V4) | None => IpFamily::V4,
        }
    }

    const fn lookup(self) -> Option<IpFamily> {
        match (self.number, self.snap) {
            (0x0800 | Self::NLPID_IPV4, _) | (Self::SNAP, [0, 0, 0, 0x08, 0x00]) => Some(IpFamily::V4),
            (0x86DD | Self::NLPID_IPV6, _) | (Self::SNAP, [0, 0, 0, 0x86, 0xDD]) => Some(IpFamily::V6),
            _ => None,
        }
    }
}

/// An address from the bytes of its field; `None` when no address has that length.
pub(super) fn address_from(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        Some(IpAddr::V4(Ipv4Addr::from(v4)))
    } else {
        <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
    }
}

/// Bytes an address field takes.
pub(super) const fn length_of(address: Option<IpAddr>) -> u8 {
    match address {
        Some(address) => IpFamily::of(address).address_length(),
        None => 0,
    }
}

/// Appends an address, if there is one.
pub(super) fn put_address(buffer: &mut Vec<u8>, address: Option<IpAddr>) {
    match address {
        Some(IpAddr::V4(v4)) => buffer.extend_from_slice(&v4.octets()),
        Some(IpAddr::V6(v6)) => buffer.extend_from_slice(&v6.octets()),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_ip_is_understood_and_kept() {
        for (number, snap, family) in [
            (0x0800, [0; 5], IpFamily::V4),
            (0x86DD, [0; 5], IpFamily::V6),
            // The SNAP bytes mean nothing beside an EtherType.
            (0x0800, [1, 2, 3, 4, 5], IpFamily::V4),
            (0x0080, [0, 0, 0, 0x08, 0x00], IpFamily::V4),
            (0x0080, [0, 0, 0, 0x86, 0xDD], IpFamily::V6),
            (0x00CC, [0; 5], IpFamily::V4),
            (0x008E, [0; 5], IpFamily::V6),
        ] {
            let protocol = ProtocolType::from_fields(number, snap).unwrap();
            assert_eq!(protocol.family(), family);
            assert_eq!(protocol.fields(), (number, snap));
        }
    }

    #[test]
    fn another_protocol_is_refused() {
        for (number, snap) in
            [(0x0806, [0; 5]), (0x0080, [0; 5]), (0x0080, [0, 0, 1, 0x08, 0x00]), (0, [0; 5])]
        {
            assert_eq!(ProtocolType::from_fields(number, snap), None);
        }
    }
}
