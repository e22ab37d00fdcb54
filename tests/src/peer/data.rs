//! Data packets: as much of IPv4 and ICMP as it takes to forward a packet and to answer a ping.

use std::net::Ipv4Addr;

use dmvpn::checksum::sum;

const HEADER: usize = 20;
const ICMP: u8 = 1;
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;
const HOPS: u8 = 64;

/// Source and destination; `None`: no IPv4 packet.
pub(super) fn addresses(packet: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let header: &[u8; HEADER] = packet.first_chunk()?;
    (header[0] >> 4 == 4).then(|| (at(header, 12), at(header, 16)))
}

fn at(header: &[u8; HEADER], offset: usize) -> Ipv4Addr {
    Ipv4Addr::new(header[offset], header[offset + 1], header[offset + 2], header[offset + 3])
}

/// The packet with one hop less to live; `None`: it has none left.
pub(super) fn forwarded(packet: &[u8]) -> Option<Vec<u8>> {
    let mut packet = packet.to_vec();
    let header: &mut [u8; HEADER] = packet.first_chunk_mut()?;
    header[8] = header[8].checked_sub(1).filter(|hops| *hops > 0)?;
    seal(header);
    Some(packet)
}

/// An echo request with a number.
pub(super) fn ping(from: Ipv4Addr, to: Ipv4Addr, number: u16) -> Vec<u8> {
    let mut icmp = vec![ECHO_REQUEST, 0, 0, 0, 0x64, 0x76];
    icmp.extend(number.to_be_bytes());
    icmp.extend([0x5a; 48]);
    whole(from, to, icmp)
}

/// The answer to an echo request; `None`: it is something else.
pub(super) fn answer(packet: &[u8]) -> Option<Vec<u8>> {
    let (from, to) = addresses(packet)?;
    let icmp = icmp_of(packet)?;
    (icmp.first() == Some(&ECHO_REQUEST)).then(|| {
        let mut icmp = icmp.to_vec();
        icmp[0] = ECHO_REPLY;
        whole(to, from, icmp)
    })
}

/// The number of the echo request that this answers; `None`: it is something else.
pub(super) fn answered(packet: &[u8]) -> Option<u16> {
    let icmp = icmp_of(packet)?;
    match icmp.get(..8)? {
        [ECHO_REPLY, _, _, _, _, _, high, low] => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    }
}

fn icmp_of(packet: &[u8]) -> Option<&[u8]> {
    (packet.first() == Some(&0x45) && packet.get(9) == Some(&ICMP)).then(|| packet.get(HEADER..))?
}

fn whole(from: Ipv4Addr, to: Ipv4Addr, mut icmp: Vec<u8>) -> Vec<u8> {
    if let Some(field) = icmp.get_mut(2..4) {
        field.fill(0);
    }
    let sum = (!sum(&icmp)).to_be_bytes();
    if let Some(field) = icmp.get_mut(2..4) {
        field.copy_from_slice(&sum);
    }
    let length = u16::try_from(HEADER + icmp.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut header = [0x45, 0, length[0], length[1], 0, 0, 0, 0, HOPS, ICMP, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[12..16].copy_from_slice(&from.octets());
    header[16..].copy_from_slice(&to.octets());
    seal(&mut header);
    [&header[..], &icmp].concat()
}

fn seal(header: &mut [u8; HEADER]) {
    header[10..12].fill(0);
    let checksum = (!sum(header)).to_be_bytes();
    header[10..12].copy_from_slice(&checksum);
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    #[test]
    fn a_ping_is_answered_and_the_answer_is_known() {
        let request = ping(A, B, 7);
        assert_eq!(addresses(&request), Some((A, B)));
        assert_eq!((sum(&request[..20]), sum(&request[20..])), (0xffff, 0xffff));
        assert_eq!(answered(&request), None);
        let reply = answer(&request).unwrap();
        assert_eq!((addresses(&reply), answered(&reply)), (Some((B, A)), Some(7)));
        assert_eq!((sum(&reply[..20]), sum(&reply[20..])), (0xffff, 0xffff));
        assert_eq!(answer(&reply), None);
    }

    #[test]
    fn forwarding_takes_a_hop_and_ends_at_none() {
        let mut packet = forwarded(&ping(A, B, 1)).unwrap();
        assert_eq!((packet[8], sum(&packet[..20])), (63, 0xffff));
        packet[8] = 1;
        assert_eq!(forwarded(&packet), None);
        assert_eq!(forwarded(&packet[..19]), None);
    }
}
