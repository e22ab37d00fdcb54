//! Finding NHRP in frames.

use super::build::{ETHERNET, gre, ipv4, ipv6, join};
use crate::{
    capture::{Envelope, Found, Frame, LinkType, NotNhrp, find},
    gre::{Gre, GreChecksum},
    nhrp::wire::tests::{bytes, registration},
};

fn nhrp() -> Vec<u8> {
    bytes(registration::REQUEST)
}

fn frame(link: LinkType, bytes: &[u8]) -> Frame<'_> {
    Frame { time: None, link, bytes, length: u32::try_from(bytes.len()).unwrap() }
}

/// What is around the registration request in a frame.
#[track_caller]
fn envelope(link: LinkType, bytes: &[u8]) -> Envelope {
    let Found { envelope, bytes, length } = find(&frame(link, bytes)).unwrap();
    assert_eq!((bytes, length), (&nhrp()[..], 106));
    envelope
}

fn missed(link: LinkType, bytes: &[u8]) -> NotNhrp {
    find(&frame(link, bytes)).unwrap_err()
}

/// GRE with key 42 in IPv4.
fn keyed() -> Vec<u8> {
    ipv4(47, &gre(0x2000, "0000002a", &nhrp()))
}

fn expected() -> Envelope {
    Envelope {
        vlans: vec![],
        source: "198.51.100.2".parse().unwrap(),
        destination: "203.0.113.1".parse().unwrap(),
        tos: 0xC0,
        ttl: 255,
        gre: Some(Gre { protocol: 0x2001, key: Some(42), sequence: None, checksum: None, length: 8 }),
    }
}

#[test]
fn every_link_type() {
    for (link, header) in [
        (LinkType::ETHERNET, ETHERNET),
        (LinkType::RAW, ""),
        (LinkType(12), ""),
        (LinkType::IPV4, ""),
        (LinkType::LINUX_SLL, "0004 0001 0006 02000000000b 0000 0800"),
        (LinkType::LINUX_SLL2, "0800 0000 00000002 0001 04 06 02000000000b 0000"),
        (LinkType::NULL, "02000000"),
        (LinkType::NULL, "00000002"),
        (LinkType::LOOP, "00000002"),
    ] {
        assert_eq!(envelope(link, &join(&[&bytes(header), &keyed()])), expected(), "{link}");
    }
    let v6 = ipv6(47, &gre(0, "", &nhrp()));
    for (link, header) in [
        (LinkType::ETHERNET, "02000000000a 02000000000b 86dd"),
        (LinkType::IPV6, ""),
        (LinkType::NULL, "1e000000"),
        (LinkType::LOOP, "0000000a"),
    ] {
        let found = envelope(link, &join(&[&bytes(header), &v6]));
        assert_eq!(found.source.to_string(), "2001:db8::a");
        assert_eq!(found.gre.map(|gre| (gre.key, gre.length)), Some((None, 4)), "{link}");
    }
}

#[test]
fn vlan_tags_are_looked_through() {
    let tagged = |tags: &str| join(&[&bytes("02000000000a 02000000000b"), &bytes(tags), &keyed()]);
    let vlans = |tags: &str| envelope(LinkType::ETHERNET, &tagged(tags)).vlans;
    assert_eq!(vlans("8100 6064 0800"), [100]);
    assert_eq!(vlans("88a8 0064 8100 00c8 0800"), [100, 200]);
    assert_eq!(vlans("9100 0001 9100 0002 8100 0003 8100 0004 0800"), [1, 2, 3, 4]);
    let five = "8100 0001 8100 0002 8100 0003 8100 0004 8100 0005 0800";
    assert_eq!(missed(LinkType::ETHERNET, &tagged(five)), NotNhrp::NotIp(0x8100));
    let cooked = "0000 0001 0006 02000000000b 0000 8100 0064 0800";
    let found = envelope(LinkType::LINUX_SLL, &join(&[&bytes(cooked), &keyed()]));
    assert_eq!(found.vlans, [100]);
}

#[test]
fn every_gre_field() {
    let with =
        |flags, fields: &str| envelope(LinkType::RAW, &ipv4(47, &gre(flags, fields, &nhrp()))).gre.unwrap();
    let none = Gre { protocol: 0x2001, key: None, sequence: None, checksum: None, length: 4 };
    assert_eq!(with(0, ""), none);
    // Key 0 is a key.
    assert_eq!(with(0x2000, "00000000"), Gre { key: Some(0), length: 8, ..none });
    assert_eq!(with(0x1000, "00000009"), Gre { sequence: Some(9), length: 8, ..none });
    let all = Gre { key: Some(42), sequence: Some(9), length: 16, ..none };
    // The sum over the registration request is 0xFFFF, which is zero; that over the header's other words is
    // 0xB000 + 0x2001 + 0x2A + 9 = 0xD034.
    assert_eq!(with(0xB000, "2fcb0000 0000002a 00000009"), Gre { checksum: Some(GreChecksum::Right), ..all });
    assert_eq!(with(0xB000, "2fcc0000 0000002a 00000009"), Gre { checksum: Some(GreChecksum::Wrong), ..all });
}

#[test]
fn directly_in_ip() {
    let found = envelope(LinkType::RAW, &ipv4(54, &nhrp()));
    assert_eq!(found, Envelope { gre: None, ..expected() });
}

#[test]
fn padding_is_no_part_of_the_packet() {
    envelope(LinkType::RAW, &join(&[&keyed(), &[0xEE; 18]]));
}

#[test]
fn a_cut_frame_gives_what_it_has() {
    let whole = keyed();
    let cut = frame(LinkType::RAW, &whole[..100]);
    let found = find(&cut).unwrap();
    assert_eq!((found.bytes, found.length), (&nhrp()[..72], 106));
    // A checksum over bytes that are not there is not checked.
    let sealed = ipv4(47, &gre(0x8000, "2fcb0000", &nhrp()));
    let found = find(&frame(LinkType::RAW, &sealed[..100])).map(|found| found.envelope.gre.unwrap().checksum);
    assert_eq!(found, Ok(Some(GreChecksum::NotChecked)));
    // Down to nothing.
    assert_eq!(find(&frame(LinkType::RAW, &whole[..28])).unwrap().bytes, b"");
    for length in 0..28 {
        assert_eq!(missed(LinkType::RAW, &whole[..length]), NotNhrp::Short, "{length}");
    }
}

#[test]
fn of_a_fragmented_packet_the_first_part_is_looked_into() {
    let mut first = keyed();
    first[6] = 0x20;
    let first = frame(LinkType::RAW, &first);
    let found = find(&first).unwrap();
    assert_eq!((found.bytes, found.length), (&nhrp()[..], 65535));
    let mut later = keyed();
    later[7] = 0x01;
    assert_eq!(missed(LinkType::RAW, &later), NotNhrp::Fragment);
}

#[test]
fn what_is_not_nhrp_is_named() {
    let link = LinkType::ETHERNET;
    let ethernet = |rest: &str| join(&[&bytes("02000000000a 02000000000b"), &bytes(rest)]);
    let ip = |packet: &[u8]| join(&[&bytes(ETHERNET), packet]);
    let mut cases = vec![
        (link, ethernet("0806 0001"), NotNhrp::NotIp(0x0806), "ARP"),
        (link, ethernet("8864 1100"), NotNhrp::NotIp(0x8864), "PPPoE (not looked into)"),
        (link, ethernet("88cc"), NotNhrp::NotIp(0x88CC), "protocol 0x88cc"),
        (link, ethernet("08"), NotNhrp::Short, "too short"),
        (link, ethernet("8100 00"), NotNhrp::Short, "too short"),
        (link, ethernet("0800"), NotNhrp::Short, "too short"),
        (link, ip(&bytes("55")), NotNhrp::BadIp, "bad IP header"),
        (link, ip(&ipv4(50, b"secret")), NotNhrp::Protocol(50), "ESP (encrypted)"),
        (link, ip(&ipv4(17, b"four")), NotNhrp::Protocol(17), "UDP"),
        (link, ip(&ipv4(47, &bytes("0000 0800 4500"))), NotNhrp::Gre(0x0800), "IPv4 in GRE"),
        (link, ip(&ipv4(47, &bytes("0000 6558 4500"))), NotNhrp::Gre(0x6558), "protocol 0x6558 in GRE"),
        (link, ip(&ipv4(47, &bytes("3081 880b 0000"))), NotNhrp::BadGre, "bad GRE header"),
        (link, ip(&ipv4(47, &bytes("4000 2001 0000"))), NotNhrp::BadGre, "bad GRE header"),
        (link, ip(&ipv4(47, &bytes("2000 2001 0000"))), NotNhrp::Short, "too short"),
        (LinkType(9), bytes("ff030021"), NotNhrp::LinkType(9), "link type 9 (not known here)"),
        (LinkType::NULL, bytes("07000000 45"), NotNhrp::NotIp(7), "protocol 0x0007"),
        (LinkType::NULL, bytes("0200"), NotNhrp::Short, "too short"),
    ];
    let mut later = keyed();
    later[7] = 0x01;
    cases.push((link, ip(&later), NotNhrp::Fragment, "later fragment"));
    for (link, bytes, why, words) in cases {
        assert_eq!(missed(link, &bytes), why);
        assert_eq!(why.to_string(), words);
    }
}
