//! What goes by an interface of the namespace.

use std::{io::Read as _, os::fd::AsRawFd as _};

use nix::sys::socket::{LinkAddr, SockaddrLike as _, bind};
use socket2::{Domain, Socket, Type};

use crate::namespace::index_of;

/// Sees every frame that leaves or comes in by an interface, from when it is opened.
pub(crate) struct Wire(Socket);

impl Wire {
    /// Room for some ten thousand frames that nobody has read yet.
    const BUFFER: usize = 64 << 20;

    pub(crate) fn open(interface: &str) -> Self {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None).unwrap();
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBufForce, &Self::BUFFER).unwrap();
        let address = libc::sockaddr_ll {
            sll_family: u16::try_from(libc::AF_PACKET).unwrap(),
            sll_protocol: u16::try_from(libc::ETH_P_ALL).unwrap().to_be(),
            sll_ifindex: i32::try_from(index_of(interface)).unwrap(),
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let length = libc::socklen_t::try_from(size_of_val(&address)).unwrap();
        #[expect(unsafe_code, reason = "nix makes this address from a pointer only")]
        // SAFETY: the pointer is to an address of this length that lives across the call.
        let address = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) }.unwrap();
        bind(socket.as_raw_fd(), &address).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self(socket)
    }

    /// The frames since the last call. What a program of this box sends is there when its call returns.
    pub(crate) fn frames(&self) -> Vec<Vec<u8>> {
        let mut buffer = vec![0; 1 << 16];
        let mut frames = Vec::new();
        while let Ok(length) = (&self.0).read(&mut buffer) {
            frames.push(buffer[..length].to_vec());
        }
        frames
    }
}
