//! Packets as a test wants them, right or wrong, and how they get on the wire.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use dmvpn_common::IPPROTO_GRE;
use dmvpn_tests::{namespace::Namespace, poll};
use socket2::{Domain, Protocol, Socket, Type};

/// Where datagrams go.
pub(super) const PORT: u16 = 9999;

/// An IPv4 packet with a UDP datagram of zeros to [`PORT`].
#[derive(Clone, Copy)]
pub(super) struct Inner {
    pub(super) source: Ipv4Addr,
    pub(super) destination: Ipv4Addr,
    /// Bytes in all.
    pub(super) length: u16,
    /// What the header says instead.
    pub(super) claimed: Option<u16>,
    pub(super) dont_fragment: bool,
    pub(super) right_checksum: bool,
}

impl Inner {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut packet = vec![0x45, 0];
        packet.extend(self.claimed.unwrap_or(self.length).to_be_bytes());
        packet.extend([0, 0, if self.dont_fragment { 0x40 } else { 0 }, 0, 64, 17, 0, 0]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        let mut sum: u32 =
            packet.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let sum = if self.right_checksum { !sum } else { sum };
        packet[10..12].copy_from_slice(&sum.to_be_bytes()[2..]);
        packet.extend([PORT, PORT, self.length - 20, 0].iter().flat_map(|half| half.to_be_bytes()));
        packet.resize(self.length.into(), 0);
        packet
    }
}

/// Packets of a GRE socket: some spoke's, or somebody's who is no spoke.
pub(super) struct Gre<'lab> {
    pub(super) namespace: &'lab Namespace,
    pub(super) source: Ipv4Addr,
    pub(super) destination: Ipv4Addr,
}

impl Gre<'_> {
    /// Sends GRE with these first four bytes, perhaps a key, and a payload, so many times.
    pub(super) fn send(
        &self,
        head: [u8; 4],
        key: Option<u32>,
        payload: &[u8],
        tos: u8,
        times: u64,
    ) -> Result<()> {
        let packet: Vec<u8> = head
            .into_iter()
            .chain(key.into_iter().flat_map(u32::to_be_bytes))
            .chain(payload.to_vec())
            .collect();
        self.namespace.run(|| {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(IPPROTO_GRE))))
                .context("opening a raw socket")?;
            socket.bind(&SocketAddr::from((self.source, 0)).into())?;
            socket.set_tos_v4(tos.into())?;
            for _ in 0..times {
                socket.send_to(&packet, &SocketAddr::from((self.destination, 0)).into())?;
            }
            Ok(())
        })
    }
}

/// Sends datagrams of so many bytes of payload with a time to live.
pub(super) fn send_datagrams(
    from: &Namespace,
    to: Ipv4Addr,
    payload: usize,
    time_to_live: u32,
    times: u64,
) -> Result<()> {
    from.run(|| {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        socket.set_ttl(time_to_live)?;
        for _ in 0..times {
            socket.send_to(&vec![0; payload], (to, PORT))?;
        }
        Ok(())
    })
}

/// Takes datagrams in.
pub(super) struct Receiver {
    name: String,
    socket: UdpSocket,
}

impl Receiver {
    pub(super) fn open(namespace: &Namespace, address: Ipv4Addr) -> Result<Self> {
        let socket = namespace.run(|| UdpSocket::bind((address, PORT)).context("a socket"))?;
        socket.set_nonblocking(true)?;
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBufForce, &(16 << 20))?;
        Ok(Self { name: namespace.name().to_owned(), socket })
    }

    /// Waits for so many datagrams; there must not be another one.
    pub(super) fn expect(&self, count: u64, patience: Duration) -> Result<()> {
        let mut received = 0;
        let mut buffer = vec![0; 1 << 16];
        poll::until(&format!("{count} datagrams in {}", self.name), patience, || {
            while self.socket.recv(&mut buffer).is_ok() {
                received += 1;
            }
            Ok((received >= count).then_some(()))
        })
        .with_context(|| format!("there are {received}"))?;
        ensure!(received == count, "{received} datagrams in {} instead of {count}", self.name);
        Ok(())
    }
}
