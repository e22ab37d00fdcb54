//! What is no packet, and what cannot become one.

use super::{bytes, ip, purge, refused, registration, resized, resolution, sealed};
use crate::nhrp::wire::{
    Authentication, Cie, EncodeError, ErrorCode, Extension, ExtensionKind, Extensions, Fault, MAX_CIES,
    MAX_EXTENSIONS, Packet, ProtocolType, Value,
};

/// Where the extensions begin in a registration request, and how long it is.
const EXTENSIONS_AT: usize = 52;

/// The registration request with other bytes in some place and a checksum that fits.
fn changed(at: usize, replacement: &[u8]) -> Vec<u8> {
    let mut bytes = bytes(registration::REQUEST);
    bytes[at..at + replacement.len()].copy_from_slice(replacement);
    sealed(bytes)
}

/// The registration request with these bytes as its extensions part.
fn extended(extensions: &[u8]) -> Vec<u8> {
    let mut bytes = bytes(registration::REQUEST);
    bytes.truncate(EXTENSIONS_AT);
    bytes.extend_from_slice(extensions);
    resized(bytes)
}

#[test]
fn fewer_bytes_than_the_size_says() {
    let bytes = bytes(registration::REQUEST);
    let size = u16::try_from(bytes.len()).unwrap();
    for received in 12..bytes.len() {
        refused(&bytes[..received], 10, Fault::Size { size, received });
    }
    for received in 10..12 {
        refused(&bytes[..received], 10, Fault::Truncated { needed: 2, left: received - 10 });
    }
    refused(&[], 0, Fault::Truncated { needed: 10, left: 0 });
}

#[test]
fn a_size_below_the_header() {
    for size in [0, 20, 27] {
        refused(&changed(10, &[0, size]), 10, Fault::Size { size: size.into(), received: 106 });
    }
}

#[test]
fn a_wrong_checksum() {
    let mut bytes = bytes(registration::REQUEST);
    bytes[30] ^= 1;
    refused(&bytes, 12, Fault::Checksum);
    assert_eq!(Packet::decode(&bytes).unwrap_err().code(), None, "no answer to what cannot be believed");
}

#[test]
fn the_checksum_does_not_cover_what_follows() {
    let mut bytes = [&bytes(registration::REQUEST)[..], &[0xEE; 3]].concat();
    assert!(Packet::decode(&bytes).is_ok());
    // One that fits the whole buffer is wrong.
    bytes[12..14].fill(0);
    let sum = crate::checksum::sum(&bytes);
    bytes[12..14].copy_from_slice(&(!sum).to_be_bytes());
    refused(&bytes, 12, Fault::Checksum);
}

#[test]
fn unknown_versions_types_and_families() {
    refused(&changed(16, &[2]), 16, Fault::Version(2));
    refused(&changed(17, &[0]), 17, Fault::PacketType(0));
    refused(&changed(17, &[9]), 17, Fault::PacketType(9));
    refused(&changed(0, &[0, 3]), 0, Fault::NbmaFamily(3));
    refused(&changed(2, &[0x08, 0x06]), 2, Fault::ProtocolType(0x0806));
    refused(&changed(2, &[0x00, 0x80]), 2, Fault::ProtocolType(0x0080));
}

#[test]
fn addresses_of_the_wrong_length_or_type() {
    refused(&changed(18, &[16]), 18, Fault::AddressLength(16));
    refused(&changed(18, &[0x44]), 18, Fault::AddressType(0x44));
    refused(&changed(18, &[0x84]), 18, Fault::AddressType(0x84));
    refused(&changed(19, &[0x41]), 19, Fault::AddressType(0x41));
    refused(&changed(20, &[5]), 20, Fault::AddressLength(5));
    refused(&changed(21, &[16]), 21, Fault::AddressLength(16));
    // The same in the entry, which begins at byte 40.
    refused(&changed(48, &[3]), 48, Fault::AddressLength(3));
    refused(&changed(49, &[0x80]), 49, Fault::AddressType(0x80));
    refused(&changed(50, &[16]), 50, Fault::AddressLength(16));
}

#[test]
fn extensions_inside_the_header_or_past_the_end() {
    for offset in [1_u16, 20, 27, 107, 0xFFFF] {
        refused(&changed(14, &offset.to_be_bytes()), 14, Fault::ExtensionOffset(offset));
    }
}

#[test]
fn extensions_inside_an_address_or_entry() {
    refused(&changed(14, &[0, 30]), 28, Fault::Truncated { needed: 4, left: 2 });
    refused(&changed(14, &[0, 34]), 32, Fault::Truncated { needed: 4, left: 2 });
    refused(&changed(14, &[0, 45]), 40, Fault::Truncated { needed: 12, left: 5 });
}

#[test]
fn an_entry_that_overruns_the_mandatory_part() {
    let bytes = changed(48, &[4]);
    refused(&bytes, 52, Fault::Truncated { needed: 4, left: 0 });
    assert_eq!(Packet::decode(&bytes).unwrap_err().code(), Some(ErrorCode::PROTOCOL_ERROR));
    refused(&changed(49, &[63]), 52, Fault::Truncated { needed: 63, left: 0 });
}

#[test]
fn an_extension_that_overruns_the_packet() {
    let bytes = extended(&[0x80, 7, 0, 5, 0, 0, 0, 1]);
    refused(&bytes, 54, Fault::ExtensionOverrun { length: 5, left: 4 });
    assert_eq!(Packet::decode(&bytes).unwrap_err().code(), Some(ErrorCode::INVALID_EXTENSION));
    refused(&extended(&[0x80, 4, 0]), 52, Fault::Truncated { needed: 4, left: 3 });
}

#[test]
fn an_entry_that_overruns_its_extension() {
    // The value is 12 bytes, but the entry in it has an address, which would be read from what follows.
    let mut extensions = vec![0x80, 4, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0];
    extensions.extend_from_slice(&[0x80, 0, 0, 0]);
    let bytes = extended(&extensions);
    refused(&bytes, 68, Fault::Truncated { needed: 4, left: 0 });
    assert_eq!(Packet::decode(&bytes).unwrap_err().code(), Some(ErrorCode::INVALID_EXTENSION));
    // A NAT address of seven bytes is neither an entry nor capabilities.
    refused(&extended(&[0, 9, 0, 7, 0, 0, 0, 0, 0, 0, 0]), 56, Fault::Truncated { needed: 12, left: 7 });
}

#[test]
fn an_address_of_no_family_in_an_extension() {
    let entry = [0, 9, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 2, 3, 4, 5];
    refused(&extended(&entry), 64, Fault::AddressLength(5));
}

#[test]
fn the_reserved_bit_of_an_extension_type() {
    refused(&extended(&[0x40, 4, 0, 0]), 52, Fault::ReservedBit(0x4004));
    refused(&extended(&[0xC0, 0, 0, 0]), 52, Fault::ReservedBit(0xC000));
}

#[test]
fn an_end_with_a_value() {
    refused(&extended(&[0x80, 0, 0, 1, 0]), 54, Fault::EndWithValue);
}

#[test]
fn a_vendor_extension_without_vendor() {
    refused(&extended(&[0, 8, 0, 2, 0, 0]), 56, Fault::Truncated { needed: 3, left: 2 });
}

#[test]
fn authentication_twice() {
    let one = [0x80, 7, 0, 5, 0, 0, 0, 1, b'x'];
    assert!(Packet::decode(&extended(&one)).is_ok());
    // Also when the second has no compulsory bit.
    let mut two = [one, one].concat();
    two[9] = 0;
    refused(&extended(&two), 61, Fault::DuplicateAuthentication);
}

#[test]
fn more_extensions_than_we_take() {
    let most = [0, 0x55, 0, 0].repeat(MAX_EXTENSIONS);
    let packet = Packet::decode(&extended(&most)).unwrap();
    assert_eq!(packet.extensions.unwrap().list.len(), MAX_EXTENSIONS);
    let more = [&most[..], &[0, 0x55, 0, 0]].concat();
    refused(&extended(&more), EXTENSIONS_AT + most.len(), Fault::TooManyExtensions);
}

#[test]
fn more_entries_than_we_take() {
    // One is in the mandatory part; the others are spread over two lists.
    let list = |entries: usize| {
        let [high, low] = u16::try_from(entries * 12).unwrap().to_be_bytes();
        [&[0x80, 4, high, low][..], &vec![0; entries * 12]].concat()
    };
    let half = MAX_CIES / 2;
    assert!(Packet::decode(&extended(&[list(half), list(half - 1)].concat())).is_ok());
    let too_many = extended(&[list(half), list(half)].concat());
    refused(&too_many, too_many.len() - 12, Fault::TooManyCies);
}

#[test]
fn every_other_bit_of_a_packet_counts() {
    // A flipped bit is either found by the checksum or, with the checksum put right, gives another packet.
    for vector in [registration::REQUEST, resolution::REPLY, purge::REQUEST] {
        let bytes = bytes(vector);
        let original = Packet::decode(&bytes).unwrap();
        for bit in (0..bytes.len() * 8).filter(|bit| !(96..112).contains(bit)) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 0x80 >> (bit % 8);
            assert!(Packet::decode(&flipped).is_err(), "bit {bit}");
            if bit / 16 != 5 {
                assert_ne!(Packet::decode(&sealed(flipped)), Ok(original.clone()), "bit {bit}");
            }
        }
    }
}

fn not_encoded(packet: &Packet, expected: EncodeError) {
    let mut buffer = vec![1, 2, 3];
    assert_eq!(packet.encode(&mut buffer), Err(expected));
    assert!(buffer.is_empty(), "no half of a packet is left");
}

#[test]
fn a_packet_that_is_too_long() {
    let mut packet = registration::request();
    let value = vec![0; 65_500].into();
    packet.set_extension(Value::Other { kind: ExtensionKind(0x3000), value });
    not_encoded(&packet, EncodeError::TooLong(65_610));
    let value = vec![0; 65_536].into();
    packet.set_extension(Value::Other { kind: ExtensionKind(0x3000), value });
    assert!(matches!(packet.encode(&mut Vec::new()), Err(EncodeError::TooLong(65_537..))));
}

#[test]
fn the_longest_packet() {
    let mut packet = registration::request();
    let room = usize::from(u16::MAX) - 106 - 4;
    packet.set_extension(Value::Other { kind: ExtensionKind(0x3000), value: vec![0; room].into() });
    let bytes = super::encoded(&packet);
    assert_eq!(bytes.len(), usize::from(u16::MAX));
    assert_eq!(Packet::decode(&bytes).unwrap(), packet);
}

#[test]
fn an_address_of_another_family() {
    let mut packet = registration::request();
    packet.protocol = ProtocolType::IPV6;
    not_encoded(&packet, EncodeError::AddressFamily(ip("10.0.0.2")));
    let mut packet = registration::request();
    packet.body.clients_mut().unwrap().cies[0].nbma = Some(ip("2001:db8::1"));
    not_encoded(&packet, EncodeError::AddressFamily(ip("2001:db8::1")));
}

#[test]
fn a_subaddress_that_is_too_long() {
    let mut packet = registration::request();
    packet.source_subaddress = vec![0; 64].into();
    not_encoded(&packet, EncodeError::SubaddressTooLong(64));
}

#[test]
fn what_we_would_not_decode() {
    let password = || Extension::from(Value::Authentication(Authentication::clear_text(b"x")));
    let mut packet = registration::request();
    packet.extensions = Some(Extensions { list: vec![password(), password()], ..Extensions::default() });
    not_encoded(&packet, EncodeError::DuplicateAuthentication);

    let raw = |kind| Value::Other { kind, value: vec![].into() };
    let list = (0..=MAX_EXTENSIONS).map(|_| raw(ExtensionKind(0x55)).into()).collect();
    packet.extensions = Some(Extensions { list, ..Extensions::default() });
    not_encoded(&packet, EncodeError::TooManyExtensions);

    for kind in [ExtensionKind::END, ExtensionKind::NAT_ADDRESS, ExtensionKind(0x4000), ExtensionKind(0x8055)]
    {
        packet.extensions = Some(Extensions { list: vec![raw(kind).into()], ..Extensions::default() });
        not_encoded(&packet, EncodeError::ExtensionKind(kind));
    }

    packet.extensions = None;
    packet.body.clients_mut().unwrap().cies = vec![Cie::default(); MAX_CIES + 1];
    not_encoded(&packet, EncodeError::TooManyCies);
}

#[test]
fn errors_read_well() {
    let error = Packet::decode(&changed(14, &[0, 20])).unwrap_err();
    assert_eq!(error.to_string(), "byte 14: extensions at byte 20: inside the header or past the end");
    let error = EncodeError::ExtensionKind(ExtensionKind::NAT_ADDRESS);
    assert_eq!(error.to_string(), "NAT Address cannot be a raw extension");
}
