//! Whether what a large buffer is cut into fits the way to its peer: the headers in front of each segment count.

use dmvpn_common::{DropReason, PeerMac, program_names};

use crate::{
    frames::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ip, Ip6, UDP, ethernet, tcp},
    hub::Hub,
    namespace::in_namespace,
    programs::tc,
};

const TCP: u8 = 6;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION: u8 = 60;
/// MTU of the peer.
const MTU: usize = 1476;
/// Bytes of payload.
const PAYLOAD: usize = 2000;

const SITE_1: [u8; 4] = [192, 168, 1, 1];
const SITE_2: [u8; 4] = [192, 168, 2, 1];

/// A transport header, with its protocol.
fn transport(protocol: u8, options: usize) -> Vec<u8> {
    if protocol == TCP { tcp(SITE_1, SITE_2, 0x10, &vec![1; options]) } else { vec![0; 8] }
}

fn ipv4(options: usize, protocol: u8, tcp_options: usize) -> (u16, usize, Vec<u8>) {
    let header = transport(protocol, tcp_options);
    let headers = 20 + options + header.len();
    let payload = [header, vec![0x5a; PAYLOAD]].concat();
    let packet = Ip { protocol, options: vec![1; options], payload, ..Ip::between(SITE_1, SITE_2, 28) };
    (ETHERTYPE_IPV4, headers, packet.bytes())
}

/// With extension headers, each of so many bytes.
fn ipv6(extensions: &[(u8, usize)], protocol: u8, tcp_options: usize) -> (u16, usize, Vec<u8>) {
    let mut payload = Vec::new();
    let kinds = extensions.iter().map(|(kind, _)| *kind).chain([protocol]);
    for (&(_, length), next) in extensions.iter().zip(kinds.clone().skip(1)) {
        payload.extend([next, u8::try_from(length / 8 - 1).unwrap(), 1, 0]);
        payload.resize(payload.len() + length - 4, 0);
    }
    payload.extend(transport(protocol, tcp_options));
    let headers = 40 + payload.len();
    payload.resize(payload.len() + PAYLOAD, 0x5a);
    let next_header = kinds.clone().next().unwrap();
    let packet = Ip6 { next_header, payload, ..Ip6::between("fd01::1", "fd02::1", 48) };
    (ETHERTYPE_IPV6, headers, packet.bytes())
}

#[test]
fn the_headers_in_front_of_each_segment_count() {
    in_namespace(|| {
        let hub = Hub::plain();
        for (protocol, headers, packet) in [
            ipv4(0, TCP, 0),
            ipv4(0, TCP, 12),
            ipv4(0, UDP, 0),
            ipv4(4, TCP, 12),
            ipv4(40, TCP, 40),
            ipv4(40, UDP, 0),
            ipv6(&[], TCP, 12),
            ipv6(&[], UDP, 0),
            ipv6(&[(HOP_BY_HOP, 8)], TCP, 12),
            ipv6(&[(DESTINATION, 40)], UDP, 0),
            ipv6(&[(HOP_BY_HOP, 8), (DESTINATION, 8), (ROUTING, 24), (DESTINATION, 16)], TCP, 40),
        ] {
            let frame = ethernet(PeerMac::from_index(2).0, PeerMac::TUNNEL.0, protocol, &packet);
            for (segment, fits) in [(MTU - headers, true), (MTU - headers + 1, false)] {
                let send = || {
                    let segment = u32::try_from(segment).unwrap();
                    hub.programs.try_tc(program_names::TC_TUNNEL, hub.tunnel.ifindex, &frame, segment)
                };
                let (outcome, drops) = hub.programs.drops_by(send);
                // The kernel wants to know what is segmented, which a test run cannot tell it, before it makes room.
                let (action, reason) =
                    if fits { (tc::SHOT, DropReason::NoHeadroom) } else { (tc::OK, DropReason::TooLong) };
                let what = format!("{protocol:#x}, {headers} bytes of headers, fits: {fits}");
                assert_eq!(outcome.unwrap().action, action, "{what}");
                assert_eq!(drops, [(reason, 1, frame.len() as u64)], "{what}");
            }
        }
    });
}

/// Headers without an end are nobody's packets: they go where everything goes that is too long.
#[test]
fn headers_of_no_known_length_do_not_fit() {
    in_namespace(|| {
        let hub = Hub::plain();
        let many = [(DESTINATION, 8); 9];
        for (protocol, _, packet) in [ipv6(&many, TCP, 0), ipv6(&[(DESTINATION, 600)], TCP, 0)] {
            let frame = ethernet(PeerMac::from_index(2).0, PeerMac::TUNNEL.0, protocol, &packet);
            let outcome = hub.programs.try_tc(program_names::TC_TUNNEL, hub.tunnel.ifindex, &frame, 1000);
            assert_eq!(outcome.unwrap().action, tc::OK);
        }
    });
}
