//! The far end of a tunnel interface, where frames come out that the tunnel program left alone.

use std::{io, os::fd::AsRawFd as _};

use nix::{
    libc,
    sys::socket::{MsgFlags, bind, recv, sendto},
};
use socket2::{Domain, SockFilter, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    agent::{link_address::address, socket::set_option},
    checksum::sum,
};

/// `struct virtio_net_hdr`, which the kernel puts before every frame: flags, kind of segmentation, header length,
/// segment size, where the checksum begins and where in that it stands. Numbers are in the machine's order.
const INFO: usize = 10;
/// The checksum is not there yet (`VIRTIO_NET_HDR_F_NEEDS_CSUM`).
const NEEDS_CHECKSUM: u8 = 1;
/// Not in `libc`: `PACKET_VNET_HDR` and `PACKET_IGNORE_OUTGOING` of `linux/if_packet.h`.
const PACKET_VNET_HDR: libc::c_int = 15;
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

/// Room for the largest frame of an interface with jumbo frames. What is longer has been put together from several
/// packets, and its head is enough.
const FRAME: usize = 16 * 1024;

/// Length of an Ethernet header.
pub(super) const ETHERNET: usize = 14;

/// A frame that was sent by the tunnel interface.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::agent) struct Frame {
    /// From the Ethernet header on.
    pub(super) bytes: Vec<u8>,
    /// Several segments of one connection, to be cut apart later.
    pub(super) segments: bool,
}

/// A packet socket on the far end of a tunnel interface.
pub(super) struct FarEnd {
    socket: AsyncFd<Socket>,
    /// Index of the tunnel interface.
    ifindex: u32,
}

impl FarEnd {
    /// Begins to take frames that arrive at `far_ifindex`, the other end of the tunnel interface `ifindex`.
    pub(super) fn open(ifindex: u32, far_ifindex: u32) -> io::Result<Self> {
        // Without a protocol nothing arrives before the filter is there.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.attach_filter(&for_others())?;
        set_option(&socket, libc::SOL_PACKET, PACKET_VNET_HDR, 1)?;
        // What is sent there is on its way to the tunnel interface: all the traffic there is.
        set_option(&socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)?;
        socket.set_nonblocking(true)?;
        bind(socket.as_raw_fd(), &address(far_ifindex, libc::ETH_P_ALL)?)?;
        #[expect(unsafe_code, reason = "tokio asks the caller to vouch for the descriptor")]
        // SAFETY: the socket is owned by the `AsyncFd` from here on and is never closed or replaced while it lives.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }
            .map_err(|error| error.into_parts().1)?;
        Ok(Self { socket, ifindex })
    }

    /// Waits for a frame. `None`: it makes no sense.
    pub(super) async fn receive(&self) -> io::Result<Option<Frame>> {
        let mut buffer = vec![0; INFO + FRAME];
        loop {
            let mut ready = self.socket.readable().await?;
            let received = ready.try_io(|socket| {
                recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT).map_err(io::Error::from)
            });
            if let Ok(length) = received {
                buffer.truncate(length?);
                return Ok(complete(buffer));
            }
        }
    }

    /// Sends a frame with an IPv4 packet by the tunnel interface.
    pub(super) fn send_ipv4(&self, frame: &[u8]) -> io::Result<()> {
        let to = address(self.ifindex, libc::ETH_P_IP)?;
        let bytes = [&[0; INFO][..], frame].concat();
        sendto(self.socket.as_raw_fd(), &bytes, &to, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }
}

/// Takes what the kernel says about a frame from it, and fills in a checksum that is left to the device.
fn complete(mut bytes: Vec<u8>) -> Option<Frame> {
    let mut frame = bytes.split_off(INFO.min(bytes.len()));
    let [flags, segmentation, _, _, _, _, start @ .., _, _] = *bytes.first_chunk::<INFO>()?;
    let place = [bytes[8], bytes[9]];
    if flags & NEEDS_CHECKSUM != 0 && segmentation == 0 {
        let start = usize::from(u16::from_ne_bytes(start));
        let place = start + usize::from(u16::from_ne_bytes(place));
        // The field holds the sum of the pseudo header. Zero would mean that there is no checksum.
        let checksum = match !sum(frame.get(start..)?) {
            0 => u16::MAX,
            checksum => checksum,
        };
        frame.get_mut(place..)?.first_chunk_mut::<2>()?.copy_from_slice(&checksum.to_be_bytes());
    }
    (frame.len() > ETHERNET).then_some(Frame { bytes: frame, segments: segmentation != 0 })
}

/// Classic BPF: accept frames whose address is not the interface's, as all frames for peers are.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "operation codes of classic BPF have 16 bits; offsets of what is no packet data are negative"
)]
fn for_others() -> [SockFilter; 4] {
    const PACKET_OTHERHOST: u32 = 3;
    let load_type = SockFilter::new(
        (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16,
        0,
        0,
        (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE) as u32,
    );
    let unless_other =
        SockFilter::new((libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, 0, 1, PACKET_OTHERHOST);
    let accept = SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, u32::MAX);
    let refuse = SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0);
    [load_type, unless_other, accept, refuse]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with a UDP packet of four bytes whose checksum field holds `field`.
    fn udp(field: [u8; 2]) -> Vec<u8> {
        let mut frame = vec![0; ETHERNET];
        frame.extend([0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0x12, 0x34, 0x56, 0x78, 0, 12, field[0], field[1], 1, 2, 3, 4]);
        frame
    }

    fn with_info(flags: u8, segmentation: u8, frame: &[u8]) -> Vec<u8> {
        let mut bytes = vec![flags, segmentation, 0, 0, 0, 0];
        bytes.extend(34_u16.to_ne_bytes());
        bytes.extend(6_u16.to_ne_bytes());
        bytes.extend(frame);
        bytes
    }

    #[test]
    fn completes_a_checksum_that_is_left_to_the_device() {
        // Addresses, protocol and length.
        let pseudo = sum(&[10, 0, 0, 1, 10, 0, 0, 2, 0, 17, 0, 12]);
        let frame = complete(with_info(NEEDS_CHECKSUM, 0, &udp(pseudo.to_be_bytes()))).unwrap();
        let datagram = &frame.bytes[34..];
        let whole = [&[10, 0, 0, 1, 10, 0, 0, 2, 0, 17, 0, 12], datagram].concat();
        assert_eq!(sum(&whole), 0xffff);
        assert!(!frame.segments);
    }

    #[test]
    fn leaves_other_frames_as_they_are() {
        let frame = udp([0xaa, 0xbb]);
        assert_eq!(complete(with_info(0, 0, &frame)).unwrap().bytes, frame);
        let segments = complete(with_info(NEEDS_CHECKSUM, 1, &frame)).unwrap();
        assert_eq!(segments, Frame { bytes: frame, segments: true });
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        assert_eq!(complete(Vec::new()), None);
        assert_eq!(complete(with_info(0, 0, &[0; ETHERNET])), None);
        assert_eq!(complete(with_info(NEEDS_CHECKSUM, 0, &[0; ETHERNET + 6])), None);
    }
}
