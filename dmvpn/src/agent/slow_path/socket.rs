//! A raw socket for GRE that the data path leaves to the kernel, which puts fragments together, walks over options and
//! extension headers, and drops what has no right outer header.
//!
//! It takes what comes to one of our addresses. A filter leaves the NHRP of ordinary packets to
//! [`NhrpSocket`](crate::agent::socket::NhrpSocket), and keeps the NHRP of others apart from data, so that a flood of
//! data leaves it its room.

use std::{
    io::{self, IoSliceMut},
    net::IpAddr,
    os::fd::AsRawFd as _,
};

use dmvpn_common::GRE_PROTOCOL_NHRP;
use nix::{
    libc,
    sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, SockaddrStorage, recvmsg},
};
use socket2::{SockFilter, Socket};
use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    agent::socket::{open_gre, set_option, set_receive_buffer},
    nhrp::ip::IpHeader,
};

/// Room for the longest packet there is.
pub(super) const LONGEST: usize = 1 << 16;

/// What such a socket takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// NHRP that the tunnels' own sockets do not take: with a checksum, a sequence number, or reserved bits.
    Nhrp,
    /// Everything else.
    Data,
}

/// A GRE packet with what is known of the packet around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GrePacket {
    /// Outer source.
    pub(super) source: IpAddr,
    /// Outer type of service or traffic class.
    pub(super) tos: u8,
    /// From the GRE header on.
    pub(super) bytes: Vec<u8>,
}

/// The socket.
pub(super) struct SlowSocket {
    socket: AsyncFd<Socket>,
}

impl SlowSocket {
    /// Opens it on `local`, with room for packets of `room` bytes in all.
    pub(super) fn open(local: IpAddr, takes: Takes, room: usize) -> io::Result<Self> {
        let socket = open_gre(local, &filter(takes, local.is_ipv4()))?;
        if local.is_ipv6() {
            set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)?;
        }
        set_receive_buffer(&socket, room)?;
        #[expect(unsafe_code, reason = "tokio asks the caller to vouch for the descriptor")]
        // SAFETY: the socket is owned by the `AsyncFd` from here on and is never closed or replaced while it lives.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }
            .map_err(|error| error.into_parts().1)?;
        Ok(Self { socket })
    }

    /// Waits for a packet, which is read into `buffer` first: [`LONGEST`] bytes. `None`: it makes no sense.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<GrePacket>> {
        loop {
            let mut ready = self.socket.readable().await?;
            if let Ok(received) = ready.try_io(|socket| receive(socket.get_ref(), buffer)) {
                return received;
            }
        }
    }

    /// How many packets were lost since the socket was opened, because there was no room for them. Starts anew after
    /// 2^32.
    pub(super) fn lost(&self) -> io::Result<u32> {
        const NUMBERS: usize = 9;
        const DROPS: usize = 8;
        let mut numbers = [0_u32; NUMBERS];
        let mut length = libc::socklen_t::try_from(size_of_val(&numbers)).map_err(io::Error::other)?;
        #[expect(unsafe_code, reason = "socket2 has no getter for this option")]
        // SAFETY: the descriptor is open; there is room for `length` bytes of numbers, which may have any value.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_MEMINFO,
                numbers.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if result == 0 { Ok(numbers[DROPS]) } else { Err(io::Error::last_os_error()) }
    }
}

fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<Option<GrePacket>> {
    let mut parts = [IoSliceMut::new(buffer)];
    let mut space = nix::cmsg_space!(i32);
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_DONTWAIT)?;
    let class = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::Ipv6TClass(class) => u8::try_from(class).ok(),
        _ => None,
    });
    let length = message.bytes;
    let ipv6 = message.address.and_then(|address| address.as_sockaddr_in6().map(SockaddrIn6::ip));
    let bytes = buffer.get(..length).unwrap_or_default();
    Ok(match ipv6 {
        Some(source) => {
            Some(GrePacket { source: source.into(), tos: class.unwrap_or_default(), bytes: bytes.to_vec() })
        }
        // Only IPv4 hands over its header.
        None => split(bytes),
    })
}

/// Takes the outer IPv4 header off.
fn split(packet: &[u8]) -> Option<GrePacket> {
    let header = IpHeader::parse(packet).ok()?;
    let bytes = packet.get(header.length..header.total)?.to_vec();
    Some(GrePacket { source: header.source, tos: header.tos, bytes })
}

/// Classic BPF. With IPv4 the program sees the packet from the IP header on, whose length it takes into the index
/// register; with IPv6 from the GRE header on.
#[expect(clippy::cast_possible_truncation, reason = "the operation codes of classic BPF have 16 bits")]
fn filter(takes: Takes, ipv4: bool) -> Vec<SockFilter> {
    const LOAD_HEADER_LENGTH: u16 = (libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH) as u16;
    const LOAD_INDEX: u16 = (libc::BPF_LDX | libc::BPF_W | libc::BPF_IMM) as u16;
    const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_IND) as u16;
    const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
    const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const PROTOCOL: u32 = 0xffff;
    /// All flags but the one that says that there is a key.
    const FLAGS: u32 = 0xdfff_0000;
    let statement = |code, k| SockFilter::new(code, 0, 0, k);
    let begin = statement(if ipv4 { LOAD_HEADER_LENGTH } else { LOAD_INDEX }, 0);
    let (accept, refuse) = (statement(RETURN, u32::MAX), statement(RETURN, 0));
    let mut program = vec![begin, statement(LOAD_WORD, 0), statement(AND, PROTOCOL)];
    match takes {
        Takes::Data => {
            program.extend([SockFilter::new(JUMP_EQUAL, 1, 0, GRE_PROTOCOL_NHRP.into()), accept, refuse]);
        }
        Takes::Nhrp => program.extend([
            SockFilter::new(JUMP_EQUAL, 0, 3, GRE_PROTOCOL_NHRP.into()),
            statement(LOAD_WORD, 0),
            statement(AND, FLAGS),
            SockFilter::new(JUMP_EQUAL, 0, 1, 0),
            refuse,
            accept,
        ]),
    }
    program
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use dmvpn_common::IPPROTO_GRE;
    use socket2::{Domain, Protocol, Type};

    use super::*;

    /// Sends GRE packets over loopback, which is there in every namespace; needs root, as the agent does.
    fn send(from: IpAddr, to: IpAddr, packets: &[&[u8]]) {
        let domain = if to.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let protocol = Some(Protocol::from(i32::from(IPPROTO_GRE)));
        let socket = Socket::new(domain, Type::RAW, protocol).expect("raw sockets need root");
        if to.is_ipv4() {
            socket.set_tos_v4(0xba).unwrap();
        } else {
            set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, 0xba).unwrap();
        }
        socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
        for packet in packets {
            socket.send_to(packet, &SocketAddr::new(to, 0).into()).unwrap();
        }
    }

    const DATA: &[u8] = &[0x80, 0, 0x08, 0x00, 1, 2, 3, 4];
    const PLAIN_DATA: &[u8] = &[0x20, 0, 0x86, 0xdd, 1, 2, 3, 4];
    const NHRP: &[u8] = &[0x20, 0, 0x20, 0x01, 0, 0, 0, 42, 9];
    const NHRP_WITHOUT_KEY: &[u8] = &[0, 0, 0x20, 0x01, 9];
    const NHRP_WITH_CHECKSUM: &[u8] = &[0xa0, 0, 0x20, 0x01, 0, 0, 0, 42, 9];
    const NHRP_WITH_SEQUENCE: &[u8] = &[0x10, 0, 0x20, 0x01, 0, 0, 0, 1, 9];
    const ALL: [&[u8]; 6] =
        [NHRP, NHRP_WITHOUT_KEY, NHRP_WITH_CHECKSUM, DATA, NHRP_WITH_SEQUENCE, PLAIN_DATA];

    #[tokio::test]
    async fn takes_what_the_tunnels_sockets_leave_and_keeps_nhrp_apart() {
        let mut buffer = vec![0; LONGEST];
        // Addresses that no other test listens on.
        for [from, to] in [["127.91.0.1", "127.91.0.2"], ["::1", "::1"]] {
            let [from, to]: [IpAddr; 2] = [from.parse().unwrap(), to.parse().unwrap()];
            for (takes, wanted) in
                [(Takes::Data, [DATA, PLAIN_DATA]), (Takes::Nhrp, [NHRP_WITH_CHECKSUM, NHRP_WITH_SEQUENCE])]
            {
                let socket = SlowSocket::open(to, takes, 1 << 16).expect("raw sockets need root");
                send(from, to, &ALL);
                for bytes in wanted {
                    let received = socket.receive(&mut buffer).await.unwrap();
                    let expected = GrePacket { source: from, tos: 0xba, bytes: bytes.to_vec() };
                    // Another test on ::1 may send meanwhile.
                    assert!(from.is_ipv6() || received == Some(expected.clone()), "{received:?}");
                    if received != Some(expected) {
                        assert_eq!(received.unwrap().source, from);
                        break;
                    }
                }
                assert_eq!(socket.lost().unwrap(), 0);
            }
        }
    }

    #[tokio::test]
    async fn tells_how_many_packets_there_was_no_room_for() {
        let mut buffer = vec![0; LONGEST];
        let [from, to]: [IpAddr; 2] = [[127, 91, 1, 1].into(), [127, 91, 1, 2].into()];
        let socket = SlowSocket::open(to, Takes::Data, 4096).expect("raw sockets need root");
        send(from, to, &[DATA; 500]);
        let lost = socket.lost().unwrap();
        assert!((400..500).contains(&lost), "{lost}");
        for _ in lost..500 {
            assert!(socket.receive(&mut buffer).await.unwrap().is_some());
        }
        let more =
            tokio::time::timeout(std::time::Duration::from_millis(50), socket.receive(&mut buffer)).await;
        assert!(more.is_err(), "the books balance");
    }

    #[test]
    fn splits_a_packet_with_options() {
        let mut packet = vec![0x46, 0x02, 0, 28, 0, 0, 0, 0, 64, 47, 0, 0, 192, 0, 2, 9, 192, 0, 2, 1];
        packet.extend([1, 1, 1, 0]);
        packet.extend([0x80, 0, 0x08, 0]);
        let expected = GrePacket { source: [192, 0, 2, 9].into(), tos: 2, bytes: vec![0x80, 0, 0x08, 0] };
        assert_eq!(split(&packet), Some(expected));
        assert_eq!(split(&packet[..27]), None);
        assert_eq!(split(&[]), None);
    }
}
