//! The engine's state as it is shown: plain values, times relative to now.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{
    Environment, Time,
    cache::{Binding, Kind},
    limits::Strangers,
    purge::Purges,
    redirect::Redirects,
    shortcut::{Shortcut, Source},
    tunnel::Tunnel,
};

/// Where a cache entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheKind {
    /// An address of this box.
    Local,
    /// The configuration.
    Static,
    /// A next hop server.
    Nhs,
    /// A registration.
    Registered,
    /// A resolution, what a passing request said of its sender, or the source of data packets (`implicit` both).
    Cached,
    /// Left in the kernel by an earlier agent, not confirmed yet.
    Adopted,
    /// Asked for, not answered yet: traffic goes by the server.
    Incomplete,
    /// Nobody could say where it is: traffic goes by the server, if there is one.
    Negative,
}

/// An entry of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent properties, each shown as a flag of its own")]
pub struct CacheView {
    /// Protocol addresses it is about: one host, or a prefix that a client registered.
    pub protocol: IpNet,
    /// Where the entry comes from.
    pub kind: CacheKind,
    /// Where traffic for it goes; `None` when there is nowhere to send it.
    pub nbma: Option<IpAddr>,
    /// Where the station says it is, when that is different.
    pub claimed_nbma: Option<IpAddr>,
    /// Nobody else may register the address.
    pub unique: bool,
    /// The station is behind NAT.
    pub nat: bool,
    /// Learnt from a request that was sent for something else, or from data.
    pub implicit: bool,
    /// Traffic went to its NBMA address since the entry was last confirmed.
    pub used: bool,
    /// A route of ours for it is in the kernel.
    pub route: bool,
    /// It is being asked for.
    pub pending: bool,
    /// MTU the station announced, 0 if none.
    pub mtu: u16,
    /// Time since the entry was made.
    pub created: Duration,
    /// Time until it expires; `None`: never.
    pub expires: Option<Duration>,
}

/// Whether a next hop server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NhsState {
    /// Not used: better ones answer.
    Standby,
    /// Asked, no answer.
    Probing,
    /// Registered and answering.
    Up,
}

/// A next hop server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NhsView {
    /// Its protocol address; `None` while it has to be learnt.
    pub protocol: Option<IpAddr>,
    /// Its protocol address is learnt from it.
    pub dynamic: bool,
    /// Its NBMA address.
    pub nbma: IpAddr,
    /// Its priority, 0 the best.
    pub priority: u8,
    /// Its cluster.
    pub cluster: u8,
    /// Whether it answers.
    pub state: NhsState,
    /// Time in this state.
    pub since: Duration,
    /// Registration requests sent.
    pub requests_sent: u64,
    /// Of those, refused or never answered.
    pub requests_failed: u64,
    /// Registration replies received.
    pub replies_received: u64,
    /// Time since the last reply; `None`: there was none.
    pub last_reply: Option<Duration>,
    /// Time until the next request; `None`: none is planned.
    pub next_request: Option<Duration>,
    /// Our address as it sees it, when that is not ours: we are behind NAT.
    pub public: Option<IpAddr>,
}

/// Whether a shortcut can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShortcutState {
    /// Asked for, nothing installed.
    Pending,
    /// Installed.
    Up,
    /// Installed, and being asked for again before it expires.
    Refreshing,
}

/// A shortcut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShortcutView {
    /// Destination; the host that was asked for while it is pending.
    pub prefix: IpNet,
    /// Next hop; `None` while it is pending.
    pub via: Option<IpAddr>,
    /// Where the next hop is.
    pub nbma: Option<IpAddr>,
    /// Whether it can be used.
    pub state: ShortcutState,
    /// Traffic went to its next hop since it was last confirmed.
    pub used: bool,
    /// Time since it was made.
    pub created: Duration,
    /// Time until it expires.
    pub expires: Option<Duration>,
}

/// A peer: an NBMA address that data is exchanged with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// Where it is.
    pub nbma: IpAddr,
    /// Protocol addresses that are reached there.
    pub protocols: Vec<IpAddr>,
    /// Time since it became a peer.
    pub since: Duration,
    /// It gets copies of multicast packets.
    pub multicast: bool,
}

/// How full a bounded table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableView {
    /// What is in it.
    pub name: &'static str,
    /// How many.
    pub entries: usize,
    /// How many there may be.
    pub bound: usize,
}

impl Tunnel {
    pub(super) fn view_tables(&self) -> [TableView; 9] {
        let limits = &self.config.limits;
        let view = |name, entries, bound| TableView { name, entries, bound };
        // What the operator configured is a peer in any case.
        let peers =
            limits.peers.saturating_add(self.servers.len()).saturating_add(self.config.multicast.fixed.len());
        [
            view("cache", self.cache.len(), self.config.max_entries),
            view("peers", self.peers.len(), peers),
            view("resolutions", self.resolutions.len(), limits.pending_resolutions),
            view("negatives", self.negatives.len(), self.most_negatives()),
            view("shortcuts", self.shortcuts.len(), limits.shortcuts),
            view("requesters", self.requesters.len(), limits.requesters),
            view("purges", self.purges.len(), Purges::MOST),
            view("redirects", self.redirects.len(), Redirects::MOST),
            view("strangers", self.strangers.len(), Strangers::MOST),
        ]
    }

    pub(super) fn view_cache<'a>(
        &'a self,
        now: Time,
        environment: &'a dyn Environment,
    ) -> impl Iterator<Item = CacheView> + 'a {
        let ours = std::iter::once(self.address()).chain(self.config.aliases.iter().copied());
        let ours = ours.chain(self.link_local());
        let local = ours.map(move |address| CacheView {
            protocol: IpNet::from(address),
            kind: CacheKind::Local,
            nbma: Some(self.config.nbma),
            claimed_nbma: None,
            unique: self.config.unique,
            nat: self.public().is_some(),
            implicit: false,
            used: false,
            route: false,
            pending: false,
            mtu: self.config.mtu,
            created: now.since(self.started),
            expires: None,
        });
        let bindings = self
            .cache
            .iter()
            .map(move |(&protocol, binding)| self.view_binding(protocol, binding, now, environment));
        let prefixes = self
            .shortcuts
            .iter()
            .filter(|(_, shortcut)| shortcut.source == Source::Registered)
            .map(move |(prefix, shortcut)| self.view_registered_prefix(prefix, shortcut, now));
        let negatives = self.negatives.iter().map(move |(&address, until)| CacheView {
            protocol: IpNet::from(address),
            kind: CacheKind::Negative,
            nbma: None,
            claimed_nbma: None,
            unique: false,
            nat: false,
            implicit: false,
            used: false,
            route: false,
            pending: false,
            mtu: 0,
            created: self.config.policy.negative_time.saturating_sub(until.since(now)),
            expires: Some(until.since(now)),
        });
        local.chain(bindings).chain(prefixes).chain(negatives)
    }

    fn view_binding(
        &self,
        protocol: IpAddr,
        binding: &Binding,
        now: Time,
        environment: &dyn Environment,
    ) -> CacheView {
        let offer = &binding.offer;
        let kind = match offer.kind {
            Kind::Relay if binding.failed => CacheKind::Negative,
            Kind::Relay => CacheKind::Incomplete,
            Kind::Adopted => CacheKind::Adopted,
            Kind::Seen | Kind::Cached => CacheKind::Cached,
            Kind::Registered => CacheKind::Registered,
            Kind::Nhs => CacheKind::Nhs,
            Kind::Static => CacheKind::Static,
        };
        let sent = environment.packets_sent(self.config.id, offer.nbma);
        CacheView {
            protocol: IpNet::from(protocol),
            kind,
            nbma: Some(offer.nbma),
            claimed_nbma: (offer.claimed != offer.nbma).then_some(offer.claimed),
            unique: offer.unique,
            nat: offer.claimed != offer.nbma,
            implicit: offer.implicit,
            used: sent != binding.sent,
            route: binding.route,
            pending: self.resolutions.contains(protocol),
            mtu: offer.mtu,
            created: now.since(binding.created),
            expires: binding.expires.map(|at| at.since(now)),
        }
    }

    fn view_registered_prefix(&self, prefix: IpNet, shortcut: &Shortcut, now: Time) -> CacheView {
        CacheView {
            protocol: prefix,
            kind: CacheKind::Registered,
            nbma: self.cache.get(&shortcut.via).map(|binding| binding.offer.nbma),
            claimed_nbma: None,
            unique: false,
            nat: false,
            implicit: false,
            used: false,
            route: true,
            pending: false,
            mtu: 0,
            created: now.since(shortcut.created),
            expires: Some(shortcut.expires.since(now)),
        }
    }

    pub(super) fn view_servers(&self, now: Time) -> impl Iterator<Item = NhsView> {
        self.servers.iter().map(move |server| NhsView {
            protocol: server.protocol,
            dynamic: server.config.protocol.is_none(),
            nbma: server.config.nbma,
            priority: server.config.priority,
            cluster: server.config.cluster,
            state: server.state,
            since: now.since(server.since),
            requests_sent: server.requests_sent,
            requests_failed: server.requests_failed,
            replies_received: server.replies_received,
            last_reply: server.last_reply.map(|at| now.since(at)),
            next_request: server.next.map(|at| at.since(now)),
            public: server.public,
        })
    }

    pub(super) fn view_shortcuts<'a>(
        &'a self,
        now: Time,
        environment: &'a dyn Environment,
    ) -> impl Iterator<Item = ShortcutView> + 'a {
        let installed = self.shortcuts.iter().filter(|(_, shortcut)| shortcut.source == Source::Resolved);
        let installed = installed.map(move |(prefix, shortcut)| {
            let nbma = self.cache.get(&shortcut.via).map(|binding| binding.offer.nbma);
            let sent = nbma.map(|nbma| environment.packets_sent(self.config.id, nbma));
            let refreshing = self.resolutions.contains(shortcut.destination);
            ShortcutView {
                prefix,
                via: Some(shortcut.via),
                nbma,
                state: if refreshing { ShortcutState::Refreshing } else { ShortcutState::Up },
                used: sent.is_some_and(|sent| sent != shortcut.sent),
                created: now.since(shortcut.created),
                expires: Some(shortcut.expires.since(now)),
            }
        });
        let pending = self.resolutions.shortcuts();
        let pending = pending.filter(|&(destination, _)| self.shortcuts.covering(destination).is_none());
        let pending = pending.map(move |(destination, started)| ShortcutView {
            prefix: IpNet::from(destination),
            via: None,
            nbma: None,
            state: ShortcutState::Pending,
            used: false,
            created: now.since(started),
            expires: None,
        });
        installed.chain(pending)
    }

    pub(super) fn view_peers(&self, now: Time) -> impl Iterator<Item = PeerView> {
        self.peers.iter().filter_map(move |(nbma, _)| self.view_peer(nbma, now))
    }

    pub(super) fn view_peer(&self, nbma: IpAddr, now: Time) -> Option<PeerView> {
        let peer = self.peers.get(nbma)?;
        Some(PeerView {
            nbma,
            protocols: peer.protocols().collect(),
            since: now.since(peer.since),
            multicast: peer.gets_multicast(),
        })
    }
}
