//! The head of a data packet, as a Traffic Indication quotes it.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use serde::Serialize;

use crate::nhrp::ip::{Fragment, IpHeader, protocol_name};

/// What the head of a data packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DataPacket {
    /// Sender.
    pub source: IpAddr,
    /// Receiver.
    pub destination: IpAddr,
    /// Number of the IP protocol of its payload.
    pub protocol: u8,
    /// Port it was sent from; absent unless it is TCP or UDP and the quote goes that far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// Port it was sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<u16>,
    /// Bytes of the whole packet.
    pub length: usize,
}

impl DataPacket {
    /// Reads the head of a packet; `None` when it is not IP or does not hold the whole IP header.
    pub fn parse(head: &[u8]) -> Option<Self> {
        const TCP: u8 = 6;
        const UDP: u8 = 17;

        let header = IpHeader::parse(head).ok()?;
        let payload = head.get(header.length..).unwrap_or_default();
        let ports = match (header.protocol, header.fragment, payload.first_chunk()) {
            (TCP | UDP, None | Some(Fragment::First), Some(&[s0, s1, d0, d1])) => {
                Some((u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])))
            }
            _ => None,
        };
        Some(Self {
            source: header.source,
            destination: header.destination,
            protocol: header.protocol,
            source_port: ports.map(|(source, _)| source),
            destination_port: ports.map(|(_, destination)| destination),
            length: header.total,
        })
    }
}

impl fmt::Display for DataPacket {
    /// `192.168.2.7 > 192.168.3.5 ICMP`, `192.168.2.7:1024 > 192.168.3.5:80 TCP`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (source, destination) = (self.source, self.destination);
        match (self.source_port, self.destination_port) {
            (Some(from), Some(to)) => {
                write!(f, "{} > {}", SocketAddr::from((source, from)), SocketAddr::from((destination, to)))?;
            }
            _ => write!(f, "{source} > {destination}")?,
        }
        write!(f, " {}", protocol_name(self.protocol))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nhrp::wire::tests::bytes;

    fn shown(text: &str) -> Option<String> {
        DataPacket::parse(&bytes(text)).map(|packet| packet.to_string())
    }

    #[test]
    fn names_the_protocol_and_the_ports() {
        let v4 = |fields: &str| format!("4500 0054 0001 {fields} 0000 c0a80207 c0a80305 0400 0050 0000 0000");
        assert_eq!(shown(&v4("4000 3f01")).unwrap(), "192.168.2.7 > 192.168.3.5 ICMP");
        assert_eq!(shown(&v4("4000 3f06")).unwrap(), "192.168.2.7:1024 > 192.168.3.5:80 TCP");
        assert_eq!(shown(&v4("2000 3f11")).unwrap(), "192.168.2.7:1024 > 192.168.3.5:80 UDP");
        assert_eq!(shown(&v4("2001 3f11")).unwrap(), "192.168.2.7 > 192.168.3.5 UDP");
        assert_eq!(shown(&v4("4000 3fc8")).unwrap(), "192.168.2.7 > 192.168.3.5 IP protocol 200");
        assert_eq!(
            shown("4500 0054 0001 4000 3f11 0000 c0a80207 c0a80305 0400").unwrap(),
            "192.168.2.7 > 192.168.3.5 UDP"
        );
        let v6 =
            "60000000 0010 06 40 20010db8000000000000000000000001 20010db8000000000000000000000002 0400 0050";
        assert_eq!(shown(v6).unwrap(), "[2001:db8::1]:1024 > [2001:db8::2]:80 TCP");
    }

    #[test]
    fn says_nothing_without_a_whole_header() {
        assert_eq!(shown("4500 0054 0001 4000 3f01 0000 c0a80207 c0a803"), None);
        assert_eq!(shown(""), None);
    }
}
