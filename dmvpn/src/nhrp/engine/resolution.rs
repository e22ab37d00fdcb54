//! Resolution Requests of ours and what comes back (RFC 2332 5.2.1, 5.2.2).
//!
//! A next hop without an entry is relayed by the server at once and asked for at the same time, so nothing waits and
//! nothing is lost. The answer moves the neighbour entry to the direct address.

use std::{cmp::Reverse, net::IpAddr, time::Duration};

use super::{
    Action, EventKind, Fault, Route, Table, Time,
    cache::{Installed, Kind, Offer},
    message::is_link_local,
    ordered_map::OrderedMap,
    rare::{Empty, Rare},
    timers::Subject,
    tunnel::{Context, Tunnel},
};
use crate::nhrp::wire::{Body, Cie, CieCode, Clients, ErrorCode, ExtensionKind, Flags, IpFamily, Packet};

/// Seconds to wait after the request and after each repetition; after the last one we give up. FRR's numbers.
const PATIENCE: [u64; 7] = [1, 2, 4, 7, 7, 7, 2];

/// Resolutions that wait for their answer.
#[derive(Debug, Default)]
pub(super) struct Resolutions {
    by_destination: OrderedMap<IpAddr, Resolution>,
    by_id: OrderedMap<u32, IpAddr>,
    /// How many of them each NBMA address caused by its indications.
    causes: OrderedMap<IpAddr, usize>,
}

impl Empty for Resolutions {
    const EMPTY: &'static Self =
        &Self { by_destination: OrderedMap::new(), by_id: OrderedMap::new(), causes: OrderedMap::new() };
}

/// Why an address is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It is a next hop on the link (Phase 2).
    NextHop,
    /// Traffic for it should take a shortcut (Phase 3).
    Shortcut,
}

#[derive(Debug)]
struct Resolution {
    id: u32,
    purpose: Purpose,
    started: Time,
    /// Requests sent.
    attempts: usize,
    next: Time,
    /// Whom we asked last.
    asked: IpAddr,
    /// Whose indication made us ask; `None`: our own need.
    cause: Option<IpAddr>,
}

/// What a Resolution Reply says, checked.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    pub(super) prefix_length: u8,
    pub(super) protocol: IpAddr,
    pub(super) nbma: IpAddr,
    pub(super) claimed: IpAddr,
    pub(super) holding: Duration,
    pub(super) mtu: u16,
    pub(super) unique: bool,
}

impl Resolved {
    pub(super) const fn offer(&self) -> Offer {
        Offer {
            claimed: self.claimed,
            unique: self.unique,
            mtu: self.mtu,
            ..Offer::new(Kind::Cached, self.nbma, Some(self.holding))
        }
    }
}

impl Resolutions {
    pub(super) fn len(&self) -> usize {
        self.by_destination.len()
    }

    pub(super) fn contains(&self, destination: IpAddr) -> bool {
        self.by_destination.contains_key(&destination)
    }

    /// Destinations of pending shortcuts and when they were first asked for.
    pub(super) fn shortcuts(&self) -> impl Iterator<Item = (IpAddr, Time)> + '_ {
        self.by_destination
            .iter()
            .filter(|(_, resolution)| resolution.purpose == Purpose::Shortcut)
            .map(|(&destination, resolution)| (destination, resolution.started))
    }

    fn remove(&mut self, destination: IpAddr) -> Option<Resolution> {
        let resolution = self.by_destination.remove(&destination)?;
        self.by_id.remove(&resolution.id);
        if let Some(cause) = resolution.cause
            && let Some(count) = self.causes.get_mut(&cause)
        {
            *count -= 1;
            if *count == 0 {
                self.causes.remove(&cause);
            }
        }
        Some(resolution)
    }
}

impl Tunnel {
    /// The kernel wants to send to a next hop that has no neighbour entry.
    pub(super) fn unknown_next_hop(&mut self, cx: &mut Context<'_>, next_hop: IpAddr) {
        if IpFamily::of(next_hop) != IpFamily::of(self.address()) || self.is_own(next_hop) {
            return;
        }
        if let Some(binding) = self.cache.get(&next_hop) {
            // The entry got lost in the kernel, or the question crossed our answer.
            let (tunnel, nbma) = (self.config.id, binding.offer.nbma);
            return cx.out.push(Action::SetNeighbour { tunnel, protocol: next_hop, nbma });
        }
        if self.negatives.contains_key(&next_hop) || !self.is_client_address(next_hop) {
            return;
        }
        let Some(server) = self.relay(None) else {
            // A hub knows its clients; there is nobody to ask.
            return self.cache_negative(cx, next_hop);
        };
        if is_link_local(next_hop) {
            // Nobody passes on what goes to a link-local address (RFC 4291 2.5.6): no server can be a relay. The
            // kernel keeps the first packets until there is an answer.
            return if self.config.resolve {
                self.resolve_next_hop(cx, next_hop);
            } else {
                self.cache_negative(cx, next_hop);
            };
        }
        let time =
            if self.config.resolve { self.config.policy.negative_time } else { self.config.holding_time };
        if self.install(cx, next_hop, Offer::new(Kind::Relay, server, Some(time))) != Installed::Full
            && self.config.resolve
        {
            self.resolve_next_hop(cx, next_hop);
        }
    }

    /// Asks where a next hop is.
    pub(super) fn resolve_next_hop(&mut self, cx: &mut Context<'_>, next_hop: IpAddr) {
        self.resolve(cx, next_hop, Purpose::NextHop);
    }

    /// Resolves everything anew, because we are somewhere else now: those we send to do not know us there, and drop
    /// what we send, until they are asked again. The server carries their traffic meanwhile.
    pub(super) fn resolve_anew(&mut self, cx: &mut Context<'_>) {
        if self.relay(None).is_none() {
            // Whoever is known registered with us, and finds us again by itself or not at all.
            return;
        }
        let resolved = self
            .cache
            .iter()
            .filter(|(_, binding)| matches!(binding.offer.kind, Kind::Adopted | Kind::Cached));
        let resolved: Vec<_> = resolved.map(|(&protocol, _)| protocol).collect();
        for next_hop in resolved {
            self.resolve_again(cx, next_hop);
        }
    }

    /// Lets the server carry the traffic for a next hop that is somewhere else now. If there is any, asks where it
    /// is, or what is behind it.
    pub(super) fn resolve_again(&mut self, cx: &mut Context<'_>, next_hop: IpAddr) {
        let used = self.in_use(cx, next_hop);
        let shortcuts = self.shortcuts.via(next_hop).filter_map(|prefix| self.shortcuts.get(prefix));
        let behind: Vec<_> = shortcuts.map(|shortcut| shortcut.destination).collect();
        self.fall_back(cx, next_hop);
        if !used {
            return;
        }
        if behind.is_empty() {
            self.resolve_next_hop(cx, next_hop);
        }
        for destination in behind {
            self.resolve(cx, destination, Purpose::Shortcut);
        }
    }

    /// Asks where an address is, unless it is being asked for already.
    pub(super) fn resolve(&mut self, cx: &mut Context<'_>, destination: IpAddr, purpose: Purpose) {
        self.resolve_because_of(cx, destination, purpose, None);
    }

    /// The same because a peer said that we should: one that is no server of ours may cause a quarter of what there
    /// is room for.
    pub(super) fn resolve_because_of(
        &mut self,
        cx: &mut Context<'_>,
        destination: IpAddr,
        purpose: Purpose,
        cause: Option<IpAddr>,
    ) {
        if self.resolutions.contains(destination) {
            return;
        }
        let cause = cause.filter(|&cause| !self.is_server(cause));
        if let Some(cause) = cause {
            let caused = self.resolutions.causes.get(&cause).copied().unwrap_or(0);
            if caused >= self.config.limits.pending_resolutions.div_ceil(4) {
                return self.table_full(cx, Table::ResolutionsOf(cause));
            }
        }
        if self.resolutions.len() >= self.config.limits.pending_resolutions {
            return self.table_full(cx, Table::Resolutions);
        }
        let mut id = self.next_request_id();
        while self.resolutions.by_id.contains_key(&id) {
            id = id.wrapping_add(1);
        }
        if let Some(cause) = cause {
            *self.resolutions.causes.get_or_insert_with(cause, || 0) += 1;
        }
        let (now, asked) = (cx.now, self.config.nbma);
        let resolution = Resolution { id, purpose, started: now, attempts: 0, next: now, asked, cause };
        self.resolutions.by_id.insert(id, destination);
        self.resolutions.by_destination.insert(destination, resolution);
        self.ask(cx, destination);
    }

    /// Sends the request, for the first time or again.
    fn ask(&mut self, cx: &mut Context<'_>, destination: IpAddr) {
        let Some(&Resolution { id, purpose, attempts, .. }) =
            self.resolutions.by_destination.get(&destination)
        else {
            return;
        };
        let (Some(&patience), Some(server)) =
            (PATIENCE.get(attempts), self.whom_to_ask(cx, destination, purpose))
        else {
            return self.resolution_failed(cx, destination);
        };
        let next = cx.now + Duration::from_secs(patience);
        if let Some(resolution) = self.resolutions.by_destination.get_mut(&destination) {
            resolution.attempts += 1;
            resolution.next = next;
            resolution.asked = server;
        }
        self.timers.set(Subject::Resolution(destination), next);

        // No prefix length: the answer may be as wide as it likes; we narrow it.
        let cie = Cie { prefix_length: 0, nbma: None, protocol: None, ..self.own_cie() };
        let body = Body::ResolutionRequest(Clients { request_id: id, cies: vec![cie] });
        let flags = Flags::RESOLUTION_ROUTER
            | Flags::RESOLUTION_AUTHORITATIVE
            | Flags::RESOLUTION_SOURCE_STABLE
            | Flags::NAT;
        let nat = self.public().map(|public| self.nat_cie(public, self.address_towards(destination)));
        let packet = self.request(destination, body, flags, nat.into_iter().collect());
        self.send(cx, server, packet);
    }

    /// The server for a next hop; for a shortcut the node on the routed path, which is where the traffic goes now.
    fn whom_to_ask(&self, cx: &Context<'_>, destination: IpAddr, purpose: Purpose) -> Option<IpAddr> {
        if purpose == Purpose::Shortcut
            && let Route::Tunnel { tunnel, next_hop, .. } = cx.environment.route(destination)
            && tunnel == self.config.id
            && let Some(binding) = self.cache.get(&next_hop)
        {
            return Some(binding.offer.nbma);
        }
        self.relay(None)
    }

    /// The timer of a resolution fired: ask again or give up.
    pub(super) fn resolution_due(&mut self, cx: &mut Context<'_>, destination: IpAddr) {
        let Some(resolution) = self.resolutions.by_destination.get(&destination) else { return };
        if resolution.next <= cx.now {
            self.ask(cx, destination);
        } else {
            self.timers.set(Subject::Resolution(destination), resolution.next);
        }
    }

    /// Nobody answered, or with a refusal. What is installed stays until it expires; if nothing is, nobody is asked
    /// again for a while.
    fn resolution_failed(&mut self, cx: &mut Context<'_>, destination: IpAddr) {
        if self.resolutions.remove(destination).is_none() {
            return;
        }
        self.timers.clear(Subject::Resolution(destination));
        self.counters.count(Fault::ResolutionFailed);
        if let Some(binding) = self.cache.get_mut(&destination) {
            if binding.offer.kind == Kind::Relay {
                binding.failed = true;
                let until = cx.now + self.config.policy.negative_time;
                binding.expires = Some(until);
                self.timers.set(Subject::Binding(destination), until);
                self.report_bounded(cx, EventKind::Unresolved { destination });
            }
        } else if self.shortcuts.covering(destination).is_none() {
            self.cache_negative(cx, destination);
            self.report_bounded(cx, EventKind::Unresolved { destination });
        }
    }

    /// Most addresses to remember as unresolved: no more than can be asked for in that time is worth it.
    pub(super) fn most_negatives(&self) -> usize {
        self.config.limits.pending_resolutions.saturating_mul(4)
    }

    /// Remembers not to ask for an address for a while.
    pub(super) fn cache_negative(&mut self, cx: &mut Context<'_>, address: IpAddr) {
        if self.negatives.len() < self.most_negatives() {
            let until = cx.now + self.config.policy.negative_time;
            self.negatives.insert(address, until);
            self.timers.set(Subject::Negative(address), until);
        }
    }

    /// The timer of an unresolved address fired: it may be asked for again.
    pub(super) fn negative_due(&mut self, cx: &mut Context<'_>, address: IpAddr) {
        match self.negatives.get(&address) {
            Some(&until) if until > cx.now => self.timers.set(Subject::Negative(address), until),
            _ => {
                self.negatives.remove(&address);
            }
        }
    }

    /// A Resolution Reply to a request of ours came.
    pub(super) fn resolution_reply(&mut self, cx: &mut Context<'_>, source: IpAddr, packet: &Packet) {
        let Body::ResolutionReply(clients) = &packet.body else { return };
        let Some(&destination) = self.resolutions.by_id.get(&clients.request_id) else {
            self.counters.count(Fault::UnexpectedReply);
            // A late one is nothing to complain about (RFC 2332 5.2.7 wants an error for what we never asked).
            if !self.was_ours(clients.request_id) {
                self.send_error(cx, source, packet, ErrorCode::INVALID_RESOLUTION_REPLY);
            }
            return;
        };
        if packet.destination_protocol.is_some_and(|named| named != destination) {
            return self.counters.count(Fault::UnexpectedReply);
        }
        let mut accepted: Vec<_> = clients.cies.iter().filter(|cie| cie.code == CieCode::SUCCESS).collect();
        if accepted.is_empty() {
            return self.resolution_refused(cx, destination);
        }
        // The highest preference first (RFC 2332 5.2.0.1); of equals the order of the reply.
        accepted.sort_by_key(|cie| Reverse(cie.preference));
        let believed = accepted.iter().filter_map(|cie| self.check_reply(source, destination, cie, packet));
        let mut answers: Vec<_> = believed.collect();
        if answers.is_empty() {
            return self.counters.count(Fault::UnexpectedReply);
        }
        // Behind the same NAT as we are, which would not bring our packets back in. The server relays them.
        answers.retain(|answer| Some(answer.nbma) != self.public());
        let Some(best) = answers.first() else {
            return self.resolution_refused(cx, destination);
        };
        let Some(resolution) = self.resolutions.remove(destination) else { return };
        self.timers.clear(Subject::Resolution(destination));
        match resolution.purpose {
            Purpose::NextHop => self.next_hop_resolved(cx, destination, best),
            Purpose::Shortcut => self.shortcut_resolved(cx, destination, &answers),
        }
    }

    /// Whether a reply can be true, and what it says.
    fn check_reply(
        &self,
        source: IpAddr,
        destination: IpAddr,
        cie: &Cie,
        packet: &Packet,
    ) -> Option<Resolved> {
        let protocol = cie.protocol.unwrap_or(destination);
        let claimed = cie.nbma?;
        let prefix_length = cie.prefix(IpFamily::of(destination))?;
        let seen = packet.records(ExtensionKind::NAT_ADDRESS).into_iter().flatten();
        let seen = seen.filter(|entry| entry.protocol == Some(protocol)).find_map(|entry| entry.nbma);
        let reply_was_relayed =
            packet.records(ExtensionKind::REVERSE_TRANSIT).is_some_and(|records| !records.is_empty());
        let asked = self.resolutions.by_destination.get(&destination).map(|resolution| resolution.asked);
        let nbma = match seen {
            Some(seen) => seen,
            // It came straight from the egress, which does not know that it is behind a NAT, or does not say so.
            None if !reply_was_relayed && !self.peers.contains(source) && Some(source) != asked => source,
            None => claimed,
        };
        // Whom we asked, somebody we know, or the one that the reply is about: nobody else has a say.
        let from_expected = Some(source) == asked || self.peers.contains(source) || source == nbma;
        let sane = IpFamily::of(nbma) == IpFamily::of(self.config.nbma)
            && nbma != self.config.nbma
            && claimed != self.config.nbma
            && !is_group_or_unspecified(nbma)
            && IpFamily::of(protocol) == IpFamily::of(destination)
            && !self.is_own(protocol)
            && cie.holding_time > 0;
        (from_expected && sane).then(|| Resolved {
            prefix_length,
            protocol,
            nbma,
            claimed,
            holding: Duration::from_secs(u64::from(cie.holding_time)),
            mtu: cie.mtu,
            unique: packet.flags.contains(Flags::RESOLUTION_UNIQUE),
        })
    }

    fn next_hop_resolved(&mut self, cx: &mut Context<'_>, next_hop: IpAddr, resolved: &Resolved) {
        let nbma = resolved.nbma;
        match self.install(cx, next_hop, resolved.offer()) {
            Installed::New | Installed::Moved { .. } => {
                self.report(cx, EventKind::Resolved { protocol: next_hop, nbma });
            }
            Installed::Refreshed | Installed::Kept | Installed::Full => {}
        }
    }

    /// The answer is that there is nothing, or that we may not know.
    fn resolution_refused(&mut self, cx: &mut Context<'_>, destination: IpAddr) {
        let next_hop = self.cache.get(&destination).map(|binding| binding.offer.kind);
        self.resolution_failed(cx, destination);
        if next_hop == Some(Kind::Cached) {
            // It was there, and is not any more.
            self.fall_back(cx, destination);
        } else {
            self.shortcut_refused(cx, destination);
        }
    }

    /// A peer answered a Resolution Request of ours with an Error Indication.
    pub(super) fn resolution_error(&mut self, cx: &mut Context<'_>, request_id: u32) {
        if let Some(&destination) = self.resolutions.by_id.get(&request_id) {
            self.resolution_refused(cx, destination);
        }
    }

    /// Forgets everything that is asked for.
    pub(super) fn drop_resolutions(&mut self) {
        self.resolutions = Rare::default();
    }
}

fn is_group_or_unspecified(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast(),
    }
}
