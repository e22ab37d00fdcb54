//! GRE that the data path leaves to the kernel: with a checksum or sequence number, and in outer packets that have
//! options or extension headers or are fragments. The kernel makes whole packets of it, which a raw socket takes; the
//! agent takes them out of their tunnel, and hands them to the kernel again as frames that arrive on the tunnel
//! interface. Where a packet may go, and why it is dropped, is as in the data path.
//!
//! The rate is limited, by reading no more than that.

mod delivery;
mod pace;
mod socket;

use std::{collections::BTreeMap, io, net::IpAddr, sync::Arc, time::Duration};

use dmvpn_common::{DropReason, GRE_PROTOCOL_NHRP, PeerState};
use tokio::{
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, sleep, sleep_until},
};
use tracing::{debug, warn};

pub(super) use self::delivery::Delivery;
use self::{
    pace::Pace,
    socket::{GrePacket, LONGEST, SlowSocket, Takes},
};
use super::{Agent, fragment::fragment, tunnels::Tunnel};
use crate::{
    gre::{Gre, GreChecksum, GreFault, Inner},
    netlink::lookup::Routing,
    nhrp::engine::{Input, TunnelId},
};

/// Pause after an error of the socket.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// A packet on its way from a socket to the agent.
pub(super) struct SlowPacket {
    /// Our address that it came to.
    local: IpAddr,
    packet: GrePacket,
}

/// The slow path of one of our NBMA addresses.
pub(super) struct SlowPath {
    /// Packets a second.
    rate: u32,
    readers: [Reader; 2],
}

impl SlowPath {
    /// Begins to take at most `rate` packets a second of each kind that come to `local`.
    pub(super) fn start(local: IpAddr, rate: u32, queue: &mpsc::Sender<SlowPacket>) -> io::Result<Self> {
        let reader = |takes| Reader::start(local, takes, rate, queue.clone());
        Ok(Self { rate, readers: [reader(Takes::Nhrp)?, reader(Takes::Data)?] })
    }

    /// Packets above the rate since the last call.
    fn excess(&mut self) -> u32 {
        self.readers.iter_mut().map(Reader::excess).fold(0, u32::saturating_add)
    }
}

/// A socket and the task that reads it, which ends when this is dropped.
struct Reader {
    socket: Arc<SlowSocket>,
    /// Packets the socket had no room for until the last look.
    lost: u32,
    task: AbortHandle,
}

impl Reader {
    fn start(local: IpAddr, takes: Takes, rate: u32, queue: mpsc::Sender<SlowPacket>) -> io::Result<Self> {
        // For the packets of a tenth of a second. The kernel doubles it, for what it needs itself.
        let room = usize::try_from(rate / 10).unwrap_or(usize::MAX).clamp(16, 4096) * 1024;
        let socket = Arc::new(SlowSocket::open(local, takes, room)?);
        let task = tokio::spawn(read(local, Arc::clone(&socket), rate, queue)).abort_handle();
        Ok(Self { socket, lost: 0, task })
    }

    fn excess(&mut self) -> u32 {
        match self.socket.lost() {
            Ok(lost) => lost.wrapping_sub(std::mem::replace(&mut self.lost, lost)),
            Err(error) => {
                warn!(%error, "cannot ask a GRE socket for its losses");
                0
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(local: IpAddr, socket: Arc<SlowSocket>, rate: u32, queue: mpsc::Sender<SlowPacket>) {
    let mut buffer = vec![0; LONGEST];
    let mut pace = Pace::new(rate, Instant::now());
    loop {
        sleep_until(pace.take(Instant::now())).await;
        match socket.receive(&mut buffer).await {
            Ok(Some(packet)) => {
                if queue.send(SlowPacket { local, packet }).await.is_err() {
                    return;
                }
            }
            Ok(None) => {}
            Err(error) => {
                warn!(%error, "cannot read a GRE socket");
                sleep(ERROR_PAUSE).await;
            }
        }
    }
}

impl Agent {
    /// Opens a slow path for every address that is a tunnel's source, and closes those of others.
    pub(super) fn update_slow_paths(&mut self) -> io::Result<()> {
        self.count_excess();
        let mut rates = BTreeMap::new();
        for tunnel in self.tunnels.iter() {
            let rate: &mut u32 = rates.entry(tunnel.plan.source).or_default();
            *rate = rate.saturating_add(tunnel.plan.config.limits.slow_path_packets);
        }
        self.slow_paths.retain(|local, path| rates.get(local) == Some(&path.rate));
        for (local, rate) in rates {
            if !self.slow_paths.contains_key(&local) {
                let path = SlowPath::start(local, rate, &self.queues.slow)?;
                self.slow_paths.insert(local, path);
            }
        }
        Ok(())
    }

    /// Brings what was above the rate to book. How long the packets were, nobody knows.
    pub(super) fn count_excess(&mut self) {
        let excess = self.slow_paths.values_mut().map(SlowPath::excess);
        let excess = excess.fold(0, u32::saturating_add);
        self.data_path.drops.count(DropReason::SlowPathRateLimit, excess.into(), 0);
    }

    /// Takes a packet out of its tunnel, or drops it.
    pub(super) async fn take_in_slow(&mut self, outer: SlowPacket) {
        if let Err(reason) = self.decapsulate(&outer).await {
            let bytes = u64::try_from(outer.packet.bytes.len()).unwrap_or(u64::MAX);
            self.data_path.drops.count(reason, 1, bytes);
            debug!(source = %outer.packet.source, reason = reason.name(), "dropped in the slow path");
        }
    }

    async fn decapsulate(&mut self, SlowPacket { local, packet }: &SlowPacket) -> Result<(), DropReason> {
        let gre = Gre::parse(&packet.bytes, true).map_err(|fault| match fault {
            GreFault::Truncated { .. } => DropReason::Truncated,
            GreFault::Version(_) | GreFault::Flags(_) => DropReason::GreVersion,
        })?;
        if gre.checksum == Some(GreChecksum::Wrong) {
            return Err(DropReason::GreChecksum);
        }
        let is_its = |tunnel: &&Tunnel| (tunnel.plan.source, tunnel.plan.config.key) == (*local, gre.key);
        let id = self.tunnels.iter().find(is_its).map(|tunnel| tunnel.id).ok_or(DropReason::WrongKey)?;
        let payload = packet.bytes.get(gre.length..).unwrap_or_default();
        if gre.protocol == GRE_PROTOCOL_NHRP {
            self.input(Input::Packet { tunnel: id, source: packet.source, bytes: payload }).await;
            return Ok(());
        }
        let peer = self.peer_at(id, packet.source)?;
        let inner = Inner::take_out(gre.protocol, payload, packet.tos)?;
        self.data_path.peers.count_slow(peer, u64::try_from(inner.packet.len()).unwrap_or(u64::MAX));
        if let IpAddr::V6(address) = inner.source
            && address.is_unicast_link_local()
            && peer != 0
        {
            self.input(Input::LinkLocalSeen { tunnel: id, nbma: packet.source, address }).await;
        }
        self.deliver(id, packet.source, peer, &inner)
    }

    /// Index of the peer at `nbma` that may send data by the tunnel; 0 for a stranger where anyone is welcome.
    fn peer_at(&self, tunnel: TunnelId, nbma: IpAddr) -> Result<u32, DropReason> {
        let found = self.data_path.peers.index_of(tunnel.0, nbma).map_err(inconsistent)?;
        let Some(index) = found else {
            let anyone = self.tunnels.get(tunnel).is_some_and(|tunnel| tunnel.parameters.accept_any);
            return if anyone && is_somebodys(nbma) { Ok(0) } else { Err(DropReason::UnknownPeer) };
        };
        match self.data_path.peers.get(index).map_err(inconsistent)? {
            Some(peer) if peer.state == PeerState::Up => Ok(index),
            Some(_) => Err(DropReason::PeerDown),
            None => Err(DropReason::MapInconsistent),
        }
    }

    /// Hands the packet to the kernel as a frame from the peer. One that is too long for the tunnel interface, which a
    /// peer with a larger MTU may send, is cut, or its sender told.
    fn deliver(
        &mut self,
        tunnel: TunnelId,
        nbma: IpAddr,
        peer: u32,
        inner: &Inner,
    ) -> Result<(), DropReason> {
        let tunnel = self.tunnels.get(tunnel).ok_or(DropReason::MapInconsistent)?;
        if tunnel.parameters.check_source
            && is_somebodys(inner.source)
            && !self.is_behind(tunnel, nbma, inner.source)
        {
            return Err(DropReason::Spoofed);
        }
        let mtu = tunnel.parameters.mtu;
        let room = usize::try_from(mtu).unwrap_or(usize::MAX);
        let pieces = if inner.packet.len() <= room { None } else { Some(fragment(&inner.packet, room)) };
        let far_end = tunnel.link.far_ifindex;
        let deliver = |packet: &[u8]| self.delivery.deliver(far_end, peer, inner.ether_type, packet);
        let delivered = match pieces {
            None => deliver(&inner.packet),
            Some(Some(pieces)) => pieces.iter().try_for_each(|piece| deliver(piece)),
            Some(None) => {
                if let Err(error) = self.reporter.report(&inner.packet, mtu, tunnel.link.ifindex) {
                    debug!(tunnel = tunnel.name(), %error, "cannot tell a sender that its packet was too long");
                }
                return Err(DropReason::TooLong);
            }
        };
        delivered.map_err(|error| {
            debug!(tunnel = tunnel.name(), %error, "cannot hand a packet to the tunnel interface");
            DropReason::NotDelivered
        })
    }

    /// Whether the routing table leads to the peer at `nbma` for packets to `source`.
    fn is_behind(&self, tunnel: &Tunnel, nbma: IpAddr, source: IpAddr) -> bool {
        let routing = self.lookup.route(source).unwrap_or_else(|error| {
            warn!(%error, "treating a source as unreachable");
            Routing::Unreachable
        });
        let Routing::Via { ifindex, gateway, .. } = routing else { return false };
        let next_hop = gateway.unwrap_or(source);
        ifindex == tunnel.link.ifindex
            && self
                .engine
                .peer(tunnel.id, nbma, self.now())
                .is_some_and(|peer| peer.protocols.contains(&next_hop))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn inconsistent(error: crate::datapath::DataPathError) -> DropReason {
    warn!("{error}");
    DropReason::MapInconsistent
}

/// Whether an address can be somebody's, beyond a link: neither "this network", loopback, link-local, multicast,
/// reserved nor broadcast.
fn is_somebodys(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, ..] = address.octets();
            first != 0 && first != 127 && first < 224 && !address.is_link_local()
        }
        IpAddr::V6(address) => {
            // The whole of `::/96` is left out, as in the data path.
            address.to_bits() >> 32 != 0 && !address.is_multicast() && !address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_addresses_that_are_nobodys() {
        for (address, somebodys) in [
            ("10.0.0.1", true),
            ("172.16.0.1", true),
            ("192.168.0.1", true),
            ("100.64.0.1", true),
            ("223.255.255.255", true),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("127.0.0.1", false),
            ("169.254.0.1", false),
            ("224.0.0.5", false),
            ("255.255.255.255", false),
            ("2001:db8::1", true),
            ("fd00::1", true),
            ("::", false),
            ("::1", false),
            ("fe80::1", false),
            ("ff02::5", false),
        ] {
            assert_eq!(is_somebodys(address.parse().unwrap()), somebodys, "{address}");
        }
    }
}
