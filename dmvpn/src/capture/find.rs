//! Finds the NHRP packet in a frame.

use std::{fmt, net::IpAddr};

use super::{Frame, LinkType, link};
use crate::{
    gre::{Gre, GreFault},
    nhrp::ip::{Fragment, IpFault, IpHeader, protocol_name},
};

/// EtherType of NHRP in GRE.
const NHRP_IN_GRE: u16 = 0x2001;

/// IP protocol numbers.
const GRE: u8 = 47;
const NHRP: u8 = 54;

/// What is around an NHRP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// VLAN numbers, the outer first.
    pub vlans: Vec<u16>,
    /// Outer source address.
    pub source: IpAddr,
    /// Outer destination address.
    pub destination: IpAddr,
    /// Outer type of service.
    pub tos: u8,
    /// Outer time to live.
    pub ttl: u8,
    /// The GRE header; `None` when NHRP is directly in IP, as protocol 54.
    pub gre: Option<Gre>,
}

/// An NHRP packet in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// What is around it.
    pub envelope: Envelope,
    /// What was recorded of it.
    pub bytes: &'a [u8],
    /// Bytes that were sent.
    pub length: usize,
}

/// Why there is no NHRP packet in a frame, or none that can be got at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotNhrp {
    /// A link type that is not read here, by its number.
    LinkType(u16),
    /// A frame that ends before it is clear what is in it.
    Short,
    /// Not IP: an EtherType, or a protocol family on a loopback.
    NotIp(u32),
    /// An IP header that cannot be.
    BadIp,
    /// Another IP protocol, by its number.
    Protocol(u8),
    /// A part of a fragmented packet, without its header.
    Fragment,
    /// A GRE header that cannot be, or of another version.
    BadGre,
    /// GRE with another payload, by its EtherType: user traffic.
    Gre(u16),
}

impl fmt::Display for NotNhrp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ESP: u8 = 50;

        match *self {
            Self::LinkType(number) => write!(f, "{} (not known here)", LinkType(number)),
            Self::Short => f.write_str("too short"),
            Self::NotIp(0x0806) => f.write_str("ARP"),
            Self::NotIp(0x8864) => f.write_str("PPPoE (not looked into)"),
            Self::NotIp(number) => write!(f, "protocol {number:#06x}"),
            Self::BadIp => f.write_str("bad IP header"),
            Self::Protocol(ESP) => f.write_str("ESP (encrypted)"),
            Self::Protocol(number) => f.write_str(&protocol_name(number)),
            Self::Fragment => f.write_str("later fragment"),
            Self::BadGre => f.write_str("bad GRE header"),
            Self::Gre(0x0800) => f.write_str("IPv4 in GRE"),
            Self::Gre(0x86DD) => f.write_str("IPv6 in GRE"),
            Self::Gre(number) => write!(f, "protocol {number:#06x} in GRE"),
        }
    }
}

/// Finds the NHRP packet in a frame.
pub fn find<'a>(frame: &Frame<'a>) -> Result<Found<'a>, NotNhrp> {
    let (packet, vlans) = link::ip_packet(frame.link, frame.bytes).map_err(|fault| match fault {
        link::LinkFault::Unknown => NotNhrp::LinkType(frame.link.0),
        link::LinkFault::Truncated => NotNhrp::Short,
        link::LinkFault::Protocol(number) => NotNhrp::NotIp(number),
    })?;
    let header = IpHeader::parse(packet).map_err(|fault| match fault {
        IpFault::Truncated { .. } => NotNhrp::Short,
        IpFault::Version(_) | IpFault::Length { .. } | IpFault::ExtensionHeaders => NotNhrp::BadIp,
    })?;
    if !matches!(header.protocol, GRE | NHRP) {
        return Err(NotNhrp::Protocol(header.protocol));
    }
    if header.fragment == Some(Fragment::Later) {
        return Err(NotNhrp::Fragment);
    }
    // Behind the packet there can be padding.
    let payload = packet.get(header.length..header.total.min(packet.len())).unwrap_or_default();
    let whole = header.fragment.is_none() && packet.len() >= header.total;
    let gre = match header.protocol {
        GRE => Some(Gre::parse(payload, whole).map_err(|fault| match fault {
            GreFault::Truncated { .. } => NotNhrp::Short,
            GreFault::Version(_) | GreFault::Flags(_) => NotNhrp::BadGre,
        })?),
        _ => None,
    };
    let before = match gre {
        Some(Gre { protocol: NHRP_IN_GRE, length, .. }) => length,
        Some(gre) => return Err(NotNhrp::Gre(gre.protocol)),
        None => 0,
    };
    Ok(Found {
        envelope: Envelope {
            vlans: vlans.as_slice().to_vec(),
            source: header.source,
            destination: header.destination,
            tos: header.tos,
            ttl: header.ttl,
            gre,
        },
        bytes: payload.get(before..).unwrap_or_default(),
        length: match header.fragment {
            None => header.total - header.length - before,
            // The other parts hold the rest.
            Some(_) => usize::from(u16::MAX),
        },
    })
}
