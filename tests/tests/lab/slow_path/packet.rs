//! Packets made by hand, outer and inner.

use std::net::{Ipv4Addr, Ipv6Addr};

use dmvpn::checksum::sum;

const GRE: u8 = 47;
const UDP: u8 = 17;

/// GRE protocol type of IPv4.
pub(super) const IPV4: u16 = 0x0800;

/// A GRE header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gre {
    /// There is a checksum, and it is right.
    pub(super) checksum: Option<bool>,
    pub(super) key: Option<u32>,
    pub(super) sequence: Option<u32>,
    pub(super) protocol: u16,
}

/// What every node of the lab sends and expects.
pub(super) const PLAIN: Gre = Gre { checksum: None, key: Some(42), sequence: None, protocol: IPV4 };
/// With a checksum.
pub(super) const CHECKED: Gre = Gre { checksum: Some(true), ..PLAIN };

impl Gre {
    /// Puts the header before `payload`.
    pub(super) fn around(self, payload: &[u8]) -> Vec<u8> {
        let flag = |set: bool, flag: u16| if set { flag } else { 0 };
        let flags = flag(self.checksum.is_some(), 0x8000)
            | flag(self.key.is_some(), 0x2000)
            | flag(self.sequence.is_some(), 0x1000);
        let mut packet = [flags.to_be_bytes(), self.protocol.to_be_bytes()].concat();
        packet.extend(self.checksum.iter().flat_map(|_| [0; 4]));
        packet.extend(self.key.into_iter().chain(self.sequence).flat_map(u32::to_be_bytes));
        packet.extend(payload);
        if let Some(right) = self.checksum {
            let checksum = !sum(&packet) ^ u16::from(!right);
            packet[4..6].copy_from_slice(&checksum.to_be_bytes());
        }
        packet
    }
}

/// An outer or inner IPv4 header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ip<'a> {
    pub(super) source: Ipv4Addr,
    pub(super) destination: Ipv4Addr,
    pub(super) tos: u8,
    pub(super) dont_fragment: bool,
    pub(super) options: &'a [u8],
}

impl Ip<'_> {
    /// From one address to another, without options.
    pub(super) fn between(source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        Self { source, destination, tos: 0, dont_fragment: false, options: &[] }
    }

    /// A GRE packet.
    pub(super) fn gre(&self, payload: &[u8]) -> Vec<u8> {
        self.packet(GRE, 0, 0, payload)
    }

    /// A datagram to port 9999.
    pub(super) fn udp(&self, payload: &[u8]) -> Vec<u8> {
        self.packet(UDP, 0, 0, &datagram(payload))
    }

    /// A GRE packet in pieces, in the wrong order.
    pub(super) fn fragments(&self, id: u16, payload: &[u8]) -> Vec<Vec<u8>> {
        const STEP: usize = 600;
        let pieces = payload.chunks(STEP).enumerate().map(|(number, piece)| {
            let offset = u16::try_from(number * STEP / 8).unwrap();
            let more = if (number + 1) * STEP < payload.len() { 0x2000 } else { 0 };
            self.packet(GRE, id, offset | more, piece)
        });
        let mut pieces: Vec<_> = pieces.collect();
        assert!(pieces.len() > 1);
        pieces.reverse();
        pieces
    }

    fn packet(&self, protocol: u8, id: u16, fragment: u16, payload: &[u8]) -> Vec<u8> {
        let length = 20 + self.options.len();
        let mut packet = vec![0x40 | u8::try_from(length / 4).unwrap(), self.tos];
        packet.extend(u16::try_from(length + payload.len()).unwrap().to_be_bytes());
        packet.extend(id.to_be_bytes());
        packet.extend((fragment | if self.dont_fragment { 0x4000 } else { 0 }).to_be_bytes());
        packet.extend([64, protocol, 0, 0]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(self.options);
        let checksum = !sum(&packet);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        packet.extend(payload);
        packet
    }
}

/// An outer IPv6 header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ip6 {
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    pub(super) class: u8,
}

/// Next header numbers.
pub(super) const HOP_BY_HOP: u8 = 0;
pub(super) const DESTINATION_OPTIONS: u8 = 60;
const FRAGMENT: u8 = 44;

impl Ip6 {
    /// A GRE packet.
    pub(super) fn gre(&self, payload: &[u8]) -> Vec<u8> {
        self.packet(GRE, payload)
    }

    /// A GRE packet behind an extension header with options of no meaning.
    pub(super) fn behind(&self, header: u8, payload: &[u8]) -> Vec<u8> {
        self.packet(header, &[&[GRE, 0, 1, 4, 0, 0, 0, 0], payload].concat())
    }

    /// A GRE packet in pieces, in the wrong order.
    pub(super) fn fragments(&self, id: u32, payload: &[u8]) -> Vec<Vec<u8>> {
        const STEP: usize = 600;
        let pieces = payload.chunks(STEP).enumerate().map(|(number, piece)| {
            let offset = u16::try_from(number * STEP).unwrap();
            let more = u16::from((number + 1) * STEP < payload.len());
            let header = [&[GRE, 0][..], &(offset | more).to_be_bytes(), &id.to_be_bytes()].concat();
            self.packet(FRAGMENT, &[&header, piece].concat())
        });
        let mut pieces: Vec<_> = pieces.collect();
        assert!(pieces.len() > 1);
        pieces.reverse();
        pieces
    }

    fn packet(&self, next: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = (0x6000_0000 | u32::from(self.class) << 20).to_be_bytes().to_vec();
        packet.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        packet.extend([next, 64]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(payload);
        packet
    }
}

/// Port that datagrams are sent to.
pub(super) const PORT: u16 = 9999;

/// UDP over IPv4, without a checksum.
fn datagram(payload: &[u8]) -> Vec<u8> {
    let mut datagram = [PORT.to_be_bytes(), PORT.to_be_bytes()].concat();
    datagram.extend(u16::try_from(8 + payload.len()).unwrap().to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}
