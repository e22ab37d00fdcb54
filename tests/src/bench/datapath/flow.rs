//! The packets of a bench: one flow for each destination, from the peers in another order.

use std::net::Ipv4Addr;

/// Bytes of a packet's head that tell flows apart; what follows is the same in all of them.
pub(super) const FRONT: usize = 64;
/// Ethernet, IPv4, GRE with key.
const OUTER: usize = 14 + 20 + 8;
/// The inner packet: what a 64-byte frame carries.
const INNER: usize = 50;
/// A frame as it comes from a peer.
pub(in crate::bench) const TUNNELED: usize = OUTER + INNER;

/// A frame as it comes from a LAN.
pub(super) const PLAIN: usize = 14 + INNER;

/// GRE key of the tunnel.
pub(in crate::bench) const KEY: u32 = 42;
/// NBMA address of the box under test.
pub(in crate::bench) const LOCAL: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// NBMA address of a peer, by number from 0.
pub(super) fn nbma(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(100, 64, 0, 0).to_bits() + number)
}

/// Protocol address of a peer.
pub(super) fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 1, 0, 0).to_bits() + number)
}

/// The first address of the /24 behind a peer.
pub(in crate::bench) fn network(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(32, 0, 0, 0).to_bits() + (number << 8))
}

/// A host in it.
pub(in crate::bench) fn host(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(network(number).to_bits() + 10)
}

/// Link-layer addresses of a frame: destination, source.
pub(in crate::bench) type LinkLayer = ([u8; 6], [u8; 6]);

/// A packet from the peer `from` for the network behind the peer `to`.
pub(in crate::bench) fn tunneled(link: LinkLayer, from: u32, to: u32) -> Vec<u8> {
    encapsulated(link, from, host(to))
}

/// A packet from the peer `from` for the address `to`.
pub(super) fn encapsulated(link: LinkLayer, from: u32, to: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet(link);
    frame.extend(ipv4(nbma(from), LOCAL, 47, TUNNELED - 14, 255));
    frame.extend([0x20, 0, 0x08, 0]);
    frame.extend(KEY.to_be_bytes());
    frame.extend(inner(host(from), to, INNER));
    frame
}

/// A packet from a host of the LAN for the network behind the peer `to`.
pub(super) fn plain(link: LinkLayer, from: Ipv4Addr, to: u32) -> Vec<u8> {
    let mut frame = ethernet(link);
    frame.extend(inner(from, host(to), INNER));
    frame
}

/// The peer that sends to the network behind the peer `to`, when there are `peers` of them: another one for each, far
/// from it.
pub(in crate::bench) fn sender(to: u32, peers: u32) -> u32 {
    // A step that shares no factor with the number of peers meets all of them.
    let mut step = peers / 2 + peers / 7 + 1;
    while greatest_common_divisor(step, peers) != 1 {
        step += 1;
    }
    let number = (u64::from(to) * u64::from(step) + u64::from(peers) / 3) % u64::from(peers);
    let number = u32::try_from(number).unwrap_or(0);
    if number == to { (number + 1) % peers } else { number }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

fn ethernet((destination, source): LinkLayer) -> Vec<u8> {
    let mut frame = Vec::with_capacity(TUNNELED);
    frame.extend(destination);
    frame.extend(source);
    frame.extend([0x08, 0x00]);
    frame
}

/// A UDP packet of `length` bytes.
fn inner(from: Ipv4Addr, to: Ipv4Addr, length: usize) -> Vec<u8> {
    let mut packet = ipv4(from, to, 17, length, 64).to_vec();
    let [high, low] = u16::try_from(length - 20).unwrap_or(0).to_be_bytes();
    packet.extend([0x30, 0x39, 0, 9, high, low, 0, 0]);
    packet.resize(length, 0x5a);
    packet
}

/// An IPv4 header.
fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, length: usize, ttl: u8) -> [u8; 20] {
    let [high, low] = u16::try_from(length).unwrap_or(0).to_be_bytes();
    let mut header = [0x45, 0, high, low, 0, 0, 0x40, 0, ttl, protocol, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[12..16].copy_from_slice(&from.octets());
    header[16..].copy_from_slice(&to.octets());
    let (words, _) = header.as_chunks::<2>();
    let sum: u32 = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    let checksum = !u16::try_from(folded & 0xffff).unwrap_or(0);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const LINK: LinkLayer = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);

    #[test]
    fn frames_have_the_length_that_programs_are_told() {
        assert_eq!(tunneled(LINK, 1, 2).len(), TUNNELED);
        assert_eq!(plain(LINK, Ipv4Addr::new(192, 168, 1, 0), 2).len(), PLAIN);
        const { assert!(PLAIN >= FRONT) };
    }

    #[test]
    fn flows_differ_within_the_front_only() {
        let (one, other) = (tunneled(LINK, 1, 2), tunneled(LINK, 3000, 70_000));
        assert_ne!(one[..FRONT], other[..FRONT]);
        assert_eq!(one[FRONT..], other[FRONT..]);
    }

    #[test]
    fn nobody_sends_to_itself_and_senders_are_many() {
        for peers in [10, 1000, 10_000] {
            let senders: Vec<u32> = (0..peers).map(|to| sender(to, peers)).collect();
            assert!(senders.iter().zip(0..).all(|(from, to)| *from != to && *from < peers));
            let different: HashSet<&u32> = senders.iter().collect();
            assert!(different.len() * 10 >= senders.len() * 9, "{peers}: {}", different.len());
        }
    }

    #[test]
    fn headers_have_a_right_checksum() {
        let header = ipv4(nbma(5), LOCAL, 47, 92, 255);
        let (words, _) = header.as_chunks::<2>();
        let sum: u32 = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    }
}
