//! Hands packets to tunnel interfaces.

use std::{io, os::fd::AsRawFd as _};

use dmvpn_common::PeerMac;
use nix::{
    libc,
    sys::socket::{MsgFlags, sendto},
};
use socket2::{Domain, Socket, Type};

use crate::agent::{link_address::address, socket::set_option};

/// A packet socket that only sends.
pub(in crate::agent) struct Delivery(Socket);

impl Delivery {
    /// Opens the socket.
    pub(in crate::agent) fn open() -> io::Result<Self> {
        // Without a protocol nothing arrives.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        // A queue would be of no use, and the one that an interface has until the kernel notices that it is up loses
        // everything without a word.
        set_option(&socket, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1)?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// Sends a packet by `far_ifindex`, the far end of a tunnel interface: it arrives there as one from the peer with
    /// the index `peer`.
    pub(super) fn deliver(
        &self,
        far_ifindex: u32,
        peer: u32,
        ether_type: u16,
        packet: &[u8],
    ) -> io::Result<()> {
        let to = address(far_ifindex, ether_type.into())?;
        let header = [PeerMac::TUNNEL.0, PeerMac::from_index(peer).0].concat();
        let frame = [&header, &ether_type.to_be_bytes()[..], packet].concat();
        sendto(self.0.as_raw_fd(), &frame, &to, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }
}
