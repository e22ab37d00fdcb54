//! Forms that we do not send but that others do, or may: understood, and kept to the byte.

use super::{binding, bytes, check, encoded, ip, registration, sealed};
use crate::nhrp::wire::{
    Authentication, Body, Cie, Clients, End, Extension, ExtensionKind, Extensions, IpFamily, Opaque, Packet,
    Value,
};

/// Everything at once that an extensions part may hold, in the order of FRR and with what others add.
pub(crate) static EXTENSIONS: &str = "
    0001 0800 0000000000    # NBMA IPv4, protocol IPv4, no SNAP
    01 0080 9895 0034       # hop count 1, 128 bytes, checksum, extensions at 52
    01 03 04 00             # version 1, type 3, source NBMA 4 bytes, no subaddress
    04 04 0002 00000005     # protocol addresses 4 bytes, NAT, request 5
    c6336402 0a000002 0a000002          # 198.51.100.2, 10.0.0.2, itself: the hub is unknown
    00 ff 0000 0000 1c20 00 00 00 00    # entry: prefix 255, no MTU, 7200 s
    8004 0000               # forward transit record first
    8005 0000               # reverse transit record
    0003 0000               # responder address, not compulsory
    0400 0000               # Huawei padding
    8401 0006 485541575741  # Huawei identity, compulsory
    0008 0005 00000c 0102   # vendor private: Cisco
    0008 0003 00000c        # vendor private again, no data
    0009 0008 00000001 00000000     # device capabilities, not a NAT address
    800a 0004 00000001      # mobile authentication
    8007 0005 00010001 78   # authentication of another form
    0000 0000               # end, not compulsory
    00                      # padding
";

/// No End extension; a length of one byte makes the size odd.
pub(crate) static NO_END: &str = "
    0001 0800 0000000000    # NBMA IPv4, protocol IPv4, no SNAP
    ff 003d 953b 0034       # hop count 255, 61 bytes, checksum, extensions at 52
    01 03 04 00             # version 1, type 3, source NBMA 4 bytes, no subaddress
    04 04 0000 00000005     # protocol addresses 4 bytes, no flags, request 5
    c6336402 0a000002 0a000001          # 198.51.100.2, 10.0.0.2, 10.0.0.1
    00 20 0000 05c0 1c20 00 00 00 00    # entry: /32, MTU 1472, 7200 s
    8007 0005 00000001 78   # authentication: clear text, 'x'
";

/// An extensions part of no bytes at all.
pub(crate) static EMPTY_EXTENSIONS: &str = "
    0001 0800 0000000000    # NBMA IPv4, protocol IPv4, no SNAP
    ff 0034 8d52 0034       # hop count 255, 52 bytes, checksum, extensions at 52
    01 03 04 00             # version 1, type 3, source NBMA 4 bytes, no subaddress
    04 04 0000 00000005     # protocol addresses 4 bytes, no flags, request 5
    c6336402 0a000002 0a000001          # 198.51.100.2, 10.0.0.2, 10.0.0.1
    00 20 0000 05c0 1c20 00 00 00 00    # entry: /32, MTU 1472, 7200 s
";

/// The shortest packet: no address, no entry.
pub(crate) static SHORTEST: &str = "
    0001 0800 0000000000    # NBMA IPv4, protocol IPv4, no SNAP
    ff 001c f5dd 0000       # hop count 255, 28 bytes, checksum, no extensions
    01 01 00 00             # version 1, type 1, no source NBMA address, no subaddress
    00 00 0000 00000005     # no protocol addresses, no flags, request 5
";

/// Fields that we leave at zero: SNAP, subaddresses, unused words, preference.
pub(crate) static RARE_FIELDS: &str = "
    0001 0080 0000000800    # NBMA IPv4, protocol by SNAP: IPv4
    ff 003b 1435 0000       # hop count 255, 59 bytes, checksum, no extensions
    01 01 04 02             # version 1, type 1, source NBMA 4 bytes, subaddress 2 bytes
    04 04 0000 00000005     # protocol addresses 4 bytes, no flags, request 5
    c6336402 abcd 0a000002 c0a80305     # with the subaddress in the second place
    00 20 1234 05c0 1c20 00 05 00 09    # entry: something in the unused word, subaddress, preference 9
    0102030405              # the entry's subaddress
";

/// FRR: an IPv4 protocol address in the responder address of an IPv6 packet.
pub(crate) static MIXED_RESPONDER: &str = "
    0001 86dd 0000000000    # NBMA IPv4, protocol IPv6, no SNAP
    40 0068 54a4 004c       # hop count 64, 104 bytes, checksum, extensions at 76
    01 04 04 00             # version 1, type 4, source NBMA 4 bytes, no subaddress
    10 10 0000 00000001     # protocol addresses 16 bytes, no flags, request 1
    c6336402                # 198.51.100.2
    20010db8000000000000000000000002        # 2001:db8::2
    20010db8000000000000000000000001        # 2001:db8::1
    00 80 0000 05b4 012c 00 00 00 00        # entry: /128, MTU 1460, 300 s
    8003 0014 00 20 0000 0000 012c 04 00 04 00 cb007101 cb007101    # responder
    8000 0000               # end
";

fn clients() -> Clients {
    let client = Cie { prefix_length: 32, mtu: 1472, holding_time: 7200, ..Cie::default() };
    Clients { request_id: 5, cies: vec![client] }
}

fn registration_with(extensions: Extensions) -> Packet {
    let body = Body::RegistrationRequest(clients());
    let mut packet = Packet::new(ip("198.51.100.2"), ip("10.0.0.2"), ip("10.0.0.1"), body);
    packet.extensions = Some(extensions);
    packet
}

#[test]
fn every_extension_in_any_order() {
    let other = |kind, value: &[u8]| Value::Other { kind: ExtensionKind(kind), value: value.into() };
    let cisco = |data: &[u8]| Value::VendorPrivate { oui: [0, 0, 0x0C], data: data.into() };
    let list = [
        (true, Value::ForwardTransit(vec![])),
        (true, Value::ReverseTransit(vec![])),
        (false, Value::ResponderAddress(vec![])),
        (false, other(0x400, b"")),
        (true, other(0x401, b"HUAWWA")),
        (false, cisco(&[1, 2])),
        (false, cisco(&[])),
        (false, Value::DeviceCapabilities([0, 0, 0, 1, 0, 0, 0, 0])),
        (true, Value::MobileAuthentication(Authentication::clear_text(b""))),
        (true, Value::Authentication(Authentication::from(&b"\0\x01\0\x01x"[..]))),
    ];
    let list = list.map(|(compulsory, value)| Extension { compulsory, value }).into();
    let end = End::Marked { compulsory: false, trailing: vec![0].into() };
    let mut packet = registration_with(Extensions { list, end });
    packet.hop_count = 1;
    packet.flags.0 = 2;
    packet.destination_protocol = packet.source_protocol;
    let Body::RegistrationRequest(clients) = &mut packet.body else { unreachable!() };
    clients.cies[0].prefix_length = 0xFF;
    clients.cies[0].mtu = 0;
    check(EXTENSIONS, &packet);
    assert_eq!(packet.authentication().unwrap().password(), None);
}

#[test]
fn no_end_extension() {
    let list = vec![Value::Authentication(Authentication::clear_text(b"x")).into()];
    check(NO_END, &registration_with(Extensions { list, end: End::Missing }));
}

#[test]
fn empty_extensions_part() {
    check(EMPTY_EXTENSIONS, &registration_with(Extensions { list: vec![], end: End::Missing }));
}

#[test]
fn no_address_and_no_entry() {
    let body = Body::ResolutionRequest(Clients { request_id: 5, cies: vec![] });
    let mut packet = Packet::new(ip("0.0.0.0"), ip("0.0.0.0"), ip("0.0.0.0"), body);
    packet.source_nbma = None;
    packet.source_protocol = None;
    packet.destination_protocol = None;
    check(SHORTEST, &packet);
}

#[test]
fn fields_that_are_zero_elsewhere() {
    let packet = Packet::decode(&bytes(RARE_FIELDS)).unwrap();
    assert_eq!(packet.protocol.family(), IpFamily::V4);
    assert_eq!(packet.source_subaddress, Opaque::from(vec![0xAB, 0xCD]));
    assert_eq!(packet.destination_protocol, Some(ip("192.168.3.5")));
    let [cie] = &packet.body.clients().unwrap().cies[..] else { panic!("one entry") };
    assert_eq!((cie.unused, cie.preference), (0x1234, 9));
    assert_eq!(cie.subaddress, Opaque::from(vec![1, 2, 3, 4, 5]));
    check(RARE_FIELDS, &packet);
}

#[test]
fn responder_address_of_another_family() {
    let body = Body::RegistrationReply(Clients {
        request_id: 1,
        cies: vec![Cie { prefix_length: 128, mtu: 1460, holding_time: 300, ..Cie::default() }],
    });
    let mut packet = Packet::new(ip("198.51.100.2"), ip("2001:db8::2"), ip("2001:db8::1"), body)
        .with_extension(Value::ResponderAddress(vec![binding("203.0.113.1", "203.0.113.1", 0, 300)]));
    packet.hop_count = 64;
    check(MIXED_RESPONDER, &packet);
}

#[test]
fn ethernet_padding_is_no_part_of_the_packet() {
    let padded = [&bytes(registration::REQUEST)[..], &[0xEE; 46]].concat();
    assert_eq!(Packet::decode(&padded).unwrap(), registration::request());
}

#[test]
fn any_hop_count_is_accepted() {
    for hop_count in [0, 1, 64] {
        let mut bytes = bytes(registration::REQUEST);
        bytes[9] = hop_count;
        assert_eq!(Packet::decode(&sealed(bytes)).unwrap().hop_count, hop_count);
    }
}

#[test]
fn a_checksum_of_all_ones_counts_as_zero() {
    let mut packet = registration::request();
    // The request id makes the sum over the rest 0xFFFF.
    let Body::RegistrationRequest(clients) = &mut packet.body else { unreachable!() };
    clients.request_id = 0;
    let checksum = encoded(&packet)[12..14].try_into().map(u16::from_be_bytes).unwrap();
    let Body::RegistrationRequest(clients) = &mut packet.body else { unreachable!() };
    clients.request_id = checksum.into();
    let mut bytes = encoded(&packet);
    assert_eq!(bytes[12..14], [0, 0]);
    bytes[12..14].fill(0xFF);
    assert_eq!(Packet::decode(&bytes).unwrap(), packet);
}
