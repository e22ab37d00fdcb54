//! Frames, spelled out field by field and independently of the programs' own code.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses that occur in most frames. `LOCAL` is the box under test, the others are its peers and strangers.
pub(crate) const LOCAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const SPOKE_1: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub(crate) const SPOKE_2: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
pub(crate) const STRANGER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);

/// Link-layer addresses of the underlay: ours and the gateway's.
pub(crate) const WAN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];

pub(crate) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(crate) const ETHERTYPE_ARP: u16 = 0x0806;
pub(crate) const ETHERTYPE_IPV6: u16 = 0x86dd;
pub(crate) const GRE: u8 = 47;
pub(crate) const UDP: u8 = 17;
pub(crate) const TCP: u8 = 6;

/// Don't fragment.
pub(crate) const DF: u16 = 0x4000;

/// An Ethernet frame.
pub(crate) fn ethernet(to: [u8; 6], from: [u8; 6], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from[..], &ether_type.to_be_bytes(), payload].concat()
}

/// An IPv4 packet.
#[derive(Clone, Debug)]
pub(crate) struct Ip {
    pub(crate) tos: u8,
    pub(crate) identification: u16,
    pub(crate) fragment: u16,
    pub(crate) ttl: u8,
    pub(crate) protocol: u8,
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    /// What the header claims instead of the real length.
    pub(crate) length: Option<u16>,
}

impl Ip {
    /// A UDP packet between sites, `size` bytes long in all.
    pub(crate) fn between(source: [u8; 4], destination: [u8; 4], size: usize) -> Self {
        let payload = (0..=255).cycle().take(size - 20).collect();
        Self {
            tos: 0,
            identification: 0x1234,
            fragment: 0,
            ttl: 64,
            protocol: UDP,
            source: source.into(),
            destination: destination.into(),
            options: Vec::new(),
            payload,
            length: None,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let header_length = 20 + self.options.len();
        assert!(header_length.is_multiple_of(4));
        let length = self.length.unwrap_or_else(|| short(header_length + self.payload.len()));
        let mut header = vec![0x40 | u8::try_from(header_length / 4).unwrap(), self.tos];
        header.extend(length.to_be_bytes());
        header.extend(self.identification.to_be_bytes());
        header.extend(self.fragment.to_be_bytes());
        header.extend([self.ttl, self.protocol, 0, 0]);
        header.extend(self.source.octets());
        header.extend(self.destination.octets());
        header.extend(&self.options);
        let checksum = !sum(&header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header.extend(&self.payload);
        header
    }
}

/// A GRE packet in an IPv4 packet in a frame.
#[derive(Clone, Debug)]
pub(crate) struct Gre {
    pub(crate) to: [u8; 6],
    pub(crate) from: [u8; 6],
    /// The outer packet; its payload is made from the rest.
    pub(crate) ip: Ip,
    /// Flags and version, beside the key flag.
    pub(crate) flags: u16,
    pub(crate) key: Option<u32>,
    pub(crate) protocol: u16,
    pub(crate) payload: Vec<u8>,
}

impl Gre {
    /// `payload` from `source` to the box under test.
    pub(crate) fn from(source: Ipv4Addr, payload: Vec<u8>) -> Self {
        let ip = Ip { protocol: GRE, ..Ip::between(source.octets(), LOCAL.octets(), 20) };
        Self { to: WAN_MAC, from: GATEWAY_MAC, ip, flags: 0, key: None, protocol: ETHERTYPE_IPV4, payload }
    }

    /// `payload` from the box under test to `destination`, as it is to be sent.
    pub(crate) fn to(destination: Ipv4Addr, payload: Vec<u8>) -> Self {
        let ip = Ip {
            identification: 0,
            fragment: DF,
            ttl: 255,
            protocol: GRE,
            ..Ip::between(LOCAL.octets(), destination.octets(), 20)
        };
        Self { to: GATEWAY_MAC, from: WAN_MAC, ip, flags: 0, key: None, protocol: ETHERTYPE_IPV4, payload }
    }

    pub(crate) fn frame(&self) -> Vec<u8> {
        let key_flag = if self.key.is_some() { 0x2000 } else { 0 };
        let mut gre = (self.flags | key_flag).to_be_bytes().to_vec();
        gre.extend(self.protocol.to_be_bytes());
        gre.extend(self.key.map(u32::to_be_bytes).into_iter().flatten());
        gre.extend(&self.payload);
        ethernet(self.to, self.from, ETHERTYPE_IPV4, &Ip { payload: gre, ..self.ip.clone() }.bytes())
    }
}

/// An IPv6 packet.
#[derive(Clone, Debug)]
pub(crate) struct Ip6 {
    pub(crate) class: u8,
    pub(crate) next_header: u8,
    pub(crate) hop_limit: u8,
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
    pub(crate) payload: Vec<u8>,
}

impl Ip6 {
    /// A UDP packet between sites, `size` bytes long in all.
    pub(crate) fn between(source: &str, destination: &str, size: usize) -> Self {
        Self {
            class: 0,
            next_header: UDP,
            hop_limit: 64,
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            payload: (0..=255).cycle().take(size - 40).collect(),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut packet = vec![0x60 | self.class >> 4, self.class << 4, 0, 0];
        packet.extend(short(self.payload.len()).to_be_bytes());
        packet.extend([self.next_header, self.hop_limit]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(&self.payload);
        packet
    }
}

/// A GRE packet in an IPv6 packet in a frame.
pub(crate) fn gre6(
    [to, from]: [[u8; 6]; 2],
    outer: &Ip6,
    key: Option<u32>,
    protocol: u16,
    payload: &[u8],
) -> Vec<u8> {
    let mut gre = if key.is_some() { vec![0x20, 0] } else { vec![0, 0] };
    gre.extend(protocol.to_be_bytes());
    gre.extend(key.map(u32::to_be_bytes).into_iter().flatten());
    gre.extend(payload);
    let outer = Ip6 { next_header: GRE, payload: gre, ..outer.clone() };
    ethernet(to, from, ETHERTYPE_IPV6, &outer.bytes())
}

/// A TCP header with these flags and options, and a checksum that is right for a packet between these addresses.
pub(crate) fn tcp(
    source: impl Into<IpAddr>,
    destination: impl Into<IpAddr>,
    flags: u8,
    options: &[u8],
) -> Vec<u8> {
    assert!(options.len().is_multiple_of(4));
    let words = u8::try_from(5 + options.len() / 4).unwrap();
    let mut header =
        vec![0x12, 0x34, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8, words << 4, flags, 0xfa, 0xf0, 0, 0, 0, 0];
    header.extend(options);
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let length = short(header.len()).to_be_bytes();
    let pseudo = [octets(source.into()), octets(destination.into()), vec![0, TCP], length.to_vec()].concat();
    let checksum = !sum(&[pseudo, header.clone()].concat());
    header[16..18].copy_from_slice(&checksum.to_be_bytes());
    header
}

/// `frame` with an 802.1Q tag.
pub(crate) fn tagged(vlan: u16, frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &[0x81, 0x00], &vlan.to_be_bytes(), &frame[12..]].concat()
}

/// An IPv6 packet of 64 bytes with the given traffic class.
pub(crate) fn ipv6(class: u8) -> Vec<u8> {
    let mut packet = vec![0x60 | class >> 4, class << 4, 0, 0, 0, 24, UDP, 64];
    packet.extend([0xfd; 16]);
    packet.extend([0xfc; 16]);
    packet.extend(0..24);
    packet
}

/// One's complement sum of 16-bit words in network order.
fn sum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    short(sum as usize)
}

fn short(value: usize) -> u16 {
    value.try_into().unwrap()
}
