//! Asks the kernel which XDP programs an interface has, and in which mode they run.
//!
//! One netlink request on a socket of its own: the answer is needed in the middle of attaching, and at no other time.

use std::{io, os::fd::RawFd};

use aya_obj::generated::{XDP_FLAGS_DRV_MODE, XDP_FLAGS_HW_MODE, XDP_FLAGS_SKB_MODE};
use rtnetlink::{
    packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        link::{LinkAttribute, LinkMessage, LinkXdp},
    },
    sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE},
};

/// How an XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunningMode {
    /// In the driver, before the kernel allocates a socket buffer.
    Native,
    /// In the network stack, after that: correct, but slow.
    Generic,
    /// In the network card.
    Offloaded,
}

impl RunningMode {
    /// Name in logs, tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Offloaded => "offloaded",
        }
    }
}

/// A program that is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AttachedXdp {
    /// How it runs.
    pub mode: RunningMode,
    /// Its id, as `bpftool prog show id` takes it.
    pub program_id: u32,
}

/// The XDP programs of an interface: none, one, or one of each mode.
pub(super) fn attached(ifindex: u32) -> io::Result<Vec<AttachedXdp>> {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    let reply = request(RouteNetlinkMessage::GetLink(message), 0)?;
    let Some(RouteNetlinkMessage::NewLink(link)) = reply else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel did not answer with a link"));
    };
    let xdp = link.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::Xdp(xdp) => Some(xdp),
        _ => None,
    });
    let programs = xdp.flatten().filter_map(|attribute| {
        let (mode, program_id) = match attribute {
            LinkXdp::DrvProgId(id) => (RunningMode::Native, *id),
            LinkXdp::SkbProgId(id) => (RunningMode::Generic, *id),
            LinkXdp::HwProgId(id) => (RunningMode::Offloaded, *id),
            _ => return None,
        };
        Some(AttachedXdp { mode, program_id })
    });
    Ok(programs.collect())
}

/// Removes a program that is attached without a link.
pub(super) fn detach_linkless(ifindex: u32, mode: RunningMode) -> io::Result<()> {
    const NO_PROGRAM: RawFd = -1;
    attach_linkless(ifindex, NO_PROGRAM, mode)
}

fn attach_linkless(ifindex: u32, program: RawFd, mode: RunningMode) -> io::Result<()> {
    let flags = match mode {
        RunningMode::Native => XDP_FLAGS_DRV_MODE,
        RunningMode::Generic => XDP_FLAGS_SKB_MODE,
        RunningMode::Offloaded => XDP_FLAGS_HW_MODE,
    };
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    message.attributes.push(LinkAttribute::Xdp(vec![LinkXdp::Fd(program), LinkXdp::Flags(flags)]));
    request(RouteNetlinkMessage::SetLink(message), NLM_F_ACK).map(drop)
}

/// Sends one request and returns the answer; `None` for a bare acknowledgement.
fn request(message: RouteNetlinkMessage, flags: u16) -> io::Result<Option<RouteNetlinkMessage>> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    header.sequence_number = 1;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);

    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&bytes, 0)?;
    let (reply, _) = socket.recv_from_full()?;
    let reply = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&reply)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    match reply.payload {
        NetlinkPayload::InnerMessage(message) => Ok(Some(message)),
        NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd as _, AsRawFd as _};

    use aya::{Ebpf, programs::Xdp};
    use dmvpn_common::program_names;
    use nix::sched::{CloneFlags, unshare};

    use super::*;

    /// In a namespace that ends with it.
    #[test]
    fn sees_a_program_and_detaches_one_that_has_no_link() {
        let body = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("run as root");
            let lo = nix::net::if_::if_nametoindex("lo").unwrap();
            assert_eq!(attached(lo).unwrap(), []);

            let mut ebpf = Ebpf::load(super::super::loader::OBJECT).unwrap();
            let program = ebpf.program_mut(program_names::XDP_UNDERLAY).unwrap();
            let program: &mut Xdp = program.try_into().unwrap();
            program.load().unwrap();
            let program_id = program.info().unwrap().id();
            let fd = program.fd().unwrap().as_fd().as_raw_fd();
            attach_linkless(lo, fd, RunningMode::Generic).unwrap();
            assert_eq!(attached(lo).unwrap(), [AttachedXdp { mode: RunningMode::Generic, program_id }]);

            detach_linkless(lo, RunningMode::Generic).unwrap();
            assert_eq!(attached(lo).unwrap(), []);
        };
        std::thread::spawn(body).join().unwrap();
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error() {
        let error = attached(u32::MAX >> 1).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
        let error = detach_linkless(u32::MAX >> 1, RunningMode::Generic).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }
}
