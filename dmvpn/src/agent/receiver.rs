//! One task for each NHRP socket: from the socket to the agent's queue.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::{sync::mpsc, task::AbortHandle, time};
use tracing::warn;

use super::socket::{MAX_PACKET, NhrpSocket};
use crate::nhrp::engine::TunnelId;

/// Pause after an error of the socket.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// An NHRP packet on its way from a socket to the engine.
pub(super) struct Received {
    pub(super) tunnel: TunnelId,
    pub(super) source: IpAddr,
    pub(super) bytes: Vec<u8>,
}

/// The task that reads a socket. Ends when this is dropped.
pub(super) struct Receiver(AbortHandle);

impl Receiver {
    /// Begins to read. What the queue has no room for waits in the socket's buffer.
    pub(super) fn start(tunnel: TunnelId, socket: Arc<NhrpSocket>, queue: mpsc::Sender<Received>) -> Self {
        Self(tokio::spawn(read(tunnel, socket, queue)).abort_handle())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn read(tunnel: TunnelId, socket: Arc<NhrpSocket>, queue: mpsc::Sender<Received>) {
    let mut buffer = [0; MAX_PACKET];
    loop {
        match socket.receive(&mut buffer).await {
            Ok(Some((source, bytes))) => {
                let received = Received { tunnel, source, bytes: bytes.to_vec() };
                if queue.send(received).await.is_err() {
                    return;
                }
            }
            Ok(None) => {}
            // An ICMP error about a packet we sent, most likely. Not a reason to stop, but one not to spin.
            Err(error) => {
                warn!(%error, "cannot read the NHRP socket");
                time::sleep(ERROR_PAUSE).await;
            }
        }
    }
}
