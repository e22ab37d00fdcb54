//! The protocol engine: inputs in, actions out, `now` a parameter.
//!
//! No socket, no clock, no thread, and no randomness but a seed: the same inputs give the same actions, in the same
//! order. [`Engine`] takes an [`Input`], finds the tunnel it is about, and appends [`Action`]s. What a tunnel does is
//! in the file that is named after it:
//!
//! | file | behaviour |
//! |---|---|
//! | `receive` | what happens to a packet, from its bytes to the file that acts on it |
//! | `client`, `servers`, `failover` | registration with next hop servers: how, the list of them, which of the list |
//! | `announce` | the same for aliases, and for networks behind us |
//! | `link_local` | the same for an IPv6 link-local address; those of others that are seen in their packets |
//! | `server` | registration of clients |
//! | `resolution`, `shortcut` | requests of ours: for next hops (Phase 2), for destinations (Phase 3) |
//! | `answer`, `requesters` | requests of others: what we answer, and whom we answered |
//! | `transit` | packets for others |
//! | `errors` | Error Indications |
//! | `redirect` | Traffic Indications |
//! | `purge`, `routes` | taking back what is no longer true |
//! | `adopt`, `restore` | taking over from an earlier agent: what it left in the kernel, what it saved |
//! | `cache`, `peers` | the tables, and the actions that keep the kernel like them |

mod adopt;
mod announce;
mod answer;
mod cache;
mod client;
mod config;
mod counters;
mod errors;
mod event;
mod failover;
mod io;
mod limits;
mod link_local;
mod message;
mod ordered_map;
mod peers;
mod purge;
mod random;
mod rare;
mod receive;
mod redirect;
mod reinstall;
mod requesters;
mod resolution;
mod restore;
mod routes;
mod server;
mod servers;
mod shared;
mod shortcut;
mod timers;
mod transit;
mod tunnel;
mod view;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

pub use config::{
    Failover, Limits, Multicast, MulticastServers, Nhs, Policy, Secret, StaticMap, TunnelConfig,
};
pub use counters::{Counters, Fault};
pub use event::{Event, EventKind, Reason, Severity, Table};
pub use io::{Action, Environment, Input, LINK_LOCAL_SEEN, Route, Time, TunnelId};
pub use restore::{Registration, RequestIds};
pub use shared::Shared;
pub use view::{CacheKind, CacheView, NhsState, NhsView, PeerView, ShortcutState, ShortcutView, TableView};

use ordered_map::OrderedMap;
use tunnel::{Context, Tunnel};

/// The protocol engine of all tunnels.
#[derive(Debug)]
pub struct Engine {
    tunnels: OrderedMap<TunnelId, Tunnel>,
    networks: OrderedMap<TunnelId, u32>,
    /// False before `start` and after `Shutdown`.
    running: bool,
}

impl Engine {
    /// An engine that has not started. Of two tunnels with one id the later one counts.
    ///
    /// `seed` makes request ids and jitter differ between nodes.
    pub fn new(tunnels: Vec<TunnelConfig>, seed: u64) -> Self {
        let networks = tunnels.iter().map(|config| (config.id, config.network_id)).collect();
        let tunnels = tunnels.into_iter().map(|config| (config.id, Tunnel::new(config, seed))).collect();
        Self { tunnels, networks, running: false }
    }

    /// Lets a tunnel's request ids go on from those that an earlier agent saved. To be called before
    /// [`start`](Self::start).
    pub fn resume(&mut self, tunnel: TunnelId, saved: RequestIds) {
        if let Some(tunnel) = self.tunnels.get_mut(&tunnel) {
            tunnel.resume(saved);
        }
    }

    /// Installs what the configuration says and begins to register with the servers.
    pub fn start(&mut self, now: Time, environment: &dyn Environment, out: &mut Vec<Action>) {
        self.running = true;
        let mut cx = Context { now, environment, networks: &self.networks, out };
        for tunnel in self.tunnels.values_mut() {
            tunnel.start(&mut cx);
        }
    }

    /// Takes an input at the time `now` and appends what is to be done to `out`. Does what is due by then, too.
    pub fn handle(
        &mut self,
        now: Time,
        input: Input<'_>,
        environment: &dyn Environment,
        out: &mut Vec<Action>,
    ) {
        if !self.running {
            return;
        }
        let Self { tunnels, networks, .. } = self;
        let mut cx = Context { now, environment, networks, out };
        for tunnel in tunnels.values_mut() {
            tunnel.run_timers(&mut cx);
        }
        match input {
            Input::Packet { tunnel, source, bytes } => {
                receive::packet(tunnels, &mut cx, tunnel, source, bytes);
            }
            Input::Resolve { tunnel, next_hop } => {
                if let Some(tunnel) = tunnels.get_mut(&tunnel) {
                    tunnel.unknown_next_hop(&mut cx, next_hop);
                }
            }
            Input::Redirect { tunnel, source, head } => {
                if let Some(tunnel) = tunnels.get_mut(&tunnel) {
                    tunnel.redirect(&mut cx, source, head);
                }
            }
            Input::LinkLocalSeen { tunnel, nbma, address } => {
                if let Some(tunnel) = tunnels.get_mut(&tunnel) {
                    tunnel.link_local_seen(&mut cx, nbma, address);
                }
            }
            Input::Timer => {}
            Input::Servers { tunnel, servers } => {
                if let Some(tunnel) = tunnels.get_mut(&tunnel) {
                    tunnel.set_servers(&mut cx, servers);
                }
            }
            Input::LocalNbma { tunnel, nbma } => {
                if let Some(tunnel) = tunnels.get_mut(&tunnel) {
                    tunnel.local_nbma(&mut cx, nbma);
                }
            }
            Input::Adopt { tunnel, protocol, nbma } => {
                if let Some(tunnel) = tunnels.get_mut(&tunnel) {
                    tunnel.adopt(&mut cx, protocol, nbma);
                }
            }
            Input::AdoptShortcut { tunnel, prefix, via } => {
                if let Some(tunnel) = tunnels.get_mut(&tunnel) {
                    tunnel.adopt_shortcut(&mut cx, prefix, via);
                }
            }
            Input::AdoptMulticast { tunnel, nbma } => {
                if let Some(tunnel) = tunnels.get_mut(&tunnel) {
                    tunnel.adopt_client(&mut cx, nbma);
                }
            }
            Input::PeerDown { tunnel, nbma } => {
                if let Some(tunnel) = tunnels.get_mut(&tunnel) {
                    tunnel.peer_down(&mut cx, nbma);
                }
            }
            Input::Restore { tunnel, registrations } => {
                if let Some(tunnel) = tunnels.get_mut(&tunnel) {
                    tunnel.restore(&mut cx, registrations);
                }
            }
            Input::InterfaceUp { tunnel } => {
                if let Some(tunnel) = tunnels.get(&tunnel) {
                    tunnel.reinstall(&mut cx);
                }
            }
            Input::RoutesChanged => {
                for tunnel in tunnels.values_mut() {
                    tunnel.routes_changed(&cx);
                }
            }
            Input::Shutdown => {
                for tunnel in tunnels.values_mut() {
                    tunnel.shut_down(&mut cx);
                }
                self.running = false;
            }
        }
    }

    /// When [`Self::handle`] has something to do without any other input; it can be called at any other time too.
    pub fn next_deadline(&self) -> Option<Time> {
        self.tunnels.values().filter_map(|tunnel| tunnel.timers.next()).min()
    }

    /// The tunnels.
    pub fn tunnels(&self) -> impl Iterator<Item = &TunnelConfig> {
        self.tunnels.values().map(|tunnel| &tunnel.config)
    }

    /// Cache entries of a tunnel, ordered by address.
    pub fn cache<'a>(
        &'a self,
        tunnel: TunnelId,
        now: Time,
        environment: &'a dyn Environment,
    ) -> impl Iterator<Item = CacheView> + 'a {
        self.tunnels.get(&tunnel).into_iter().flat_map(move |tunnel| tunnel.view_cache(now, environment))
    }

    /// Next hop servers of a tunnel, in the operator's order.
    pub fn servers(&self, tunnel: TunnelId, now: Time) -> impl Iterator<Item = NhsView> {
        self.tunnels.get(&tunnel).into_iter().flat_map(move |tunnel| tunnel.view_servers(now))
    }

    /// Shortcuts of a tunnel, those that are asked for included.
    pub fn shortcuts<'a>(
        &'a self,
        tunnel: TunnelId,
        now: Time,
        environment: &'a dyn Environment,
    ) -> impl Iterator<Item = ShortcutView> + 'a {
        self.tunnels.get(&tunnel).into_iter().flat_map(move |tunnel| tunnel.view_shortcuts(now, environment))
    }

    /// Peers of a tunnel, ordered by NBMA address.
    pub fn peers(&self, tunnel: TunnelId, now: Time) -> impl Iterator<Item = PeerView> {
        self.tunnels.get(&tunnel).into_iter().flat_map(move |tunnel| tunnel.view_peers(now))
    }

    /// One peer of a tunnel.
    pub fn peer(&self, tunnel: TunnelId, nbma: IpAddr, now: Time) -> Option<PeerView> {
        self.tunnels.get(&tunnel)?.view_peer(nbma, now)
    }

    /// How full the tables of a tunnel are.
    pub fn tables(&self, tunnel: TunnelId) -> impl Iterator<Item = TableView> {
        self.tunnels.get(&tunnel).into_iter().flat_map(Tunnel::view_tables)
    }

    /// The registrations of a tunnel's clients, for [`Input::Restore`] of a later agent.
    pub fn registrations(&self, tunnel: TunnelId, now: Time) -> impl Iterator<Item = Registration> {
        self.tunnels.get(&tunnel).into_iter().flat_map(move |tunnel| tunnel.registrations(now))
    }

    /// How far a tunnel's request ids have come, for [`Self::resume`] of a later agent.
    pub fn request_ids(&self, tunnel: TunnelId) -> Option<RequestIds> {
        self.tunnels.get(&tunnel).map(|tunnel| tunnel.ids)
    }

    /// A number that changes whenever there is something new to save.
    pub fn revision(&self) -> u64 {
        self.tunnels.values().map(|tunnel| tunnel.revision).sum()
    }

    /// What was counted on a tunnel.
    pub fn counters(&self, tunnel: TunnelId) -> Option<&Counters> {
        self.tunnels.get(&tunnel).map(|tunnel| &tunnel.counters)
    }
}
