//! Registration packets as Cisco sends them.

use super::{binding, check, ip};
use crate::nhrp::wire::{Authentication, Body, Cie, CieCode, Clients, ExtensionKind, Flags, Packet, Value};

/// A spoke registers with its hub.
pub(crate) static REQUEST: &str = "
    0001 0800 0000000000    # NBMA IPv4, protocol IPv4, no SNAP
    ff 006a fcaa 0034       # hop count 255, 106 bytes, checksum, extensions at 52
    01 03 04 00             # version 1, type 3, source NBMA 4 bytes, no subaddress
    04 04 8002 00000007     # protocol addresses 4 bytes, unique and NAT, request 7
    c6336402 0a000002 0a000001          # 198.51.100.2, 10.0.0.2, 10.0.0.1
    00 20 0000 05c0 1c20 00 00 00 00    # entry: /32, MTU 1472, 7200 s, addresses as above
    8003 0000               # responder address, empty
    8004 0000               # forward transit record, empty
    8005 0000               # reverse transit record, empty
    8007 000a 00000001 736563726574     # authentication: clear text, 'secret'
    0009 0014 00 20 0000 05c0 0000 04 00 04 00 cb007101 0a000001    # NAT: the hub, 203.0.113.1, 10.0.0.1
    8000 0000               # end
";

/// The hub sees the spoke behind a NAT: a second entry in the NAT extension.
pub(crate) static REPLY: &str = "
    0001 0800 0000000000    # NBMA IPv4, protocol IPv4, no SNAP
    ff 0092 b210 0034       # hop count 255, 146 bytes, checksum, extensions at 52
    01 04 04 00             # version 1, type 4, source NBMA 4 bytes, no subaddress
    04 04 8002 00000007     # protocol addresses 4 bytes, unique and NAT, request 7
    c6336402 0a000002 0a000001          # still the spoke's addresses, then the hub's
    00 20 0000 05c0 1c20 00 00 00 00    # the spoke's entry: success
    8003 0014 00 20 0000 05c0 1c20 04 00 04 00 cb007101 0a000001    # the hub answered
    8004 0000               # forward transit record, empty
    8005 0000               # reverse transit record, empty
    8007 000a 00000001 736563726574     # authentication: clear text, 'secret'
    0009 0028               # NAT, two entries
         00 20 0000 05c0 0000 04 00 04 00 cb007101 0a000001         # the hub
         00 20 0000 05c0 0000 04 00 04 00 c0000263 0a000002         # the spoke after the NAT: 192.0.2.99
    8000 0000               # end
";

/// A refusal without extensions: the address belongs to someone else.
pub(crate) static REFUSAL: &str = "
    0001 0800 0000000000    # NBMA IPv4, protocol IPv4, no SNAP
    ff 0034 1ba2 0000       # hop count 255, 52 bytes, checksum, no extensions
    01 04 04 00             # version 1, type 4, source NBMA 4 bytes, no subaddress
    04 04 8000 00000008     # protocol addresses 4 bytes, unique, request 8
    c6336402 0a000002 0a000001          # 198.51.100.2, 10.0.0.2, 10.0.0.1
    0e 20 0000 05c0 0000 00 00 00 00    # already registered, no holding time
";

pub(super) fn request() -> Packet {
    let client = Cie { prefix_length: 32, mtu: 1472, holding_time: 7200, ..Cie::default() };
    let body = Body::RegistrationRequest(Clients { request_id: 7, cies: vec![client] });
    Packet::new(ip("198.51.100.2"), ip("10.0.0.2"), ip("10.0.0.1"), body)
        .with_flags(Flags::REGISTRATION_UNIQUE | Flags::NAT)
        .with_extension(Value::NatAddress(vec![binding("203.0.113.1", "10.0.0.1", 1472, 0)]))
        .with_extension(Value::Authentication(Authentication::clear_text(b"secret")))
        .with_extension(Value::ResponderAddress(vec![]))
        .with_extension(Value::ForwardTransit(vec![]))
        .with_extension(Value::ReverseTransit(vec![]))
}

fn reply() -> Packet {
    let mut reply = request().into_reply().unwrap();
    reply.records_mut(ExtensionKind::NAT_ADDRESS).unwrap().push(binding("192.0.2.99", "10.0.0.2", 1472, 0));
    let responder = binding("203.0.113.1", "10.0.0.1", 1472, 7200);
    reply.with_extension(Value::ResponderAddress(vec![responder]))
}

#[test]
fn request_of_a_spoke() {
    check(REQUEST, &request());
}

#[test]
fn reply_to_a_spoke_behind_a_nat() {
    check(REPLY, &reply());
}

#[test]
fn refusal_without_extensions() {
    let client = Cie { code: CieCode::ALREADY_REGISTERED, prefix_length: 32, mtu: 1472, ..Cie::default() };
    let body = Body::RegistrationReply(Clients { request_id: 8, cies: vec![client] });
    let refusal = Packet::new(ip("198.51.100.2"), ip("10.0.0.2"), ip("10.0.0.1"), body)
        .with_flags(Flags::REGISTRATION_UNIQUE);
    check(REFUSAL, &refusal);
}

#[test]
fn extensions_are_found_by_kind() {
    let reply = reply();
    assert_eq!(reply.authentication().unwrap().password(), Some(&b"secret"[..]));
    assert_eq!(reply.records(ExtensionKind::NAT_ADDRESS).unwrap()[1].nbma, Some(ip("192.0.2.99")));
    assert_eq!(reply.records(ExtensionKind::FORWARD_TRANSIT), Some(&vec![]));
    assert_eq!(reply.records(ExtensionKind::VENDOR_PRIVATE), None);
}

#[test]
fn a_reply_has_no_reply() {
    assert_eq!(reply().into_reply(), None);
}
