//! Address families and the address fields of the packet.

use std::net::IpAddr;

use super::{EncodeError, Fault};

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
/// There are several ways to write IP. The EtherType is the one to send; the way that was received is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProtocolType {
    family: IpFamily,
    number: u16,
    snap: [u8; 5],
}

impl ProtocolType {
    /// IPv4 by its EtherType.
    pub const IPV4: Self = Self { family: IpFamily::V4, number: 0x0800, snap: [0; 5] };
    /// IPv6 by its EtherType.
    pub const IPV6: Self = Self { family: IpFamily::V6, number: 0x86DD, snap: [0; 5] };
    /// `ar$pro.type` that says "see the SNAP bytes": an organization and, for organization 0, an EtherType.
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
        let family = match (number, snap) {
            (0x0800 | Self::NLPID_IPV4, _) | (Self::SNAP, [0, 0, 0, 0x08, 0x00]) => IpFamily::V4,
            (0x86DD | Self::NLPID_IPV6, _) | (Self::SNAP, [0, 0, 0, 0x86, 0xDD]) => IpFamily::V6,
            _ => return None,
        };
        Some(Self { family, number, snap })
    }

    /// The two fields: `ar$pro.type` and `ar$pro.snap`.
    pub const fn fields(self) -> (u16, [u8; 5]) {
        (self.number, self.snap)
    }

    /// The family of the protocol addresses.
    pub const fn family(self) -> IpFamily {
        self.family
    }
}

/// Checks the length of a protocol address: none, or what the family has (either, when it is not given).
pub(super) const fn check_length(length: u8, family: Option<IpFamily>) -> Result<(), Fault> {
    match (length, family) {
        (0, _) | (4, None | Some(IpFamily::V4)) | (16, None | Some(IpFamily::V6)) => Ok(()),
        _ => Err(Fault::AddressLength(length)),
    }
}

/// Checks the type and length of an NBMA address: bit 7 is always zero, bit 6 says E.164 (RFC 2332 5.1).
pub(super) const fn check_type_and_length(field: u8, family: Option<IpFamily>) -> Result<(), Fault> {
    match check_subaddress_length(field) {
        Ok(()) => check_length(field, family),
        refused => refused,
    }
}

/// Checks the type and length of an NBMA subaddress: any length of the right type.
pub(super) const fn check_subaddress_length(field: u8) -> Result<(), Fault> {
    if field & 0xC0 == 0 { Ok(()) } else { Err(Fault::AddressType(field)) }
}

/// An address from the bytes of its field, whose length was checked: none from no bytes.
#[inline]
pub(super) fn address_from(field: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(field) {
        Some(v4.into())
    } else {
        <[u8; 16]>::try_from(field).ok().map(IpAddr::from)
    }
}

/// Length field of a subaddress to be written.
pub(super) fn subaddress_length(subaddress: &[u8]) -> Result<u8, EncodeError> {
    match u8::try_from(subaddress.len()) {
        Ok(length @ ..=63) => Ok(length),
        _ => Err(EncodeError::SubaddressTooLong(subaddress.len())),
    }
}

/// Length field of an address to be written, which must be of the family, where one is given.
pub(super) fn address_length(address: Option<IpAddr>, family: Option<IpFamily>) -> Result<u8, EncodeError> {
    let Some(address) = address else { return Ok(0) };
    let own = IpFamily::of(address);
    if family.is_none_or(|family| family == own) {
        Ok(own.address_length())
    } else {
        Err(EncodeError::AddressFamily(address))
    }
}

/// Appends an address, if there is one.
pub(super) fn write_address(buffer: &mut Vec<u8>, address: Option<IpAddr>) {
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
    fn the_length_fits_the_family() {
        for (length, family, fits) in [
            (0, Some(IpFamily::V4), true),
            (4, Some(IpFamily::V4), true),
            (16, Some(IpFamily::V4), false),
            (4, Some(IpFamily::V6), false),
            (16, Some(IpFamily::V6), true),
            (4, None, true),
            (16, None, true),
            (5, None, false),
        ] {
            assert_eq!(check_length(length, family).is_ok(), fits, "{length} {family:?}");
            assert_eq!(check_type_and_length(length, family).is_ok(), fits, "{length} {family:?}");
        }
        for field in [0x44, 0x84, 0x40] {
            assert_eq!(check_type_and_length(field, None), Err(Fault::AddressType(field)));
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
