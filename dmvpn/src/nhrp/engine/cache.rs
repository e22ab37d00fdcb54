//! The cache: which protocol address is at which NBMA address. Every entry is a neighbour of the tunnel interface.
//!
//! All changes go through [`Tunnel::install`] and [`Tunnel::remove`], which keep the order that loses no packet:
//! a peer before the neighbour that leads to it, a neighbour before the route that needs it, and the reverse when
//! they go.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{
    Action, Event, EventKind, Fault, Reason, Table, Time,
    message::is_link_local,
    peers::{Peer, User},
    timers::Subject,
    tunnel::{Context, Tunnel},
};

/// Where an entry comes from. A lower kind never replaces a higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Traffic goes by the server, because nothing better is known.
    Relay,
    /// It was the source of data packets from there.
    Seen,
    /// An earlier agent left it in the kernel.
    Adopted,
    /// A Resolution Reply said so, or a Resolution Request of its owner.
    Cached,
    /// Its owner registered it.
    Registered,
    /// One of our next hop servers.
    Nhs,
    /// The operator said so.
    Static,
}

/// What a packet or the configuration says about a protocol address.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) kind: Kind,
    /// Where to send.
    pub(super) nbma: IpAddr,
    /// Where the station says it is: another address when it is behind NAT.
    pub(super) claimed: IpAddr,
    pub(super) unique: bool,
    /// Learnt from a request that was sent for something else, or from data.
    pub(super) implicit: bool,
    /// Announced MTU, 0 if none.
    pub(super) mtu: u16,
    /// Id of the registration: whoever knows it may take the registration back (RFC 2332 5.2.3).
    pub(super) request_id: u32,
    /// `None`: for ever.
    pub(super) holding: Option<Duration>,
}

impl Offer {
    /// An offer with nothing but an address.
    pub(super) const fn new(kind: Kind, nbma: IpAddr, holding: Option<Duration>) -> Self {
        Self { kind, nbma, claimed: nbma, unique: false, implicit: false, mtu: 0, request_id: 0, holding }
    }
}

/// An entry.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) offer: Offer,
    pub(super) created: Time,
    /// When it ends unless it is confirmed.
    pub(super) expires: Option<Time>,
    /// When to ask again if it is used.
    pub(super) renew: Option<Time>,
    /// Packets that had been sent to its NBMA address when it was last confirmed.
    pub(super) sent: u64,
    /// Its host route is installed.
    pub(super) route: bool,
    /// A relay only: nobody could say where it is.
    pub(super) failed: bool,
    /// Purges by others with a wrong id since it was confirmed.
    pub(super) guesses: u16,
}

/// What became of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Installed {
    /// There was no entry, or only a relay.
    New,
    /// The entry says the same as before.
    Refreshed,
    /// The entry said something else.
    Moved {
        /// Where it led.
        from: IpAddr,
    },
    /// A higher kind of entry stays as it is.
    Kept,
    /// The table is full.
    Full,
}

impl Tunnel {
    /// Takes an offer: makes the entry, renews it, or moves it to another NBMA address without a gap.
    pub(super) fn install(&mut self, cx: &mut Context<'_>, protocol: IpAddr, offer: Offer) -> Installed {
        let now = cx.now;
        let nbma = offer.nbma;
        let kind = offer.kind;
        let expires = offer.holding.map(|holding| now + holding);
        let renew = match kind {
            Kind::Cached => offer.holding.map(|holding| now + holding / 3 * 2),
            // A client's registration renews it; but what was resolved has to be asked for.
            Kind::Adopted if self.config.resolve && !self.servers.is_empty() => {
                offer.holding.map(|holding| now + holding / 3 * 2)
            }
            _ => None,
        };
        let (old, mut route) = match self.cache.get(&protocol) {
            Some(binding) if binding.offer.kind > kind => return Installed::Kept,
            Some(binding) => (Some((binding.offer.kind, binding.offer.nbma)), binding.route),
            None if self.cache.len() >= self.config.max_entries => {
                self.table_full(cx, Table::Cache);
                return Installed::Full;
            }
            None => (None, false),
        };

        if !self.has_room_for_peer(cx, nbma) {
            return Installed::Full;
        }
        let user = User::of_entry(kind, protocol);
        let left = old.map(|(kind, from)| (from, User::of_entry(kind, protocol)));
        if left != Some((nbma, user)) {
            self.peers.hold(nbma, user, now, cx.out);
        }
        if old.is_none_or(|(_, from)| from != nbma) {
            cx.out.push(Action::SetNeighbour { tunnel: self.config.id, protocol, nbma });
        }
        if self.config.host_routes() && kind != Kind::Relay && !route && !is_link_local(protocol) {
            route = true;
            cx.out.push(Action::AddRoute {
                tunnel: self.config.id,
                prefix: IpNet::from(protocol),
                via: None,
            });
        }
        let was_registered = old.is_some_and(|(kind, _)| kind == Kind::Registered);
        if let Some((_, from)) = old
            && was_registered
            && (from != nbma || kind != Kind::Registered)
        {
            self.leave_registered(cx, from);
        }
        if kind == Kind::Registered {
            self.revision += 1;
            if old != Some((Kind::Registered, nbma)) {
                self.enter_registered(cx, nbma);
            }
        }

        let sent = match renew {
            Some(_) => cx.environment.packets_sent(self.config.id, nbma),
            None => 0,
        };
        let binding = Binding { offer, created: now, expires, renew, sent, route, failed: false, guesses: 0 };
        match self.cache.get_mut(&protocol) {
            Some(place) => {
                let created = place.created;
                *place = binding;
                if old.is_some_and(|(old, from)| from == nbma && (old != Kind::Relay || kind == Kind::Relay))
                {
                    place.created = created;
                }
            }
            None => {
                self.cache.insert(protocol, binding);
            }
        }
        match [renew, expires].into_iter().flatten().min() {
            Some(at) => self.timers.set(Subject::Binding(protocol), at),
            None => self.timers.clear(Subject::Binding(protocol)),
        }
        if self.negatives.remove(&protocol).is_some() {
            self.timers.clear(Subject::Negative(protocol));
        }
        if let Some((from, before)) = left.filter(|&left| left != (nbma, user)) {
            self.leave_peer(cx, from, before);
        }
        match old {
            None | Some((Kind::Relay, _)) => Installed::New,
            Some((_, from)) if from != nbma => Installed::Moved { from },
            Some(_) => Installed::Refreshed,
        }
    }

    /// Whether an NBMA address is a peer or can become one.
    pub(super) fn has_room_for_peer(&mut self, cx: &mut Context<'_>, nbma: IpAddr) -> bool {
        let has_room = self.peers.contains(nbma) || self.peers.len() < self.config.limits.peers;
        if !has_room {
            self.table_full(cx, Table::Peers);
        }
        has_room
    }

    /// Whether one more entry may lead to an NBMA address because of what came from there unasked.
    pub(super) fn has_room_for_entry(&mut self, cx: &mut Context<'_>, nbma: IpAddr) -> bool {
        let entries = self.peers.get(nbma).map_or(0, |peer| peer.protocols().count());
        let has_room = entries < self.config.limits.registrations_per_nbma;
        if !has_room {
            self.table_full(cx, Table::EntriesOf(nbma));
        }
        has_room
    }

    fn enter_registered(&mut self, cx: &mut Context<'_>, nbma: IpAddr) {
        if let Some(peer) = self.peers.get_mut(nbma) {
            peer.registrations += 1;
        }
        if self.config.multicast.clients {
            self.peers.start_copies(nbma, cx.out);
        }
    }

    fn leave_registered(&mut self, cx: &mut Context<'_>, nbma: IpAddr) {
        self.revision += 1;
        if let Some(peer) = self.peers.get_mut(nbma) {
            peer.registrations = peer.registrations.saturating_sub(1);
        }
        if self.config.multicast.clients {
            self.peers.stop_copies(nbma, cx.out);
        }
    }

    /// Takes an entry out, and first everything that depends on it.
    pub(super) fn remove(&mut self, cx: &mut Context<'_>, protocol: IpAddr) {
        self.remove_shortcuts_via(cx, protocol, Reason::NextHop);
        let Some(binding) = self.cache.remove(&protocol) else { return };
        self.timers.clear(Subject::Binding(protocol));
        let tunnel = self.config.id;
        if binding.route {
            cx.out.push(Action::RemoveRoute { tunnel, prefix: IpNet::from(protocol), via: None });
        }
        cx.out.push(Action::RemoveNeighbour { tunnel, protocol });
        if binding.offer.kind == Kind::Registered {
            self.leave_registered(cx, binding.offer.nbma);
        }
        self.leave_peer(cx, binding.offer.nbma, User::of_entry(binding.offer.kind, protocol));
    }

    /// Ends a use of a peer. With the last one it is no peer any more, and what was only seen from it goes, too.
    pub(super) fn leave_peer(&mut self, cx: &mut Context<'_>, nbma: IpAddr, user: User) {
        self.peers.release(nbma, user, cx.out);
        while let Some((&User::Seen(address), ())) = self.peers.get(nbma).and_then(|peer| peer.users.first())
        {
            self.remove(cx, address);
        }
    }

    /// Lets the server carry the traffic of an entry that is no longer true, or takes the entry out where there is
    /// no server. Kernel traffic to a next hop that is still in use then has no gap.
    pub(super) fn fall_back(&mut self, cx: &mut Context<'_>, protocol: IpAddr) {
        let on_link = self.config.address.contains(&protocol) && !self.config.host_routes();
        let Some(server) = self.relay(None).filter(|_| on_link) else {
            return self.remove(cx, protocol);
        };
        self.remove_shortcuts_via(cx, protocol, Reason::NextHop);
        if let Some(binding) = self.cache.get_mut(&protocol) {
            // The lowest kind, so that the relay may take its place.
            if binding.offer.kind == Kind::Registered {
                binding.offer.kind = Kind::Relay;
                let nbma = binding.offer.nbma;
                self.leave_registered(cx, nbma);
            } else {
                binding.offer.kind = Kind::Relay;
            }
            self.install(
                cx,
                protocol,
                Offer::new(Kind::Relay, server, Some(self.config.policy.negative_time)),
            );
        }
    }

    /// A peer does not answer any more: what was resolved to it goes by the server.
    pub(super) fn peer_down(&mut self, cx: &mut Context<'_>, nbma: IpAddr) {
        let protocols: Vec<_> = self.peers.get(nbma).into_iter().flat_map(Peer::protocols).collect();
        for protocol in protocols {
            let kind = self.cache.get(&protocol).map(|binding| binding.offer.kind);
            if matches!(kind, Some(Kind::Cached | Kind::Adopted | Kind::Seen)) {
                self.fall_back(cx, protocol);
            }
        }
    }

    /// The timer of an entry fired.
    pub(super) fn binding_due(&mut self, cx: &mut Context<'_>, protocol: IpAddr) {
        let Some(binding) = self.cache.get_mut(&protocol) else { return };
        let kind = binding.offer.kind;
        let nbma = binding.offer.nbma;
        if binding.expires.is_some_and(|at| at <= cx.now) {
            match kind {
                Kind::Registered => {
                    self.remove(cx, protocol);
                    self.report(cx, EventKind::Expired { protocol, nbma });
                    if self.config.policy.purge_on_expiry {
                        self.purge_requesters(cx, IpNet::from(protocol));
                    }
                }
                Kind::Cached | Kind::Adopted if self.in_use(cx, protocol) => self.fall_back(cx, protocol),
                // A relay is simply taken out: if traffic goes on, the kernel asks for the next hop again, and
                // that starts the next attempt to resolve it.
                _ => self.remove(cx, protocol),
            }
            return;
        }
        if binding.renew.is_some_and(|at| at <= cx.now) {
            binding.renew = None;
            // Where a shortcut leads to the next hop, the shortcut's renewal renews the next hop too.
            if !self.shortcuts.uses(protocol) && self.in_use(cx, protocol) {
                self.resolve_next_hop(cx, protocol);
            }
        }
        if let Some(binding) = self.cache.get(&protocol)
            && let Some(at) = [binding.renew, binding.expires].into_iter().flatten().min()
        {
            self.timers.set(Subject::Binding(protocol), at);
        }
    }

    /// Whether traffic went to an entry's NBMA address since it was last confirmed.
    pub(super) fn in_use(&self, cx: &Context<'_>, protocol: IpAddr) -> bool {
        self.cache.get(&protocol).is_some_and(|binding| {
            cx.environment.packets_sent(self.config.id, binding.offer.nbma) != binding.sent
        })
    }

    /// Counts a refusal for want of space and reports it.
    pub(super) fn table_full(&mut self, cx: &mut Context<'_>, table: Table) {
        self.counters.count(Fault::TableFull);
        self.report_bounded(cx, EventKind::TableFull { table });
    }

    /// Reports a change of the network: a hundred a second, a thousand at once.
    pub(super) fn report(&mut self, cx: &mut Context<'_>, kind: EventKind) {
        if self.changes.take(cx.now, 100, 1000) {
            cx.out.push(Action::Log(Event { tunnel: self.config.id, kind }));
        } else {
            self.counters.events_suppressed += 1;
        }
    }

    /// Reports an event that strangers can cause as often as they like: one a second, ten at once.
    pub(super) fn report_bounded(&mut self, cx: &mut Context<'_>, kind: EventKind) {
        if self.events.take(cx.now, 1, 10) {
            cx.out.push(Action::Log(Event { tunnel: self.config.id, kind }));
        } else {
            self.counters.events_suppressed += 1;
        }
    }
}
