//! Tells the sender of a packet that it was too long: ICMP "fragmentation needed" (RFC 1191) and `ICMPv6` "packet too
//! big" (RFC 4443, 3.2).

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6},
    time::{Duration, Instant},
};

use nix::libc;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::checksum::sum;

/// Most of an IPv4 packet that is quoted, so that the message has 576 bytes (RFC 1812, 4.3.2.3).
const QUOTE_IPV4: usize = 576 - 20 - 8;
/// Most of an IPv6 packet that is quoted, so that the message has 1,280 bytes (RFC 4443, 2.4).
const QUOTE_IPV6: usize = 1280 - 40 - 8;

/// Messages a second to one sender, and to all of them.
const RATE: u32 = 10;
const TOTAL_RATE: u32 = 200;

/// Sends the messages. The kernel chooses their source address: that of this box on the way to the sender.
pub(in crate::agent) struct Reporter {
    ipv4: Socket,
    /// `None`: this box has no IPv6.
    ipv6: Option<Socket>,
    /// Since when `sent` counts.
    since: Instant,
    /// Messages of this second by receiver, at most [`TOTAL_RATE`].
    sent: HashMap<IpAddr, u32>,
}

impl Reporter {
    /// Opens the sockets, which take nothing in.
    pub(in crate::agent) fn open() -> io::Result<Self> {
        let ipv4 = open(Domain::IPV4, Protocol::ICMPV4)?;
        let ipv6 = open(Domain::IPV6, Protocol::ICMPV6).ok();
        Ok(Self { ipv4, ipv6, since: Instant::now(), sent: HashMap::new() })
    }

    /// Tells the sender of `packet` that the next hop takes `mtu` bytes. `ifindex` is where a link-local sender is.
    /// Nothing happens when there is nobody to be told, or told too often.
    pub(in crate::agent) fn report(&mut self, packet: &[u8], mtu: u32, ifindex: u32) -> io::Result<()> {
        let Some((sender, message)) = message(packet, mtu) else { return Ok(()) };
        if !self.admits(sender, Instant::now()) {
            return Ok(());
        }
        match sender {
            IpAddr::V4(_) => self.ipv4.send_to(&message, &SocketAddr::new(sender, 0).into())?,
            IpAddr::V6(sender) => {
                let Some(socket) = &self.ipv6 else { return Ok(()) };
                let scope = if sender.is_unicast_link_local() { ifindex } else { 0 };
                socket.send_to(&message, &SocketAddrV6::new(sender, 0, 0, scope).into())?
            }
        };
        Ok(())
    }

    fn admits(&mut self, sender: IpAddr, now: Instant) -> bool {
        if now.duration_since(self.since) >= Duration::from_secs(1) {
            self.since = now;
            self.sent.clear();
        }
        if self.sent.values().sum::<u32>() >= TOTAL_RATE {
            return false;
        }
        let sent = self.sent.entry(sender).or_default();
        let admitted = *sent < RATE;
        *sent += u32::from(admitted);
        admitted
    }
}

/// A socket that only sends.
#[expect(clippy::cast_possible_truncation, reason = "the operation codes of classic BPF have 16 bits")]
fn open(domain: Domain, protocol: Protocol) -> io::Result<Socket> {
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)])?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Who is to be told, and the message from its ICMP header on. The kernel adds the checksum of `ICMPv6`. `None`: nobody
/// (RFC 1122, 3.2.2; RFC 4443, 2.4).
fn message(packet: &[u8], mtu: u32) -> Option<(IpAddr, Vec<u8>)> {
    match packet.first()? >> 4 {
        4 => message_ipv4(packet, mtu),
        6 => message_ipv6(packet, mtu),
        _ => None,
    }
}

fn message_ipv4(packet: &[u8], mtu: u32) -> Option<(IpAddr, Vec<u8>)> {
    const UNREACHABLE: u8 = 3;
    const FRAGMENTATION_NEEDED: u8 = 4;
    const ICMP: u8 = 1;
    /// Messages that are no errors: echo, timestamp, router discovery.
    const HARMLESS: [u8; 6] = [0, 8, 9, 10, 13, 14];
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let source = std::net::Ipv4Addr::from(*packet.get(12..)?.first_chunk::<4>()?);
    let destination = std::net::Ipv4Addr::from(*packet.get(16..)?.first_chunk::<4>()?);
    let fragment = u16::from_be_bytes(*packet.get(6..)?.first_chunk()?);
    let about_an_error = *packet.get(9)? == ICMP && !HARMLESS.contains(packet.get(header)?);
    if about_an_error
        || fragment & 0x1fff != 0
        || source.is_unspecified()
        || source.is_multicast()
        || source.is_broadcast()
        || destination.is_multicast()
        || destination.is_broadcast()
    {
        return None;
    }
    let mut message = vec![UNREACHABLE, FRAGMENTATION_NEEDED, 0, 0, 0, 0];
    message.extend(u16::try_from(mtu).unwrap_or(u16::MAX).to_be_bytes());
    message.extend(&packet[..packet.len().min(QUOTE_IPV4)]);
    let checksum = !sum(&message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    Some((source.into(), message))
}

fn message_ipv6(packet: &[u8], mtu: u32) -> Option<(IpAddr, Vec<u8>)> {
    const PACKET_TOO_BIG: u8 = 2;
    const ICMPV6: u8 = 58;
    const INFORMATIONAL: u8 = 128;
    let source = Ipv6Addr::from(*packet.get(8..)?.first_chunk::<16>()?);
    let about_an_error = *packet.get(6)? == ICMPV6 && *packet.get(40)? < INFORMATIONAL;
    if about_an_error || source.is_unspecified() || source.is_multicast() {
        return None;
    }
    let mut message = vec![PACKET_TOO_BIG, 0, 0, 0];
    message.extend(mtu.to_be_bytes());
    message.extend(&packet[..packet.len().min(QUOTE_IPV6)]);
    Some((source.into(), message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4(protocol: u8, kind: u8, fragment: u16, destination: [u8; 4]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0x05, 0xdc, 0, 0];
        packet.extend(fragment.to_be_bytes());
        packet.extend([64, protocol, 0, 0, 10, 1, 0, 1]);
        packet.extend(destination);
        packet.push(kind);
        packet.resize(1500, 0xab);
        packet
    }

    #[test]
    fn quotes_the_packet_and_says_how_much_fits() {
        let packet = ipv4(17, 0, 0x4000, [10, 2, 0, 1]);
        let (sender, message) = message(&packet, 1400).unwrap();
        assert_eq!(sender, IpAddr::from([10, 1, 0, 1]));
        assert_eq!(message.len() + 20, 576);
        assert_eq!(message[..2], [3, 4]);
        assert_eq!(message[4..8], [0, 0, 0x05, 0x78]);
        assert_eq!(message[8..], packet[..QUOTE_IPV4]);
        assert_eq!(sum(&message), 0xffff);
    }

    #[test]
    fn quotes_an_ipv6_packet() {
        let mut packet = vec![0x60, 0, 0, 0, 0x05, 0x78, 17, 64];
        packet.extend([0xfd; 16]);
        packet.extend([0xfc; 16]);
        packet.resize(1440, 0xab);
        let (sender, message) = message(&packet, 1300).unwrap();
        assert_eq!(sender, IpAddr::from([0xfd; 16]));
        assert_eq!(message[..8], [2, 0, 0, 0, 0, 0, 0x05, 0x14]);
        assert_eq!(message[8..], packet[..QUOTE_IPV6]);
        packet[6] = 58;
        packet[40] = 1;
        assert_eq!(super::message(&packet, 1300), None, "about an error");
        packet[40] = 128;
        assert!(super::message(&packet, 1300).is_some(), "about a ping");
    }

    #[test]
    fn tells_nobody_about_what_must_not_be_answered() {
        let there = [10, 2, 0, 1];
        for (what, packet) in [
            ("error", ipv4(1, 3, 0, there)),
            ("later fragment", ipv4(17, 0, 0x2001, there)),
            ("multicast", ipv4(17, 0, 0x4000, [224, 0, 0, 5])),
            ("broadcast", ipv4(17, 0, 0x4000, [255; 4])),
            ("short", ipv4(17, 0, 0, there)[..19].to_vec()),
            ("empty", Vec::new()),
        ] {
            assert_eq!(message(&packet, 1400), None, "{what}");
        }
        assert!(message(&ipv4(1, 8, 0x4000, there), 1400).is_some(), "ping");
    }

    #[test]
    fn tells_nobody_too_often() {
        let mut reporter = Reporter::open().expect("raw sockets need root");
        let now = Instant::now();
        let (a, b) = (IpAddr::from([10, 1, 0, 1]), IpAddr::from([10, 1, 0, 2]));
        assert_eq!((0..20).filter(|_| reporter.admits(a, now)).count(), 10);
        assert!(reporter.admits(b, now));
        let everyone = (0..=255).filter(|n| reporter.admits([10, 9, 0, *n].into(), now)).count();
        assert!(everyone < 200, "{everyone}");
        assert!(reporter.admits(a, now + Duration::from_secs(1)));
    }
}
