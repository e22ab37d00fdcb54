//! Answers `dmvpn show`: the engine's views and the data path's counters as rows.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use dmvpn_common::{DropReason, PeerCounters, Traffic};

use super::{Agent, Tunnel, actions::ActionError, environment::Kernel, tunnels::UnderlayHook};
use crate::{
    control::{
        protocol::{
            Answer, CacheFlag, CacheKind, CacheRow, CounterRow, CpuRow, DropRow, EntryState, ErrorCount,
            InterfaceRow, NhsRow, NhsState, PacketCount, Path, PathRow, PeerAttribute, PeerRow, PeerState,
            Request, ShortcutRow, TcHook, UnderlayRow, View, XdpHook, XdpRow,
        },
        server::Call,
    },
    datapath::{DataPathError, RunningMode, TcMode},
    nhrp::{
        engine::{self, CacheView, Fault, ShortcutState},
        wire::PacketKind,
    },
};

/// One look at what the data path has counted is enough for all rows of an answer.
const COUNTS_AGE: Duration = Duration::from_millis(10);

impl Agent {
    /// Answers one request.
    pub(super) fn report(&self, call: Call) {
        let answer = match call.request {
            Request::Show(view) => self.show(view),
        };
        call.answer(answer.unwrap_or_else(|error| Answer::Error(error.to_string())));
    }

    fn show(&self, view: View) -> Result<Answer, ActionError> {
        Ok(match view {
            View::Peers => Answer::Peers(self.peers()?),
            View::Cache => Answer::Cache(self.each(Self::cache_of)),
            View::Nhs => Answer::Nhs(self.each(Self::servers_of)),
            View::Shortcuts => Answer::Shortcuts(self.each(Self::shortcuts_of)),
            View::Interfaces => Answer::Interfaces(self.each(Self::interface_of)),
            View::Drops => Answer::Drops(self.drops()?),
            View::Groups => Answer::Groups(self.group_rows()?),
            View::Counters => Answer::Counters(self.each(Self::counters_of)),
        })
    }

    /// Rows of every tunnel, one tunnel after the other.
    fn each<R>(&self, rows: impl Fn(&Self, &Tunnel) -> Vec<R>) -> Vec<R> {
        self.tunnels.iter().flat_map(|tunnel| rows(self, tunnel)).collect()
    }

    fn kernel(&self) -> Kernel<'_> {
        Kernel { lookup: &self.lookup, peers: &self.data_path.peers, tunnels: &self.tunnels }
    }

    fn cache_views(&self, tunnel: &Tunnel) -> Vec<CacheView> {
        self.engine.cache(tunnel.id, self.now(), &self.kernel()).collect()
    }

    fn peers(&self) -> Result<Vec<PeerRow>, ActionError> {
        let mut rows = Vec::new();
        for tunnel in self.tunnels.iter() {
            let cache = self.cache_views(tunnel);
            let mut by_nbma: BTreeMap<IpAddr, Vec<&CacheView>> = BTreeMap::new();
            for entry in &cache {
                by_nbma.entry(entry.nbma.unwrap_or(IpAddr::from([0; 4]))).or_default().push(entry);
            }
            for peer in self.engine.peers(tunnel.id, self.now()) {
                let entries = by_nbma.get(&peer.nbma).map_or(&[][..], Vec::as_slice);
                rows.extend(self.peer(tunnel, &peer, entries)?);
            }
        }
        rows.sort_by_key(|row| row.index);
        Ok(rows)
    }

    /// `None` when the data path has no room for the peer.
    fn peer(
        &self,
        tunnel: &Tunnel,
        view: &engine::PeerView,
        entries: &[&CacheView],
    ) -> Result<Option<PeerRow>, DataPathError> {
        let table = &self.data_path.peers;
        let Some(index) = table.index_of(tunnel.id.0, view.nbma)? else { return Ok(None) };
        let Some(peer) = table.get(index)? else { return Ok(None) };
        let counters = table.counters(index, COUNTS_AGE)?;
        let underlay = table.underlays.next_hop(peer.underlay).map(|hop| UnderlayRow {
            interface: self.tunnels.underlay_name(hop.ifindex),
            gateway: (hop.gateway != view.nbma).then_some(hop.gateway),
        });
        Ok(Some(PeerRow {
            interface: tunnel.name().to_owned(),
            index,
            nbma: view.nbma,
            claimed_nbma: entries.iter().find_map(|entry| entry.claimed_nbma),
            protocol: view.protocols.clone(),
            state: match peer.state {
                dmvpn_common::PeerState::Up => PeerState::Up,
                _ => PeerState::Down,
            },
            attributes: attributes(entries),
            since_seconds: view.since.as_secs(),
            received_packets: counters.received().packets,
            received_bytes: counters.received().bytes,
            sent_packets: counters.sent().packets,
            sent_bytes: counters.sent().bytes,
            paths: paths(&counters),
            underlay,
            mtu: peer.mtu,
            multicast: view.multicast,
        }))
    }

    fn cache_of(&self, tunnel: &Tunnel) -> Vec<CacheRow> {
        self.cache_views(tunnel)
            .into_iter()
            .map(|view| CacheRow {
                interface: tunnel.name().to_owned(),
                kind: cache_kind(view.kind),
                protocol: view.protocol,
                nbma: view.nbma,
                claimed_nbma: view.claimed_nbma,
                flags: cache_flags(&view),
                mtu: view.mtu,
                created_seconds: view.created.as_secs(),
                expires_seconds: view.expires.map(|left| left.as_secs()),
                state: match view.kind {
                    engine::CacheKind::Incomplete => EntryState::Pending,
                    engine::CacheKind::Negative => EntryState::Down,
                    _ if view.pending => EntryState::Refreshing,
                    _ => EntryState::Up,
                },
            })
            .collect()
    }

    fn servers_of(&self, tunnel: &Tunnel) -> Vec<NhsRow> {
        let config = &tunnel.plan.config;
        let nowhere = self.names.without_address(config, tunnel.plan.source).map(|nhs| NhsRow {
            interface: tunnel.name().to_owned(),
            protocol: nhs.address.fixed(),
            dynamic: nhs.address.fixed().is_none(),
            nbma: None,
            name: nhs.nbma.name().map(str::to_owned),
            state: NhsState::Expecting,
            since_seconds: self.now().since_start().as_secs(),
            priority: nhs.priority,
            cluster: nhs.cluster,
            public: None,
            requests_sent: 0,
            requests_failed: 0,
            replies_received: 0,
            last_reply_seconds: None,
            next_request_seconds: None,
        });
        self.engine
            .servers(tunnel.id, self.now())
            .map(|view| NhsRow {
                interface: tunnel.name().to_owned(),
                protocol: view.protocol,
                dynamic: view.dynamic,
                nbma: Some(view.nbma),
                name: self.names.name_of(config, view.nbma).map(str::to_owned),
                state: match view.state {
                    engine::NhsState::Standby => NhsState::Waiting,
                    engine::NhsState::Probing => NhsState::Expecting,
                    engine::NhsState::Up => NhsState::Responding,
                },
                since_seconds: view.since.as_secs(),
                priority: view.priority,
                cluster: view.cluster,
                public: view.public,
                requests_sent: view.requests_sent,
                requests_failed: view.requests_failed,
                replies_received: view.replies_received,
                last_reply_seconds: view.last_reply.map(|age| age.as_secs()),
                next_request_seconds: view.next_request.map(|left| left.as_secs()),
            })
            .chain(nowhere)
            .collect()
    }

    fn shortcuts_of(&self, tunnel: &Tunnel) -> Vec<ShortcutRow> {
        self.engine
            .shortcuts(tunnel.id, self.now(), &self.kernel())
            .map(|view| ShortcutRow {
                interface: tunnel.name().to_owned(),
                prefix: view.prefix,
                via: view.via,
                nbma: view.nbma,
                state: match view.state {
                    ShortcutState::Pending => EntryState::Pending,
                    ShortcutState::Up => EntryState::Up,
                    ShortcutState::Refreshing => EntryState::Refreshing,
                },
                created_seconds: view.created.as_secs(),
                expires_seconds: view.expires.map(|left| left.as_secs()),
                used: view.used,
            })
            .collect()
    }

    fn interface_of(&self, tunnel: &Tunnel) -> Vec<InterfaceRow> {
        let config = &tunnel.plan.config;
        let peers = self.engine.peers(tunnel.id, self.now()).count();
        vec![InterfaceRow {
            name: config.name.clone(),
            ifindex: tunnel.link.ifindex,
            address: config.address,
            phase: config.phase as u8,
            network_id: config.network_id,
            source: Some(tunnel.plan.source),
            key: config.key,
            mtu: tunnel.parameters.mtu,
            xdp: self
                .tunnels
                .underlays
                .values()
                .map(|interface| XdpRow {
                    interface: interface.name.clone(),
                    mode: xdp_hook(interface.hook),
                    spread: self.spread(interface.hook),
                })
                .collect(),
            tc: match tunnel.tc {
                TcMode::Tcx => TcHook::Tcx,
                TcMode::Clsact => TcHook::Clsact,
            },
            peers: u32::try_from(peers).unwrap_or(u32::MAX),
            pin_directory: self.pin_directory.join(format!("v{}", dmvpn_common::LAYOUT_VERSION)),
        }]
    }

    /// The CPUs that share the work on what an interface receives. At TC that is the kernel's own business.
    fn spread(&self, hook: UnderlayHook) -> Vec<CpuRow> {
        let spread = &self.data_path.spread;
        let row = |&cpu: &u32| {
            // A map that cannot be read is said to be empty: the view has more to tell.
            let counter = spread.counter(cpu).unwrap_or_default();
            CpuRow { cpu, handed_over: counter.handed_over.packets, taken: counter.taken.packets }
        };
        match hook {
            UnderlayHook::Xdp(_) => spread.cpus().iter().map(row).collect(),
            UnderlayHook::Tc => Vec::new(),
        }
    }

    fn drops(&self) -> Result<Vec<DropRow>, DataPathError> {
        let mut totals = self.data_path.drops.totals()?;
        if let Some(lost) = totals.iter_mut().find(|total| total.reason == DropReason::SpreadQueueFull) {
            let Traffic { packets, bytes } = self.data_path.spread.missing()?;
            (lost.packets, lost.bytes) = (packets, bytes);
        }
        Ok(totals
            .into_iter()
            .map(|total| DropRow {
                reason: total.reason.name().to_owned(),
                packets: total.packets,
                bytes: total.bytes,
                explanation: total.reason.explanation().to_owned(),
            })
            .collect())
    }

    fn counters_of(&self, tunnel: &Tunnel) -> Vec<CounterRow> {
        let Some(counters) = self.engine.counters(tunnel.id) else { return Vec::new() };
        let packets = counters.packets().map(|(kind, received, sent)| PacketCount {
            kind: kind.name().to_owned(),
            received,
            sent,
        });
        let error = |fault: Fault, kind: Option<PacketKind>, count| ErrorCount {
            cause: fault.to_string(),
            packet: kind.map(|kind| kind.name().to_owned()),
            count,
        };
        let happened = counters.faults_by_packet().map(|(fault, kind, count)| error(fault, kind, count));
        let never = counters.faults().filter(|&(_, count)| count == 0);
        let errors = happened.chain(never.map(|(fault, count)| error(fault, None, count)));
        vec![CounterRow {
            interface: tunnel.name().to_owned(),
            packets: packets.collect(),
            errors: errors.collect(),
            redirects_sent: counters.sent(PacketKind::TrafficIndication),
            redirects_suppressed: counters.redirects_suppressed,
            events_suppressed: counters.events_suppressed,
        }]
    }
}

/// A peer's counters by path.
fn paths(counters: &PeerCounters) -> Vec<PathRow> {
    let none = Traffic::default();
    let by_path = [
        (Path::Xdp, counters.received_xdp, counters.sent_xdp, counters.transit_xdp),
        (Path::Tc, counters.received_tc, counters.sent_tc, counters.transit_tc),
        (Path::Slow, counters.received_slow, counters.sent_slow, none),
    ];
    let rows = by_path.into_iter().map(|(path, received, sent, transit)| {
        let sent = sent.plus(transit);
        PathRow {
            path,
            received_packets: received.packets,
            received_bytes: received.bytes,
            sent_packets: sent.packets,
            sent_bytes: sent.bytes,
            transit_packets: transit.packets,
            transit_bytes: transit.bytes,
        }
    });
    rows.filter(|row| row.received_packets != 0 || row.sent_packets != 0).collect()
}

/// How an NBMA address became a peer, from the cache entries that lead to it.
fn attributes(entries: &[&CacheView]) -> Vec<PeerAttribute> {
    let any = |wanted: fn(&CacheView) -> bool| entries.iter().any(|entry| wanted(entry));
    let is_static = any(|entry| matches!(entry.kind, engine::CacheKind::Static | engine::CacheKind::Nhs));
    let found = [
        (is_static, PeerAttribute::Static),
        (
            any(|entry| {
                matches!(
                    entry.kind,
                    engine::CacheKind::Registered | engine::CacheKind::Cached | engine::CacheKind::Adopted
                )
            }),
            PeerAttribute::Dynamic,
        ),
        (any(|entry| entry.kind == engine::CacheKind::Incomplete) && !is_static, PeerAttribute::Incomplete),
        (any(|entry| entry.nat), PeerAttribute::Nat),
        (any(|entry| entry.route), PeerAttribute::Route),
    ];
    found.into_iter().filter_map(|(has, attribute)| has.then_some(attribute)).collect()
}

fn cache_kind(kind: engine::CacheKind) -> CacheKind {
    match kind {
        engine::CacheKind::Local => CacheKind::Local,
        engine::CacheKind::Static => CacheKind::Static,
        engine::CacheKind::Nhs => CacheKind::Nhs,
        engine::CacheKind::Registered => CacheKind::Dynamic,
        engine::CacheKind::Cached => CacheKind::Cached,
        engine::CacheKind::Adopted => CacheKind::Adopted,
        engine::CacheKind::Incomplete => CacheKind::Incomplete,
        engine::CacheKind::Negative => CacheKind::Negative,
    }
}

fn cache_flags(view: &CacheView) -> Vec<CacheFlag> {
    let registered = view.kind == engine::CacheKind::Registered;
    let found = [
        (view.unique, CacheFlag::Unique),
        (registered, CacheFlag::Registered),
        (view.implicit, CacheFlag::Implicit),
        (view.used, CacheFlag::Used),
        (view.nat, CacheFlag::Nat),
        (view.route, CacheFlag::Rib),
    ];
    found.into_iter().filter_map(|(has, flag)| has.then_some(flag)).collect()
}

fn xdp_hook(hook: UnderlayHook) -> XdpHook {
    match hook {
        UnderlayHook::Xdp(RunningMode::Native) => XdpHook::Native,
        UnderlayHook::Xdp(RunningMode::Offloaded) => XdpHook::Offloaded,
        UnderlayHook::Xdp(RunningMode::Generic) => XdpHook::Generic,
        UnderlayHook::Tc => XdpHook::Tc,
    }
}
