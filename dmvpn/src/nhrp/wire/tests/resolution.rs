//! Resolution packets as Cisco sends them.

use super::{binding, check, ip};
use crate::nhrp::wire::{Authentication, Body, Cie, CieCode, Clients, Extensions, Flags, Packet, Value};

/// A spoke asks for a host behind another spoke; the hub has sent the request on.
pub(crate) static REQUEST: &str = "
    0001 0800 0000000000    # NBMA IPv4, protocol IPv4, no SNAP
    fe 006a def6 0034       # hop count 254, 106 bytes, checksum, extensions at 52
    01 01 04 00             # version 1, type 1, source NBMA 4 bytes, no subaddress
    04 04 c802 00000011     # protocol addresses 4 bytes, router, authoritative, stable, NAT, request 17
    c6336402 0a000002 c0a80305          # 198.51.100.2, 10.0.0.2, 192.168.3.5
    00 00 0000 05c0 1c20 00 00 00 00    # entry: any prefix, MTU 1472, 7200 s
    8003 0000               # responder address, empty
    8004 0014 00 20 0000 05c0 1c20 04 00 04 00 cb007101 0a000001    # forward transit record: the hub
    8005 0000               # reverse transit record, empty
    8007 000a 00000001 736563726574     # authentication: clear text, 'secret'
    0009 0000               # NAT, none known
    8000 0000               # end
";

/// The other spoke answers with its prefix.
pub(crate) static REPLY: &str = "
    0001 0800 0000000000    # NBMA IPv4, protocol IPv4, no SNAP
    ff 0086 1430 003c       # hop count 255, 134 bytes, checksum, extensions at 60
    01 02 04 00             # version 1, type 2, source NBMA 4 bytes, no subaddress
    04 04 f802 00000011     # protocol addresses 4 bytes, all flags and NAT, request 17
    c6336402 0a000002 c0a80305          # the requester's addresses, then what it asked for
    00 18 0000 05c0 1c20 04 00 04 00 c6336403 0a000003              # 192.168.3.0/24 is at 198.51.100.3, 10.0.0.3
    8003 0014 00 20 0000 05c0 1c20 04 00 04 00 c6336403 0a000003    # who answers
    8004 0014 00 20 0000 05c0 1c20 04 00 04 00 cb007101 0a000001    # the request came by the hub
    8005 0000               # reverse transit record, empty
    8007 000a 00000001 736563726574     # authentication: clear text, 'secret'
    0009 0000               # NAT, none known
    8000 0000               # end
";

/// Nobody has it.
pub(crate) static REFUSAL: &str = "
    0001 0800 0000000000    # NBMA IPv4, protocol IPv4, no SNAP
    ff 0038 9bd2 0034       # hop count 255, 56 bytes, checksum, extensions at 52
    01 02 04 00             # version 1, type 2, source NBMA 4 bytes, no subaddress
    04 04 c802 00000012     # protocol addresses 4 bytes, the request's flags, request 18
    c6336402 0a000002 c0a80305          # 198.51.100.2, 10.0.0.2, 192.168.3.5
    0c 00 0000 05c0 0000 00 00 00 00    # no binding
    8000 0000               # end
";

fn packet(body: Body, flags: Flags) -> Packet {
    Packet::new(ip("198.51.100.2"), ip("10.0.0.2"), ip("192.168.3.5"), body).with_flags(flags)
}

const REQUEST_FLAGS: Flags = Flags(0xC802);

#[test]
fn request_sent_on_by_a_hub() {
    let client = Cie { mtu: 1472, holding_time: 7200, ..Cie::default() };
    let body = Body::ResolutionRequest(Clients { request_id: 17, cies: vec![client] });
    let flags = Flags::RESOLUTION_ROUTER
        | Flags::RESOLUTION_AUTHORITATIVE
        | Flags::RESOLUTION_SOURCE_STABLE
        | Flags::NAT;
    assert_eq!(flags, REQUEST_FLAGS);
    let mut request = packet(body, flags)
        .with_extension(Value::ResponderAddress(vec![]))
        .with_extension(Value::ForwardTransit(vec![binding("203.0.113.1", "10.0.0.1", 1472, 7200)]))
        .with_extension(Value::ReverseTransit(vec![]))
        .with_extension(Value::Authentication(Authentication::clear_text(b"secret")))
        .with_extension(Value::NatAddress(vec![]));
    request.hop_count -= 1;
    check(REQUEST, &request);
}

#[test]
fn reply_with_a_prefix() {
    let other = binding("198.51.100.3", "10.0.0.3", 1472, 7200);
    let client = Cie { prefix_length: 24, ..other.clone() };
    let body = Body::ResolutionReply(Clients { request_id: 17, cies: vec![client] });
    let flags = REQUEST_FLAGS | Flags::RESOLUTION_DESTINATION_STABLE | Flags::RESOLUTION_UNIQUE;
    let reply = packet(body, flags)
        .with_extension(Value::ResponderAddress(vec![other]))
        .with_extension(Value::ForwardTransit(vec![binding("203.0.113.1", "10.0.0.1", 1472, 7200)]))
        .with_extension(Value::ReverseTransit(vec![]))
        .with_extension(Value::Authentication(Authentication::clear_text(b"secret")))
        .with_extension(Value::NatAddress(vec![]));
    check(REPLY, &reply);
}

#[test]
fn refusal_with_nothing_but_an_end() {
    let client = Cie { code: CieCode::NO_BINDING, mtu: 1472, ..Cie::default() };
    let body = Body::ResolutionReply(Clients { request_id: 18, cies: vec![client] });
    let mut refusal = packet(body, REQUEST_FLAGS);
    refusal.extensions = Some(Extensions::default());
    check(REFUSAL, &refusal);
}
