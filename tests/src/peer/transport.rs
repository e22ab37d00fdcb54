//! Raw sockets for GRE: the kernel does the outer header.

use std::{
    io::{ErrorKind, Read as _},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result};
use dmvpn_common::{GRE_PROTOCOL_NHRP, IPPROTO_GRE};
use socket2::{Domain, Protocol, Socket, Type};

const ETHERTYPE_IPV4: u16 = 0x0800;
const KEY_PRESENT: u16 = 0x2000;
const BUFFER: usize = 65536;

/// What came in a GRE packet.
pub(super) enum Received {
    /// NHRP, and where it came from.
    Nhrp(Ipv4Addr, Vec<u8>),
    /// An IPv4 packet, and where it came from.
    Data(Ipv4Addr, Vec<u8>),
}

/// A tunnel without an interface.
pub(super) struct Transport {
    socket: Socket,
    key: Option<u32>,
    buffer: Vec<u8>,
}

impl Transport {
    /// A tunnel of the network namespace of the calling thread; reading waits for `patience` at most.
    pub(super) fn open(nbma: Ipv4Addr, key: Option<u32>, patience: Duration) -> Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(IPPROTO_GRE))))
            .context("opening a raw socket (this needs root)")?;
        socket
            .bind(&SocketAddr::from((nbma, 0)).into())
            .with_context(|| format!("no address {nbma} here"))?;
        socket.set_read_timeout(Some(patience)).context("setting a timeout")?;
        Ok(Self { socket, key, buffer: vec![0; BUFFER] })
    }

    /// Sends NHRP.
    pub(super) fn send_nhrp(&self, to: Ipv4Addr, packet: &[u8]) -> Result<()> {
        self.send(to, GRE_PROTOCOL_NHRP, packet)
    }

    /// Sends an IPv4 packet.
    pub(super) fn send_data(&self, to: Ipv4Addr, packet: &[u8]) -> Result<()> {
        self.send(to, ETHERTYPE_IPV4, packet)
    }

    fn send(&self, to: Ipv4Addr, protocol: u16, payload: &[u8]) -> Result<()> {
        let flags = if self.key.is_some() { KEY_PRESENT } else { 0 };
        let mut packet = flags.to_be_bytes().to_vec();
        packet.extend(protocol.to_be_bytes());
        packet.extend(self.key.map(u32::to_be_bytes).into_iter().flatten());
        packet.extend(payload);
        match self.socket.send_to(&packet, &SocketAddr::from((to, 0)).into()) {
            Ok(_) => Ok(()),
            // An ICMP error about an earlier packet: routers do not mind.
            Err(error)
                if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable) =>
            {
                Ok(())
            }
            Err(error) => Err(error).with_context(|| format!("sending to {to}")),
        }
    }

    /// The next packet of this tunnel; `None`: there was none, or it was another tunnel's.
    pub(super) fn receive(&mut self) -> Result<Option<Received>> {
        let length = match self.socket.read(&mut self.buffer) {
            Ok(length) => length,
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error).context("receiving"),
        };
        Ok(parse(self.buffer.get(..length).unwrap_or_default(), self.key))
    }
}

/// What is in an IPv4 packet with GRE.
fn parse(packet: &[u8], key: Option<u32>) -> Option<Received> {
    let first = *packet.first()?;
    let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    let gre = packet.get(usize::from(first & 15) * 4..)?;
    let [f0, f1, p0, p1] = *gre.first_chunk()?;
    let (has, payload) = match u16::from_be_bytes([f0, f1]) {
        0 => (None, gre.get(4..)?),
        KEY_PRESENT => (Some(u32::from_be_bytes(*gre.get(4..)?.first_chunk()?)), gre.get(8..)?),
        _ => return None,
    };
    if has != key {
        return None;
    }
    let from = Ipv4Addr::from(source);
    match u16::from_be_bytes([p0, p1]) {
        GRE_PROTOCOL_NHRP => Some(Received::Nhrp(from, payload.to_vec())),
        ETHERTYPE_IPV4 => Some(Received::Data(from, payload.to_vec())),
        _ => None,
    }
}
