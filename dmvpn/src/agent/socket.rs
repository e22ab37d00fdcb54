//! The NHRP socket: GRE by the kernel's own output path.
//!
//! A raw socket of protocol 47 *without* `IP_HDRINCL`: the kernel writes the outer IP header, so its IPsec policies
//! hold for NHRP in both directions. A socket filter lets only NHRP of this tunnel's key through, so data packets
//! that XDP left to the kernel do not wake the agent.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |C| |K|S| Reserved0       | Ver |        0x2001 (NHRP)          |  RFC 2784, RFC 2890
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                      Key (when K is set)                      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
};

use dmvpn_common::{GRE_PROTOCOL_NHRP, IPPROTO_GRE};
use nix::{
    errno::Errno,
    libc,
    sys::socket::{MsgFlags, SockaddrStorage, recv, recvfrom, setsockopt, sockopt},
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

/// K bit of the GRE flags.
const KEY_PRESENT: u16 = 0x2000;
/// Outer type of service of NHRP: CS6, as Cisco sends it.
const NHRP_TOS: u32 = 0xc0;
/// Receive buffer: a few thousand registrations that arrive at once.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Largest packet taken from the socket.
pub(super) const MAX_PACKET: usize = 4096;

/// One tunnel's NHRP socket.
pub(super) struct NhrpSocket {
    socket: AsyncFd<Socket>,
    header: Vec<u8>,
}

impl NhrpSocket {
    /// Opens the socket on `source`, for packets that carry exactly `key`.
    pub(super) fn open(source: IpAddr, key: Option<u32>, ttl: u8) -> io::Result<Self> {
        let socket = open_gre(source, &filter(key, source.is_ipv4()))?;
        if source.is_ipv4() {
            socket.set_tos_v4(NHRP_TOS)?;
            socket.set_ttl_v4(u32::from(ttl))?;
            // NHRP leaves with DF clear, as Cisco sends it, and may be fragmented.
            set_option(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT)?;
        } else {
            set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, NHRP_TOS.cast_signed())?;
            socket.set_unicast_hops_v6(u32::from(ttl))?;
            set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT)?;
        }
        set_receive_buffer(&socket, RECEIVE_BUFFER)?;
        #[expect(unsafe_code, reason = "tokio asks the caller to vouch for the descriptor")]
        // SAFETY: the socket is owned by the `AsyncFd` from here on and is never closed or replaced while it lives.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }
            .map_err(|error| error.into_parts().1)?;
        Ok(Self { socket, header: gre_header(key) })
    }

    /// Sends one NHRP packet to `destination`, which is of the source's IP version.
    pub(super) fn send(&self, destination: IpAddr, packet: &[u8]) -> io::Result<()> {
        let to = SocketAddr::new(destination, 0).into();
        let parts = [io::IoSlice::new(&self.header), io::IoSlice::new(packet)];
        self.socket.get_ref().send_to_vectored(&parts, &to).map(|_| ())
    }

    /// Waits for a packet; returns its outer source and the NHRP bytes, which stand in `buffer`.
    pub(super) async fn receive<'b>(
        &self,
        buffer: &'b mut [u8; MAX_PACKET],
    ) -> io::Result<Option<(IpAddr, &'b [u8])>> {
        loop {
            let mut ready = self.socket.readable().await?;
            let result = ready.try_io(|socket| {
                recvfrom::<SockaddrStorage>(socket.as_raw_fd(), &mut buffer[..]).map_err(io::Error::from)
            });
            match result {
                Ok(received) => {
                    let (length, from) = received?;
                    return Ok(split(from.as_ref(), &buffer[..length]));
                }
                Err(_would_block) => {}
            }
        }
    }
}

/// Opens a raw socket for the GRE packets to `local` that `filter` lets through, and for no other: not for one that came
/// between the making of the socket and its filter either. Reading does not block.
pub(super) fn open_gre(local: IpAddr, filter: &[SockFilter]) -> io::Result<Socket> {
    let domain = if local.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(IPPROTO_GRE))))?;
    socket.set_nonblocking(true)?;
    socket.attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)])?;
    socket.bind(&SocketAddr::new(local, 0).into())?;
    while match recv(socket.as_raw_fd(), &mut [0], MsgFlags::empty()) {
        Ok(_) => true,
        Err(Errno::EAGAIN) => false,
        Err(error) => return Err(error.into()),
    } {}
    socket.attach_filter(filter)?;
    Ok(socket)
}

/// Has the kernel keep so many bytes that wait: beyond the system's limit with `CAP_NET_ADMIN`, else up to it.
pub(super) fn set_receive_buffer(socket: &Socket, bytes: usize) -> io::Result<()> {
    if setsockopt(socket, sockopt::RcvBufForce, &bytes).is_err() {
        setsockopt(socket, sockopt::RcvBuf, &bytes)?;
    }
    Ok(())
}

/// Classic BPF: return how many bytes of the packet are let through.
#[expect(clippy::cast_possible_truncation, reason = "the operation codes of classic BPF have 16 bits")]
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Sets an option of a socket that has a number for its value.
pub(super) fn set_option(
    socket: &Socket,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    const LENGTH: libc::socklen_t = 4;
    #[expect(unsafe_code, reason = "socket2 has no setter for these options")]
    // SAFETY: the descriptor is open, the value lives across the call and its length is given.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), LENGTH) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The GRE header of every packet this tunnel sends.
fn gre_header(key: Option<u32>) -> Vec<u8> {
    let flags = if key.is_some() { KEY_PRESENT } else { 0 };
    let mut header = flags.to_be_bytes().to_vec();
    header.extend(GRE_PROTOCOL_NHRP.to_be_bytes());
    header.extend(key.iter().flat_map(|key| key.to_be_bytes()));
    header
}

/// Outer source and NHRP bytes of a packet the filter let through; `None` when it is too short after all.
fn split<'p>(from: Option<&SockaddrStorage>, packet: &'p [u8]) -> Option<(IpAddr, &'p [u8])> {
    let from = from?;
    let (source, gre) = match (from.as_sockaddr_in(), from.as_sockaddr_in6()) {
        // Only IPv4 hands over its header.
        (Some(from), _) => (from.ip().into(), packet.get(usize::from(packet.first()? & 0x0f) * 4..)?),
        (_, Some(from)) => (from.ip().into(), packet),
        (None, None) => return None,
    };
    let flags = u16::from_be_bytes(*gre.first_chunk()?);
    let length = if flags & KEY_PRESENT == 0 { 4 } else { 8 };
    Some((source, gre.get(length..)?))
}

/// Classic BPF: accept when the GRE flags and protocol type are exactly ours, and the key is ours.
///
/// With IPv4 the program sees the packet from the IP header on, whose length it takes into the index register; with
/// IPv6 from the GRE header on.
#[expect(clippy::cast_possible_truncation, reason = "the operation codes of classic BPF have 16 bits")]
fn filter(key: Option<u32>, ipv4: bool) -> Vec<SockFilter> {
    const LOAD_HEADER_LENGTH: u16 = (libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH) as u16;
    const LOAD_INDEX: u16 = (libc::BPF_LDX | libc::BPF_W | libc::BPF_IMM) as u16;
    const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_IND) as u16;
    const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let statement = |code, k| SockFilter::new(code, 0, 0, k);
    // Jumps over `skip` statements when the word differs.
    let unless = |k, skip| SockFilter::new(JUMP_EQUAL, 0, skip, k);
    let flags = if key.is_some() { KEY_PRESENT } else { 0 };
    let first_word = u32::from(flags) << 16 | u32::from(GRE_PROTOCOL_NHRP);
    let begin = if ipv4 { LOAD_HEADER_LENGTH } else { LOAD_INDEX };
    let mut program = vec![statement(begin, 0), statement(LOAD_WORD, 0)];
    if let Some(key) = key {
        program.extend([unless(first_word, 3), statement(LOAD_WORD, 4), unless(key, 1)]);
    } else {
        program.push(unless(first_word, 1));
    }
    program.extend([statement(RETURN, MAX_PACKET as u32), statement(RETURN, 0)]);
    program
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddrV4, SocketAddrV6};

    use super::*;

    #[test]
    fn header_carries_the_key_only_when_there_is_one() {
        assert_eq!(gre_header(None), [0, 0, 0x20, 0x01]);
        assert_eq!(gre_header(Some(42)), [0x20, 0, 0x20, 0x01, 0, 0, 0, 42]);
    }

    #[test]
    fn splits_a_packet_with_ip_options_and_key() {
        let mut packet = vec![0x46];
        packet.resize(24, 0);
        packet.extend([0x20, 0, 0x20, 0x01, 0, 0, 0, 42, b'n']);
        let from = SockaddrStorage::from(SocketAddrV4::new([192, 0, 2, 9].into(), 0));
        assert_eq!(split(Some(&from), &packet), Some(([192, 0, 2, 9].into(), &b"n"[..])));
        assert_eq!(split(Some(&from), &packet[..26]), None);
        assert_eq!(split(Some(&from), &[]), None);
        assert_eq!(split(None, &packet), None);
    }

    #[test]
    fn splits_a_packet_that_comes_without_its_ip_header() {
        let source = "2001:db8::9".parse().unwrap();
        let from = SockaddrStorage::from(SocketAddrV6::new(source, 0, 0, 0));
        let packet = [0, 0, 0x20, 0x01, b'n'];
        assert_eq!(split(Some(&from), &packet), Some((source.into(), &b"n"[..])));
        assert_eq!(split(Some(&from), &packet[..3]), None);
    }

    /// Runs on loopback, which is there in every namespace; needs root, as the agent does.
    #[tokio::test]
    async fn exchanges_nhrp_and_ignores_other_keys_and_data() {
        for [a, b] in [["127.90.0.1", "127.90.0.2"], ["::1", "::1"]] {
            let [a, b]: [IpAddr; 2] = [a.parse().unwrap(), b.parse().unwrap()];
            let listening = NhrpSocket::open(b, Some(7), 255).expect("raw sockets need root");
            NhrpSocket::open(a, Some(8), 255).unwrap().send(b, b"wrong key").unwrap();
            NhrpSocket::open(a, None, 255).unwrap().send(b, b"no key").unwrap();
            NhrpSocket::open(a, Some(7), 255).unwrap().send(b, b"right key").unwrap();
            let mut buffer = [0; MAX_PACKET];
            let received = listening.receive(&mut buffer).await.unwrap();
            assert_eq!(received, Some((a, &b"right key"[..])));
        }
    }
}
