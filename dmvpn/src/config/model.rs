//! The configuration as the agent uses it: checked, typed, every default filled in.
//!
//! Serializing gives the *effective* configuration in the form of the file, without the secret.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use crate::nhrp::engine::Secret;

/// Where the agent listens for `dmvpn show` when the file does not say.
pub const DEFAULT_CONTROL_SOCKET: &str = "/run/dmvpn/control.sock";

/// Where maps and links are pinned when the file does not say.
pub const DEFAULT_PIN_DIRECTORY: &str = "/sys/fs/bpf/dmvpn";

/// Where the agent keeps what outlives it when the file does not say.
pub const DEFAULT_STATE_DIRECTORY: &str = "/var/lib/dmvpn";

/// Stands for a secret in the effective configuration. Longer than a secret can be, so that a file made from it is
/// refused until the secret is put in: it is never taken for one.
pub const HIDDEN_SECRET: &str = "(hidden: put the secret here)";

/// A whole configuration file.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Config {
    /// Unix socket for `dmvpn show`.
    pub control_socket: PathBuf,
    /// Directory in a BPF file system for maps and links; the layout version is a directory below it.
    pub pin_directory: PathBuf,
    /// Directory for what outlives the agent.
    pub state_directory: PathBuf,
    /// Most peers of all tunnels together: the size of `PEERS`.
    pub max_peers: u32,
    /// Which CPUs share the work on received packets.
    pub spread: Spread,
    /// At least one.
    pub tunnels: Vec<Tunnel>,
}

/// Which CPUs share the work on received packets, each for flows of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spread {
    /// None: a packet stays on the CPU where it comes in.
    Off,
    /// All that are online when the agent starts.
    All,
    /// These; at least one, and none twice.
    Cpus(Vec<u32>),
}

/// One tunnel.
#[derive(Clone, Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of the operator")]
#[serde(rename_all = "kebab-case")]
pub struct Tunnel {
    /// Name of the interface, at most [`NAME_LENGTH`] bytes.
    pub name: String,
    /// Our protocol address and the length of the tunnel's subnet (32 or 128: host-route addressing).
    pub address: IpNet,
    /// Our IPv6 link-local address in the tunnel; `None`: made from `address`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_local: Option<Ipv6Addr>,
    /// Where our NBMA address comes from.
    pub source: Source,
    /// GRE key. No key and key 0 are different tunnels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<u32>,
    /// NHRP network: tunnels with one number are one network.
    pub network_id: u32,
    /// Which of Cisco's phases.
    pub phase: Phase,
    /// Tell the source of hairpinned traffic about the shorter way (Phase 3 hub).
    pub redirect: bool,
    /// Believe such advice and install shortcuts (Phase 3 spoke).
    pub shortcut: bool,
    /// Cisco clear-text authentication, 1 to 8 bytes.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "hide")]
    pub authentication: Option<Secret>,
    /// How long peers may believe what we say about ourselves; whole seconds, 1 to 65535.
    #[serde(serialize_with = "whole_seconds")]
    pub holding_time: Duration,
    /// Time between registrations; whole seconds, at least one. Shorter than the holding time when that is possible.
    #[serde(serialize_with = "whole_seconds")]
    pub registration_interval: Duration,
    /// Set the unique bit in registrations.
    pub unique: bool,
    /// MTU of the interface in bytes; `None`: computed from the underlay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// What becomes of the largest segment that TCP connections announce.
    pub mss_clamp: MssClamp,
    /// How to attach to the underlay's interfaces.
    pub xdp: XdpMode,
    /// Whose data to accept.
    pub accept: Accept,
    /// TTL or hop limit of outer headers, from 1.
    pub ttl: u8,
    /// Type of service of outer headers.
    pub tos: Tos,
    /// Don't-fragment of outer headers over IPv4.
    pub df: Df,
    /// What bypasses the kernel's stack.
    pub fast_path: FastPath,
    /// Interfaces between which and the tunnel packets bypass the kernel's stack, with [`FastPath::Full`].
    pub accelerate: Vec<String>,
    /// Drop data whose source address is not routed to the peer it came from.
    pub check_source: bool,
    /// How long not to ask again for what could not be resolved; whole seconds.
    #[serde(serialize_with = "whole_seconds")]
    pub negative_time: Duration,
    /// Least time between two redirects about one source and destination; whole seconds.
    #[serde(serialize_with = "whole_seconds")]
    pub redirect_interval: Duration,
    /// Answer Resolution Requests for our clients ourselves.
    pub answer_for_clients: bool,
    /// More protocol addresses of ours, which are not put on the interface.
    pub aliases: Vec<IpAddr>,
    /// Networks behind us to register with our servers.
    pub register_prefixes: Vec<IpNet>,
    /// Tell those we answered when a client's registration expires.
    pub purge_on_expiry: bool,
    /// Prefixes that we answer with in the place of a route's.
    pub summaries: Vec<IpNet>,
    /// Addresses that clients may register beside those of the subnet.
    pub allow: Vec<IpNet>,
    /// Prefixes that clients may register, these and longer ones.
    pub allow_prefixes: Vec<IpNet>,
    /// Servers to register with, in the operator's order. Empty on a pure hub.
    pub nhs: Vec<Nhs>,
    /// Time between two look-ups of a host name; whole seconds, at least one.
    #[serde(serialize_with = "whole_seconds")]
    pub nhs_refresh: Duration,
    /// Clusters that do not use all of their servers.
    pub nhs_clusters: Vec<NhsCluster>,
    /// How long a better server must answer before a worse one is given up for it; whole seconds.
    #[serde(serialize_with = "whole_seconds")]
    pub nhs_fallback: Duration,
    /// Who gets copies of multicast packets.
    pub multicast: Multicast,
    /// Fixed mappings.
    pub maps: Vec<StaticMap>,
    /// Static routes over the tunnel.
    pub routes: Vec<StaticRoute>,
    /// Peers to which no more is sent than a rate.
    pub groups: Vec<Group>,
    /// Bounds of tables and rates.
    pub limits: Limits,
}

/// Longest name of a tunnel in bytes: the far end `<name>-x` must fit the kernel's 15.
pub const NAME_LENGTH: usize = 13;

/// Where a tunnel's NBMA address comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// An address of this box.
    Address(IpAddr),
    /// The address of an interface, followed when it changes.
    Interface(String),
}

/// Cisco's three generations of DMVPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Everything goes by the hub: next hops are never resolved.
    One = 1,
    /// Next hops are resolved; routing must leave them unchanged.
    Two = 2,
    /// The hub redirects, spokes install shortcuts.
    Three = 3,
}

/// To what the largest segment (MSS) that the ends of a TCP connection announce is lowered. It is never raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MssClamp {
    /// It stays as it is.
    Off,
    /// To what fits the tunnel, and the MTU of the peer.
    Auto,
    /// That, and to so many bytes over IPv4 at most. Over IPv6 20 bytes less, as its header is longer.
    AtMost(u16),
}

/// How to attach to the underlay's interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum XdpMode {
    /// Native, else generic with a warning.
    Auto,
    /// In the driver, or not at all.
    Native,
    /// In the kernel's generic hook.
    Generic,
}

/// Whose data a tunnel accepts. NHRP is accepted from everyone, within a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accept {
    /// Known peers only.
    Known,
    /// Any NBMA address.
    Any,
}

/// The TOS byte or traffic class of outer headers. The ECN field always is the inner packet's (RFC 6040).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tos {
    /// As the inner packet has it.
    Inherit,
    /// This DSCP, 0 to 63.
    Dscp(u8),
}

/// Don't-fragment of outer headers over IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Df {
    /// As the inner packet has it; set for an inner IPv6 packet.
    Copy,
    /// Always set.
    Set,
    /// Never set.
    Clear,
}

/// What of a tunnel's traffic bypasses the kernel's stack, and so its netfilter and connection tracking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FastPath {
    /// Nothing.
    Off,
    /// What goes from one peer to another.
    Hairpin,
    /// That, and what goes between peers and accelerated interfaces.
    Full,
}

/// A next hop server to register with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Nhs {
    /// Its protocol address.
    pub address: NhsAddress,
    /// Where it is outside the tunnel.
    pub nbma: NhsNbma,
    /// 0 is the best. Decides who is used when its cluster does not use all of its servers.
    pub priority: u8,
    /// Servers are chosen within their cluster.
    pub cluster: u8,
}

/// Where a next hop server is outside the tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NhsNbma {
    /// At an NBMA address.
    Address(IpAddr),
    /// At every address of a host name: each is a server.
    Name(String),
}

/// A cluster of servers of which not all are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct NhsCluster {
    /// Its number.
    pub cluster: u8,
    /// Most of its servers to be registered with.
    pub max_connections: u8,
}

/// Who gets copies of multicast and broadcast packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Multicast {
    /// Everyone who registers with us.
    pub clients: bool,
    /// Our servers.
    pub servers: MulticastServers,
    /// These NBMA addresses, always.
    pub to: Vec<IpAddr>,
}

/// Which servers get copies of multicast packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MulticastServers {
    /// All of them.
    All,
    /// Those that answer.
    Active,
    /// None of them.
    None,
}

/// Bounds of a tunnel's tables and rates. What is over them is refused or dropped, and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Limits {
    /// Protocol addresses and prefixes registered by, or learnt of, one NBMA address.
    pub registrations_per_nbma: u32,
    /// Resolutions that wait for their answer.
    pub pending_resolutions: u32,
    /// Shortcuts.
    pub shortcuts: u32,
    /// Answers that are remembered because they may have to be taken back.
    pub requesters: u32,
    /// Of those, answers to one NBMA address.
    pub requesters_per_nbma: u32,
    /// NHRP packets a second from one NBMA address; three times as many may come at once.
    pub packets_per_source: u32,
    /// NHRP packets a second from everyone, and [`Self::packets_per_source`] more for each peer.
    pub packets_total: u32,
    /// Data packets a second that are taken out of the tunnel by the agent, as the data path does not know how.
    pub slow_path_packets: u32,
}

/// Protocol address of a next hop server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NhsAddress {
    /// Known beforehand.
    Fixed(IpAddr),
    /// Learnt from the server's reply.
    Dynamic,
}

/// A mapping that never expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StaticMap {
    /// Protocol address of the peer.
    pub address: IpAddr,
    /// NBMA address of the peer.
    pub nbma: IpAddr,
}

/// Peers that together get no more than a rate of inner packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Group {
    /// Its name, for people.
    pub name: String,
    /// Bits a second.
    #[serde(serialize_with = "bits_a_second")]
    pub rate: u64,
    /// Bytes at once.
    pub burst: u32,
    /// Protocol addresses of its members.
    pub members: Vec<IpNet>,
}

/// A route over a tunnel, for networks without a routing daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StaticRoute {
    /// Destination, host bits zero.
    pub prefix: IpNet,
    /// Next hop on the tunnel.
    pub via: IpAddr,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            registrations_per_nbma: 64,
            pending_resolutions: 1024,
            shortcuts: 16_384,
            requesters: 65_536,
            requesters_per_nbma: 1024,
            packets_per_source: 100,
            packets_total: 20_000,
            slow_path_packets: 10_000,
        }
    }
}

impl NhsAddress {
    /// The address, if it is known beforehand.
    pub fn fixed(self) -> Option<IpAddr> {
        match self {
            Self::Fixed(address) => Some(address),
            Self::Dynamic => None,
        }
    }
}

impl NhsNbma {
    /// The address, if it is given as one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Name(_) => None,
        }
    }

    /// The host name, if it is given by one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Address(_) => None,
            Self::Name(name) => Some(name),
        }
    }
}

impl fmt::Display for NhsNbma {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl Serialize for NhsNbma {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Interface(name) => f.write_str(name),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Spread {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::All => serializer.serialize_str("all"),
            Self::Cpus(cpus) => cpus.serialize(serializer),
        }
    }
}

impl Serialize for Phase {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*self as u8)
    }
}

impl Serialize for Tos {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Inherit => serializer.serialize_str("inherit"),
            Self::Dscp(dscp) => serializer.serialize_u8(*dscp),
        }
    }
}

impl Serialize for MssClamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::Auto => serializer.serialize_str("auto"),
            Self::AtMost(bytes) => serializer.serialize_u16(*bytes),
        }
    }
}

impl Serialize for NhsAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(address) => address.serialize(serializer),
            Self::Dynamic => serializer.serialize_str("dynamic"),
        }
    }
}

/// Says that there is a secret, not which.
#[expect(clippy::ref_option, reason = "the signature that serde calls")]
fn hide<S: Serializer>(_: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(HIDDEN_SECRET)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn bits_a_second<S: Serializer>(rate: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{rate}bit"))
}

fn whole_seconds<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(span.as_secs())
}
