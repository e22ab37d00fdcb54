//! A socket that blocks. The kernel does what it is asked for while the message is being sent, so that the answer is there
//! when sending returns: to wait for it in the runtime would cost more than the answer does.
//!
//! A time limit guards against a kernel that does not answer at all.

use std::{
    cell::{Cell, RefCell},
    num::NonZeroI32,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        socket::{setsockopt, sockopt::ReceiveTimeout},
        time::{TimeVal, TimeValLike},
    },
};
use rtnetlink::{
    packet_core::{
        DecodeError, DoneBuffer, ErrorBuffer, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST,
        NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkMessage,
    },
    packet_route::RouteNetlinkMessage,
    sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE},
};

use super::{connection::refused, error::Cause};

/// Longest wait for an answer, or for the next part of one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// The kernel sends listings in pieces of at most 32 KiB.
const RECEIVE_BUFFER_SIZE: usize = 64 * 1024;

/// A socket to ask on, and to wait for the answer.
#[derive(Debug)]
pub(super) struct Direct {
    socket: Socket,
    sequence: Cell<u32>,
    buffer: RefCell<Vec<u8>>,
}

impl Direct {
    /// Opens the socket, in the network namespace of the calling thread.
    pub(super) fn open() -> Result<Self, Cause> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_netlink_get_strict_chk(true)?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        let timeout = TimeVal::milliseconds(i64::try_from(ANSWER_TIMEOUT.as_millis()).unwrap_or(i64::MAX));
        setsockopt(&socket, ReceiveTimeout, &timeout)?;
        Ok(Self { socket, sequence: Cell::new(0), buffer: RefCell::new(vec![0; RECEIVE_BUFFER_SIZE]) })
    }

    /// Sends a message and hands every message of the answer, undecoded, to `receive`: all to the end of a listing
    /// (`NLM_F_DUMP`), all before the acknowledgement (`NLM_F_ACK`), or one.
    pub(super) fn exchange(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
        mut receive: impl FnMut(NetlinkBuffer<&[u8]>) -> Result<(), Cause>,
    ) -> Result<(), Cause> {
        let sequence = self.sequence.get().wrapping_add(1);
        self.sequence.set(sequence);
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        request.header.sequence_number = sequence;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;

        let mut deadline = Instant::now() + ANSWER_TIMEOUT;
        let mut interrupted = false;
        let mut buffer = self.buffer.borrow_mut();
        while Instant::now() < deadline {
            let length = match self.socket.recv(&mut &mut buffer[..], 0) {
                Ok(length) => length,
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::EINTR) => continue,
                    Some(Errno::EAGAIN) => return Err(Cause::NoAnswer),
                    _ => return Err(error.into()),
                },
            };
            // A long listing takes long, but it goes on.
            deadline = Instant::now() + ANSWER_TIMEOUT;
            let mut rest = buffer.get(..length).unwrap_or_default();
            while !rest.is_empty() {
                let message = NetlinkBuffer::new_checked(rest).map_err(malformed)?;
                let length = usize::try_from(message.length()).unwrap_or(usize::MAX);
                // Messages start at multiples of four bytes.
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
                // An answer that came too late for an earlier question.
                if message.sequence_number() != sequence {
                    continue;
                }
                interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
                match message.message_type() {
                    NLMSG_ERROR => {
                        let error = ErrorBuffer::new_checked(message.payload()).map_err(malformed)?;
                        return match error.code().map_or(0, NonZeroI32::get) {
                            0 if flags & NLM_F_ACK != 0 => Ok(()),
                            code => Err(refused(code, error.payload())),
                        };
                    }
                    NLMSG_DONE => {
                        let done = DoneBuffer::new_checked(message.payload()).map_err(malformed)?;
                        return match done.code() {
                            0 if interrupted => Err(Cause::Interrupted),
                            0 => Ok(()),
                            code => Err(refused(code, &[])),
                        };
                    }
                    _ => {
                        receive(message)?;
                        if flags & (NLM_F_DUMP | NLM_F_ACK) == 0 {
                            return Ok(());
                        }
                    }
                }
            }
        }
        Err(Cause::NoAnswer)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn malformed(error: DecodeError) -> Cause {
    Cause::Malformed(error.to_string())
}
