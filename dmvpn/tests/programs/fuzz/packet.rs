//! Reads frames as the standards say, from the first byte to the last, without a line of the programs' own code.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::frames::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, GRE};

/// An outer IP header, whole or not, in front of GRE.
pub(super) struct Outer {
    /// Length of the link-layer header.
    pub(super) link: usize,
    pub(super) source: IpAddr,
    pub(super) local: IpAddr,
    pub(super) tos: u8,
    /// No options, no fragment: nothing that takes a closer look.
    pub(super) plain: bool,
    /// Where the GRE header of a plain one begins.
    pub(super) gre: usize,
    /// Where the outer packet ends, as it says itself.
    pub(super) end: usize,
}

impl Outer {
    /// `None`: no GRE, as far as can be seen.
    pub(super) fn read(frame: &[u8]) -> Option<Self> {
        let (link, protocol) = match half(frame, 12)? {
            0x8100 => (18, half(frame, 16)?),
            other => (14, other),
        };
        let packet = &frame[link..];
        match protocol {
            ETHERTYPE_IPV4 if packet.len() >= 20 => {
                let plain = packet[0] == 0x45 && half(packet, 6)?.trailing_zeros() >= 14;
                (packet[9] == GRE).then(|| Self {
                    link,
                    plain,
                    source: ipv4(packet, 12).into(),
                    local: ipv4(packet, 16).into(),
                    tos: packet[1],
                    gre: link + 20,
                    end: link + usize::from(u16::from_be_bytes([packet[2], packet[3]])),
                })
            }
            ETHERTYPE_IPV6 if packet.len() >= 40 => (packet[0] >> 4 == 6 && packet[6] == GRE).then(|| Self {
                link,
                plain: true,
                source: ipv6(packet, 8).into(),
                local: ipv6(packet, 24).into(),
                tos: packet[0] << 4 | packet[1] >> 4,
                gre: link + 40,
                end: link + 40 + usize::from(u16::from_be_bytes([packet[4], packet[5]])),
            }),
            _ => None,
        }
    }
}

/// The header of an inner packet that is well formed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inner {
    /// As an `EtherType`.
    pub(super) protocol: u16,
    pub(super) tos: u8,
    pub(super) length: usize,
    pub(super) dont_fragment: bool,
    pub(super) hops: u8,
    /// Options that a router has to look at.
    pub(super) options: bool,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) checksum_is_right: bool,
}

impl Inner {
    /// A header that says nothing.
    pub(super) const EMPTY: Self = Self {
        protocol: 0,
        tos: 0,
        length: 0,
        dont_fragment: false,
        hops: 0,
        options: false,
        source: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        destination: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        checksum_is_right: false,
    };

    /// Reads the packet at the begin of `bytes`, of which `room` belong to what it came in. `None`: it contradicts itself,
    /// its protocol type or the room.
    pub(super) fn read(bytes: &[u8], room: usize, protocol: u16) -> Option<Self> {
        let bytes = &bytes[..room.min(bytes.len())];
        let inner = match protocol {
            ETHERTYPE_IPV4 => Self::read_ipv4(bytes)?,
            ETHERTYPE_IPV6 => Self::read_ipv6(bytes)?,
            _ => return None,
        };
        (inner.length <= bytes.len()).then_some(inner)
    }

    fn read_ipv4(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..20)?;
        let header_length = usize::from(header[0] & 15) * 4;
        let length = usize::from(half(header, 2)?);
        if header[0] >> 4 != 4 || header_length < 20 || length < header_length {
            return None;
        }
        Some(Self {
            protocol: ETHERTYPE_IPV4,
            tos: header[1],
            length,
            dont_fragment: header[6] & 0x40 != 0,
            hops: header[8],
            options: header_length > 20,
            source: ipv4(header, 12).into(),
            destination: ipv4(header, 16).into(),
            checksum_is_right: sum(header) == 0xffff,
        })
    }

    fn read_ipv6(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..40)?;
        (header[0] >> 4 == 6).then_some(())?;
        Some(Self {
            protocol: ETHERTYPE_IPV6,
            tos: header[0] << 4 | header[1] >> 4,
            length: 40 + usize::from(half(header, 4)?),
            // Nobody on the way may cut it (RFC 8200, 5).
            dont_fragment: true,
            hops: header[7],
            options: header[6] == 0,
            source: ipv6(header, 8).into(),
            destination: ipv6(header, 24).into(),
            checksum_is_right: true,
        })
    }

    /// Whether a router that does nothing but forward may forward it.
    pub(super) fn is_plain(&self) -> bool {
        !self.options && self.hops > 1 && is_unicast(self.source) && is_unicast(self.destination)
    }
}

/// Whether an address belongs to one node, and that may be on another link.
pub(super) fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, ..] = address.octets();
            first != 0 && first < 224 && !address.is_loopback() && !address.is_link_local()
        }
        // All of ::/96 is left out: no address there is in use.
        IpAddr::V6(address) => {
            !address.is_multicast()
                && !address.is_unicast_link_local()
                && address.octets()[..12].iter().any(|&byte| byte != 0)
        }
    }
}

/// Whether nobody sends from an address, so that the kernel takes nothing from there.
pub(super) fn is_martian(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_unspecified()
                || address.is_loopback()
                || address.is_multicast()
                || address.is_broadcast()
        }
        IpAddr::V6(address) => address.is_multicast() || address.octets()[..12].iter().all(|&byte| byte == 0),
    }
}

/// Changes a word of an IPv4 header, and its checksum as RFC 1624 says.
fn change(packet: &mut [u8], at: usize, new: u16) {
    let (old, check) = (half(packet, at).unwrap(), half(packet, 10).unwrap());
    let mut total = u32::from(!check) + u32::from(!old) + u32::from(new);
    total = (total & 0xffff) + (total >> 16);
    total = (total & 0xffff) + (total >> 16);
    packet[at..at + 2].copy_from_slice(&new.to_be_bytes());
    packet[10..12].copy_from_slice(&(!u16::try_from(total).unwrap()).to_be_bytes());
}

/// Gives a packet another type of service or traffic class.
pub(super) fn set_tos(packet: &mut [u8], protocol: u16, tos: u8) {
    if protocol == ETHERTYPE_IPV6 {
        packet[0] = packet[0] & 0xf0 | tos >> 4;
        packet[1] = packet[1] & 0x0f | tos << 4;
    } else {
        let new = u16::from_be_bytes([packet[0], tos]);
        change(packet, 0, new);
    }
}

/// Takes one hop from a packet.
pub(super) fn take_hop(packet: &mut [u8], protocol: u16) {
    if protocol == ETHERTYPE_IPV6 {
        packet[7] -= 1;
    } else {
        let new = u16::from_be_bytes([packet[8] - 1, packet[9]]);
        change(packet, 8, new);
    }
}

/// What comes of the type of service when the outer header goes (RFC 6040, figure 4); `None`: the packet goes, too.
pub(super) fn decapsulated_tos(inner: u8, outer: u8) -> Option<u8> {
    const NOT_ECT: u8 = 0;
    const ECT_1: u8 = 1;
    const ECT_0: u8 = 2;
    const CE: u8 = 3;
    let ecn = match (inner & 3, outer & 3) {
        (NOT_ECT, CE) => return None,
        (NOT_ECT, _) => NOT_ECT,
        (CE, _) | (_, CE) => CE,
        (ECT_0, ECT_1) => ECT_1,
        (inner, _) => inner,
    };
    Some(inner & !3 | ecn)
}

/// One's complement sum of 16-bit words.
pub(super) fn sum(bytes: &[u8]) -> u16 {
    let total: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = (total & 0xffff) + (total >> 16);
    u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap()
}

pub(super) fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().unwrap()))
}

pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().unwrap()))
}

fn ipv4(bytes: &[u8], at: usize) -> Ipv4Addr {
    <[u8; 4]>::try_from(&bytes[at..at + 4]).unwrap().into()
}

fn ipv6(bytes: &[u8], at: usize) -> Ipv6Addr {
    <[u8; 16]>::try_from(&bytes[at..at + 16]).unwrap().into()
}
