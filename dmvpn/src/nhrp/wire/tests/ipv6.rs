//! IPv6 inside, outside and both.

use super::{check, ip};
use crate::nhrp::wire::{Body, Cie, CieCode, Clients, Extensions, Packet, Value};

/// IPv6 over IPv4.
pub(crate) static OVER_IPV4: &str = "
    0001 86dd 0000000000    # NBMA IPv4, protocol IPv6, no SNAP
    ff 0074 5002 004c       # hop count 255, 116 bytes, checksum, extensions at 76
    01 03 04 00             # version 1, type 3, source NBMA 4 bytes, no subaddress
    10 10 0000 00000001     # protocol addresses 16 bytes, no flags, request 1
    c6336402                # 198.51.100.2
    20010db8000000000000000000000002        # 2001:db8::2
    20010db8000000000000000000000001        # 2001:db8::1
    00 80 0000 05b4 012c 00 00 00 00        # entry: /128, MTU 1460, 300 s
    8003 0020 00 80 0000 05b4 012c 04 00 10 00 cb007101 20010db8000000000000000000000001   # the hub
    8000 0000               # end
";

/// IPv4 over IPv6.
pub(crate) static UNDER_IPV4: &str = "
    0002 0800 0000000000    # NBMA IPv6, protocol IPv4, no SNAP
    ff 0054 4d1f 0000       # hop count 255, 84 bytes, checksum, no extensions
    01 06 10 00             # version 1, type 6, source NBMA 16 bytes, no subaddress
    04 04 0000 00000002     # protocol addresses 4 bytes, no flags, request 2
    20010db8000100000000000000000002        # 2001:db8:1::2
    0a000002 0a000001                       # 10.0.0.2, 10.0.0.1
    00 20 0000 05b4 012c 10 00 04 00        # entry: /32, MTU 1460, 300 s
    20010db8000100000000000000000003 0a000003   # 2001:db8:1::3, 10.0.0.3
";

/// IPv6 over IPv6.
pub(crate) static BOTH: &str = "
    0002 86dd 0000000000    # NBMA IPv6, protocol IPv6, no SNAP
    ff 0078 1b6b 0074       # hop count 255, 120 bytes, checksum, extensions at 116
    01 02 10 00             # version 1, type 2, source NBMA 16 bytes, no subaddress
    10 00 0000 00000003     # source protocol address 16 bytes, no destination, no flags, request 3
    20010db8000100000000000000000002        # 2001:db8:1::2
    20010db8000000000000000000000002        # 2001:db8::2
    00 40 0000 05a0 012c 10 00 10 00        # entry: /64, MTU 1440, 300 s
    20010db8000100000000000000000003        # 2001:db8:1::3
    fe800000000000000000000000000003        # fe80::3
    0c 00 0000 0000 0000 00 00 00 00        # entry: no binding, nothing else
    8000 0000               # end
";

fn hub(request_id: u32, cie: Cie) -> Clients {
    Clients { request_id, cies: vec![cie] }
}

#[test]
fn ipv6_over_ipv4() {
    let client = Cie { prefix_length: 128, mtu: 1460, holding_time: 300, ..Cie::default() };
    let responder =
        Cie { mtu: 1460, holding_time: 300, ..Cie::binding(ip("203.0.113.1"), ip("2001:db8::1")) };
    let body = Body::RegistrationRequest(hub(1, client));
    let packet = Packet::new(ip("198.51.100.2"), ip("2001:db8::2"), ip("2001:db8::1"), body)
        .with_extension(Value::ResponderAddress(vec![responder]));
    check(OVER_IPV4, &packet);
}

#[test]
fn ipv4_over_ipv6() {
    let client = Cie { mtu: 1460, holding_time: 300, ..Cie::binding(ip("2001:db8:1::3"), ip("10.0.0.3")) };
    let body = Body::PurgeReply(hub(2, client));
    check(UNDER_IPV4, &Packet::new(ip("2001:db8:1::2"), ip("10.0.0.2"), ip("10.0.0.1"), body));
}

#[test]
fn ipv6_over_ipv6_and_absent_addresses() {
    let client = Cie {
        prefix_length: 64,
        mtu: 1440,
        holding_time: 300,
        ..Cie::binding(ip("2001:db8:1::3"), ip("fe80::3"))
    };
    let nothing = Cie { code: CieCode::NO_BINDING, ..Cie::default() };
    let body = Body::ResolutionReply(Clients { request_id: 3, cies: vec![client, nothing] });
    let mut packet = Packet::new(ip("2001:db8:1::2"), ip("2001:db8::2"), ip("::"), body);
    packet.destination_protocol = None;
    packet.extensions = Some(Extensions::default());
    check(BOTH, &packet);
}
