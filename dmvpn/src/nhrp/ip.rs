//! The IP header: of the packet that carries NHRP, and of the data packet that a Traffic Indication quotes.

use std::net::IpAddr;

use thiserror::Error;

use super::wire::IpFamily;

/// Most IPv6 extension headers that are walked over.
const MAX_EXTENSION_HEADERS: usize = 8;

/// What an IP header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpHeader {
    /// Sender.
    pub source: IpAddr,
    /// Receiver.
    pub destination: IpAddr,
    /// Protocol of the payload; with IPv6, behind the extension headers.
    pub protocol: u8,
    /// Type of service or traffic class: the DSCP and two bits of ECN.
    pub tos: u8,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Bytes of the header with its options or extension headers.
    pub length: usize,
    /// Bytes of the whole packet as it was sent.
    pub total: usize,
    /// Which part of a fragmented packet it is; `None`: it is whole.
    pub fragment: Option<Fragment>,
}

/// A part of a fragmented packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// The first: its payload begins with the header of [`IpHeader::protocol`].
    First,
    /// Another one.
    Later,
}

/// Why bytes are not an IP packet.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum IpFault {
    /// They end inside the header.
    #[error("an IP header of {needed} bytes, of which {there} are there")]
    Truncated {
        /// Bytes the header has at least.
        needed: usize,
        /// Bytes there are.
        there: usize,
    },
    /// Neither 4 nor 6.
    #[error("IP version {0}")]
    Version(u8),
    /// A header length or total length that cannot be.
    #[error("an IP packet of {total} bytes with a header of {header}")]
    Length {
        /// The header's length.
        header: usize,
        /// The packet's length.
        total: usize,
    },
    /// More IPv6 extension headers than anyone sends.
    #[error("more than {MAX_EXTENSION_HEADERS} IPv6 extension headers")]
    ExtensionHeaders,
}

impl IpHeader {
    /// Reads the header at the start of `bytes`. The packet may go on after their end.
    pub fn parse(bytes: &[u8]) -> Result<Self, IpFault> {
        match bytes.first().map(|first| first >> 4) {
            Some(4) => Self::parse_v4(bytes),
            Some(6) => Self::parse_v6(bytes),
            Some(other) => Err(IpFault::Version(other)),
            None => Err(IpFault::Truncated { needed: 20, there: 0 }),
        }
    }

    /// Which IP it is.
    pub const fn family(&self) -> IpFamily {
        IpFamily::of(self.source)
    }

    fn parse_v4(bytes: &[u8]) -> Result<Self, IpFault> {
        let [first, tos, t0, t1, _, _, f0, f1, ttl, protocol, _, _, addresses @ ..]: [u8; 20] =
            array(bytes, 0)?;
        let [s0, s1, s2, s3, d0, d1, d2, d3] = addresses;
        let length = usize::from(first & 0x0F) * 4;
        let total = usize::from(u16::from_be_bytes([t0, t1]));
        if length < 20 || total < length {
            return Err(IpFault::Length { header: length, total });
        }
        if bytes.len() < length {
            return Err(IpFault::Truncated { needed: length, there: bytes.len() });
        }
        let fragment = u16::from_be_bytes([f0, f1]);
        Ok(Self {
            source: [s0, s1, s2, s3].into(),
            destination: [d0, d1, d2, d3].into(),
            protocol,
            tos,
            ttl,
            length,
            total,
            fragment: fragment_of(fragment & 0x1FFF, fragment & 0x2000 != 0),
        })
    }

    fn parse_v6(bytes: &[u8]) -> Result<Self, IpFault> {
        /// Next header numbers of the headers that are walked over (RFC 8200).
        const HOP_BY_HOP: u8 = 0;
        const ROUTING: u8 = 43;
        const FRAGMENT: u8 = 44;
        const DESTINATION_OPTIONS: u8 = 60;

        let [c0, c1, _, _, p0, p1, next, ttl]: [u8; 8] = array(bytes, 0)?;
        let source: [u8; 16] = array(bytes, 8)?;
        let destination: [u8; 16] = array(bytes, 24)?;
        let total = 40 + usize::from(u16::from_be_bytes([p0, p1]));
        let (mut protocol, mut length, mut fragment, mut walked) = (next, 40, None, 0);
        loop {
            let more = match protocol {
                HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                    let [next, units]: [u8; 2] = array(bytes, length)?;
                    protocol = next;
                    8 + usize::from(units) * 8
                }
                FRAGMENT => {
                    let [next, _, f0, f1]: [u8; 4] = array(bytes, length)?;
                    let field = u16::from_be_bytes([f0, f1]);
                    protocol = next;
                    fragment = fragment_of(field >> 3, field & 1 != 0);
                    8
                }
                _ => break,
            };
            length += more;
            walked += 1;
            if length > total {
                return Err(IpFault::Length { header: length, total });
            }
            if walked > MAX_EXTENSION_HEADERS {
                return Err(IpFault::ExtensionHeaders);
            }
            // What follows in a later fragment is not a header.
            if fragment == Some(Fragment::Later) {
                break;
            }
        }
        if bytes.len() < length {
            return Err(IpFault::Truncated { needed: length, there: bytes.len() });
        }
        Ok(Self {
            source: source.into(),
            destination: destination.into(),
            protocol,
            tos: (c0 << 4) | (c1 >> 4),
            ttl,
            length,
            total,
            fragment,
        })
    }
}

const fn fragment_of(offset: u16, more: bool) -> Option<Fragment> {
    match (offset, more) {
        (0, false) => None,
        (0, true) => Some(Fragment::First),
        _ => Some(Fragment::Later),
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], IpFault> {
    bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .copied()
        .ok_or(IpFault::Truncated { needed: at + N, there: bytes.len() })
}

/// The name of an IP protocol, as people write it; its number, if it is none of those met in a DMVPN.
pub fn protocol_name(protocol: u8) -> String {
    let name = match protocol {
        1 => "ICMP",
        2 => "IGMP",
        4 => "IPIP",
        6 => "TCP",
        17 => "UDP",
        41 => "IPv6",
        47 => "GRE",
        50 => "ESP",
        51 => "AH",
        54 => "NHRP",
        58 => "ICMPv6",
        88 => "EIGRP",
        89 => "OSPF",
        103 => "PIM",
        112 => "VRRP",
        other => return format!("IP protocol {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nhrp::wire::tests::bytes;

    fn parse(text: &str) -> Result<IpHeader, IpFault> {
        IpHeader::parse(&bytes(text))
    }

    const V6: &str = "20010db8000000000000000000000001 20010db8000000000000000000000002";

    #[test]
    fn ipv4_without_and_with_options() {
        let expected = IpHeader {
            source: "192.0.2.1".parse().unwrap(),
            destination: "192.0.2.2".parse().unwrap(),
            protocol: 47,
            tos: 0xC0,
            ttl: 255,
            length: 20,
            total: 84,
            fragment: None,
        };
        assert_eq!(parse("45c0 0054 0001 4000 ff2f 0000 c0000201 c0000202"), Ok(expected));
        let options = parse("46c0 0054 0001 4000 ff2f 0000 c0000201 c0000202 94040000");
        assert_eq!(options, Ok(IpHeader { length: 24, ..expected }));
    }

    #[test]
    fn fragments_are_told_from_whole_packets() {
        for (field, fragment) in [
            ("4000", None),
            ("2000", Some(Fragment::First)),
            ("2001", Some(Fragment::Later)),
            ("0001", Some(Fragment::Later)),
        ] {
            let header = parse(&format!("4500 0054 0001 {field} ff2f 0000 c0000201 c0000202")).unwrap();
            assert_eq!(header.fragment, fragment, "{field}");
        }
    }

    #[test]
    fn ipv6_behind_extension_headers() {
        let header = parse(&format!("6c000000 0010 2f ff {V6}")).unwrap();
        assert_eq!((header.protocol, header.length, header.total, header.tos), (47, 40, 56, 0xC0));
        let header = parse(&format!("60000000 0030 00 ff {V6} 3c00000000000000 2f01 000000000000 {V6}"));
        assert_eq!(header.map(|header| (header.protocol, header.length)), Ok((47, 64)));
    }

    #[test]
    fn ipv6_fragments() {
        for (field, fragment, protocol) in [
            ("0000", None, 47),
            ("0001", Some(Fragment::First), 47),
            // What looks like another header in a later one is data.
            ("0009", Some(Fragment::Later), 60),
        ] {
            let header =
                parse(&format!("60000000 0030 2c ff {V6} {protocol:02x}00 {field} 00000001 ff")).unwrap();
            assert_eq!((header.fragment, header.length), (fragment, 48), "{field}");
            assert_eq!(header.protocol, protocol);
        }
    }

    #[test]
    fn refuses_what_cannot_be() {
        for (text, fault) in [
            ("", IpFault::Truncated { needed: 20, there: 0 }),
            ("45", IpFault::Truncated { needed: 20, there: 1 }),
            ("55", IpFault::Version(5)),
            ("4400 0054 0001 4000 ff2f 0000 c0000201 c0000202", IpFault::Length { header: 16, total: 84 }),
            ("4500 0013 0001 4000 ff2f 0000 c0000201 c0000202", IpFault::Length { header: 20, total: 19 }),
            ("4600 0054 0001 4000 ff2f 0000 c0000201 c0000202", IpFault::Truncated { needed: 24, there: 20 }),
            ("60000000 0010 2f ff", IpFault::Truncated { needed: 24, there: 8 }),
            ("4f", IpFault::Truncated { needed: 20, there: 1 }),
        ] {
            assert_eq!(parse(text), Err(fault), "{text}");
        }
        assert_eq!(
            parse(&format!("60000000 0010 00 ff {V6} 2fff")),
            Err(IpFault::Length { header: 40 + 2048, total: 56 })
        );
        let endless = format!("60000000 ffff 00 ff {V6} {}", "0000000000000000".repeat(20));
        assert_eq!(parse(&endless), Err(IpFault::ExtensionHeaders));
    }
}
