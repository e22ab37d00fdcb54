//! The parts of a tunnel that have keys of their own.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    draft::value_or,
    kinds,
    model::{
        Group, Limits, Multicast, MulticastServers, Nhs, NhsAddress, NhsCluster, NhsNbma, StaticMap,
        StaticRoute,
    },
    problem::Problem,
    section::{At, Section},
    yaml::Node,
};

/// An [`Nhs`] in the making.
pub(super) struct NhsDraft {
    pub(super) address: Option<At<NhsAddress>>,
    pub(super) nbma: Option<At<NhsNbma>>,
    pub(super) priority: Option<At<u8>>,
    pub(super) cluster: Option<At<u8>>,
}

/// An [`NhsCluster`] in the making.
pub(super) struct ClusterDraft {
    pub(super) cluster: Option<At<u8>>,
    pub(super) max_connections: Option<At<u8>>,
}

/// A [`Multicast`] in the making.
#[derive(Default)]
pub(super) struct MulticastDraft {
    pub(super) clients: Option<At<bool>>,
    pub(super) servers: Option<At<MulticastServers>>,
    pub(super) to: Vec<At<IpAddr>>,
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

/// A [`Group`] in the making.
pub(super) struct GroupDraft {
    pub(super) name: Option<At<String>>,
    pub(super) rate: Option<At<u64>>,
    pub(super) burst: Option<At<u32>>,
    pub(super) members: Vec<At<IpNet>>,
}

impl GroupDraft {
    /// What comes in in so many parts of a second may go at once, by default.
    const BURST: u64 = 10;
    /// But at least ten long packets.
    const LEAST_BURST: u32 = 15_000;

    pub(super) fn read(node: &Node, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut section = Section::new(node, "a group (`name`, `rate`, `members`)", problems)?;
        let draft = Self {
            name: section.required("name", &kinds::GROUP_NAME),
            rate: section.required("rate", &kinds::RATE),
            burst: section.optional("burst", &kinds::BURST),
            members: section.values("members", &kinds::PREFIX),
        };
        section.finish();
        Some(draft)
    }

    pub(super) fn complete(self) -> Option<Group> {
        let rate = self.rate?.value;
        let burst = u32::try_from(rate / 8 / Self::BURST).unwrap_or(u32::MAX).max(Self::LEAST_BURST);
        Some(Group {
            name: self.name?.value,
            rate,
            burst: value_or(self.burst, burst),
            members: self.members.into_iter().map(|member| member.value).collect(),
        })
    }
}

impl NhsDraft {
    pub(super) fn read(node: &Node, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut section = Section::new(node, "a server (`address`, `nbma`)", problems)?;
        let draft = Self {
            address: section.required("address", &kinds::NHS_ADDRESS),
            nbma: section.required("nbma", &kinds::NHS_NBMA),
            priority: section.optional("priority", &kinds::BYTE),
            cluster: section.optional("cluster", &kinds::BYTE),
        };
        section.finish();
        Some(draft)
    }

    pub(super) fn complete(self) -> Option<Nhs> {
        let cluster = self.cluster();
        Some(Nhs {
            address: self.address?.value,
            nbma: self.nbma?.value,
            priority: value_or(self.priority, 0),
            cluster,
        })
    }

    pub(super) fn cluster(&self) -> u8 {
        value_or(self.cluster, 0)
    }
}

impl ClusterDraft {
    pub(super) fn read(node: &Node, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut section = Section::new(node, "a cluster (`cluster`, `max-connections`)", problems)?;
        let draft = Self {
            cluster: section.required("cluster", &kinds::BYTE),
            max_connections: section.required("max-connections", &kinds::BYTE),
        };
        section.finish();
        Some(draft)
    }

    pub(super) fn complete(self) -> Option<NhsCluster> {
        Some(NhsCluster { cluster: self.cluster?.value, max_connections: self.max_connections?.value })
    }
}

impl MulticastDraft {
    pub(super) fn read(node: &Node, problems: &mut Vec<Problem>) -> Self {
        let what = "`multicast` (`clients`, `servers`, `to`)";
        let Some(mut section) = Section::new(node, what, problems) else { return Self::default() };
        let draft = Self {
            clients: section.optional("clients", &kinds::SWITCH),
            servers: section.optional("servers", &kinds::MULTICAST_SERVERS),
            to: section.values("to", &kinds::PEER_NBMA),
        };
        section.finish();
        draft
    }

    /// By default clients and servers: what a routing protocol needs.
    pub(super) fn complete(self) -> Multicast {
        Multicast {
            clients: value_or(self.clients, true),
            servers: value_or(self.servers, MulticastServers::All),
            to: self.to.into_iter().map(|address| address.value).collect(),
        }
    }
}

impl MapDraft {
    pub(super) fn read(node: &Node, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut section = Section::new(node, "a mapping (`address`, `nbma`)", problems)?;
        let address = section.required("address", &kinds::PEER_ADDRESS);
        let nbma = section.required("nbma", &kinds::PEER_NBMA);
        section.finish();
        Some(Self { address, nbma })
    }

    pub(super) fn complete(self) -> Option<StaticMap> {
        Some(StaticMap { address: self.address?.value, nbma: self.nbma?.value })
    }
}

impl RouteDraft {
    pub(super) fn read(node: &Node, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut section = Section::new(node, "a route (`prefix`, `via`)", problems)?;
        let prefix = section.required("prefix", &kinds::PREFIX);
        let via = section.required("via", &kinds::ROUTE_VIA);
        section.finish();
        Some(Self { prefix, via })
    }

    pub(super) fn complete(self) -> Option<StaticRoute> {
        Some(StaticRoute { prefix: self.prefix?.value, via: self.via?.value })
    }
}

/// Reads [`Limits`]; what is missing or wrong, which has been reported then, is as by default.
pub(super) fn read_limits(node: &Node, problems: &mut Vec<Problem>) -> Limits {
    let default = Limits::default();
    let what = "`limits` (`registrations-per-nbma`, ...)";
    let Some(mut section) = Section::new(node, what, problems) else { return default };
    let mut limit = |key, default| value_or(section.optional(key, &kinds::LIMIT), default);
    let limits = Limits {
        registrations_per_nbma: limit("registrations-per-nbma", default.registrations_per_nbma),
        pending_resolutions: limit("pending-resolutions", default.pending_resolutions),
        shortcuts: limit("shortcuts", default.shortcuts),
        requesters: limit("requesters", default.requesters),
        requesters_per_nbma: limit("requesters-per-nbma", default.requesters_per_nbma),
        packets_per_source: limit("packets-per-source", default.packets_per_source),
        packets_total: limit("packets-total", default.packets_total),
        slow_path_packets: limit("slow-path-packets", default.slow_path_packets),
    };
    section.finish();
    limits
}
