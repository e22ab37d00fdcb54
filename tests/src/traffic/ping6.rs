//! One echo of ICMP for IPv6.

use std::{
    io::{self, ErrorKind, Read as _},
    net::{Ipv6Addr, SocketAddrV6},
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};

use crate::namespace::Namespace;

const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;

/// Hop-by-hop options that are padding: every router has to look at them.
const PADDING: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];

/// Sends one echo request with this sequence number by `interface`, which counts for a link-local destination; whether
/// an answer comes in time.
pub fn ping6(
    from: &Namespace,
    to: Ipv6Addr,
    interface: &str,
    sequence: u16,
    patience: Duration,
) -> Result<bool> {
    let socket = from.run(|| {
        Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).context("opening a raw socket")
    })?;
    echo(from, &socket, to, interface, sequence, patience)
}

/// The same with options that only a kernel looks at, no program in its way.
pub fn ping6_by_kernel(from: &Namespace, to: Ipv6Addr, sequence: u16, patience: Duration) -> Result<bool> {
    let socket = from.run(|| {
        Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).context("opening a raw socket")
    })?;
    #[expect(unsafe_code, reason = "socket2 has no setter for IPV6_HOPOPTS")]
    // SAFETY: the descriptor is open, the value lives across the call and its length is given.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_HOPOPTS,
            PADDING.as_ptr().cast(),
            libc::socklen_t::try_from(PADDING.len())?,
        )
    };
    ensure!(set == 0, "setting hop-by-hop options: {}", io::Error::last_os_error());
    echo(from, &socket, to, "lo", sequence, patience)
}

fn echo(
    from: &Namespace,
    mut socket: &Socket,
    to: Ipv6Addr,
    interface: &str,
    sequence: u16,
    patience: Duration,
) -> Result<bool> {
    from.run(|| {
        let scope = if to.is_unicast_link_local() {
            if_nametoindex(interface).with_context(|| format!("looking for {interface}"))?
        } else {
            0
        };
        let [a, b] = u16::try_from(std::process::id() & 0xffff).unwrap_or_default().to_be_bytes();
        let [c, d] = sequence.to_be_bytes();
        // The kernel adds the checksum (RFC 3542 3.1).
        let request = [ECHO_REQUEST, 0, 0, 0, a, b, c, d];
        let start = Instant::now();
        if let Err(error) = socket.send_to(&request, &SocketAddrV6::new(to, 0, 0, scope).into()) {
            return match error.kind() {
                ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => Ok(false),
                _ => Err(error).with_context(|| format!("sending an echo request to {to}")),
            };
        }
        let mut packet = [0; 1500];
        loop {
            let Some(left) = patience.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) else {
                return Ok(false);
            };
            socket.set_read_timeout(Some(left)).context("setting a timeout")?;
            match socket.read(&mut packet) {
                Ok(size) => {
                    if size >= 8 && packet[0] == ECHO_REPLY && packet[4..8] == request[4..] {
                        return Ok(true);
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
