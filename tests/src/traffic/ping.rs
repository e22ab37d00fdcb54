//! One ICMP echo.

use std::{
    io::{ErrorKind, Read as _},
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, Socket, Type};

use crate::namespace::Namespace;

const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;
/// Length of an ICMP echo header.
const HEADER: usize = 8;

/// The answer to an echo request.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    /// Time until the answer came.
    pub time: Duration,
    /// TTL of the answer: Linux sends 64, every router on the way takes one.
    pub ttl: u8,
}

/// Sends one echo request with this sequence number; `None` when no answer comes in time.
pub fn ping(from: &Namespace, to: Ipv4Addr, sequence: u16, patience: Duration) -> Result<Option<Reply>> {
    from.run(|| {
        let mut socket =
            Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).context("opening a raw socket")?;
        let identifier = u16::try_from(std::process::id() & 0xffff).unwrap_or_default();
        let request = echo_request(identifier, sequence);
        let start = Instant::now();
        if let Err(error) = socket.send_to(&request, &SocketAddr::from((to, 0)).into()) {
            // No route: an answer cannot come.
            return match error.kind() {
                ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => Ok(None),
                _ => Err(error).with_context(|| format!("sending an echo request to {to}")),
            };
        }
        let mut packet = [0; 1500];
        loop {
            let Some(left) = patience.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) else {
                return Ok(None);
            };
            socket.set_read_timeout(Some(left)).context("setting a timeout")?;
            match socket.read(&mut packet) {
                Ok(size) => {
                    if let Some(ttl) = ttl_of_reply(&packet[..size], to, request) {
                        return Ok(Some(Reply { time: start.elapsed(), ttl }));
                    }
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error).context("receiving an echo reply"),
            }
        }
    })
}

fn echo_request(identifier: u16, sequence: u16) -> [u8; HEADER] {
    let mut request = [0; HEADER];
    request[0] = ECHO_REQUEST;
    request[4..6].copy_from_slice(&identifier.to_be_bytes());
    request[6..8].copy_from_slice(&sequence.to_be_bytes());
    // The checksum is the one's complement of the sum of all 16-bit words (RFC 792).
    let sum = u32::from(ECHO_REQUEST) * 256 + u32::from(identifier) + u32::from(sequence);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap_or_default();
    request[2..4].copy_from_slice(&(!sum).to_be_bytes());
    request
}

/// TTL of `packet` (IP header first) when it is the answer of `from` to `request`.
fn ttl_of_reply(packet: &[u8], from: Ipv4Addr, request: [u8; HEADER]) -> Option<u8> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let source = packet.get(12..16)?;
    let icmp = packet.get(header..header + HEADER)?;
    let is_answer = source == from.octets() && icmp[0] == ECHO_REPLY && icmp[4..] == request[4..];
    is_answer.then(|| packet[8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_makes_the_words_add_up_to_all_ones() {
        for (identifier, sequence) in [(0, 0), (0xffff, 0xffff), (0x1234, 0xf000)] {
            let sum: u32 = echo_request(identifier, sequence)
                .chunks(2)
                .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
                .sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "{identifier} {sequence}");
        }
    }
}
