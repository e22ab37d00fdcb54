//! An IPv4 or IPv6 address as the maps hold it.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Address family of an [`Address`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Family {
    /// No address.
    #[default]
    None = 0,
    /// IPv4: the first four bytes of [`Address::bytes`].
    Ipv4 = 4,
    /// IPv6: all sixteen bytes.
    Ipv6 = 6,
}

/// An address of either family, in network byte order; unused bytes are zero, so it can be part of a hash key.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Address {
    /// Which family, and so how many bytes count.
    pub family: Family,
    /// The address, left-aligned.
    pub bytes: [u8; 16],
}

impl Address {
    /// An IPv4 address from its four bytes.
    #[inline(always)]
    pub const fn v4(bytes: [u8; 4]) -> Self {
        let [a, b, c, d] = bytes;
        Self { family: Family::Ipv4, bytes: [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] }
    }

    /// An IPv6 address from its sixteen bytes.
    #[inline(always)]
    pub const fn v6(bytes: [u8; 16]) -> Self {
        Self { family: Family::Ipv6, bytes }
    }

    /// The address as the standard library's type; `None` for [`Family::None`].
    pub const fn to_ip(self) -> Option<IpAddr> {
        match self.family {
            Family::None => None,
            Family::Ipv4 => {
                let [a, b, c, d, ..] = self.bytes;
                Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
            }
            Family::Ipv6 => Some(IpAddr::V6(Ipv6Addr::from_octets(self.bytes))),
        }
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::v4(v4.octets()),
            IpAddr::V6(v6) => Self::v6(v6.octets()),
        }
    }
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, no padding, no pointers. The family is only ever written by this project's own code, in
// a directory named after the layout version.
#[expect(unsafe_code, reason = "aya reads and writes map values as plain bytes")]
unsafe impl aya::Pod for Address {}

const _: () = assert!(size_of::<Address>() == 20 && align_of::<Address>() == 4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_both_families() {
        for text in ["192.0.2.1", "2001:db8::1"] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(Address::from(ip).to_ip(), Some(ip));
        }
        assert_eq!(Address::default().to_ip(), None);
    }
}
