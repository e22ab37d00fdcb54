//! Makes files and frames.

use crate::nhrp::wire::tests::bytes;

/// Numbers in one byte order.
pub(super) struct Order {
    pub(super) u16: fn(u16) -> [u8; 2],
    pub(super) u32: fn(u32) -> [u8; 4],
    pub(super) i64: fn(i64) -> [u8; 8],
}

pub(super) const LITTLE: Order =
    Order { u16: u16::to_le_bytes, u32: u32::to_le_bytes, i64: i64::to_le_bytes };
pub(super) const BIG: Order = Order { u16: u16::to_be_bytes, u32: u32::to_be_bytes, i64: i64::to_be_bytes };

/// Header of a pcap file.
pub(super) fn pcap_header(order: &Order, magic: u32, link: u32) -> Vec<u8> {
    let version = [(order.u16)(2), (order.u16)(4)].concat();
    let numbers = [0, 0, 65535, link].map(order.u32).concat();
    [&(order.u32)(magic)[..], &version, &numbers].concat()
}

/// A record of a pcap file, at second 1000 and so many parts of one.
pub(super) fn pcap_record(order: &Order, fraction: u32, frame: &[u8], length: u32) -> Vec<u8> {
    let captured = u32::try_from(frame.len()).unwrap();
    [&[1000, fraction, captured, length].map(order.u32).concat(), frame].concat()
}

/// A pcapng block.
pub(super) fn block(order: &Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
    let length = (order.u32)(u32::try_from(12 + body.len() + padding.len()).unwrap());
    [&(order.u32)(kind), &length, body, &padding, &length].concat()
}

/// A pcapng section header.
pub(super) fn section(order: &Order) -> Vec<u8> {
    let version = [(order.u16)(1), (order.u16)(0)].concat();
    let body = [&(order.u32)(0x1A2B_3C4D)[..], &version, &(order.i64)(-1)].concat();
    block(order, 0x0A0D_0D0A, &body)
}

/// A pcapng interface.
pub(super) fn interface(order: &Order, link: u16, snap_length: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = [(order.u16)(link), (order.u16)(0)].concat();
    body.extend((order.u32)(snap_length));
    for (code, value) in options {
        body.extend((order.u16)(*code));
        body.extend((order.u16)(u16::try_from(value.len()).unwrap()));
        body.extend_from_slice(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    block(order, 1, &body)
}

/// A pcapng enhanced packet.
pub(super) fn packet(order: &Order, interface: u32, time: u64, frame: &[u8], length: u32) -> Vec<u8> {
    let [high, low] = [time >> 32, time & 0xFFFF_FFFF].map(|half| u32::try_from(half).unwrap());
    let captured = u32::try_from(frame.len()).unwrap();
    let mut body = [interface, high, low, captured, length].map(order.u32).concat();
    body.extend_from_slice(frame);
    block(order, 6, &body)
}

/// An Ethernet header.
pub(super) const ETHERNET: &str = "02000000000a 02000000000b 0800";

/// An IPv4 packet from 198.51.100.2 to 203.0.113.1 with TOS 0xC0 and TTL 255.
pub(super) fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total = u16::try_from(20 + payload.len()).unwrap();
    let header = bytes(&format!("45c0 {total:04x} 0001 4000 ff {protocol:02x} 0000 c6336402 cb007101"));
    [&header, payload].concat()
}

/// An IPv6 packet from `2001:db8::a` to `2001:db8::b`.
pub(super) fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len();
    let header = bytes(&format!(
        "6c000000 {length:04x} {next:02x} ff 20010db800000000000000000000000a 20010db800000000000000000000000b"
    ));
    [&header, payload].concat()
}

/// A GRE packet with NHRP, with these fields after the flags.
pub(super) fn gre(flags: u16, fields: &str, payload: &[u8]) -> Vec<u8> {
    [&bytes(&format!("{flags:04x} 2001 {fields}")), payload].concat()
}

/// The bytes, one after the other.
pub(super) fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}
