//! Headers with every option, and packets of both families inside.

use std::net::IpAddr;

use dmvpn_common::DropReason;
use proptest::{collection::vec, option, prelude::*};

use super::{Gre, GreChecksum, GreFault, Inner};
use crate::checksum::sum;

/// A GRE packet with these options, and with these reserved bits.
fn gre(checksum: bool, key: Option<u32>, sequence: Option<u32>, reserved: u16, payload: &[u8]) -> Vec<u8> {
    let flag = |set: bool, flag: u16| if set { flag } else { 0 };
    let flags = flag(checksum, 0x8000) | flag(key.is_some(), 0x2000) | flag(sequence.is_some(), 0x1000);
    let mut packet = (flags | reserved).to_be_bytes().to_vec();
    packet.extend([0x08, 0x00]);
    if checksum {
        packet.extend([0; 4]);
    }
    packet.extend(key.into_iter().chain(sequence).flat_map(u32::to_be_bytes));
    packet.extend(payload);
    if checksum {
        let checksum = !sum(&packet);
        packet[4..6].copy_from_slice(&checksum.to_be_bytes());
    }
    packet
}

/// 10.1.2.3 to 10.4.5.6 with a right checksum.
fn ipv4(tos: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, tos];
    packet.extend(u16::try_from(20 + payload.len()).unwrap().to_be_bytes());
    packet.extend([0x12, 0x34, 0x40, 0, 64, 17, 0, 0, 10, 1, 2, 3, 10, 4, 5, 6]);
    let checksum = !sum(&packet);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(payload);
    packet
}

fn ipv6(class: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = (0x6005_4321 | u32::from(class) << 20).to_be_bytes().to_vec();
    packet.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    packet.extend([17, 64]);
    packet.extend([0xfd; 16]);
    packet.extend([0xfc; 16]);
    packet.extend(payload);
    packet
}

/// A change of a packet of ours that makes it another one.
type Change = fn(&mut Vec<u8>);

#[test]
fn reserved_bits_are_ignored_or_refused_as_the_rfc_says() {
    for bit in 0..16 {
        let flags: u16 = 0x8000 >> bit;
        let bytes = [&flags.to_be_bytes()[..], &[0x08, 0x00], &[0; 12]].concat();
        let result = Gre::parse(&bytes, true).map(|gre| gre.length);
        let expected = match bit {
            // Checksum, key, sequence number.
            0 | 2 | 3 => Ok(8),
            1 | 4 | 5 => Err(GreFault::Flags(flags)),
            6..=12 => Ok(4),
            _ => Err(GreFault::Version(flags)),
        };
        assert_eq!(result, expected, "bit {bit}");
    }
}

#[test]
fn takes_a_packet_out_and_leaves_padding_behind() {
    let packet = ipv4(0x28, b"payload");
    let padded = [&packet[..], &[0; 9]].concat();
    let expected = Inner {
        ether_type: 0x0800,
        source: IpAddr::from([10, 1, 2, 3]),
        destination: IpAddr::from([10, 4, 5, 6]),
        packet,
    };
    assert_eq!(Inner::take_out(0x0800, &padded, 0), Ok(expected));
    let packet = ipv6(0xb8, b"payload");
    let padded = [&packet[..], &[0; 9]].concat();
    let expected = Inner {
        ether_type: 0x86dd,
        source: IpAddr::from([0xfd; 16]),
        destination: IpAddr::from([0xfc; 16]),
        packet,
    };
    assert_eq!(Inner::take_out(0x86dd, &padded, 0), Ok(expected));
}

#[test]
fn refuses_what_is_no_packet_for_the_reasons_that_the_data_path_has() {
    let changed = |change: Change| {
        let mut packet = ipv4(0, &[0; 8]);
        change(&mut packet);
        packet
    };
    for (what, protocol, payload, reason) in [
        ("nothing", 0x0800, Vec::new(), DropReason::Truncated),
        ("a cut header", 0x0800, ipv4(0, &[])[..19].to_vec(), DropReason::Truncated),
        ("a cut IPv6 header", 0x86dd, ipv6(0, &[])[..39].to_vec(), DropReason::Truncated),
        ("a cut packet", 0x0800, ipv4(0, &[0; 8])[..27].to_vec(), DropReason::InnerMalformed),
        ("a cut IPv6 packet", 0x86dd, ipv6(0, &[0; 8])[..47].to_vec(), DropReason::InnerMalformed),
        ("the other version", 0x0800, ipv6(0, &[]), DropReason::InnerMalformed),
        ("the other version", 0x86dd, ipv4(0, &[0; 20]), DropReason::InnerMalformed),
        ("a short header", 0x0800, changed(|packet| packet[0] = 0x44), DropReason::InnerMalformed),
        ("shorter than its header", 0x0800, changed(|packet| packet[3] = 19), DropReason::InnerMalformed),
        ("options beyond the end", 0x0800, changed(|packet| packet[0] = 0x48), DropReason::InnerMalformed),
        ("a keepalive", 0, Vec::new(), DropReason::GreProtocol),
        ("bridged Ethernet", 0x6558, ipv4(0, &[]), DropReason::GreProtocol),
    ] {
        assert_eq!(Inner::take_out(protocol, &payload, 0), Err(reason), "{what}");
    }
}

/// RFC 6040, figure 4: outgoing ECN field, by inner (rows) and outer field.
#[test]
fn combines_the_ecn_fields_as_the_rfc_says() {
    let outer = [0b00, 0b10, 0b01, 0b11];
    for (inner, expected) in [
        (0b00, [Some(0b00), Some(0b00), Some(0b00), None]),
        (0b10, [Some(0b10), Some(0b10), Some(0b01), Some(0b11)]),
        (0b01, [Some(0b01), Some(0b01), Some(0b01), Some(0b11)]),
        (0b11, [Some(0b11); 4]),
    ] {
        for (outer, expected) in outer.into_iter().zip(expected) {
            // The rest of the byte is the inner packet's.
            let dscp = 0b1011_1000;
            let expected = expected.ok_or(DropReason::Congestion);
            let ip4 = Inner::take_out(0x0800, &ipv4(dscp | inner, b"abc"), outer).map(|inner| inner.packet);
            assert_eq!(ip4, expected.map(|ecn| ipv4(dscp | ecn, b"abc")), "IPv4 {inner} {outer}");
            let ip6 = Inner::take_out(0x86dd, &ipv6(dscp | inner, b"abc"), outer).map(|inner| inner.packet);
            assert_eq!(ip6, expected.map(|ecn| ipv6(dscp | ecn, b"abc")), "IPv6 {inner} {outer}");
        }
    }
}

proptest! {
    /// Whatever options a header has, they are found, and what follows is the payload.
    #[test]
    fn finds_every_option(
        checksum: bool,
        key in option::of(any::<u32>()),
        sequence in option::of(any::<u32>()),
        reserved in 0..128_u16,
        payload in vec(any::<u8>(), 0..100),
    ) {
        let packet = gre(checksum, key, sequence, reserved << 3, &payload);
        let parsed = Gre::parse(&packet, true).unwrap();
        prop_assert_eq!(parsed.protocol, 0x0800);
        prop_assert_eq!((parsed.key, parsed.sequence), (key, sequence));
        prop_assert_eq!(parsed.checksum, checksum.then_some(GreChecksum::Right));
        prop_assert_eq!(&packet[parsed.length..], &payload[..]);
        // Cut off anywhere in the header, it is none.
        for length in 0..parsed.length {
            let cut = matches!(Gre::parse(&packet[..length], true), Err(GreFault::Truncated { .. }));
            prop_assert!(cut, "{} bytes", length);
        }
    }

    /// A checksum tells every bit that is not as it was, but the one that says that there is a checksum.
    #[test]
    fn a_checksum_tells_every_change(
        key in option::of(any::<u32>()),
        sequence in option::of(any::<u32>()),
        payload in vec(any::<u8>(), 0..100),
        place: prop::sample::Index,
    ) {
        let mut packet = gre(true, key, sequence, 0, &payload);
        let bit = 1 + place.index(packet.len() * 8 - 1);
        packet[bit / 8] ^= 0x80 >> (bit % 8);
        let seen = Gre::parse(&packet, true);
        prop_assert!(seen.is_err() || seen.unwrap().checksum == Some(GreChecksum::Wrong), "bit {}", bit);
    }

    /// Whatever bytes there are, what is taken out is a packet that is inside of them.
    #[test]
    fn what_is_taken_out_is_inside(
        version in prop::sample::select(vec![0x45, 0x46, 0x60]),
        protocol in prop::sample::select(vec![0x0800, 0x86dd]),
        length in 0..90_u16,
        outer: u8,
        mut payload in vec(any::<u8>(), 0..100),
    ) {
        let at = if version == 0x60 { 4 } else { 2 };
        for (place, byte) in [(0, version), (at, 0), (at + 1, u8::try_from(length).unwrap())] {
            if let Some(there) = payload.get_mut(place) {
                *there = byte;
            }
        }
        if let Ok(inner) = Inner::take_out(protocol, &payload, outer) {
            prop_assert!(inner.packet.len() <= payload.len());
            prop_assert_eq!(&inner.packet[12..], &payload[12..inner.packet.len()]);
            prop_assert_eq!(inner.ether_type, protocol);
            prop_assert_eq!(inner.source.is_ipv4(), protocol == 0x0800);
        }
    }

    /// A header whose checksum was right has a right one afterwards, a wrong one stays wrong.
    #[test]
    fn keeps_the_header_checksum_as_it_was(tos: u8, outer: u8, damage: bool) {
        let mut packet = ipv4(tos, &[]);
        packet[8] ^= u8::from(damage);
        if let Ok(inner) = Inner::take_out(0x0800, &packet, outer) {
            prop_assert_eq!(sum(&inner.packet) == 0xffff, !damage);
        }
    }
}
