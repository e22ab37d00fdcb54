//! Hears what routers say about outer packets that were too long for them.
//!
//! The kernel hands an ICMP message about a packet to the sockets that could have sent it. This one is for GRE, takes no
//! packets, and so hears of those that the data path sent.

use std::{
    io::{self, IoSliceMut},
    net::IpAddr,
    os::fd::AsRawFd as _,
};

use dmvpn_common::IPPROTO_GRE;
use nix::{
    libc,
    sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg},
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::mpsc,
    task::AbortHandle,
};
use tracing::warn;

use super::socket::set_option;

/// A router let no packet of more than [`mtu`](Self::mtu) bytes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PacketTooBig {
    /// Where the packet was to go.
    pub(super) destination: IpAddr,
    /// Bytes, with the outer header.
    pub(super) mtu: u32,
}

/// The task that reads such a socket. Ends when this is dropped.
pub(super) struct PathMtuReceiver(AbortHandle);

impl PathMtuReceiver {
    /// Begins to listen, for packets over IPv4 or IPv6.
    pub(super) fn start(ipv6: bool, queue: mpsc::Sender<PacketTooBig>) -> io::Result<Self> {
        let socket = open(ipv6)?;
        Ok(Self(tokio::spawn(read(socket, queue)).abort_handle()))
    }
}

impl Drop for PathMtuReceiver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the operation codes of classic BPF have 16 bits")]
fn open(ipv6: bool) -> io::Result<AsyncFd<Socket>> {
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let protocol = Some(Protocol::from(i32::from(IPPROTO_GRE)));
    let domain = if ipv6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::RAW, protocol)?;
    // No packet is of interest.
    socket.attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)])?;
    socket.set_nonblocking(true)?;
    if ipv6 {
        set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)?;
    } else {
        set_option(&socket, libc::IPPROTO_IP, libc::IP_RECVERR, 1)?;
    }
    #[expect(unsafe_code, reason = "tokio asks the caller to vouch for the descriptor")]
    // SAFETY: the socket is owned by the `AsyncFd` from here on and is never closed or replaced while it lives.
    let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::ERROR | Interest::READABLE) }
        .map_err(|error| error.into_parts().1)?;
    Ok(socket)
}

async fn read(socket: AsyncFd<Socket>, queue: mpsc::Sender<PacketTooBig>) {
    loop {
        let mut ready = match socket.ready(Interest::ERROR | Interest::READABLE).await {
            Ok(ready) => ready,
            Err(error) => {
                warn!(%error, "cannot listen for path MTUs any more");
                return;
            }
        };
        match next(socket.get_ref()) {
            Ok(Some(message)) => {
                if queue.send(message).await.is_err() {
                    return;
                }
            }
            Ok(None) => {}
            // Nothing left, or an error that was reported by the queue already and is over when it was read.
            Err(_) => ready.clear_ready(),
        }
    }
}

/// The next message in the socket's error queue; `None` when it is about something else.
fn next(socket: &Socket) -> io::Result<Option<PacketTooBig>> {
    let mut quoted = [0; 64];
    let mut parts = [IoSliceMut::new(&mut quoted)];
    let mut space = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let destination = message.address.and_then(|address| {
        let v4 = address.as_sockaddr_in().map(|v4| v4.ip().into());
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| v6.ip().into()))
    });
    let error = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
            Some(error)
        }
        _ => None,
    });
    let too_big = error.filter(|error| i32::try_from(error.ee_errno) == Ok(libc::EMSGSIZE));
    Ok(destination.zip(too_big).map(|(destination, error)| PacketTooBig { destination, mtu: error.ee_info }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_empty_queue_is_no_message() {
        for ipv6 in [false, true] {
            let socket = open(ipv6).expect("raw sockets need root");
            assert_eq!(next(socket.get_ref()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
    }
}
