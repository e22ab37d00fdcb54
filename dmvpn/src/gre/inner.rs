//! The packet inside a GRE packet.

use std::net::IpAddr;

use dmvpn_common::DropReason;

/// GRE protocol types that a tunnel carries, which are `EtherType`s.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// A packet that was taken out of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inner {
    /// Its `EtherType`.
    pub ether_type: u16,
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: IpAddr,
    /// All of it, with the ECN field it is to have from here on, and nothing behind its end.
    pub packet: Vec<u8>,
}

impl Inner {
    /// Takes the packet out of `payload`, which is all that follows a GRE header with this `protocol` type, in an outer
    /// packet with this type of service or traffic class. Or says why it has to be dropped: the same reasons as the
    /// data path has.
    pub fn take_out(protocol: u16, payload: &[u8], outer_tos: u8) -> Result<Self, DropReason> {
        match protocol {
            IPV4 => Self::take_out_ipv4(payload, outer_tos),
            IPV6 => Self::take_out_ipv6(payload, outer_tos),
            _ => Err(DropReason::GreProtocol),
        }
    }

    fn take_out_ipv4(payload: &[u8], outer_tos: u8) -> Result<Self, DropReason> {
        const LEAST: usize = 20;
        let header = payload.first_chunk::<LEAST>().ok_or(DropReason::Truncated)?;
        let [first, tos, long, short, _, _, _, _, _, _, check @ .., _, _, _, _, _, _, _, _] = *header;
        let (header_length, length) =
            (usize::from(first & 0xf) * 4, u16::from_be_bytes([long, short]).into());
        if first >> 4 != 4 || header_length < LEAST || length < header_length {
            return Err(DropReason::InnerMalformed);
        }
        let mut packet = payload.get(..length).ok_or(DropReason::InnerMalformed)?.to_vec();
        let new = combine(tos, outer_tos).ok_or(DropReason::Congestion)?;
        let (old_word, new_word) = ([first, tos], [first, new]);
        packet[..2].copy_from_slice(&new_word);
        packet[10..12].copy_from_slice(&corrected(check, old_word, new_word));
        let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *header;
        Ok(Self {
            ether_type: IPV4,
            source: [s0, s1, s2, s3].into(),
            destination: [d0, d1, d2, d3].into(),
            packet,
        })
    }

    fn take_out_ipv6(payload: &[u8], outer_tos: u8) -> Result<Self, DropReason> {
        const HEADER: usize = 40;
        let header = payload.first_chunk::<HEADER>().ok_or(DropReason::Truncated)?;
        let [v0, v1, _, _, long, short, ..] = *header;
        let version_and_class = u16::from_be_bytes([v0, v1]);
        let length = HEADER + usize::from(u16::from_be_bytes([long, short]));
        if version_and_class >> 12 != 6 {
            return Err(DropReason::InnerMalformed);
        }
        let mut packet = payload.get(..length).ok_or(DropReason::InnerMalformed)?.to_vec();
        let [_, class] = (version_and_class >> 4).to_be_bytes();
        let class = combine(class, outer_tos).ok_or(DropReason::Congestion)?;
        let first = version_and_class & 0xf00f | u16::from(class) << 4;
        packet[..2].copy_from_slice(&first.to_be_bytes());
        let address = |at: usize| header[at..].first_chunk::<16>().map_or([0; 16], |address| *address);
        Ok(Self { ether_type: IPV6, source: address(8).into(), destination: address(24).into(), packet })
    }
}

/// The inner TOS byte or traffic class after decapsulation; `None` when the packet has to be dropped (RFC 6040, figure
/// 4).
const fn combine(inner: u8, outer: u8) -> Option<u8> {
    const ECN: u8 = 0b11;
    const NOT_CAPABLE: u8 = 0b00;
    const ECT_1: u8 = 0b01;
    const ECT_0: u8 = 0b10;
    const CONGESTION: u8 = 0b11;
    match (inner & ECN, outer & ECN) {
        (NOT_CAPABLE, CONGESTION) => None,
        (ECT_0 | ECT_1, CONGESTION) => Some(inner | CONGESTION),
        (ECT_0, ECT_1) => Some(inner & !ECN | ECT_1),
        _ => Some(inner),
    }
}

/// The checksum of a header of which one word has changed (RFC 1624, equation 3).
fn corrected(checksum: [u8; 2], old: [u8; 2], new: [u8; 2]) -> [u8; 2] {
    let word = |bytes| u32::from(u16::from_be_bytes(bytes));
    let sum = (word(checksum) ^ 0xffff) + (word(old) ^ 0xffff) + word(new);
    let sum = (sum & 0xffff) + (sum >> 16);
    let [.., high, low] = (!((sum & 0xffff) + (sum >> 16))).to_be_bytes();
    [high, low]
}
