//! One tunnel's state, and what its parts share.

use std::net::IpAddr;

use super::{
    Action, Counters, Environment, RequestIds, Time, TunnelConfig, TunnelId,
    cache::{Binding, Kind, Offer},
    client::Server,
    limits::{Bucket, Strangers},
    ordered_map::OrderedMap,
    peers::{Peers, User},
    purge::Purges,
    random::Random,
    rare::Rare,
    redirect::Redirects,
    requesters::Requesters,
    resolution::Resolutions,
    shortcut::Shortcuts,
    timers::{Subject, Timers},
};

/// What every step of the engine has at hand.
pub(super) struct Context<'a> {
    pub(super) now: Time,
    pub(super) environment: &'a dyn Environment,
    /// NHRP network of each tunnel.
    pub(super) networks: &'a OrderedMap<TunnelId, u32>,
    /// What is to be done.
    pub(super) out: &'a mut Vec<Action>,
}

/// One tunnel. Its behaviour is in the files that are named after it.
#[derive(Debug)]
pub(super) struct Tunnel {
    pub(super) config: TunnelConfig,
    pub(super) started: Time,
    pub(super) cache: OrderedMap<IpAddr, Binding>,
    pub(super) peers: Peers,
    pub(super) servers: Vec<Server>,
    pub(super) resolutions: Rare<Resolutions>,
    /// Addresses that could not be resolved, and until when not to ask again.
    pub(super) negatives: OrderedMap<IpAddr, Time>,
    pub(super) shortcuts: Rare<Shortcuts>,
    pub(super) requesters: Rare<Requesters>,
    pub(super) purges: Rare<Purges>,
    pub(super) redirects: Rare<Redirects>,
    pub(super) timers: Timers,
    pub(super) random: Random,
    pub(super) counters: Counters,
    pub(super) ids: RequestIds,
    /// Counts changes of what is worth saving.
    pub(super) revision: u64,
    pub(super) strangers: Rare<Strangers>,
    /// Limits the packets of all strangers together.
    pub(super) crowd: Bucket,
    pub(super) everyone: Bucket,
    /// Limits reports of what peers do.
    pub(super) changes: Bucket,
    /// Limits reports of what strangers can do.
    pub(super) events: Bucket,
    pub(super) errors: Bucket,
}

impl Tunnel {
    pub(super) fn new(config: TunnelConfig, seed: u64) -> Self {
        let mut random = Random::new(seed ^ (u64::from(config.id.0) << 32));
        Self {
            started: Time::default(),
            cache: OrderedMap::new(),
            peers: Peers::new(config.id),
            servers: Vec::new(),
            resolutions: Rare::default(),
            negatives: OrderedMap::new(),
            shortcuts: Rare::default(),
            requesters: Rare::default(),
            purges: Rare::default(),
            redirects: Rare::default(),
            timers: Timers::default(),
            ids: RequestIds { registration: random.id(), next: random.id() },
            revision: 0,
            random,
            counters: Counters::default(),
            strangers: Rare::default(),
            crowd: Bucket::default(),
            everyone: Bucket::default(),
            changes: Bucket::default(),
            events: Bucket::default(),
            errors: Bucket::default(),
            config,
        }
    }

    /// Our protocol address.
    pub(super) fn address(&self) -> IpAddr {
        self.config.address.addr()
    }

    /// Our link-local address, if it is known to the network.
    pub(super) fn link_local(&self) -> Option<IpAddr> {
        self.config.link_local.map(IpAddr::V6).filter(|_| self.address().is_ipv6())
    }

    /// Makes what the configuration says true, then registers.
    pub(super) fn start(&mut self, cx: &mut Context<'_>) {
        self.started = cx.now;
        for map in self.config.static_maps.clone() {
            self.install(cx, map.protocol, Offer::new(Kind::Static, map.nbma, None));
        }
        for nbma in self.config.multicast.fixed.clone() {
            self.peers.hold(nbma, User::Multicast, cx.now, cx.out);
            self.peers.start_copies(nbma, cx.out);
        }
        // From now on they are in `servers`.
        let servers = std::mem::take(&mut self.config.nhs);
        self.set_servers(cx, &servers);
    }

    /// Does what is due.
    pub(super) fn run_timers(&mut self, cx: &mut Context<'_>) {
        self.counters.no_packet();
        while let Some(subject) = self.timers.pop(cx.now) {
            match subject {
                Subject::Routes => self.routes_settled(cx),
                Subject::Shortcut(prefix) => self.shortcut_due(cx, prefix),
                Subject::Requester(number) => self.requester_due(cx, number),
                Subject::Binding(protocol) => self.binding_due(cx, protocol),
                Subject::Negative(address) => self.negative_due(cx, address),
                Subject::Resolution(destination) => self.resolution_due(cx, destination),
                Subject::Server(id) => self.server_due(cx, id),
                Subject::Servers => self.choose_servers(cx),
                Subject::Purge(id) => self.purge_due(cx, id),
            }
        }
    }
}
