//! The keys of the file: a configuration whose values are right one by one, with their positions. What is missing
//! or wrong is `None` and has been reported; `validate.rs` looks at the rest together.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;

use super::{
    kinds,
    model::{
        Accept, Config, DEFAULT_CONTROL_SOCKET, DEFAULT_PIN_DIRECTORY, Nhs, NhsAddress, Phase, Source,
        StaticMap, StaticRoute, Tunnel, XdpMode,
    },
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

/// A [`Config`] in the making.
pub(super) struct Draft {
    pub(super) control_socket: Option<At<PathBuf>>,
    pub(super) pin_directory: Option<At<PathBuf>>,
    pub(super) max_peers: Option<At<u32>>,
    pub(super) tunnels: Vec<TunnelDraft>,
}

/// A [`Tunnel`] in the making.
pub(super) struct TunnelDraft {
    pub(super) name: Option<At<String>>,
    pub(super) address: Option<At<IpNet>>,
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
    pub(super) xdp: Option<At<XdpMode>>,
    pub(super) accept: Option<At<Accept>>,
    pub(super) ttl: Option<At<u8>>,
    pub(super) nhs: Vec<NhsDraft>,
    pub(super) maps: Vec<MapDraft>,
    pub(super) routes: Vec<RouteDraft>,
}

/// An [`Nhs`] in the making.
pub(super) struct NhsDraft {
    pub(super) address: Option<At<NhsAddress>>,
    pub(super) nbma: Option<At<IpAddr>>,
}

/// A [`StaticMap`] in the making.
pub(super) struct MapDraft {
    pub(super) address: Option<At<IpAddr>>,
    pub(super) nbma: Option<At<IpAddr>>,
}

/// A [`StaticRoute`] in the making.
pub(super) struct RouteDraft {
    pub(super) prefix: Option<At<IpNet>>,
    pub(super) via: Option<At<IpAddr>>,
}

impl Draft {
    /// Reads the keys below `node`; `None` when it has no keys at all.
    pub(super) fn read(node: &Node, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut section = Section::new(node, "a configuration (`tunnels`, ...)", problems)?;
        let control_socket = section.optional("control-socket", &kinds::CONTROL_SOCKET);
        let pin_directory = section.optional("pin-directory", &kinds::PIN_DIRECTORY);
        let max_peers = section.optional("max-peers", &kinds::PEER_LIMIT);
        let tunnels = section.filled_list("tunnels", "tunnel");
        section.finish();

        let tunnels = tunnels.iter().filter_map(|node| TunnelDraft::read(node, problems)).collect();
        Some(Self { control_socket, pin_directory, max_peers, tunnels })
    }

    /// The configuration with its defaults; `None` when something without a default is missing.
    pub(super) fn complete(self) -> Option<Config> {
        let max_peers = self.max_peers();
        Some(Config {
            control_socket: value_or_else(self.control_socket, || DEFAULT_CONTROL_SOCKET.into()),
            pin_directory: value_or_else(self.pin_directory, || DEFAULT_PIN_DIRECTORY.into()),
            max_peers,
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
            xdp: section.optional("xdp", &kinds::XDP),
            accept: section.optional("accept", &kinds::ACCEPT),
            ttl: section.optional("ttl", &kinds::TTL),
            nhs: Vec::new(),
            maps: Vec::new(),
            routes: Vec::new(),
        };
        let nhs = section.list("nhs");
        let maps = section.list("maps");
        let routes = section.list("routes");
        section.finish();

        draft.nhs = nhs.iter().filter_map(|node| NhsDraft::read(node, problems)).collect();
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
            xdp: value_or(self.xdp, XdpMode::Auto),
            accept: value_or(self.accept, Accept::Known),
            ttl: value_or(self.ttl, DEFAULT_TTL),
            nhs: self.nhs.into_iter().map(NhsDraft::complete).collect::<Option<_>>()?,
            maps: self.maps.into_iter().map(MapDraft::complete).collect::<Option<_>>()?,
            routes: self.routes.into_iter().map(RouteDraft::complete).collect::<Option<_>>()?,
        })
    }

    pub(super) fn phase(&self) -> Phase {
        value_or(self.phase, Phase::Three)
    }

    pub(super) fn holding_time(&self) -> Duration {
        seconds(value_or(self.holding_time, DEFAULT_HOLDING_TIME))
    }
}

impl NhsDraft {
    fn read(node: &Node, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut section = Section::new(node, "a server (`address`, `nbma`)", problems)?;
        let address = section.required("address", &kinds::NHS_ADDRESS);
        let nbma = section.required("nbma", &kinds::PEER_NBMA);
        section.finish();
        Some(Self { address, nbma })
    }

    fn complete(self) -> Option<Nhs> {
        Some(Nhs { address: self.address?.value, nbma: self.nbma?.value })
    }
}

impl MapDraft {
    fn read(node: &Node, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut section = Section::new(node, "a mapping (`address`, `nbma`)", problems)?;
        let address = section.required("address", &kinds::PEER_ADDRESS);
        let nbma = section.required("nbma", &kinds::PEER_NBMA);
        section.finish();
        Some(Self { address, nbma })
    }

    fn complete(self) -> Option<StaticMap> {
        Some(StaticMap { address: self.address?.value, nbma: self.nbma?.value })
    }
}

impl RouteDraft {
    fn read(node: &Node, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut section = Section::new(node, "a route (`prefix`, `via`)", problems)?;
        let prefix = section.required("prefix", &kinds::ROUTE_PREFIX);
        let via = section.required("via", &kinds::ROUTE_VIA);
        section.finish();
        Some(Self { prefix, via })
    }

    fn complete(self) -> Option<StaticRoute> {
        Some(StaticRoute { prefix: self.prefix?.value, via: self.via?.value })
    }
}

fn value_or<T>(given: Option<At<T>>, default: T) -> T {
    given.map_or(default, |given| given.value)
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
