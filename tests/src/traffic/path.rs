//! The routers on the way to a host, found as traceroute does.

use std::{
    io::{ErrorKind, IoSliceMut},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    cmsg_space,
    errno::Errno,
    sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt},
};

use crate::namespace::Namespace;

/// Traceroute's usual port: nobody listens there, so the host itself answers with "port unreachable".
const PORT: u16 = 33434;
/// More hops than any lab has.
const MOST_HOPS: u32 = 8;
/// Longest time for one answer; a probe that gets none is sent again.
const PATIENCE: Duration = Duration::from_millis(500);
const TRIES: u32 = 4;

/// ICMP types (RFC 792).
const UNREACHABLE: u8 = 3;
const TIME_EXCEEDED: u8 = 11;

/// Addresses of the routers between `from` and `to`, and `to` itself at the end; each from the source address of
/// an ICMP error that a packet with a TTL of 1, 2, ... provoked.
pub fn path(from: &Namespace, to: Ipv4Addr) -> Result<Vec<Ipv4Addr>> {
    from.run(|| {
        let mut hops = Vec::new();
        for ttl in 1..=MOST_HOPS {
            let (address, kind) =
                probe(to, ttl).with_context(|| format!("{} -> {to}, hops so far: {hops:?}", from.name()))?;
            hops.push(address);
            match kind {
                TIME_EXCEEDED => {}
                UNREACHABLE if address == to => return Ok(hops),
                _ => bail!("{address} answers with ICMP type {kind}; hops: {hops:?}"),
            }
        }
        bail!("{to} is more than {MOST_HOPS} hops away: {hops:?}")
    })
}

/// Sends a packet with this TTL; returns who answered, and the ICMP type of the answer.
fn probe(to: Ipv4Addr, ttl: u32) -> Result<(Ipv4Addr, u8)> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("opening a socket")?;
    socket.set_ttl(ttl).context("setting the TTL")?;
    socket.set_read_timeout(Some(Duration::from_millis(50))).context("setting a timeout")?;
    // Errors come with the address of the sender, in the socket's error queue (ip(7)).
    setsockopt(&socket, sockopt::Ipv4RecvErr, &true).context("asking for ICMP errors")?;
    for _ in 0..TRIES {
        socket.send_to(&[], SocketAddr::from((to, PORT))).with_context(|| format!("sending to {to}"))?;
        let sent = Instant::now();
        while sent.elapsed() < PATIENCE {
            // An arriving error ends this wait with an error, too; what it is, is in the queue.
            if let Err(error) = socket.recv(&mut [0; 64])
                && !matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                )
                && error.raw_os_error().is_none()
            {
                return Err(error).context("waiting for an ICMP error");
            }
            if let Some(answer) = take_error(&socket)? {
                return Ok(answer);
            }
        }
    }
    bail!("no answer to {TRIES} packets with TTL {ttl}")
}

/// The next ICMP error in the queue of a socket: its sender and type.
fn take_error(socket: &UdpSocket) -> Result<Option<(Ipv4Addr, u8)>> {
    let mut payload = [0; 64];
    let mut slices = [IoSliceMut::new(&mut payload)];
    let mut space = cmsg_space!(libc::sock_extended_err, libc::sockaddr_in);
    let message = match recvmsg::<SockaddrIn>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut space),
        MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT,
    ) {
        Err(Errno::EAGAIN) => return Ok(None),
        result => result.context("reading the error queue")?,
    };
    for control in message.cmsgs().context("reading control messages")? {
        if let ControlMessageOwned::Ipv4RecvErr(error, Some(sender)) = control
            && error.ee_origin == libc::SO_EE_ORIGIN_ICMP
        {
            return Ok(Some((Ipv4Addr::from(u32::from_be(sender.sin_addr.s_addr)), error.ee_type)));
        }
    }
    Ok(None)
}
