//! The keys of the file: a configuration whose values are right one by one, with their positions. What is missing
//! or wrong is `None` and has been reported; `validate.rs` looks at the rest together. What has keys of its own below a
//! tunnel is in `parts.rs`.

use std::{
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;

use super::{
    kinds,
    model::{
        Accept, Config, DEFAULT_CONTROL_SOCKET, DEFAULT_PIN_DIRECTORY, DEFAULT_STATE_DIRECTORY, Df, FastPath,
        Limits, MssClamp, Phase, Source, Spread, Tos, Tunnel, XdpMode,
    },
    parts::{ClusterDraft, GroupDraft, MapDraft, MulticastDraft, NhsDraft, RouteDraft, read_limits},
    problem::Problem,
    section::{At, Section},
    yaml::Node,
};
use crate::nhrp::engine::Secret;

const DEFAULT_MAX_PEERS: u32 = 16384;
const DEFAULT_NETWORK_ID: u32 = 1;
/// Cisco's and Huawei's.
const DEFAULT_HOLDING_TIME: u16 = 7200;
const DEFAULT_TTL: u8 = 255;
const DEFAULT_NEGATIVE_TIME: u16 = 60;
/// Cisco's.
const DEFAULT_REDIRECT_INTERVAL: u16 = 8;
/// FRR's; the resolver does not say how long an answer holds.
const DEFAULT_REFRESH: u16 = 7200;
/// At once.
const DEFAULT_FALLBACK: u16 = 0;

/// A [`Config`] in the making.
pub(super) struct Draft {
    pub(super) control_socket: Option<At<PathBuf>>,
    pub(super) pin_directory: Option<At<PathBuf>>,
    pub(super) state_directory: Option<At<PathBuf>>,
    pub(super) max_peers: Option<At<u32>>,
    pub(super) spread: Option<At<Spread>>,
    /// `spread` as a list.
    pub(super) spread_cpus: Vec<At<u32>>,
    pub(super) tunnels: Vec<TunnelDraft>,
}

/// A [`Tunnel`] in the making.
pub(super) struct TunnelDraft {
    pub(super) name: Option<At<String>>,
    pub(super) address: Option<At<IpNet>>,
    pub(super) link_local: Option<At<Ipv6Addr>>,
    pub(super) source: Option<At<Source>>,
    pub(super) key: Option<At<u32>>,
    pub(super) network_id: Option<At<u32>>,
    pub(super) phase: Option<At<Phase>>,
    pub(super) redirect: Option<At<bool>>,
    pub(super) shortcut: Option<At<bool>>,
    pub(super) authentication: Option<At<Secret>>,
    pub(super) holding_time: Option<At<u16>>,
    pub(super) registration_interval: Option<At<u16>>,
    pub(super) unique: Option<At<bool>>,
    pub(super) mtu: Option<At<u16>>,
    pub(super) mss_clamp: Option<At<MssClamp>>,
    pub(super) xdp: Option<At<XdpMode>>,
    pub(super) accept: Option<At<Accept>>,
    pub(super) ttl: Option<At<u8>>,
    pub(super) tos: Option<At<Tos>>,
    pub(super) df: Option<At<Df>>,
    pub(super) fast_path: Option<At<FastPath>>,
    pub(super) accelerate: Vec<At<String>>,
    pub(super) check_source: Option<At<bool>>,
    pub(super) negative_time: Option<At<u16>>,
    pub(super) redirect_interval: Option<At<u16>>,
    pub(super) answer_for_clients: Option<At<bool>>,
    pub(super) aliases: Vec<At<IpAddr>>,
    pub(super) register_prefixes: Vec<At<IpNet>>,
    pub(super) purge_on_expiry: Option<At<bool>>,
    pub(super) summaries: Vec<At<IpNet>>,
    pub(super) allow: Vec<At<IpNet>>,
    pub(super) allow_prefixes: Vec<At<IpNet>>,
    pub(super) nhs: Vec<NhsDraft>,
    pub(super) nhs_clusters: Vec<ClusterDraft>,
    pub(super) nhs_refresh: Option<At<u16>>,
    pub(super) nhs_fallback: Option<At<u16>>,
    pub(super) multicast: MulticastDraft,
    pub(super) maps: Vec<MapDraft>,
    pub(super) routes: Vec<RouteDraft>,
    pub(super) groups: Vec<GroupDraft>,
    pub(super) limits: Limits,
}

impl Draft {
    /// Reads the keys below `node`; `None` when it has no keys at all.
    pub(super) fn read(node: &Node, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut section = Section::new(node, "a configuration (`tunnels`, ...)", problems)?;
        let control_socket = section.optional("control-socket", &kinds::CONTROL_SOCKET);
        let pin_directory = section.optional("pin-directory", &kinds::PIN_DIRECTORY);
        let state_directory = section.optional("state-directory", &kinds::STATE_DIRECTORY);
        let max_peers = section.optional("max-peers", &kinds::PEER_LIMIT);
        let (mut spread, mut spread_cpus) = (None, Vec::new());
        if section.is_list("spread") {
            spread_cpus = section.filled_values("spread", "CPU", &kinds::CPU);
        } else {
            spread = section.optional("spread", &kinds::SPREAD);
        }
        let tunnels = section.filled_list("tunnels", "tunnel");
        section.finish();

        let tunnels = tunnels.iter().filter_map(|node| TunnelDraft::read(node, problems)).collect();
        Some(Self { control_socket, pin_directory, state_directory, max_peers, spread, spread_cpus, tunnels })
    }

    /// The configuration with its defaults; `None` when something without a default is missing.
    pub(super) fn complete(self) -> Option<Config> {
        let max_peers = self.max_peers();
        Some(Config {
            control_socket: value_or_else(self.control_socket, || DEFAULT_CONTROL_SOCKET.into()),
            pin_directory: value_or_else(self.pin_directory, || DEFAULT_PIN_DIRECTORY.into()),
            state_directory: value_or_else(self.state_directory, || DEFAULT_STATE_DIRECTORY.into()),
            max_peers,
            spread: if self.spread_cpus.is_empty() {
                value_or(self.spread, Spread::Off)
            } else {
                Spread::Cpus(values(self.spread_cpus))
            },
            tunnels: self.tunnels.into_iter().map(TunnelDraft::complete).collect::<Option<_>>()?,
        })
    }

    pub(super) fn max_peers(&self) -> u32 {
        self.max_peers.map_or(DEFAULT_MAX_PEERS, |max| max.value)
    }
}

impl TunnelDraft {
    fn read(node: &Node, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut section = Section::new(node, "a tunnel (`name`, `address`, `source`, ...)", problems)?;
        let mut draft = Self {
            name: section.required("name", &kinds::TUNNEL_NAME),
            address: section.required("address", &kinds::TUNNEL_ADDRESS),
            link_local: section.optional("link-local", &kinds::LINK_LOCAL),
            source: section.required("source", &kinds::SOURCE),
            key: section.optional("key", &kinds::KEY),
            network_id: section.optional("network-id", &kinds::NETWORK_ID),
            phase: section.optional("phase", &kinds::PHASE),
            redirect: section.optional("redirect", &kinds::SWITCH),
            shortcut: section.optional("shortcut", &kinds::SWITCH),
            authentication: section.optional("authentication", &kinds::AUTHENTICATION),
            holding_time: section.optional("holding-time", &kinds::SECONDS),
            registration_interval: section.optional("registration-interval", &kinds::SECONDS),
            unique: section.optional("unique", &kinds::SWITCH),
            mtu: section.optional("mtu", &kinds::MTU),
            mss_clamp: section.optional("mss-clamp", &kinds::MSS_CLAMP),
            xdp: section.optional("xdp", &kinds::XDP),
            accept: section.optional("accept", &kinds::ACCEPT),
            ttl: section.optional("ttl", &kinds::TTL),
            tos: section.optional("tos", &kinds::TOS),
            df: section.optional("df", &kinds::DF),
            fast_path: section.optional("fast-path", &kinds::FAST_PATH),
            accelerate: section.values("accelerate", &kinds::INTERFACE),
            check_source: section.optional("check-source", &kinds::SWITCH),
            negative_time: section.optional("negative-time", &kinds::SECONDS),
            redirect_interval: section.optional("redirect-interval", &kinds::SECONDS),
            answer_for_clients: section.optional("answer-for-clients", &kinds::SWITCH),
            aliases: section.values("aliases", &kinds::ALIAS),
            register_prefixes: section.values("register-prefixes", &kinds::PREFIX),
            purge_on_expiry: section.optional("purge-on-expiry", &kinds::SWITCH),
            summaries: section.values("summaries", &kinds::PREFIX),
            allow: section.values("allow", &kinds::PREFIX),
            allow_prefixes: section.values("allow-prefixes", &kinds::PREFIX),
            nhs_refresh: section.optional("nhs-refresh", &kinds::SECONDS),
            nhs_fallback: section.optional("nhs-fallback", &kinds::SECONDS_OR_NONE),
            nhs: Vec::new(),
            nhs_clusters: Vec::new(),
            multicast: MulticastDraft::default(),
            maps: Vec::new(),
            routes: Vec::new(),
            groups: Vec::new(),
            limits: Limits::default(),
        };
        let nhs = section.list("nhs");
        let clusters = section.list("nhs-clusters");
        let multicast = section.mapping("multicast");
        let maps = section.list("maps");
        let routes = section.list("routes");
        let groups = section.list("groups");
        let limits = section.mapping("limits");
        section.finish();

        draft.nhs = nhs.iter().filter_map(|node| NhsDraft::read(node, problems)).collect();
        draft.nhs_clusters = clusters.iter().filter_map(|node| ClusterDraft::read(node, problems)).collect();
        draft.groups = groups.iter().filter_map(|node| GroupDraft::read(node, problems)).collect();
        if let Some(node) = multicast {
            draft.multicast = MulticastDraft::read(node, problems);
        }
        if let Some(node) = limits {
            draft.limits = read_limits(node, problems);
        }
        draft.maps = maps.iter().filter_map(|node| MapDraft::read(node, problems)).collect();
        draft.routes = routes.iter().filter_map(|node| RouteDraft::read(node, problems)).collect();
        Some(draft)
    }

    fn complete(self) -> Option<Tunnel> {
        let phase = self.phase();
        let holding_time = self.holding_time();
        Some(Tunnel {
            name: self.name?.value,
            address: self.address?.value,
            link_local: self.link_local.map(|address| address.value),
            source: self.source?.value,
            key: self.key.map(|key| key.value),
            network_id: value_or(self.network_id, DEFAULT_NETWORK_ID),
            phase,
            redirect: value_or(self.redirect, phase == Phase::Three),
            shortcut: value_or(self.shortcut, phase == Phase::Three),
            authentication: self.authentication.map(|secret| secret.value),
            holding_time,
            registration_interval: self
                .registration_interval
                .map_or_else(|| third(holding_time), |interval| seconds(interval.value)),
            unique: value_or(self.unique, true),
            mtu: self.mtu.map(|mtu| mtu.value),
            mss_clamp: value_or(self.mss_clamp, MssClamp::Auto),
            xdp: value_or(self.xdp, XdpMode::Auto),
            accept: value_or(self.accept, Accept::Known),
            ttl: value_or(self.ttl, DEFAULT_TTL),
            tos: value_or(self.tos, Tos::Inherit),
            df: value_or(self.df, Df::Set),
            fast_path: value_or(self.fast_path, FastPath::Full),
            accelerate: values(self.accelerate),
            check_source: value_or(self.check_source, false),
            negative_time: seconds(value_or(self.negative_time, DEFAULT_NEGATIVE_TIME)),
            redirect_interval: seconds(value_or(self.redirect_interval, DEFAULT_REDIRECT_INTERVAL)),
            answer_for_clients: value_or(self.answer_for_clients, false),
            aliases: values(self.aliases),
            register_prefixes: values(self.register_prefixes),
            purge_on_expiry: value_or(self.purge_on_expiry, true),
            summaries: values(self.summaries),
            allow: values(self.allow),
            allow_prefixes: values(self.allow_prefixes),
            nhs: self.nhs.into_iter().map(NhsDraft::complete).collect::<Option<_>>()?,
            nhs_refresh: seconds(value_or(self.nhs_refresh, DEFAULT_REFRESH)),
            nhs_clusters: self.nhs_clusters.into_iter().map(ClusterDraft::complete).collect::<Option<_>>()?,
            nhs_fallback: seconds(value_or(self.nhs_fallback, DEFAULT_FALLBACK)),
            multicast: self.multicast.complete(),
            maps: self.maps.into_iter().map(MapDraft::complete).collect::<Option<_>>()?,
            routes: self.routes.into_iter().map(RouteDraft::complete).collect::<Option<_>>()?,
            groups: self.groups.into_iter().map(GroupDraft::complete).collect::<Option<_>>()?,
            limits: self.limits,
        })
    }

    pub(super) fn phase(&self) -> Phase {
        value_or(self.phase, Phase::Three)
    }

    pub(super) fn holding_time(&self) -> Duration {
        seconds(value_or(self.holding_time, DEFAULT_HOLDING_TIME))
    }
}

pub(super) fn value_or<T>(given: Option<At<T>>, default: T) -> T {
    given.map_or(default, |given| given.value)
}

fn values<T>(given: Vec<At<T>>) -> Vec<T> {
    given.into_iter().map(|given| given.value).collect()
}

fn value_or_else<T>(given: Option<At<T>>, default: impl FnOnce() -> T) -> T {
    given.map_or_else(default, |given| given.value)
}

fn seconds(number: u16) -> Duration {
    Duration::from_secs(number.into())
}

/// A third of the holding time: two registrations may be lost.
fn third(holding_time: Duration) -> Duration {
    Duration::from_secs((holding_time.as_secs() / 3).max(1))
}
