//! Purges: taking back what was said (RFC 2332 5.2.5, 5.2.6).

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{
    EventKind, Fault, NhsState, Reason, Time,
    cache::{Binding, Kind},
    ordered_map::OrderedMap,
    peers::User,
    rare::{Empty, Rare},
    timers::Subject,
    tunnel::{Context, Tunnel},
};
use crate::nhrp::wire::{Body, Cie, Clients, Flags, IpFamily, Packet};

/// Purge Requests that wait for their reply.
#[derive(Debug, Default)]
pub(super) struct Purges(OrderedMap<u32, Pending>);

impl Empty for Purges {
    const EMPTY: &'static Self = &Self(OrderedMap::new());
}

#[derive(Debug)]
struct Pending {
    to: IpAddr,
    packet: Packet,
    repeats: u32,
    next: Time,
}

impl Purges {
    /// Purges that are repeated until they are answered; more are sent once.
    pub(super) const MOST: usize = 4096;
    /// How often a purge is repeated, after 1, 2 and 4 seconds.
    const REPEATS: u32 = 3;
    /// When it is repeated for the last time, after it was sent.
    pub(super) const LAST_REPEAT: Duration = Duration::from_secs((1 << Self::REPEATS) - 1);

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Wrong ids after which the right one is taken for a guess. Some stations count theirs from 1. One at random is not
/// found in so few; if they made it worthless, anyone could keep a station that has another address now from saying so.
const fn most_guesses(id: u32) -> u16 {
    if id <= u16::MAX as u32 { 3 } else { u16::MAX }
}

impl Tunnel {
    /// A Purge Request for us came.
    pub(super) fn purge_request(&mut self, cx: &mut Context<'_>, source: IpAddr, packet: Packet) {
        let Body::PurgeRequest(clients) = &packet.body else { return };
        for cie in &clients.cies {
            let Some(protocol) = cie.protocol.or(packet.source_protocol) else { continue };
            let family = IpFamily::of(protocol);
            let prefix = cie.prefix(family).and_then(|length| IpNet::new(protocol, length).ok());
            let Some(prefix) = prefix.map(|prefix| prefix.trunc()) else { continue };
            let mut matched = false;
            if prefix.prefix_len() == family.host_prefix() {
                matched = self.purge_binding(cx, source, &packet, protocol, cie, clients.request_id);
            }
            matched |= self.purge_shortcuts(cx, source, &packet, prefix);
            if !matched {
                self.counters.count(Fault::PurgeRefused);
            }
        }
        if packet.flags.contains(Flags::PURGE_NO_REPLY) {
            return;
        }
        // The reply comes even if there was nothing to forget: then it is forgotten all the same.
        let Some(mut reply) = packet.into_reply() else { return };
        self.sign_reply(&mut reply);
        self.send(cx, source, reply);
    }

    /// Whether a purge is its owner's: it comes from where the entry leads. Others may be behind the same NAT address,
    /// so it also has to say that it is the station, or be from the address that the station has there.
    fn is_by_owner(&self, source: IpAddr, packet: &Packet, protocol: IpAddr) -> bool {
        self.cache.get(&protocol).is_some_and(|Binding { offer, .. }| {
            let is_the_station = packet.source_protocol == Some(protocol)
                || packet.source_nbma.is_none_or(|nbma| nbma == offer.claimed)
                // An earlier agent knew.
                || offer.kind == Kind::Adopted;
            offer.nbma == source && is_the_station
        })
    }

    /// Takes an entry back, if the purge comes from its owner, from somebody who knows the registration's id, or
    /// from a server of ours. Whether it did.
    fn purge_binding(
        &mut self,
        cx: &mut Context<'_>,
        source: IpAddr,
        packet: &Packet,
        protocol: IpAddr,
        cie: &Cie,
        request_id: u32,
    ) -> bool {
        let is_entitled = self.is_server(source) || self.is_by_owner(source, packet, protocol);
        let Some(binding) = self.cache.get_mut(&protocol) else { return false };
        let (kind, nbma) = (binding.offer.kind, binding.offer.nbma);
        let registered = kind == Kind::Registered;
        // An NBMA address in the purge narrows it to the binding with that address.
        let other = cie.nbma.is_some_and(|named| named != nbma && named != binding.offer.claimed);
        let removable = matches!(kind, Kind::Seen | Kind::Adopted | Kind::Cached | Kind::Registered);
        if other || !removable {
            return false;
        }
        if !is_entitled {
            if !registered {
                return false;
            }
            if binding.offer.request_id != request_id || binding.guesses >= most_guesses(request_id) {
                binding.guesses = binding.guesses.saturating_add(1);
                return false;
            }
        }
        if registered {
            self.remove(cx, protocol);
            self.report(cx, EventKind::Deregistered { protocol, nbma });
            self.purge_requesters(cx, IpNet::from(protocol));
        } else {
            self.fall_back(cx, protocol);
            if self.config.resolve && self.cache.contains_key(&protocol) {
                // The server carries it now. Most likely it is somewhere else, so ask.
                self.resolve_next_hop(cx, protocol);
            }
        }
        true
    }

    /// Takes back the shortcuts that a purge of `prefix` touches, if it comes from their egress or a server.
    fn purge_shortcuts(
        &mut self,
        cx: &mut Context<'_>,
        source: IpAddr,
        packet: &Packet,
        prefix: IpNet,
    ) -> bool {
        let by_server = self.is_server(source);
        let may = |tunnel: &Self, via: IpAddr| by_server || tunnel.is_by_owner(source, packet, via);
        let mut touched: Vec<_> =
            self.shortcuts.within(prefix).map(|(held, shortcut)| (held, shortcut.via)).collect();
        // One that is wider than what is purged is not true any more either.
        if let Some((held, shortcut)) = self.shortcuts.covering(prefix.addr())
            && held.contains(&prefix)
            && held != prefix
        {
            touched.push((held, shortcut.via));
        }
        let mut matched = false;
        for (held, via) in touched {
            if may(self, via) {
                self.remove_shortcut(cx, held, Reason::Purged);
                self.purge_requesters(cx, held);
                self.leave_next_hop(cx, via);
                matched = true;
            }
        }
        matched
    }

    /// The egress of a shortcut takes it back, and soon takes no more from us. What we send to itself goes by the
    /// server, unless another shortcut of it is still good.
    fn leave_next_hop(&mut self, cx: &mut Context<'_>, via: IpAddr) {
        let kind = self.cache.get(&via).map(|binding| binding.offer.kind);
        if matches!(kind, Some(Kind::Adopted | Kind::Cached)) && !self.shortcuts.uses(via) {
            self.fall_back(cx, via);
        }
    }

    /// A Purge Reply for us came.
    pub(super) fn purge_reply(&mut self, packet: &Packet) {
        let Some(clients) = packet.body.clients() else { return };
        if self.purges.0.remove(&clients.request_id).is_some() {
            self.timers.clear(Subject::Purge(clients.request_id));
        } else {
            self.counters.count(Fault::UnexpectedReply);
        }
    }

    /// Tells those who were told about a prefix that it is not true any more.
    pub(super) fn purge_requesters(&mut self, cx: &mut Context<'_>, prefix: IpNet) {
        for (requester, nbma) in self.requesters.of(prefix) {
            self.purge_requester(cx, prefix, requester, nbma);
        }
    }

    /// Tells one of them.
    pub(super) fn purge_requester(
        &mut self,
        cx: &mut Context<'_>,
        prefix: IpNet,
        requester: IpAddr,
        nbma: IpAddr,
    ) {
        self.send_purge(cx, prefix, requester, nbma, false);
        self.withdraw(cx, prefix, requester);
    }

    /// The same for everything anybody was told, because we are somewhere else now. The server brings it: they would
    /// not take it from an address they do not know us by.
    pub(super) fn purge_all_requesters(&mut self, cx: &mut Context<'_>) {
        let server = self.relay(None);
        for prefix in self.requesters.prefixes() {
            for (requester, nbma) in self.requesters.of(prefix) {
                self.send_purge(cx, prefix, requester, server.unwrap_or(nbma), false);
                self.withdraw(cx, prefix, requester);
            }
        }
    }

    /// Sends a Purge Request to who was told. Unless it is the last word, it is repeated until answered.
    fn send_purge(
        &mut self,
        cx: &mut Context<'_>,
        prefix: IpNet,
        requester: IpAddr,
        to: IpAddr,
        last_word: bool,
    ) {
        let mut request_id = self.next_request_id();
        while self.purges.0.contains_key(&request_id) {
            request_id = request_id.wrapping_add(1);
        }
        let cie = Cie {
            prefix_length: prefix.prefix_len(),
            mtu: self.config.mtu,
            protocol: Some(prefix.addr()),
            ..Cie::default()
        };
        let body = Body::PurgeRequest(Clients { request_id, cies: vec![cie] });
        let once = last_word || self.purges.0.len() >= Purges::MOST;
        let flags = if once { Flags::PURGE_NO_REPLY } else { Flags::default() };
        let packet = self.request(requester, body, flags, Vec::new());
        if !once {
            let next = cx.now + Duration::from_secs(1);
            self.timers.set(Subject::Purge(request_id), next);
            self.purges.0.insert(request_id, Pending { to, packet: packet.clone(), repeats: 0, next });
        }
        self.send(cx, to, packet);
    }

    /// The timer of a purge fired: repeat it or give up.
    pub(super) fn purge_due(&mut self, cx: &mut Context<'_>, id: u32) {
        let Some(pending) = self.purges.0.get_mut(&id) else { return };
        if pending.next > cx.now {
            let next = pending.next;
            return self.timers.set(Subject::Purge(id), next);
        }
        if pending.repeats == Purges::REPEATS {
            self.purges.0.remove(&id);
            return;
        }
        pending.repeats += 1;
        pending.next = cx.now + Duration::from_secs(1 << pending.repeats);
        let (to, packet, next) = (pending.to, pending.packet.clone(), pending.next);
        self.timers.set(Subject::Purge(id), next);
        self.send(cx, to, packet);
    }

    /// The agent stops: everyone is told, then everything is taken down, routes first.
    pub(super) fn shut_down(&mut self, cx: &mut Context<'_>) {
        for index in 0..self.servers.len() {
            if self.servers[index].state == NhsState::Up {
                self.purge_own_registration(cx, index, None);
            }
        }
        for prefix in self.requesters.prefixes() {
            for (requester, nbma) in self.requesters.of(prefix) {
                self.send_purge(cx, prefix, requester, nbma, true);
            }
        }
        let shortcuts: Vec<_> = self.shortcuts.iter().map(|(prefix, _)| prefix).collect();
        for prefix in shortcuts {
            self.remove_shortcut(cx, prefix, Reason::Shutdown);
        }
        let entries: Vec<_> = self.cache.keys().copied().collect();
        for protocol in entries {
            self.remove(cx, protocol);
        }
        for (prefix, requester) in self.requesters.all() {
            self.forget_requester(cx, prefix, requester);
        }
        for server in &self.servers {
            let asked = server.config.nbma;
            for nbma in server.answers_from.into_iter().chain(server.answered_from).chain([asked]) {
                self.peers.release(nbma, User::Server(server.id), cx.out);
            }
        }
        for nbma in self.config.multicast.fixed.clone() {
            self.peers.release(nbma, User::Multicast, cx.out);
        }
        self.purges = Rare::default();
        self.drop_resolutions();
        self.negatives.clear();
        self.timers.clear_all();
    }
}
