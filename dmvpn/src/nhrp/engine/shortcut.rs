//! Shortcuts: routes for prefixes behind other nodes, past the server (Cisco's Phase 3). And prefixes that clients
//! registered, which are routes of the same sort.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{
    Action, EventKind, Fault, Reason, Route, Table, Time,
    answer::SHORTEST_PREFIX,
    cache::{Installed, Kind},
    ordered_map::OrderedMap,
    rare::Empty,
    resolution::{Purpose, Resolved},
    server::Origin,
    timers::Subject,
    tunnel::{Context, Tunnel},
};
use crate::nhrp::wire::CieCode;

/// Where a shortcut comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A Resolution Reply, or an earlier agent.
    Resolved,
    /// A client registered the prefix.
    Registered,
}

/// A route of ours.
#[derive(Debug)]
pub(super) struct Shortcut {
    pub(super) source: Source,
    pub(super) via: IpAddr,
    /// What was asked for, to ask again.
    pub(super) destination: IpAddr,
    /// Next hop of the routed path when it was confirmed, if that is known.
    pub(super) path: Option<IpAddr>,
    pub(super) created: Time,
    pub(super) expires: Time,
    renew: Option<Time>,
    /// Packets that had been sent to the next hop when it was last confirmed.
    pub(super) sent: u64,
}

/// What our own route to a destination leaves for a shortcut.
#[derive(Clone, Copy)]
struct Room {
    covering: IpNet,
    /// It is withdrawn when there is another for the same prefix.
    gives_way: bool,
}

/// The shortcuts of a tunnel.
#[derive(Debug, Default)]
pub(super) struct Shortcuts {
    by_prefix: OrderedMap<IpNet, Shortcut>,
    by_via: OrderedMap<(IpAddr, IpNet), ()>,
    /// How many there are of each prefix length: look-ups try only these.
    lengths: OrderedMap<u8, usize>,
}

impl Empty for Shortcuts {
    const EMPTY: &'static Self =
        &Self { by_prefix: OrderedMap::new(), by_via: OrderedMap::new(), lengths: OrderedMap::new() };
}

impl Shortcuts {
    pub(super) fn len(&self) -> usize {
        self.by_prefix.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (IpNet, &Shortcut)> {
        self.by_prefix.iter().map(|(&prefix, shortcut)| (prefix, shortcut))
    }

    pub(super) fn get(&self, prefix: IpNet) -> Option<&Shortcut> {
        self.by_prefix.get(&prefix)
    }

    /// Those that lie within a prefix.
    pub(super) fn within(&self, prefix: IpNet) -> impl Iterator<Item = (IpNet, &Shortcut)> {
        // Prefixes are ordered by address, then by length.
        let from = prefix.trunc();
        self.by_prefix
            .range(from..)
            .take_while(move |(held, _)| from.contains(&held.addr()))
            .map(|(&held, shortcut)| (held, shortcut))
            .filter(move |(held, _)| held.prefix_len() >= from.prefix_len())
    }

    /// The longest prefix that an address is in.
    pub(super) fn covering(&self, address: IpAddr) -> Option<(IpNet, &Shortcut)> {
        self.lengths.keys().rev().find_map(|&length| {
            let prefix = IpNet::new(address, length).ok()?.trunc();
            self.by_prefix.get(&prefix).map(|shortcut| (prefix, shortcut))
        })
    }

    /// Whether a shortcut has this next hop.
    pub(super) fn uses(&self, via: IpAddr) -> bool {
        self.via(via).next().is_some()
    }

    /// Prefixes with this next hop.
    pub(super) fn via(&self, via: IpAddr) -> impl Iterator<Item = IpNet> + '_ {
        let lowest = match via {
            IpAddr::V4(_) => IpNet::V4(ipnet::Ipv4Net::default()),
            IpAddr::V6(_) => IpNet::V6(ipnet::Ipv6Net::default()),
        };
        self.by_via
            .range((via, lowest)..)
            .map(|(&entry, ())| entry)
            .take_while(move |entry| entry.0 == via)
            .map(|entry| entry.1)
    }

    fn insert(&mut self, prefix: IpNet, shortcut: Shortcut) {
        let via = shortcut.via;
        self.by_via.insert((via, prefix), ());
        match self.by_prefix.insert(prefix, shortcut) {
            None => *self.lengths.get_or_insert_with(prefix.prefix_len(), || 0) += 1,
            Some(old) if via != old.via => {
                self.by_via.remove(&(old.via, prefix));
            }
            Some(_) => {}
        }
    }

    fn remove(&mut self, prefix: IpNet) -> Option<Shortcut> {
        let shortcut = self.by_prefix.remove(&prefix)?;
        self.by_via.remove(&(shortcut.via, prefix));
        if let Some(count) = self.lengths.get_mut(&prefix.prefix_len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&prefix.prefix_len());
            }
        }
        Some(shortcut)
    }
}

/// A host of a prefix that stands for all of it.
fn sample(prefix: IpNet) -> IpAddr {
    prefix.hosts().next().unwrap_or(prefix.addr())
}

impl Tunnel {
    /// Traffic for `destination` should take a shortcut: ask for one, unless it has one, is being asked for, or was
    /// asked for in vain a moment ago. `next_hop` is that of our own route to it, by this tunnel; `peer` says that
    /// there may be a better one.
    pub(super) fn want_shortcut(
        &mut self,
        cx: &mut Context<'_>,
        destination: IpAddr,
        next_hop: IpAddr,
        peer: IpAddr,
    ) {
        if self.negatives.contains_key(&destination) || self.resolutions.contains(destination) {
            return self.counters.count(Fault::IndicationIgnored);
        }
        if next_hop == destination {
            // It is on the link, so it is a next hop itself, not a prefix behind one.
            return match self.cache.get(&destination).map(|binding| (binding.offer.kind, binding.failed)) {
                None => self.unknown_next_hop(cx, destination),
                Some((Kind::Relay | Kind::Adopted, false)) => {
                    self.resolve_because_of(cx, destination, Purpose::NextHop, Some(peer));
                }
                Some(_) => self.counters.count(Fault::IndicationIgnored),
            };
        }
        // With a shortcut the server would not have seen the packet; one that is on its way is no reason to ask.
        if self.shortcuts.covering(destination).is_some() {
            return self.counters.count(Fault::IndicationIgnored);
        }
        self.resolve_because_of(cx, destination, Purpose::Shortcut, Some(peer));
    }

    /// A shortcut's answers came, the best first: the first that can be used is. The others are no replacement for
    /// it later: they may be other nodes, which do not know that they were named to us, and drop what we send.
    pub(super) fn shortcut_resolved(
        &mut self,
        cx: &mut Context<'_>,
        destination: IpAddr,
        answers: &[Resolved],
    ) {
        // Our own route decides anew: it may have changed since we asked.
        let Route::Tunnel { tunnel, next_hop, prefix: covering, gives_way } =
            cx.environment.route(destination)
        else {
            return self.shortcut_refused(cx, destination);
        };
        let room = Room { covering, gives_way };
        let fits = |answer: &&Resolved| {
            self.is_client_address(answer.protocol)
                && self.shortcut_prefix(destination, answer, room).is_some()
        };
        let best = answers.iter().find(fits);
        let best = best.filter(|best| tunnel == self.config.id && best.protocol != next_hop);
        let Some(best) = best else {
            // The routed path leads there anyway, or the next hop is one that the kernel would not take.
            self.shortcut_refused(cx, destination);
            return self.cache_negative(cx, destination);
        };
        let Some(prefix) = self.shortcut_prefix(destination, best, room) else { return };
        let via = best.protocol;
        let known =
            self.shortcuts.get(prefix).map(|shortcut| (shortcut.source, shortcut.via, shortcut.created));
        if known.is_some_and(|(source, ..)| source == Source::Registered) {
            return self.counters.count(Fault::UnexpectedReply);
        }
        if known.is_none() && self.shortcuts.len() >= self.config.limits.shortcuts {
            return self.table_full(cx, Table::Shortcuts);
        }
        // An earlier, different answer for the same destination is not true any more.
        let earlier = self.shortcuts.covering(destination);
        let earlier =
            earlier.filter(|(_, shortcut)| shortcut.destination == destination).map(|(prefix, _)| prefix);
        if self.install(cx, via, best.offer()) == Installed::Full {
            return;
        }
        if IpNet::from(via) == prefix {
            // The host is its own next hop; the neighbour entry (and its host route) is all it takes.
            return;
        }
        let Some(nbma) = self.cache.get(&via).map(|binding| binding.offer.nbma) else { return };
        if known.is_none_or(|(_, before, _)| before != via) {
            let tunnel = self.config.id;
            cx.out.push(Action::AddRoute { tunnel, prefix, via: Some(via) });
            if let Some((_, before, _)) = known {
                cx.out.push(Action::RemoveRoute { tunnel, prefix, via: Some(before) });
            }
            self.report(cx, EventKind::ShortcutUp { prefix, via, nbma });
        }
        let shortcut = Shortcut {
            source: Source::Resolved,
            via,
            destination,
            path: Some(next_hop),
            created: known.map_or(cx.now, |(_, _, created)| created),
            expires: cx.now + best.holding,
            renew: Some(cx.now + best.holding / 3 * 2),
            sent: cx.environment.packets_sent(self.config.id, nbma),
        };
        self.set_shortcut_timer(prefix, &shortcut);
        self.shortcuts.insert(prefix, shortcut);
        if let Some(earlier) = earlier.filter(|&earlier| earlier != prefix) {
            self.remove_shortcut(cx, earlier, Reason::Replaced);
        }
    }

    /// How wide a shortcut may be: as the answer says, but never wider than our own route to the destination (for
    /// the rest of it we know better), and only the host where the answer is so wide that it says nothing, or where
    /// it would lead the tunnel's own packets into the tunnel. `None` when even the host would.
    ///
    /// Half of a route that gives way leaves it where it is. Without it nobody could tell whether there still is a
    /// routed path, and there would be none at the moment the shortcut goes. A host has no half; it goes the routed way,
    /// unless it is a node itself.
    fn shortcut_prefix(&self, destination: IpAddr, resolved: &Resolved, room: Room) -> Option<IpNet> {
        let covering = room.covering;
        let host = covering.max_prefix_len();
        let widest = covering.prefix_len() + u8::from(room.gives_way);
        if widest > host && resolved.protocol != destination {
            return None;
        }
        let mut length = resolved.prefix_length.max(widest.min(host));
        let mut underlay = self
            .servers
            .iter()
            .flat_map(|server| [server.config.nbma, server.nbma()])
            .chain([self.config.nbma, resolved.nbma, resolved.claimed]);
        let wide = IpNet::new(destination, length).ok()?.trunc();
        if length < SHORTEST_PREFIX || underlay.any(|nbma| wide.contains(&nbma)) {
            length = host;
        }
        let prefix = IpNet::new(destination, length).ok()?.trunc();
        let own_path = [self.config.nbma, resolved.nbma];
        (!own_path.iter().any(|nbma| prefix.contains(nbma))).then_some(prefix)
    }

    fn set_shortcut_timer(&mut self, prefix: IpNet, shortcut: &Shortcut) {
        let at = shortcut.renew.map_or(shortcut.expires, |renew| renew.min(shortcut.expires));
        self.timers.set(Subject::Shortcut(prefix), at);
    }

    /// The answer to a renewal is that there is nothing any more.
    pub(super) fn shortcut_refused(&mut self, cx: &mut Context<'_>, destination: IpAddr) {
        let found = self.shortcuts.covering(destination);
        let found =
            found.filter(|(_, shortcut)| shortcut.destination == destination).map(|(prefix, _)| prefix);
        if let Some(prefix) = found {
            self.remove_shortcut(cx, prefix, Reason::Expired);
        }
    }

    /// The timer of a shortcut fired: ask again if it is used, or let it go.
    pub(super) fn shortcut_due(&mut self, cx: &mut Context<'_>, prefix: IpNet) {
        let Some(shortcut) = self.shortcuts.by_prefix.get_mut(&prefix) else { return };
        if shortcut.expires <= cx.now {
            return self.remove_shortcut(cx, prefix, Reason::Expired);
        }
        let mut again = None;
        if shortcut.renew.is_some_and(|at| at <= cx.now) {
            shortcut.renew = None;
            let nbma = self.cache.get(&shortcut.via).map(|binding| binding.offer.nbma);
            let used =
                nbma.is_some_and(|nbma| cx.environment.packets_sent(self.config.id, nbma) != shortcut.sent);
            again = used.then_some(shortcut.destination);
        }
        let at = shortcut.renew.unwrap_or(shortcut.expires);
        self.timers.set(Subject::Shortcut(prefix), at);
        if let Some(destination) = again {
            self.resolve(cx, destination, Purpose::Shortcut);
        }
    }

    /// The routed path has another next hop than when the shortcut was made: ask along the new one.
    pub(super) fn shortcut_path_changed(&mut self, cx: &mut Context<'_>, prefix: IpNet, next_hop: IpAddr) {
        let Some(shortcut) = self.shortcuts.by_prefix.get_mut(&prefix) else { return };
        shortcut.path = Some(next_hop);
        let destination = shortcut.destination;
        self.resolve(cx, destination, Purpose::Shortcut);
    }

    /// Takes a shortcut out: traffic takes the routed path again.
    pub(super) fn remove_shortcut(&mut self, cx: &mut Context<'_>, prefix: IpNet, reason: Reason) {
        let Some(shortcut) = self.shortcuts.remove(prefix) else { return };
        if shortcut.source == Source::Registered {
            self.revision += 1;
            // The last words of an agent that stops are said already.
            let silent = reason == Reason::Shutdown
                || reason == Reason::Expired && !self.config.policy.purge_on_expiry;
            if !silent {
                self.purge_requesters(cx, prefix);
            }
        }
        self.timers.clear(Subject::Shortcut(prefix));
        cx.out.push(Action::RemoveRoute { tunnel: self.config.id, prefix, via: Some(shortcut.via) });
        self.report(cx, EventKind::ShortcutDown { prefix, reason });
    }

    /// Takes out every shortcut with this next hop.
    pub(super) fn remove_shortcuts_via(&mut self, cx: &mut Context<'_>, via: IpAddr, reason: Reason) {
        let prefixes: Vec<_> = self.shortcuts.via(via).collect();
        for prefix in prefixes {
            self.remove_shortcut(cx, prefix, reason);
        }
    }

    /// Takes a shortcut over that an earlier agent left in the kernel.
    pub(super) fn adopt_shortcut(&mut self, cx: &mut Context<'_>, prefix: IpNet, via: IpAddr) {
        let prefix = prefix.trunc();
        if !self.cache.contains_key(&via) || self.shortcuts.len() >= self.config.limits.shortcuts {
            // Nothing would ever take it away again.
            return cx.out.push(Action::RemoveRoute { tunnel: self.config.id, prefix, via: Some(via) });
        }
        if self.shortcuts.get(prefix).is_some() {
            return;
        }
        let holding = self.config.holding_time;
        let nbma = self.cache.get(&via).map(|binding| binding.offer.nbma);
        let shortcut = Shortcut {
            source: Source::Resolved,
            via,
            destination: sample(prefix),
            path: None,
            created: cx.now,
            expires: cx.now + holding,
            renew: Some(cx.now + holding / 3 * 2),
            sent: nbma.map_or(0, |nbma| cx.environment.packets_sent(self.config.id, nbma)),
        };
        self.set_shortcut_timer(prefix, &shortcut);
        self.shortcuts.insert(prefix, shortcut);
    }

    /// Addresses and prefixes that are registered from an NBMA address.
    pub(super) fn registered_from(&self, nbma: IpAddr) -> usize {
        let Some(peer) = self.peers.get(nbma) else { return 0 };
        let prefixes = peer.protocols().flat_map(|client| self.shortcuts.via(client));
        let registered = prefixes.filter_map(|prefix| self.shortcuts.get(prefix));
        let registered = registered.filter(|shortcut| shortcut.source == Source::Registered);
        peer.registrations as usize + registered.count()
    }

    /// A client registers a prefix behind it.
    pub(super) fn register_prefix(
        &mut self,
        cx: &mut Context<'_>,
        protocol: IpAddr,
        length: u8,
        client: IpAddr,
        origin: Origin,
        holding: Duration,
    ) -> CieCode {
        let Ok(prefix) = IpNet::new(protocol, length).map(|prefix| prefix.trunc()) else {
            return CieCode::PROHIBITED;
        };
        let allowed = self.config.policy.client_prefixes.iter().any(|allowed| allowed.contains(&prefix));
        // The route goes by the client's own address, so that has to be registered, from the same place.
        let client_is_known = self.cache.get(&client).is_some_and(|binding| {
            binding.offer.kind >= Kind::Registered && binding.offer.nbma == origin.nbma
        });
        let known =
            self.shortcuts.get(prefix).map(|shortcut| (shortcut.source, shortcut.via, shortcut.created));
        if !allowed || !client_is_known || prefix.contains(&self.config.nbma) || prefix.contains(&origin.nbma)
        {
            return CieCode::PROHIBITED;
        }
        if let Some((Source::Registered, via, _)) = known
            && via != client
        {
            let holder = self.cache.get(&via).map_or(via, |binding| binding.offer.nbma);
            self.counters.count(Fault::Conflict);
            let event = EventKind::Conflict { protocol: prefix.addr(), holder, claimant: origin.nbma };
            self.report_bounded(cx, event);
            return CieCode::ALREADY_REGISTERED;
        }
        if known.is_none() && self.shortcuts.len() >= self.config.limits.shortcuts {
            self.table_full(cx, Table::Shortcuts);
            return CieCode::NO_RESOURCES;
        }
        let most = self.config.limits.registrations_per_nbma;
        if known.is_none_or(|(source, ..)| source != Source::Registered)
            && self.registered_from(origin.nbma) >= most
        {
            self.table_full(cx, Table::EntriesOf(origin.nbma));
            return CieCode::NO_RESOURCES;
        }
        let tunnel = self.config.id;
        if known.is_none_or(|(_, via, _)| via != client) {
            cx.out.push(Action::AddRoute { tunnel, prefix, via: Some(client) });
            if let Some((_, before, _)) = known {
                cx.out.push(Action::RemoveRoute { tunnel, prefix, via: Some(before) });
            }
            self.report(cx, EventKind::ShortcutUp { prefix, via: client, nbma: origin.nbma });
        }
        let shortcut = Shortcut {
            source: Source::Registered,
            via: client,
            destination: sample(prefix),
            path: None,
            created: known.map_or(cx.now, |(_, _, created)| created),
            expires: cx.now + holding,
            renew: None,
            sent: 0,
        };
        self.set_shortcut_timer(prefix, &shortcut);
        self.shortcuts.insert(prefix, shortcut);
        self.revision += 1;
        CieCode::SUCCESS
    }
}
