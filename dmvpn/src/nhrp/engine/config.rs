//! What the engine is told about a tunnel. Built from the operator's configuration by the agent.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;

use super::{Shared, TunnelId};

/// A secret: compared in constant time, never printed.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Wraps the bytes of a secret.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into().into())
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
    /// 0 is the best. Decides who is used when a cluster does not use all of its servers.
    pub priority: u8,
    /// Servers are chosen within their cluster; 0 unless the operator says so.
    pub cluster: u8,
}

/// How many of several servers to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failover {
    /// Most servers to be registered with, by cluster. A cluster that is not listed uses all of its servers.
    pub max_connections: BTreeMap<u8, usize>,
    /// How long a better server must answer before a worse one is given up for it.
    pub fallback: Duration,
}

/// Who gets copies of multicast and broadcast packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multicast {
    /// Everyone who registers with us.
    pub clients: bool,
    /// Our next hop servers.
    pub servers: MulticastServers,
    /// These addresses, always.
    pub fixed: Vec<IpAddr>,
}

impl Default for Multicast {
    /// Clients and servers: what a routing protocol needs.
    fn default() -> Self {
        Self { clients: true, servers: MulticastServers::All, fixed: Vec::new() }
    }
}

/// Which next hop servers get copies of multicast packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MulticastServers {
    /// None of them.
    None,
    /// Those that answer.
    Active,
    /// All of them, whether or not they answer.
    All,
}

/// What others may do with us, and how we answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Addresses that clients may register, beside those of the tunnel's subnet. In the host-route addressing
    /// model, which has no subnet: the only ones, unless it is empty, which allows all.
    pub clients: Vec<IpNet>,
    /// Prefixes that clients may register as being behind them: these and longer ones. Empty allows none.
    pub client_prefixes: Vec<IpNet>,
    /// Prefixes that we answer with in the place of a route's: for a destination that leaves the network here, the
    /// longest one that it is in. The operator vouches for all of it.
    pub summaries: Vec<IpNet>,
    /// Tell those we answered when a client's registration expires, not only when it takes it back or moves.
    pub purge_on_expiry: bool,
    /// Answer Resolution Requests for our clients ourselves instead of sending them on to the client. One round trip
    /// less, but the client does not hear who is going to send to it: only for clients that take data from everyone.
    pub answer_for_clients: bool,
    /// How long not to ask again for what could not be resolved.
    pub negative_time: Duration,
    /// Least time between two Traffic Indications about one source and destination.
    pub redirect_interval: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            clients: Vec::new(),
            client_prefixes: Vec::new(),
            summaries: Vec::new(),
            purge_on_expiry: true,
            answer_for_clients: false,
            negative_time: Duration::from_mins(1),
            redirect_interval: Duration::from_secs(4),
        }
    }
}

/// Bounds of tables and rates. What is over them is refused or dropped, and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Peers: NBMA addresses that data is exchanged with. What the data path has room for.
    pub peers: usize,
    /// Protocol addresses and prefixes registered by, or learnt of, one NBMA address.
    pub registrations_per_nbma: usize,
    /// Resolutions that wait for their answer. A quarter of them for the indications of one NBMA address that is no
    /// server of ours.
    pub pending_resolutions: usize,
    /// Shortcuts.
    pub shortcuts: usize,
    /// Answers that are remembered because they may have to be taken back.
    pub requesters: usize,
    /// Of those, answers to one NBMA address.
    pub requesters_per_nbma: usize,
    /// NHRP packets a second from one NBMA address; three times as many may come at once.
    pub packets_per_source: u32,
    /// NHRP packets a second from everyone; [`Self::packets_per_source`] more for each peer.
    pub packets_total: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            peers: 16_384,
            registrations_per_nbma: 64,
            pending_resolutions: 1024,
            shortcuts: 16_384,
            requesters: 65_536,
            requesters_per_nbma: 1024,
            packets_per_source: 100,
            packets_total: 20_000,
        }
    }
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
#[expect(clippy::struct_excessive_bools, reason = "independent switches of the operator")]
pub struct TunnelConfig {
    /// Names the tunnel in inputs and actions.
    pub id: TunnelId,
    /// NHRP network: tunnels with one number are one network.
    pub network_id: u32,
    /// Our protocol address and the length of the tunnel's subnet (32 in the host-route addressing model).
    pub address: IpNet,
    /// IPv6 only: our link-local address on the tunnel, if it is to be registered too. Routing protocols name it as
    /// next hop, so others have to be able to find it. It has to be unique in the network.
    pub link_local: Option<Ipv6Addr>,
    /// More protocol addresses of ours: we answer for them, and register them with our servers.
    pub aliases: Vec<IpAddr>,
    /// Networks behind us that we register with our servers, for networks without a routing protocol.
    pub networks: Vec<IpNet>,
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
    /// Which of several servers to use.
    pub failover: Shared<Failover>,
    /// Who gets copies of multicast packets.
    pub multicast: Shared<Multicast>,
    /// What others may do.
    pub policy: Shared<Policy>,
    /// Bounds of tables and rates.
    pub limits: Shared<Limits>,
}

impl TunnelConfig {
    /// Whether the tunnel address stands alone, without a subnet: every node is then reached by a host route of ours
    /// (FRR's addressing model), not by the subnet's connected route.
    pub fn host_routes(&self) -> bool {
        self.address.prefix_len() == self.address.max_prefix_len()
    }

    /// Time between registrations.
    pub fn registration_interval(&self) -> Duration {
        self.registration_interval.unwrap_or(self.holding_time / 3).max(Duration::from_secs(1))
    }
}
