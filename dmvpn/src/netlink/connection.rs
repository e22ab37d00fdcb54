//! The request sockets: one message out, its answers back, never waiting for ever.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::StreamExt;
use nix::errno::Errno;
use rtnetlink::{
    packet_core::{
        NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, NlasIterator,
    },
    packet_route::RouteNetlinkMessage,
    proto::sys::AsyncSocket,
};

use super::{
    direct::{Direct, malformed},
    error::{Cause, Error},
};

/// Longest wait for an answer. The kernel answers within a millisecond; a large listing on a busy machine
/// takes longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a listing that was interrupted by a change is started again.
const LISTING_ATTEMPTS: usize = 8;

/// Size of the netlink header, which an error message repeats before its attributes.
const NETLINK_HEADER_SIZE: usize = 16;

/// Attribute of an error message that holds the kernel's own words (`NLMSGERR_ATTR_MSG`).
const ERROR_ATTRIBUTE_MESSAGE: u16 = 1;

/// A connection to the routing, neighbour and link tables of the network namespace it was opened in.
///
/// Clones share two sockets: one for what takes its time, and one for what is done for every peer and answered at once.
#[derive(Clone, Debug)]
pub struct Netlink {
    handle: rtnetlink::Handle,
    direct: Arc<Mutex<Direct>>,
}

impl Netlink {
    /// Opens the sockets and starts a background task, so it must be called inside a tokio runtime with I/O
    /// and time.
    pub fn open() -> Result<Self, Error> {
        let what = "open a route netlink socket";
        let handle = Self::open_socket().map_err(|error| Error::new(what, error))?;
        let direct = Direct::open().map_err(|cause| Error::new(what, cause))?;
        Ok(Self { handle, direct: Arc::new(Mutex::new(direct)) })
    }

    fn open_socket() -> io::Result<rtnetlink::Handle> {
        // Strict checking makes the kernel filter listings by interface and protocol instead of ignoring the
        // filter.
        let (mut connection, handle, unsolicited) = rtnetlink::new_connection_with_strict_check()?;
        let socket = connection.socket_mut().socket_mut();
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        // The end of a listing carries an error number too, and a missing acknowledgement must not pass for
        // success.
        connection.set_forward_done(true);
        connection.set_forward_ack(true);
        // No multicast group is joined, so nothing unsolicited arrives; without a receiver the task ends with
        // the last handle.
        drop(unsolicited);
        tokio::spawn(connection);
        Ok(handle)
    }

    /// Asks for one object, at once; `None` when the kernel has something else to say.
    pub(super) fn ask(&self, message: RouteNetlinkMessage) -> Result<Option<RouteNetlinkMessage>, Cause> {
        let mut found = None;
        self.direct.lock().unwrap_or_else(PoisonError::into_inner).exchange(message, 0, |answer| {
            let answer = NetlinkMessage::deserialize(answer.into_inner()).map_err(malformed)?;
            if let NetlinkPayload::InnerMessage(answer) = answer.payload {
                found = Some(answer);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Asks for a change, at once.
    pub(super) fn change(&self, message: RouteNetlinkMessage, flags: u16) -> Result<(), Cause> {
        let direct = self.direct.lock().unwrap_or_else(PoisonError::into_inner);
        direct.exchange(message, flags | NLM_F_ACK, |_| Ok(()))
    }

    /// Asks for a change or for one object; the answers that came before the acknowledgement.
    pub(super) async fn request(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, Cause> {
        let mut answers = Vec::new();
        self.exchange(message, flags | NLM_F_ACK, |answer| answers.push(answer)).await?;
        Ok(answers)
    }

    /// Lists a table; `select` chooses and converts the entries.
    pub(super) async fn list<T>(
        &self,
        message: RouteNetlinkMessage,
        mut select: impl FnMut(RouteNetlinkMessage) -> Option<T>,
    ) -> Result<Vec<T>, Cause> {
        for _ in 0..LISTING_ATTEMPTS {
            let mut entries = Vec::new();
            let listing =
                self.exchange(message.clone(), NLM_F_DUMP, |entry| entries.extend(select(entry))).await;
            match listing {
                Ok(()) => return Ok(entries),
                Err(Cause::Interrupted) => {}
                Err(cause) => return Err(cause),
            }
        }
        Err(Cause::Interrupted)
    }

    async fn exchange(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
        mut answer: impl FnMut(RouteNetlinkMessage),
    ) -> Result<(), Cause> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        let mut answers = self.handle.clone().request(request).map_err(|_| Cause::Closed)?;
        let mut interrupted = false;
        // The stream ends without an error when the background task does.
        let exchange = async {
            while let Some(message) = answers.next().await {
                interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(message) => answer(message),
                    NetlinkPayload::Error(error) if error.code.is_none() => return Ok(()),
                    NetlinkPayload::Error(error) => return Err(refused(error.raw_code(), &error.header)),
                    NetlinkPayload::Done(done) if done.code >= 0 => return Ok(()),
                    NetlinkPayload::Done(done) => return Err(refused(done.code, &[])),
                    _ => {}
                }
            }
            Err(Cause::Closed)
        };
        tokio::time::timeout(ANSWER_TIMEOUT, exchange).await.map_err(|_| Cause::NoAnswer)??;
        if interrupted { Err(Cause::Interrupted) } else { Ok(()) }
    }
}

/// Why the kernel refused: the (negative) code of an error message, and the kernel's words from what follows
/// it, which is the header of the request and then attributes.
pub(super) fn refused(code: i32, rest: &[u8]) -> Cause {
    let message = rest.get(NETLINK_HEADER_SIZE..).and_then(|attributes| {
        NlasIterator::new(attributes)
            .map_while(Result::ok)
            .find(|attribute| attribute.kind() == ERROR_ATTRIBUTE_MESSAGE)
            .map(|attribute| String::from_utf8_lossy(attribute.value()).trim_end_matches('\0').to_owned())
    });
    Cause::Refused { errno: Errno::from_raw(code.saturating_neg()), message }
}
