//! Packets that are too long for the way to their peer, though not for the tunnel interface.
//!
//! The tunnel program cannot cut packets and does not know the way to their senders, so it lets them go on to the far
//! end of the tunnel interface, where this takes them: the sender of a packet that must not be cut is told, any other
//! packet is cut and sent by the tunnel interface again.

mod far_end;
mod report;

use std::{io, sync::Arc, time::Duration};

use dmvpn_common::PeerMac;
use tokio::{sync::mpsc, task::AbortHandle, time};
use tracing::{debug, warn};

use self::far_end::{ETHERNET, FarEnd, Frame};
pub(super) use self::report::Reporter;
use super::{Agent, fragment::fragment};
use crate::nhrp::engine::TunnelId;

/// Pause after an error of the socket.
const ERROR_PAUSE: Duration = Duration::from_millis(100);
/// Least MTU of IPv6: a sender is never told less (RFC 8200, 5).
const IPV6_LEAST: u32 = 1280;

/// A frame on its way from the far end of a tunnel interface to the agent.
pub(super) struct TooLong {
    tunnel: TunnelId,
    frame: Frame,
}

/// The task that reads the far end of a tunnel interface. Ends when this is dropped.
pub(super) struct TooLongReceiver {
    far_end: Arc<FarEnd>,
    task: AbortHandle,
}

impl TooLongReceiver {
    /// Begins to read. What the queue has no room for waits in the socket's buffer, and is lost when that is full.
    pub(super) fn start(
        tunnel: TunnelId,
        ifindex: u32,
        far_ifindex: u32,
        queue: mpsc::Sender<TooLong>,
    ) -> io::Result<Self> {
        let far_end = Arc::new(FarEnd::open(ifindex, far_ifindex)?);
        let task = tokio::spawn(read(tunnel, Arc::clone(&far_end), queue)).abort_handle();
        Ok(Self { far_end, task })
    }
}

impl Drop for TooLongReceiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(tunnel: TunnelId, far_end: Arc<FarEnd>, queue: mpsc::Sender<TooLong>) {
    loop {
        match far_end.receive().await {
            Ok(Some(frame)) => {
                if queue.send(TooLong { tunnel, frame }).await.is_err() {
                    return;
                }
            }
            Ok(None) => {}
            Err(error) => {
                // The interface is down, most likely.
                warn!(%error, "cannot read the far end of a tunnel interface");
                time::sleep(ERROR_PAUSE).await;
            }
        }
    }
}

impl Agent {
    /// Cuts a packet that is too long, or tells its sender.
    pub(super) fn take_in_too_long(&mut self, TooLong { tunnel, frame }: TooLong) {
        let Some(tunnel) = self.tunnels.get(tunnel) else { return };
        let Some((header, packet)) = frame.bytes.split_at_checked(ETHERNET) else { return };
        let index = header.first_chunk::<6>().and_then(|address| PeerMac::index_of(*address));
        let peer = index.map(|index| self.data_path.peers.get(index));
        let Some(Ok(Some(peer))) = peer else { return };

        let pieces = if frame.segments { None } else { fragment(packet, peer.mtu as usize) };
        let result = if let Some(pieces) = pieces {
            let send = |piece: Vec<u8>| tunnel.too_long.far_end.send_ipv4(&[header, &piece].concat());
            pieces.into_iter().try_for_each(send)
        } else {
            let least = if packet.first().is_some_and(|first| first >> 4 == 6) { IPV6_LEAST } else { 0 };
            self.reporter.report(packet, peer.mtu.max(least), tunnel.link.ifindex)
        };
        if let Err(error) = result {
            debug!(tunnel = tunnel.name(), %error, "a packet that was too long is lost");
        }
    }
}
