//! What the engine is told about a tunnel. Built from the operator's configuration by the agent.

use std::{fmt, net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::TunnelId;

/// A secret: compared in constant time, never printed.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Wraps the bytes of a secret.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for encoding.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether `other` is the same secret. Takes the same time wherever the first difference is.
    pub fn matches(&self, other: &[u8]) -> bool {
        let difference = self.0.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
        self.0.len() == other.len() && difference == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A next hop server to register with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nhs {
    /// Its protocol address; `None` when it is to be learnt from its reply.
    pub protocol: Option<IpAddr>,
    /// Its NBMA address.
    pub nbma: IpAddr,
}

/// A mapping the operator gave: never expires, never replaced by what a packet says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticMap {
    /// Protocol address of the peer.
    pub protocol: IpAddr,
    /// NBMA address of the peer.
    pub nbma: IpAddr,
}

/// One tunnel.
#[derive(Clone, Debug)]
pub struct TunnelConfig {
    /// Names the tunnel in inputs and actions.
    pub id: TunnelId,
    /// NHRP network: tunnels with one number are one network.
    pub network_id: u32,
    /// Our protocol address and the length of the tunnel's subnet (32 in the host-route addressing model).
    pub address: IpNet,
    /// Our NBMA address: the tunnel source.
    pub nbma: IpAddr,
    /// MTU we announce, in bytes. Never 0 on the wire: a Huawei peer stays silent when it is.
    pub mtu: u16,
    /// How long what we say about ourselves may be believed.
    pub holding_time: Duration,
    /// Time between registrations; a third of the holding time when `None`.
    pub registration_interval: Option<Duration>,
    /// Cisco clear-text authentication, 1 to 8 bytes.
    pub authentication: Option<Secret>,
    /// Set the unique bit in registrations.
    pub unique: bool,
    /// Servers to register with, in the operator's order. Empty on a pure hub.
    pub nhs: Vec<Nhs>,
    /// Fixed mappings.
    pub static_maps: Vec<StaticMap>,
    /// Resolve next hops on demand (Phases 2 and 3). When false every next hop is the server's (Phase 1).
    pub resolve: bool,
    /// Send Traffic Indications for traffic that comes from and returns to the network (Phase 3 hub).
    pub redirect: bool,
    /// Act on Traffic Indications: resolve and install shortcuts (Phase 3 spoke).
    pub shortcut: bool,
    /// Most cache entries of this tunnel.
    pub max_entries: usize,
}
