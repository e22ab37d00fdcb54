//! Records NHRP as it passes interfaces.
//!
//! A packet socket sees what XDP passes on, which all of NHRP is, and what the stack sends. It is bound to one
//! interface: without that, a packet would be seen on a VLAN device and on the card below it.

use std::{
    io::{self, IoSliceMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    libc,
    net::if_::if_nametoindex,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        ControlMessageOwned, LinkAddr, MsgFlags, SockaddrLike, bind, recvmsg, setsockopt,
        sockopt::{ReceiveTimestampns, RxqOvfl},
    },
};
use socket2::{Domain, Socket, Type};
use thiserror::Error;

use super::{Frame, LinkType, MAX_FRAME, Time, filter};

/// Room for what comes at once: some thousand packets.
const RECEIVE_BUFFER: usize = 4 << 20;

/// An Ethernet header without addresses, for frames of devices that have none.
const NO_ETHERNET: [u8; 12] = [0; 12];

/// Sockets on the interfaces that are recorded.
pub struct Recorder {
    interfaces: Vec<Interface>,
    /// The frame that was handed out last.
    buffer: Vec<u8>,
}

struct Interface {
    name: String,
    socket: Socket,
    /// Packets that the kernel could not keep.
    dropped: u32,
}

/// Why nothing, or no more, can be recorded.
#[derive(Debug, Error)]
pub enum RecordError {
    /// Packet sockets need a capability.
    #[error("capturing needs the capability CAP_NET_RAW: run this as root")]
    Permission,
    /// There is no such interface.
    #[error("there is no interface {0}")]
    NoInterface(String),
    /// It was set down or removed.
    #[error("the interface {0} went down")]
    Down(String),
    /// Another failure of a socket.
    #[error("cannot {what} on {interface}")]
    Socket {
        /// What was to be done.
        what: &'static str,
        /// On which interface.
        interface: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl Recorder {
    /// Starts to record NHRP on the interfaces of these names.
    pub fn open(names: &[String]) -> Result<Self, RecordError> {
        let interfaces = names.iter().map(|name| Interface::open(name)).collect::<Result<_, _>>()?;
        Ok(Self { interfaces, buffer: vec![0; MAX_FRAME] })
    }

    /// Waits for the next frame, always with an Ethernet header. `None` when there is something to read from `stop`.
    pub fn next_frame(&mut self, stop: BorrowedFd<'_>) -> Result<Option<Frame<'_>>, RecordError> {
        loop {
            let mut waiting = vec![PollFd::new(stop, PollFlags::POLLIN)];
            waiting
                .extend(self.interfaces.iter().map(|one| PollFd::new(one.socket.as_fd(), PollFlags::POLLIN)));
            match poll(&mut waiting, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => {
                    let interface = self.names().join(", ");
                    return Err(RecordError::Socket { what: "wait", interface, source: error.into() });
                }
            }
            let ready: Vec<bool> = waiting.iter().map(|one| one.any().unwrap_or(true)).collect();
            if ready.first() == Some(&true) {
                return Ok(None);
            }
            for (interface, _) in self.interfaces.iter_mut().zip(&ready[1..]).filter(|(_, ready)| **ready) {
                if let Some(Received { time, start, captured, length }) =
                    interface.receive(&mut self.buffer)?
                {
                    return Ok(Some(Frame {
                        time: Some(time),
                        link: LinkType::ETHERNET,
                        bytes: self.buffer.get(start..start + captured).unwrap_or_default(),
                        length,
                    }));
                }
            }
        }
    }

    /// Names of the interfaces.
    pub fn names(&self) -> Vec<&str> {
        self.interfaces.iter().map(|interface| interface.name.as_str()).collect()
    }

    /// Packets that the kernel could not keep because they were not taken in time, as far as is known: it says so
    /// with the next packet.
    pub fn dropped(&self) -> u64 {
        self.interfaces.iter().map(|interface| u64::from(interface.dropped)).sum()
    }
}

/// A frame in the buffer.
struct Received {
    time: Time,
    start: usize,
    captured: usize,
    length: u32,
}

impl Interface {
    fn open(name: &str) -> Result<Self, RecordError> {
        let index = if_nametoindex(name).map_err(|_| RecordError::NoInterface(name.to_owned()))?;
        let failed =
            |what| move |source: io::Error| RecordError::Socket { what, interface: name.to_owned(), source };
        // Protocol 0: nothing is received before the filter is there and the interface is bound.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => RecordError::Permission,
            _ => failed("open a packet socket")(error),
        })?;
        socket.attach_filter(&filter::nhrp()).map_err(failed("set the filter"))?;
        socket.set_nonblocking(true).map_err(failed("record"))?;
        // More than the limit is not an error: the kernel takes what it allows.
        socket.set_recv_buffer_size(RECEIVE_BUFFER).map_err(failed("set the size of the buffer"))?;
        setsockopt(&socket, ReceiveTimestampns, &true)
            .map_err(|error| failed("ask for times")(error.into()))?;
        setsockopt(&socket, RxqOvfl, &1).map_err(|error| failed("ask for drops")(error.into()))?;
        everything_on(index)
            .ok_or(Errno::EINVAL)
            .and_then(|address| bind(socket.as_raw_fd(), &address))
            .map_err(|error| failed("record")(error.into()))?;
        Ok(Self { name: name.to_owned(), socket, dropped: 0 })
    }

    /// Takes the next frame; `None` when there is none, or none of interest.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<Received>, RecordError> {
        const ETHERNET: u16 = libc::ARPHRD_ETHER;
        const LOOPBACK: u16 = libc::ARPHRD_LOOPBACK;

        let mut control = nix::cmsg_space!(libc::timespec, u32);
        // The frame goes behind the room for an Ethernet header that it may not have.
        let room = NO_ETHERNET.len() + 2;
        let Some((header, frame)) = buffer.split_at_mut_checked(room) else { return Ok(None) };
        let mut parts = [IoSliceMut::new(frame)];
        let message = match recvmsg::<LinkAddr>(
            self.socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::MSG_TRUNC,
        ) {
            Ok(message) => message,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            Err(Errno::ENETDOWN | Errno::ENODEV | Errno::ENXIO) => {
                return Err(RecordError::Down(self.name.clone()));
            }
            Err(error) => {
                let interface = self.name.clone();
                return Err(RecordError::Socket { what: "record", interface, source: error.into() });
            }
        };
        let mut time = None;
        for part in message.cmsgs().into_iter().flatten() {
            match part {
                ControlMessageOwned::ScmTimestampns(at) => {
                    let seconds = u64::try_from(at.tv_sec()).unwrap_or_default();
                    let nanoseconds = u32::try_from(at.tv_nsec()).unwrap_or_default();
                    time = Some(Time(Duration::new(seconds, nanoseconds)));
                }
                ControlMessageOwned::RxqOvfl(dropped) => self.dropped = dropped,
                _ => {}
            }
        }
        let time = time.unwrap_or_else(Time::now);
        // With MSG_TRUNC, the length that the frame had.
        let (length, address) = (message.bytes, message.address);
        let captured = length.min(frame.len());
        let Some(address) = address else { return Ok(None) };
        let (start, more) = match address.hatype() {
            // The loopback interface shows every packet twice: as it is sent, and as it comes back.
            LOOPBACK if address.pkttype() == libc::PACKET_OUTGOING => return Ok(None),
            ETHERNET | LOOPBACK => (room, 0),
            _ => {
                header[..NO_ETHERNET.len()].copy_from_slice(&NO_ETHERNET);
                header[NO_ETHERNET.len()..].copy_from_slice(&address.protocol().to_ne_bytes());
                (0, room)
            }
        };
        let length = u32::try_from(length + more).unwrap_or(u32::MAX);
        Ok(Some(Received { time, start, captured: captured + more, length }))
    }
}

/// The address of a socket that receives every protocol of an interface, also what the stack sends.
fn everything_on(index: libc::c_uint) -> Option<LinkAddr> {
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).ok()?,
        sll_protocol: u16::try_from(libc::ETH_P_ALL).ok()?.to_be(),
        sll_ifindex: i32::try_from(index).ok()?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of_val(&address)).ok()?;
    #[expect(unsafe_code, reason = "nix makes this address from a pointer only")]
    // SAFETY: the pointer is to an address of this length that lives across the call.
    unsafe {
        LinkAddr::from_raw((&raw const address).cast(), Some(length))
    }
}
