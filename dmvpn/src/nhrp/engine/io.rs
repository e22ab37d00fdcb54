//! Everything that goes into the engine and comes out of it.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU64,
    ops::Add,
    time::Duration,
};

use ipnet::IpNet;

use super::{Event, Nhs, Registration};

/// Time as the engine knows it: since an arbitrary start, never backwards. Good for 584 years.
///
/// Nanoseconds and one, so that a time that may be missing has no more than eight bytes: a hub holds very many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(NonZeroU64);

impl Time {
    /// The start.
    pub const START: Self = Self(NonZeroU64::MIN);

    /// So long after the start.
    pub fn new(since_start: Duration) -> Self {
        Self::START + since_start
    }

    /// Time that has passed since the start.
    pub const fn since_start(self) -> Duration {
        self.since(Self::START)
    }

    /// `self - earlier`, or zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl Default for Time {
    fn default() -> Self {
        Self::START
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// How long a link-local address is believed after it was last seen ([`Input::LinkLocalSeen`]).
pub const LINK_LOCAL_SEEN: Duration = Duration::from_mins(10);

/// Names a tunnel; the same number as in the data path's maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TunnelId(pub u32);

/// What the engine is told.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// An NHRP packet arrived: the bytes after the GRE header.
    Packet {
        /// Tunnel it arrived on.
        tunnel: TunnelId,
        /// Outer source address.
        source: IpAddr,
        /// The packet.
        bytes: &'a [u8],
    },
    /// The kernel wants to send to a next hop that has no neighbour entry.
    Resolve {
        /// Tunnel interface the next hop is on.
        tunnel: TunnelId,
        /// The next hop.
        next_hop: IpAddr,
    },
    /// A data packet came from `source` and went back into the network.
    Redirect {
        /// Tunnel it came in by.
        tunnel: TunnelId,
        /// Outer source: who is to be told.
        source: IpAddr,
        /// Head of the inner packet as received.
        head: &'a [u8],
    },
    /// A data packet from a peer had an IPv6 link-local source: a routing protocol's, which names it as next hop. Say
    /// it as often as the data path does, at least once in [`LINK_LOCAL_SEEN`] while there is such traffic.
    LinkLocalSeen {
        /// Tunnel it came in by.
        tunnel: TunnelId,
        /// Outer source: the peer.
        nbma: IpAddr,
        /// Inner source.
        address: Ipv6Addr,
    },
    /// The deadline passed (or not: it is harmless to say so).
    Timer,
    /// The next hop servers are these from now on: a host name has other addresses. Those that stay are not disturbed.
    Servers {
        /// Which tunnel.
        tunnel: TunnelId,
        /// All of its servers, in the operator's order.
        servers: &'a [Nhs],
    },
    /// The tunnel source has another address, or is back after it was gone.
    LocalNbma {
        /// Which tunnel.
        tunnel: TunnelId,
        /// The new address.
        nbma: IpAddr,
    },
    /// A mapping that an earlier agent left in the kernel: believed for one holding time unless confirmed.
    Adopt {
        /// Which tunnel.
        tunnel: TunnelId,
        /// Protocol address of the neighbour.
        protocol: IpAddr,
        /// Where it is.
        nbma: IpAddr,
    },
    /// A shortcut route that an earlier agent left in the kernel.
    AdoptShortcut {
        /// Which tunnel.
        tunnel: TunnelId,
        /// Destination.
        prefix: IpNet,
        /// Next hop, adopted before.
        via: IpAddr,
    },
    /// Registrations that an earlier agent saved. Comes before any `Adopt`, which knows less.
    Restore {
        /// Which tunnel.
        tunnel: TunnelId,
        /// As [`Engine::registrations`](super::Engine::registrations) gave them, with the time that passed since then
        /// taken off what remains.
        registrations: &'a [Registration],
    },
    /// An address that copies of multicast packets went to under an earlier agent: it was a client's. Comes after
    /// the `Adopt` of the client.
    AdoptMulticast {
        /// Which tunnel.
        tunnel: TunnelId,
        /// Where the client is.
        nbma: IpAddr,
    },
    /// A peer does not answer any more, says somebody who can tell (BFD, the loss of its IPsec association): what was
    /// resolved to it goes by the server again. Registrations stay: they say themselves when they end.
    PeerDown {
        /// Which tunnel.
        tunnel: TunnelId,
        /// Where the peer is.
        nbma: IpAddr,
    },
    /// The tunnel interface is up, and may have been down: the kernel forgot the neighbours and routes on it.
    InterfaceUp {
        /// Which tunnel.
        tunnel: TunnelId,
    },
    /// Routes of the kernel changed, shortcuts aside. Say it as often as it happens: the engine waits for the dust
    /// to settle before it looks at what it told and was told.
    RoutesChanged,
    /// The agent is going to stop for good: say good-bye to everyone and take everything down. (An agent that is to
    /// be restarted says nothing; its successor adopts what it left.)
    Shutdown,
}

/// What the engine wants done, in order: a mapping is installed before the packet that makes a peer use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send an NHRP packet.
    Send {
        /// By which tunnel.
        tunnel: TunnelId,
        /// Outer destination.
        to: IpAddr,
        /// The packet, without GRE header.
        bytes: Vec<u8>,
    },
    /// Exchange data with this NBMA address from now on.
    AddPeer {
        /// Which tunnel.
        tunnel: TunnelId,
        /// Where the peer is.
        nbma: IpAddr,
    },
    /// Exchange no more data with it. No neighbour uses it any more.
    RemovePeer {
        /// Which tunnel.
        tunnel: TunnelId,
        /// Where the peer is.
        nbma: IpAddr,
    },
    /// Send a copy of every multicast and broadcast packet to this peer.
    AddMulticast {
        /// Which tunnel.
        tunnel: TunnelId,
        /// Where the peer is.
        nbma: IpAddr,
    },
    /// Send it no more copies.
    RemoveMulticast {
        /// Which tunnel.
        tunnel: TunnelId,
        /// Where the peer is.
        nbma: IpAddr,
    },
    /// Frames to this next hop go to this NBMA address, which is a peer. Replaces an earlier mapping without a gap.
    SetNeighbour {
        /// Which tunnel.
        tunnel: TunnelId,
        /// The next hop.
        protocol: IpAddr,
        /// Where to send.
        nbma: IpAddr,
    },
    /// Forget the next hop.
    RemoveNeighbour {
        /// Which tunnel.
        tunnel: TunnelId,
        /// The next hop.
        protocol: IpAddr,
    },
    /// Route a prefix over a next hop that has a neighbour entry.
    AddRoute {
        /// Which tunnel.
        tunnel: TunnelId,
        /// Destination.
        prefix: IpNet,
        /// Next hop; `None` for a host that is itself the next hop (host-route addressing).
        via: Option<IpAddr>,
    },
    /// Remove that route.
    RemoveRoute {
        /// Which tunnel.
        tunnel: TunnelId,
        /// Destination.
        prefix: IpNet,
        /// Next hop, as it was added.
        via: Option<IpAddr>,
    },
    /// Something an operator may want to know.
    Log(Event),
}

/// What the kernel's routing table says about a destination, leaving our own shortcut routes aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// An address of this box.
    Local {
        /// The route that says so.
        prefix: IpNet,
    },
    /// It leaves by a tunnel of ours.
    Tunnel {
        /// Which one.
        tunnel: TunnelId,
        /// The next hop: a gateway, or the destination itself when it is on the link.
        next_hop: IpAddr,
        /// The route that says so.
        prefix: IpNet,
        /// Whether that route is withdrawn by who made it when another program makes one for the same prefix.
        gives_way: bool,
    },
    /// It leaves by an interface that is not a tunnel of ours.
    Elsewhere {
        /// The route that says so.
        prefix: IpNet,
    },
    /// There is no route.
    None,
}

/// What the engine may ask while it works.
pub trait Environment {
    /// How this box routes `destination`, leaving shortcut routes aside.
    fn route(&self, destination: IpAddr) -> Route;

    /// Data packets sent so far to the peer at `nbma`: tells a used mapping from an idle one.
    fn packets_sent(&self, tunnel: TunnelId, nbma: IpAddr) -> u64;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exact_and_small() {
        let span = Duration::new(86_400, 123_456_789);
        assert_eq!(Time::new(span).since_start(), span);
        assert_eq!((Time::new(span) + span).since(Time::new(span)), span);
        assert_eq!(Time::START.since(Time::new(span)), Duration::ZERO);
        assert!(Time::new(Duration::MAX) > Time::new(span));
        assert_eq!(size_of::<Option<Time>>(), 8);
    }
}
