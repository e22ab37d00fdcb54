//! Whole packets, byte for byte, in both directions.

pub(crate) mod forms;
pub(crate) mod indication;
mod inspection;
pub(crate) mod ipv6;
mod properties;
pub(crate) mod purge;
mod refused;
pub(crate) mod registration;
pub(crate) mod resolution;

use std::net::IpAddr;

use super::{Cie, Fault, Packet};

/// Bytes written as hexadecimal digits; what follows a `#` on a line is a comment.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .lines()
        .flat_map(|line| line.split('#').next().unwrap().chars())
        .filter(|character| !character.is_whitespace())
        .map(|character| character.to_digit(16).expect("hexadecimal digits"))
        .collect();
    let pairs = digits.as_chunks::<2>();
    assert!(pairs.1.is_empty(), "half a byte");
    pairs.0.iter().map(|[high, low]| u8::try_from(high * 16 + low).unwrap()).collect()
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// An entry for a host that has both addresses.
pub(crate) fn binding(nbma: &str, protocol: &str, mtu: u16, holding_time: u16) -> Cie {
    Cie { mtu, holding_time, ..Cie::binding(ip(nbma), ip(protocol)) }
}

pub(crate) fn encoded(packet: &Packet) -> Vec<u8> {
    // What an earlier packet left in the buffer must not come through.
    let mut buffer = vec![0xAA; 7];
    packet.encode(&mut buffer).unwrap();
    buffer
}

/// Checks that the bytes are the packet, in both directions.
fn check(vector: &str, packet: &Packet) {
    let bytes = bytes(vector);
    assert_eq!(&Packet::decode(&bytes).unwrap(), packet);
    let encoded = encoded(packet);
    assert_eq!(encoded, bytes, "\nencoded  {encoded:02x?}\nexpected {bytes:02x?}");
}

/// The same bytes with a checksum that fits, so that what is wrong with them is reached.
pub(crate) fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[12..14].fill(0);
    let end = usize::from(u16::from_be_bytes([bytes[10], bytes[11]])).min(bytes.len());
    let checksum = !crate::checksum::sum(&bytes[..end]);
    bytes[12..14].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

/// The same bytes with a size that is theirs and a checksum that fits.
fn resized(mut bytes: Vec<u8>) -> Vec<u8> {
    let size = u16::try_from(bytes.len()).unwrap();
    bytes[10..12].copy_from_slice(&size.to_be_bytes());
    sealed(bytes)
}

/// Checks where and why bytes are refused.
fn refused(bytes: &[u8], offset: usize, fault: Fault) {
    let error = Packet::decode(bytes).expect_err("must be refused");
    assert_eq!((error.offset, error.fault), (offset, fault));
}
