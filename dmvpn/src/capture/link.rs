//! What is before the IP header.

use std::fmt;

/// What the first bytes of a frame are: a LINKTYPE number of the pcap formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: four bytes with the protocol family, in the byte order of the machine that recorded it.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// IP without anything before it.
    pub const RAW: Self = Self(101);
    /// OpenBSD loopback: four bytes with the protocol family, in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux "any" device: a made-up header of 16 bytes.
    pub const LINUX_SLL: Self = Self(113);
    /// IPv4 without anything before it.
    pub const IPV4: Self = Self(228);
    /// IPv6 without anything before it.
    pub const IPV6: Self = Self(229);
    /// Linux "any" device: a made-up header of 20 bytes.
    pub const LINUX_SLL2: Self = Self(276);

    /// From a file's field, whose upper half says how long the frame check sequence is.
    pub(super) const fn from_field(field: u32) -> Self {
        let [.., high, low] = field.to_be_bytes();
        Self(u16::from_be_bytes([high, low]))
    }
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NULL | Self::LOOP => f.write_str("loopback"),
            Self::ETHERNET => f.write_str("Ethernet"),
            Self::RAW | Self::IPV4 | Self::IPV6 => f.write_str("raw IP"),
            Self::LINUX_SLL | Self::LINUX_SLL2 => f.write_str("Linux cooked"),
            Self(number) => write!(f, "link type {number}"),
        }
    }
}

/// Why there is no IP packet behind a link header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkFault {
    /// A link type that is not read here.
    Unknown,
    /// The frame ends inside the header.
    Truncated,
    /// Another protocol, by its EtherType or protocol family.
    Protocol(u32),
}

/// VLAN numbers of a frame, the outer first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Vlans {
    numbers: [u16; Self::MOST],
    count: usize,
}

impl Vlans {
    /// More tags than this are not looked through.
    const MOST: usize = 4;

    pub(super) fn as_slice(&self) -> &[u16] {
        &self.numbers[..self.count]
    }
}

/// The IP packet in a frame, and the VLANs around it.
pub(super) fn ip_packet(link: LinkType, bytes: &[u8]) -> Result<(&[u8], Vlans), LinkFault> {
    /// Where each header has the EtherType, and how long it is.
    const ETHERNET: (usize, usize) = (12, 14);
    const SLL: (usize, usize) = (14, 16);
    const SLL2: (usize, usize) = (0, 20);

    match link {
        LinkType::ETHERNET => behind_ethertype(bytes, ETHERNET),
        LinkType::LINUX_SLL => behind_ethertype(bytes, SLL),
        LinkType::LINUX_SLL2 => behind_ethertype(bytes, SLL2),
        // The last two are the numbers of raw IP on some systems.
        LinkType::RAW | LinkType::IPV4 | LinkType::IPV6 | LinkType(12 | 14) => Ok((bytes, Vlans::default())),
        LinkType::NULL | LinkType::LOOP => Ok((behind_family(bytes)?, Vlans::default())),
        _ => Err(LinkFault::Unknown),
    }
}

fn behind_ethertype(bytes: &[u8], (at, mut length): (usize, usize)) -> Result<(&[u8], Vlans), LinkFault> {
    /// A tag: its number, then the next EtherType (IEEE 802.1Q, 802.1ad, and what was used before it).
    const TAGS: [u16; 3] = [0x8100, 0x88A8, 0x9100];
    const IPV4: u16 = 0x0800;
    const IPV6: u16 = 0x86DD;

    let mut kind = number(bytes, at)?;
    let mut vlans = Vlans::default();
    while TAGS.contains(&kind) && vlans.count < Vlans::MOST {
        vlans.numbers[vlans.count] = number(bytes, length)? & 0x0FFF;
        vlans.count += 1;
        kind = number(bytes, length + 2)?;
        length += 4;
    }
    match kind {
        IPV4 | IPV6 => Ok((bytes.get(length..).ok_or(LinkFault::Truncated)?, vlans)),
        other => Err(LinkFault::Protocol(other.into())),
    }
}

fn behind_family(bytes: &[u8]) -> Result<&[u8], LinkFault> {
    /// `AF_INET` and the four values of `AF_INET6`: Linux, NetBSD and OpenBSD, FreeBSD, macOS.
    const IP: [u32; 5] = [2, 10, 24, 28, 30];

    let (field, rest) = bytes.split_first_chunk().ok_or(LinkFault::Truncated)?;
    let family = u32::from_le_bytes(*field);
    if IP.contains(&family) || IP.contains(&family.swap_bytes()) {
        return Ok(rest);
    }
    Err(LinkFault::Protocol(family.min(family.swap_bytes())))
}

fn number(bytes: &[u8], at: usize) -> Result<u16, LinkFault> {
    match bytes.get(at..at + 2) {
        Some(&[high, low]) => Ok(u16::from_be_bytes([high, low])),
        _ => Err(LinkFault::Truncated),
    }
}
