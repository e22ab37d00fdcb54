//! Error and Traffic Indications.

use super::{check, ip};
use crate::nhrp::wire::{
    Authentication, Body, End, ErrorCode, ErrorIndication, Extensions, Packet, TrafficIndication, Value,
};

/// The hub met a wrong password, and quotes the head of the packet.
pub(crate) static ERROR: &str = "
    0001 0800 0000000000    # NBMA IPv4, protocol IPv4, no SNAP
    ff 0044 f87d 0000       # hop count 255, 68 bytes, checksum, no extensions
    01 07 04 00             # version 1, type 7, source NBMA 4 bytes, no subaddress
    04 04 0000 000b 0040    # protocol addresses 4 bytes, no flags, authentication failure at byte 64
    cb007101 0a000001 0a000002      # 203.0.113.1, 10.0.0.1, 10.0.0.2
    0001080000000000 00ff006a1234003401030400 0404800200000007      # head of a registration request
";

/// The form of OpenNHRP: extensions, and 16 zero bytes after the end.
pub(crate) static PADDED_ERROR: &str = "
    0001 0800 0000000000    # NBMA IPv4, protocol IPv4, no SNAP
    00 0042 966b 002e       # hop count 0, 66 bytes, checksum, extensions at 46
    01 07 04 00             # version 1, type 7, source NBMA 4 bytes, no subaddress
    04 04 8002 000f 0000    # protocol addresses 4 bytes, the packet's flags, hop count exceeded
    cb007101 0a000001 0a000002      # 203.0.113.1, 10.0.0.1, 10.0.0.2
    000108000000            # head of a packet
    8000 0000               # end
    00000000000000000000000000000000    # padding
";

/// An error of odd length without extensions: the last byte is the high half of its word.
pub(crate) static ODD_ERROR: &str = "
    0001 0800 0000000000    # NBMA IPv4, protocol IPv4, no SNAP
    00 002b 96bc 0000       # hop count 0, 43 bytes, checksum, no extensions
    01 07 04 00             # version 1, type 7, source NBMA 4 bytes, no subaddress
    04 04 0000 0006 0000    # protocol addresses 4 bytes, no flags, unreachable
    cb007101 0a000001 0a000002      # 203.0.113.1, 10.0.0.1, 10.0.0.2
    000108                  # head of a packet
";

/// The hub tells a spoke that there is a better way: IP header and eight bytes of the data packet.
pub(crate) static TRAFFIC: &str = "
    0001 0800 0000000000    # NBMA IPv4, protocol IPv4, no SNAP
    ff 0062 5c12 0044       # hop count 255, 98 bytes, checksum, extensions at 68
    01 08 04 00             # version 1, type 8, source NBMA 4 bytes, no subaddress
    04 04 0000 0000 0000    # protocol addresses 4 bytes, no flags, redirect
    cb007101 0a000001 c0a80207      # 203.0.113.1, 10.0.0.1, to the sender of the data packet
    4500005400014000 3f01b3f7 c0a80207 c0a80305     # IP header: 192.168.2.7 to 192.168.3.5
    080045670001 0002       # echo request
    8004 0000               # forward transit record, empty
    8005 0000               # reverse transit record, empty
    8007 000a 00000001 736563726574     # authentication: clear text, 'secret'
    0009 0000               # NAT, none known
    8000 0000               # end
";

/// Head of the data packet in [`TRAFFIC`].
const HEAD: [u8; 28] = [
    0x45, 0, 0, 0x54, 0, 1, 0x40, 0, 0x3f, 1, 0xb3, 0xf7, 192, 168, 2, 7, 192, 168, 3, 5, 8, 0, 0x45, 0x67,
    0, 1, 0, 2,
];

fn error(code: ErrorCode, offset: u16, packet: &[u8]) -> Packet {
    let body = Body::ErrorIndication(ErrorIndication::new(code, offset, packet));
    Packet::new(ip("203.0.113.1"), ip("10.0.0.1"), ip("10.0.0.2"), body)
}

#[test]
fn error_about_a_password() {
    let offending = super::bytes("0001080000000000 00ff006a1234003401030400 0404800200000007");
    let packet = error(ErrorCode::AUTHENTICATION_FAILURE, 64, &offending);
    check(ERROR, &packet);
    // An odd number of bytes would trip old FRR and OpenNHRP.
    let odd = [&offending[..], &[0xFF]].concat();
    check(ERROR, &error(ErrorCode::AUTHENTICATION_FAILURE, 64, &odd));
}

#[test]
fn error_with_extensions_and_padding() {
    let mut packet = error(ErrorCode::HOP_COUNT_EXCEEDED, 0, &[0, 1, 8, 0, 0, 0]);
    packet.hop_count = 0;
    packet.flags.0 = 0x8002;
    let end = End::Marked { compulsory: true, trailing: vec![0; 16].into() };
    packet.extensions = Some(Extensions { list: vec![], end });
    check(PADDED_ERROR, &packet);
}

#[test]
fn error_of_odd_length() {
    let mut packet = error(ErrorCode::PROTOCOL_ADDRESS_UNREACHABLE, 0, &[]);
    packet.hop_count = 0;
    let Body::ErrorIndication(indication) = &mut packet.body else { unreachable!() };
    indication.packet = vec![0, 1, 8].into();
    check(ODD_ERROR, &packet);
}

#[test]
fn redirect_of_a_hub() {
    let body = Body::TrafficIndication(TrafficIndication::redirect(&HEAD));
    let packet = Packet::new(ip("203.0.113.1"), ip("10.0.0.1"), ip("192.168.2.7"), body)
        .with_extension(Value::ForwardTransit(vec![]))
        .with_extension(Value::ReverseTransit(vec![]))
        .with_extension(Value::Authentication(Authentication::clear_text(b"secret")))
        .with_extension(Value::NatAddress(vec![]));
    check(TRAFFIC, &packet);
}

#[test]
fn debug_output_of_a_quoted_packet_hides_its_bytes() {
    let shown = format!("{:?}", error(ErrorCode::PROTOCOL_ERROR, 0, b"secret"));
    assert!(shown.contains("[6 bytes]"), "{shown}");
    assert!(!shown.contains("115"), "{shown}");
}
