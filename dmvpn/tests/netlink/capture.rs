//! Frames as they pass an interface.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, socket},
};
use tokio::time::{Instant, sleep};

/// A packet socket that sees what arrives on one interface.
pub(crate) struct Capture {
    socket: OwnedFd,
    ifindex: usize,
}

impl Capture {
    pub(crate) fn on(ifindex: u32) -> Self {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).unwrap();
        Self { socket, ifindex: ifindex.try_into().unwrap() }
    }

    /// The next frame that `wanted` accepts.
    pub(crate) async fn frame(&self, what: &str, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut buffer = vec![0; 2048];
        loop {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
                Ok((length, Some(from))) if from.ifindex() == self.ifindex && wanted(&buffer[..length]) => {
                    return buffer[..length].to_vec();
                }
                Ok(_) => {}
                Err(Errno::EAGAIN) => {
                    assert!(Instant::now() < deadline, "never seen: {what}");
                    sleep(Duration::from_millis(5)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// A test's own UDP payload is in the frame.
pub(crate) fn carries(payload: &'static [u8]) -> impl Fn(&[u8]) -> bool {
    move |frame| frame.windows(payload.len()).any(|window| window == payload)
}
