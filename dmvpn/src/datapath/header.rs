//! Builds the outer header a peer's packets get: the template in [`Peer::header`](dmvpn_common::Peer::header).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dmvpn_common::{HEADER_SIZE, IPPROTO_GRE};

use super::DataPathError;

/// Length of an IPv4 header without options.
const IPV4_LENGTH: usize = 20;
/// Length of an IPv6 header.
const IPV6_LENGTH: usize = 40;
/// Length of a GRE header without and with a key (RFC 2784 2, RFC 2890 2).
const GRE_LENGTH: usize = 4;
const GRE_KEYED_LENGTH: usize = 8;
/// First byte of the GRE flags with the K bit set (RFC 2890 2).
const GRE_FLAG_KEY: u8 = 0x20;
/// GRE protocol type the template carries; the data path overwrites it for an inner packet that is not IPv4.
const GRE_PROTOCOL_IPV4: u16 = 0x0800;
/// Don't-fragment bit in the flags and fragment offset word of IPv4.
const IPV4_DONT_FRAGMENT: u16 = 0x4000;
/// The ECN field of a TOS byte (RFC 3168).
const ECN: u8 = 0b11;

/// What becomes of don't-fragment outside. IPv6 has no such bit: routers never fragment it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DontFragment {
    /// As the inner packet has it; set for an inner IPv6 packet.
    Copy,
    /// Always set.
    #[default]
    Set,
    /// Never set.
    Clear,
}

/// What becomes of the TOS byte or traffic class outside. Its ECN field always is the inner packet's (RFC 6040).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OuterTos {
    /// As the inner packet has it.
    #[default]
    Inherit,
    /// This DSCP, 0 to 63.
    Dscp(u8),
}

/// What an outer header is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterParameters {
    /// Our NBMA address.
    pub local: IpAddr,
    /// The peer's NBMA address; of the same family.
    pub remote: IpAddr,
    /// GRE key; `None` leaves the key field out, `Some(0)` does not.
    pub key: Option<u32>,
    /// Outer TTL or hop limit.
    pub ttl: u8,
    /// Don't-fragment over IPv4.
    pub dont_fragment: DontFragment,
    /// Type of service.
    pub tos: OuterTos,
}

/// A finished template with what the data path needs to complete it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterHeader {
    /// IP header and GRE header. Total (or payload) length, identification, TOS (or traffic class) and IPv4
    /// checksum are zero.
    pub bytes: [u8; HEADER_SIZE],
    /// Bytes in use: 24 or 28 over IPv4, 44 or 48 over IPv6.
    pub length: u8,
    /// IPv4: one's complement sum of the IP header as it stands in the template, folded to 16 bits and not
    /// inverted. 0 for IPv6.
    pub sum: u16,
    /// TOS or traffic class, and which bits of the inner packet's it takes.
    pub tos: u8,
    /// As above.
    pub tos_mask: u8,
    /// Bits of the byte with don't-fragment that are the inner packet's.
    pub df_mask: u8,
}

impl OuterHeader {
    /// Builds the template. Fails when the two addresses are of different families.
    pub fn build(parameters: &OuterParameters) -> Result<Self, DataPathError> {
        let OuterParameters { local, remote, key, ttl, dont_fragment, tos } = *parameters;
        let (tos, tos_mask) = match tos {
            OuterTos::Inherit => (0, 0xff),
            OuterTos::Dscp(dscp) => (dscp << 2, ECN),
        };
        let mut header = Self { bytes: [0; HEADER_SIZE], length: 0, sum: 0, tos, tos_mask, df_mask: 0 };
        match (local, remote) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                let ip = ipv4(local, remote, ttl, dont_fragment == DontFragment::Set);
                if dont_fragment == DontFragment::Copy {
                    [header.df_mask, _] = IPV4_DONT_FRAGMENT.to_be_bytes();
                }
                header.sum = folded_sum(&ip);
                header.append(&ip);
            }
            (IpAddr::V6(local), IpAddr::V6(remote)) => header.append(&ipv6(local, remote, ttl)),
            _ => return Err(DataPathError::FamilyMismatch { local, remote }),
        }
        let [protocol_high, protocol_low] = GRE_PROTOCOL_IPV4.to_be_bytes();
        match key {
            None => header.append::<GRE_LENGTH>(&[0, 0, protocol_high, protocol_low]),
            Some(key) => {
                let [a, b, c, d] = key.to_be_bytes();
                header.append::<GRE_KEYED_LENGTH>(&[
                    GRE_FLAG_KEY,
                    0,
                    protocol_high,
                    protocol_low,
                    a,
                    b,
                    c,
                    d,
                ]);
            }
        }
        Ok(header)
    }

    /// Adds a part behind what is there. All parts together fit: [`HEADER_SIZE`] is the sum of the largest.
    fn append<const N: usize>(&mut self, part: &[u8; N]) {
        for (place, byte) in self.bytes.iter_mut().skip(self.length.into()).zip(part) {
            *place = *byte;
            self.length += 1;
        }
    }
}

const _: () = assert!(IPV6_LENGTH + GRE_KEYED_LENGTH == HEADER_SIZE);

/// RFC 791 3.1.
fn ipv4(local: Ipv4Addr, remote: Ipv4Addr, ttl: u8, dont_fragment: bool) -> [u8; IPV4_LENGTH] {
    let [flags, _] = if dont_fragment { IPV4_DONT_FRAGMENT } else { 0 }.to_be_bytes();
    let [s0, s1, s2, s3] = local.octets();
    let [d0, d1, d2, d3] = remote.octets();
    [0x45, 0, 0, 0, 0, 0, flags, 0, ttl, IPPROTO_GRE, 0, 0, s0, s1, s2, s3, d0, d1, d2, d3]
}

/// RFC 8200 3.
fn ipv6(local: Ipv6Addr, remote: Ipv6Addr, hop_limit: u8) -> [u8; IPV6_LENGTH] {
    let mut ip = [0; IPV6_LENGTH];
    ip[0] = 0x60;
    ip[6] = IPPROTO_GRE;
    ip[7] = hop_limit;
    ip[8..24].copy_from_slice(&local.octets());
    ip[24..].copy_from_slice(&remote.octets());
    ip
}

/// One's complement sum of 16-bit words in network order, folded to 16 bits (RFC 1071).
fn folded_sum(words: &[u8; IPV4_LENGTH]) -> u16 {
    let (words, _) = words.as_chunks::<2>();
    let mut sum: u32 = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // 16 bits after folding.
    u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(local: &str, remote: &str, key: Option<u32>) -> OuterParameters {
        OuterParameters {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            key,
            ttl: 255,
            dont_fragment: DontFragment::Set,
            tos: OuterTos::Inherit,
        }
    }

    fn in_use(header: &OuterHeader) -> &[u8] {
        assert!(header.bytes[header.length.into()..].iter().all(|byte| *byte == 0), "rest is zero");
        &header.bytes[..header.length.into()]
    }

    #[test]
    fn builds_ipv4_with_a_key() {
        let header = OuterHeader::build(&parameters("192.0.2.10", "203.0.113.1", Some(42))).unwrap();
        assert_eq!(
            in_use(&header),
            [
                0x45, 0, 0, 0, 0, 0, 0x40, 0, 255, 47, 0, 0, 192, 0, 2, 10, 203, 0, 113, 1, // IPv4
                0x20, 0, 0x08, 0, 0, 0, 0, 42, // GRE
            ]
        );
    }

    #[test]
    fn builds_ipv4_without_a_key() {
        let header = OuterHeader::build(&parameters("192.0.2.10", "203.0.113.1", None)).unwrap();
        assert_eq!(header.length, 24);
        assert_eq!(in_use(&header)[20..], [0, 0, 0x08, 0]);
    }

    #[test]
    fn key_zero_is_a_key() {
        let header = OuterHeader::build(&parameters("192.0.2.10", "203.0.113.1", Some(0))).unwrap();
        assert_eq!(in_use(&header)[20..], [0x20, 0, 0x08, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn takes_ttl_and_fragmentation_from_the_parameters() {
        let asked = OuterParameters {
            ttl: 64,
            dont_fragment: DontFragment::Clear,
            ..parameters("192.0.2.10", "203.0.113.1", None)
        };
        let header = OuterHeader::build(&asked).unwrap();
        assert_eq!(header.bytes[6..9], [0, 0, 64]);
    }

    #[test]
    fn policies_become_bits_and_masks() {
        let asked = parameters("192.0.2.10", "203.0.113.1", None);
        let set = OuterHeader::build(&asked).unwrap();
        assert_eq!((set.df_mask, set.tos, set.tos_mask), (0, 0, 0xff));
        let asked = OuterParameters { dont_fragment: DontFragment::Copy, tos: OuterTos::Dscp(46), ..asked };
        let copied = OuterHeader::build(&asked).unwrap();
        assert_eq!((copied.bytes[6], copied.df_mask, copied.tos, copied.tos_mask), (0, 0x40, 0xb8, 3));
    }

    #[test]
    fn builds_ipv6() {
        let header =
            OuterHeader::build(&parameters("2001:db8::a", "2001:db8::b", Some(0x0102_0304))).unwrap();
        let mut expected = vec![0x60, 0, 0, 0, 0, 0, 47, 255];
        expected.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a]);
        expected.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0b]);
        expected.extend([0x20, 0, 0x08, 0, 1, 2, 3, 4]);
        assert_eq!(in_use(&header), expected);
        assert_eq!(header.sum, 0, "IPv6 has no header checksum");
    }

    #[test]
    fn refuses_two_families() {
        let error = OuterHeader::build(&parameters("192.0.2.10", "2001:db8::b", None)).unwrap_err();
        assert!(error.to_string().contains("192.0.2.10"), "{error}");
    }

    /// Completes a header as the data path does and checks it as a receiver does.
    #[test]
    fn the_sum_completes_to_a_valid_checksum() {
        for (local, remote) in [("192.0.2.10", "203.0.113.1"), ("255.255.255.255", "255.255.255.254")] {
            let mut header = OuterHeader::build(&parameters(local, remote, None)).unwrap();
            let (tos, total_length) = (0xb8_u8, 1500_u16);
            let mut sum = u32::from(header.sum) + u32::from(tos) + u32::from(total_length);
            while sum > 0xffff {
                sum = (sum & 0xffff) + (sum >> 16);
            }
            let checksum = !u16::try_from(sum).unwrap();
            header.bytes[1] = tos;
            header.bytes[2..4].copy_from_slice(&total_length.to_be_bytes());
            header.bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
            let ip = header.bytes.first_chunk::<IPV4_LENGTH>().unwrap();
            assert_eq!(folded_sum(ip), 0xffff, "{local} -> {remote}");
        }
    }

    /// The example of many textbooks: 45 00 00 73 00 00 40 00 40 11 .. c0 a8 00 01 c0 a8 00 c7 sums to 479e.
    #[test]
    fn sums_like_the_known_example() {
        let ip = [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];
        assert_eq!(folded_sum(&ip), 0x479e);
    }
}
