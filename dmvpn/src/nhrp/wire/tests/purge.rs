//! Purge packets.

use super::{binding, check, ip};
use crate::nhrp::wire::{Authentication, Body, Cie, Clients, Flags, Packet, Value};

/// The hub tells a spoke to forget two bindings of another spoke: one narrowed to an NBMA address, one not.
pub(crate) static REQUEST: &str = "
    0001 0800 0000000000    # NBMA IPv4, protocol IPv4, no SNAP
    ff 005e 5cac 004c       # hop count 255, 94 bytes, checksum, extensions at 76
    01 05 04 00             # version 1, type 5, source NBMA 4 bytes, no subaddress
    04 04 0000 00000021     # protocol addresses 4 bytes, reply wanted, request 33
    cb007101 0a000001 0a000002          # 203.0.113.1, 10.0.0.1, 10.0.0.2
    00 18 0000 0000 0000 04 00 04 00 c6336403 c0a80300  # 192.168.3.0/24 at 198.51.100.3
    00 20 0000 0000 0000 00 00 04 00 0a000003           # 10.0.0.3 wherever it is
    8007 000a 00000001 736563726574     # authentication: clear text, 'secret'
    8000 0000               # end
";

/// The spoke has forgotten them.
pub(crate) static REPLY: &str = "
    0001 0800 0000000000    # NBMA IPv4, protocol IPv4, no SNAP
    ff 005e 5cab 004c       # hop count 255, 94 bytes, checksum, extensions at 76
    01 06 04 00             # version 1, type 6, source NBMA 4 bytes, no subaddress
    04 04 0000 00000021     # protocol addresses 4 bytes, request 33
    cb007101 0a000001 0a000002          # as in the request
    00 18 0000 0000 0000 04 00 04 00 c6336403 c0a80300
    00 20 0000 0000 0000 00 00 04 00 0a000003
    8007 000a 00000001 736563726574     # authentication: clear text, 'secret'
    8000 0000               # end
";

/// A purge that wants no reply, without extensions.
pub(crate) static SILENT: &str = "
    0001 0800 0000000000    # NBMA IPv4, protocol IPv4, no SNAP
    ff 0038 0f74 0000       # hop count 255, 56 bytes, checksum, no extensions
    01 05 04 00             # version 1, type 5, source NBMA 4 bytes, no subaddress
    04 04 8000 00000022     # protocol addresses 4 bytes, no reply wanted, request 34
    cb007101 0a000001 0a000002          # 203.0.113.1, 10.0.0.1, 10.0.0.2
    00 20 0000 0000 0000 00 00 04 00 0a000003           # 10.0.0.3
";

fn packet(request_id: u32, cies: Vec<Cie>) -> Packet {
    let body = Body::PurgeRequest(Clients { request_id, cies });
    Packet::new(ip("203.0.113.1"), ip("10.0.0.1"), ip("10.0.0.2"), body)
}

fn host() -> Cie {
    Cie { prefix_length: 32, protocol: Some(ip("10.0.0.3")), ..Cie::default() }
}

fn request() -> Packet {
    let network = Cie { prefix_length: 24, ..binding("198.51.100.3", "192.168.3.0", 0, 0) };
    packet(33, vec![network, host()])
        .with_extension(Value::Authentication(Authentication::clear_text(b"secret")))
}

#[test]
fn request_for_a_network_and_a_host() {
    check(REQUEST, &request());
}

#[test]
fn reply_repeats_the_request() {
    check(REPLY, &request().into_reply().unwrap());
}

#[test]
fn request_without_reply() {
    check(SILENT, &packet(34, vec![host()]).with_flags(Flags::PURGE_NO_REPLY));
}
