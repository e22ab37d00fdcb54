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
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    os::fd::AsRawFd,
};

use dmvpn_common::{GRE_PROTOCOL_NHRP, IPPROTO_GRE};
use nix::libc;
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
    pub(super) fn open(source: Ipv4Addr, key: Option<u32>, ttl: u8) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(IPPROTO_GRE))))?;
        socket.attach_filter(&filter(key))?;
        socket.set_nonblocking(true)?;
        socket.set_tos_v4(NHRP_TOS)?;
        socket.set_ttl_v4(u32::from(ttl))?;
        clear_dont_fragment(&socket)?;
        // More than the limit is not an error: the kernel takes what it allows.
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.bind(&SocketAddr::V4(SocketAddrV4::new(source, 0)).into())?;
        #[expect(unsafe_code, reason = "tokio asks the caller to vouch for the descriptor")]
        // SAFETY: the socket is owned by the `AsyncFd` from here on and is never closed or replaced while it lives.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }
            .map_err(|error| error.into_parts().1)?;
        Ok(Self { socket, header: gre_header(key) })
    }

    /// Sends one NHRP packet to `destination`.
    pub(super) fn send(&self, destination: Ipv4Addr, packet: &[u8]) -> io::Result<()> {
        let to = SocketAddr::V4(SocketAddrV4::new(destination, 0)).into();
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
            let result = ready.try_io(|socket| io::Read::read(&mut socket.get_ref(), &mut buffer[..]));
            match result {
                Ok(length) => {
                    let length = length?;
                    return Ok(split(&buffer[..length]));
                }
                Err(_would_block) => {}
            }
        }
    }
}

/// Path MTU discovery off: NHRP leaves with DF clear, as Cisco sends it, and may be fragmented.
fn clear_dont_fragment(socket: &Socket) -> io::Result<()> {
    const LENGTH: libc::socklen_t = 4;
    let value: i32 = libc::IP_PMTUDISC_DONT;
    #[expect(unsafe_code, reason = "socket2 has no setter for IP_MTU_DISCOVER")]
    // SAFETY: the descriptor is open, the value lives across the call and its length is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            (&raw const value).cast(),
            LENGTH,
        )
    };
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

/// Outer source and NHRP bytes of an IPv4 packet the filter let through; `None` when it is too short after all.
fn split(packet: &[u8]) -> Option<(IpAddr, &[u8])> {
    let ip_length = usize::from(packet.first()? & 0x0f) * 4;
    let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    let flags = u16::from_be_bytes(packet.get(ip_length..ip_length + 2)?.try_into().ok()?);
    let gre_length = if flags & KEY_PRESENT == 0 { 4 } else { 8 };
    let payload = packet.get(ip_length + gre_length..)?;
    Some((IpAddr::V4(source.into()), payload))
}

/// Classic BPF: accept when the GRE flags and protocol type are exactly ours, and the key is ours.
///
/// The program sees the packet from the IP header on, whose length it takes into the index register.
#[expect(clippy::cast_possible_truncation, reason = "the operation codes of classic BPF have 16 bits")]
fn filter(key: Option<u32>) -> Vec<SockFilter> {
    const LOAD_HEADER_LENGTH: u16 = (libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH) as u16;
    const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_IND) as u16;
    const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let statement = |code, k| SockFilter::new(code, 0, 0, k);
    // Jumps over `skip` statements when the word differs.
    let unless = |k, skip| SockFilter::new(JUMP_EQUAL, 0, skip, k);
    let flags = if key.is_some() { KEY_PRESENT } else { 0 };
    let first_word = u32::from(flags) << 16 | u32::from(GRE_PROTOCOL_NHRP);
    let mut program = vec![statement(LOAD_HEADER_LENGTH, 0), statement(LOAD_WORD, 0)];
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
        packet[12..16].copy_from_slice(&[192, 0, 2, 9]);
        packet.extend([0x20, 0, 0x20, 0x01, 0, 0, 0, 42, b'n']);
        assert_eq!(split(&packet), Some(([192, 0, 2, 9].into(), &b"n"[..])));
        assert_eq!(split(&packet[..26]), None);
    }

    /// Runs on loopback, which is there in every namespace; needs root, as the agent does.
    #[tokio::test]
    async fn exchanges_nhrp_and_ignores_other_keys_and_data() {
        let [a, b] = [Ipv4Addr::new(127, 90, 0, 1), Ipv4Addr::new(127, 90, 0, 2)];
        let listening = NhrpSocket::open(b, Some(7), 255).expect("raw sockets need root");
        NhrpSocket::open(a, Some(8), 255).unwrap().send(b, b"wrong key").unwrap();
        NhrpSocket::open(a, None, 255).unwrap().send(b, b"no key").unwrap();
        NhrpSocket::open(a, Some(7), 255).unwrap().send(b, b"right key").unwrap();
        let mut buffer = [0; MAX_PACKET];
        let received = listening.receive(&mut buffer).await.unwrap();
        assert_eq!(received, Some((IpAddr::V4(a), &b"right key"[..])));
    }
}
