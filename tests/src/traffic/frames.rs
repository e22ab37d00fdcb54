//! Frames as they are: made by hand, or as they go by an interface.

use std::{io::Read as _, os::fd::AsRawFd as _};

use anyhow::{Context as _, Result, ensure};
use nix::{
    net::if_::if_nametoindex,
    sys::socket::{LinkAddr, SockaddrLike as _, bind, setsockopt, sockopt},
};
use socket2::{Domain, Socket, Type};

use crate::namespace::Namespace;

/// Sends packets by an interface as they are, whatever their headers say.
#[derive(Debug)]
pub struct FrameSender {
    socket: Socket,
    /// Both link-layer addresses.
    addresses: [u8; 12],
}

impl FrameSender {
    /// To send by `interface` of `from` to the neighbour whose `there` is at the other end of the wire.
    pub fn open(from: (&Namespace, &str), there: (&Namespace, &str)) -> Result<Self> {
        let addresses = [mac(there)?, mac(from)?].concat();
        let addresses = addresses.try_into().ok().context("two addresses have 12 bytes")?;
        let (namespace, interface) = from;
        let socket = namespace.run(|| {
            let socket = packet_socket()?;
            bind(socket.as_raw_fd(), &address(interface, 0)?).context("binding a packet socket")?;
            Ok(socket)
        })?;
        Ok(Self { socket, addresses })
    }

    /// Sends an IP packet.
    pub fn send(&self, packet: &[u8]) -> Result<()> {
        let ether_type = if packet.first().is_some_and(|first| first >> 4 == 6) { 0x86dd } else { 0x0800 };
        let ether_type: u16 = ether_type;
        let frame = [&self.addresses[..], &ether_type.to_be_bytes(), packet].concat();
        self.socket.send(&frame).context("sending a frame").map(drop)
    }
}

/// Sees every frame that leaves or comes in by an interface, from when it is opened.
#[derive(Debug)]
pub struct FrameWatcher {
    socket: Socket,
}

impl FrameWatcher {
    /// Room for what nobody has read yet, in bytes: some ten thousand frames.
    const BUFFER: usize = 64 << 20;

    /// Watches `interface` of `namespace`.
    pub fn open(namespace: &Namespace, interface: &str) -> Result<Self> {
        namespace.run(|| {
            let socket = packet_socket()?;
            setsockopt(&socket, sockopt::RcvBufForce, &Self::BUFFER).context("setting the buffer's size")?;
            bind(socket.as_raw_fd(), &address(interface, u16::try_from(libc::ETH_P_ALL)?)?)
                .context("binding a packet socket")?;
            socket.set_nonblocking(true).context("setting a packet socket")?;
            Ok(Self { socket })
        })
    }

    /// The frames since the last call, large ones that are to be cut up by a device among them.
    pub fn frames(&self) -> Vec<Vec<u8>> {
        let mut buffer = vec![0; 1 << 17];
        let mut frames = Vec::new();
        while let Ok(length) = (&self.socket).read(&mut buffer) {
            frames.push(buffer[..length].to_vec());
        }
        frames
    }
}

fn packet_socket() -> Result<Socket> {
    Socket::new(Domain::PACKET, Type::RAW, None).context("opening a packet socket")
}

/// The link-layer address of an interface.
fn mac((namespace, interface): (&Namespace, &str)) -> Result<Vec<u8>> {
    let line = namespace.command(&format!("ip -o link show dev {interface}"))?;
    let (_, rest) = line.split_once("link/ether ").with_context(|| format!("no address in {line}"))?;
    let address = rest.split_whitespace().next().unwrap_or_default();
    let bytes = address.split(':').map(|byte| u8::from_str_radix(byte, 16));
    let bytes = bytes.collect::<Result<Vec<_>, _>>().with_context(|| format!("no address: {address}"))?;
    ensure!(bytes.len() == 6, "no address: {address}");
    Ok(bytes)
}

/// An interface of the namespace, and the `EtherType` that is to be heard there.
fn address(interface: &str, protocol: u16) -> Result<LinkAddr> {
    let index = if_nametoindex(interface).with_context(|| format!("no interface {interface}"))?;
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET)?,
        sll_protocol: protocol.to_be(),
        sll_ifindex: i32::try_from(index)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of_val(&address))?;
    #[expect(unsafe_code, reason = "nix makes this address from a pointer only")]
    // SAFETY: the pointer is to an address of this length that lives across the call.
    let address = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) };
    address.context("an address of a packet socket")
}
