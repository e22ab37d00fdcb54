//! The routers on the way to a host, found as traceroute does.

use std::{
    io::{ErrorKind, IoSliceMut, Read as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    cmsg_space,
    errno::Errno,
    sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt},
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::namespace::Namespace;

/// Traceroute's usual port: nobody listens there, so the host itself answers with "port unreachable".
const PORT: u16 = 33434;
/// More hops than any lab has.
const MOST_HOPS: u32 = 8;
/// Longest time for one answer; a probe that gets none is sent again.
const PATIENCE: Duration = Duration::from_millis(500);
const TRIES: u32 = 4;

/// What is sent to provoke answers, as traceroute and `traceroute -I` do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A datagram for a port where nobody listens.
    Udp,
    /// An ICMP echo request.
    Echo,
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// A router: the packet has expired.
    Expired,
    /// A host: the packet is there.
    Arrived,
}

/// Addresses of the routers between `from` and `to`, and `to` itself at the end; each from the source address of
/// the answer that a packet with a TTL (hop limit) of 1, 2, ... provoked.
pub fn path(from: &Namespace, to: impl Into<IpAddr>, probe: Probe) -> Result<Vec<IpAddr>> {
    let to = to.into();
    if probe == Probe::Echo {
        // Who may open sockets for echo requests, of both versions (icmp(7)).
        from.set("ipv4/ping_group_range", "0 0")?;
    }
    from.run(|| {
        let mut hops = Vec::new();
        for ttl in 1..=MOST_HOPS {
            let (address, meaning) = send(to, ttl, probe)
                .with_context(|| format!("{} -> {to}, hops so far: {hops:?}", from.name()))?;
            hops.push(address);
            match meaning {
                Meaning::Expired => {}
                Meaning::Arrived if address == to => return Ok(hops),
                Meaning::Arrived => bail!("{address} answers for {to}; hops: {hops:?}"),
            }
        }
        bail!("{to} is more than {MOST_HOPS} hops away: {hops:?}")
    })
}

/// Opens a socket for such probes with this TTL.
fn open(to: IpAddr, ttl: u32, probe: Probe) -> Result<Socket> {
    let domain = Domain::for_address((to, 0).into());
    let protocol = match (probe, to) {
        (Probe::Udp, _) => Protocol::UDP,
        (Probe::Echo, IpAddr::V4(_)) => Protocol::ICMPV4,
        (Probe::Echo, IpAddr::V6(_)) => Protocol::ICMPV6,
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(protocol)).context("opening a socket")?;
    socket.set_read_timeout(Some(Duration::from_millis(50))).context("setting a timeout")?;
    // Errors come with the address of the sender, in the socket's error queue (ip(7), ipv6(7)).
    if to.is_ipv4() {
        socket.set_ttl_v4(ttl).context("setting the TTL")?;
        setsockopt(&socket, sockopt::Ipv4RecvErr, &true).context("asking for ICMP errors")?;
    } else {
        socket.set_unicast_hops_v6(ttl).context("setting the hop limit")?;
        setsockopt(&socket, sockopt::Ipv6RecvErr, &true).context("asking for ICMP errors")?;
    }
    Ok(socket)
}

/// Sends a packet with this TTL; returns who answered, and what the answer says.
fn send(to: IpAddr, ttl: u32, probe: Probe) -> Result<(IpAddr, Meaning)> {
    let mut socket = open(to, ttl, probe)?;
    // Type and code; the kernel fills in the identifier, by which it knows whose answers are, and the checksum.
    let echo = [if to.is_ipv4() { 8 } else { 128 }, 0, 0, 0, 0, 0, 0, 1];
    let (packet, port): (&[u8], _) = match probe {
        Probe::Udp => (&[], PORT),
        Probe::Echo => (&echo, 0),
    };
    for _ in 0..TRIES {
        socket
            .send_to(packet, &SocketAddr::from((to, port)).into())
            .with_context(|| format!("sending to {to}"))?;
        let sent = Instant::now();
        while sent.elapsed() < PATIENCE {
            match socket.read(&mut [0; 64]) {
                // The kernel lets replies through only, and only from where the request went.
                Ok(_) if probe == Probe::Echo => return Ok((to, Meaning::Arrived)),
                Ok(_) => bail!("{to} answers on port {PORT}"),
                // An arriving error ends this wait with an error, too; what it is, is in the queue.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) || error.raw_os_error().is_some() => {}
                Err(error) => return Err(error).context("waiting for an answer"),
            }
            if let Some(answer) = take_error(&socket)? {
                return Ok(answer);
            }
        }
    }
    bail!("no answer to {TRIES} packets with TTL {ttl}")
}

/// The next ICMP error in the queue of a socket: its sender, and what it says.
fn take_error(socket: &Socket) -> Result<Option<(IpAddr, Meaning)>> {
    let mut payload = [0; 64];
    let mut slices = [IoSliceMut::new(&mut payload)];
    let mut space = cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
    let message = match recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut space),
        MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT,
    ) {
        Err(Errno::EAGAIN) => return Ok(None),
        result => result.context("reading the error queue")?,
    };
    for control in message.cmsgs().context("reading control messages")? {
        let (sender, error) = match control {
            ControlMessageOwned::Ipv4RecvErr(error, Some(sender)) => {
                (Ipv4Addr::from(u32::from_be(sender.sin_addr.s_addr)).into(), error)
            }
            ControlMessageOwned::Ipv6RecvErr(error, Some(sender)) => {
                (Ipv6Addr::from(sender.sin6_addr.s6_addr).into(), error)
            }
            _ => continue,
        };
        // RFC 792, RFC 4443 3.1 and 3.3.
        let meaning = match (error.ee_origin, error.ee_type) {
            (libc::SO_EE_ORIGIN_ICMP, 11) | (libc::SO_EE_ORIGIN_ICMP6, 3) => Meaning::Expired,
            (libc::SO_EE_ORIGIN_ICMP, 3) | (libc::SO_EE_ORIGIN_ICMP6, 1) => Meaning::Arrived,
            (_, kind) => bail!("{sender} answers with ICMP type {kind}"),
        };
        return Ok(Some((sender, meaning)));
    }
    Ok(None)
}
