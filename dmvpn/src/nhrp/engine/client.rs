//! Registration with next hop servers (RFC 2332 5.2.3, 5.2.4): the client's side.

use std::{net::IpAddr, time::Duration};

use super::{
    EventKind, Fault, MulticastServers, Nhs, NhsState, Time,
    announce::Announced,
    cache::{Kind, Offer},
    peers::User,
    rare::Rare,
    servers::ServerId,
    timers::Subject,
    tunnel::{Context, Tunnel},
};
use crate::nhrp::wire::{Body, Cie, CieCode, Clients, ExtensionKind, Flags, Packet};

/// Unanswered requests in a row that make a server count as gone.
pub(super) const UNANSWERED: u32 = 3;

/// A next hop server as we see it.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) id: ServerId,
    pub(super) config: Nhs,
    /// Its protocol address, configured or learnt.
    pub(super) protocol: Option<IpAddr>,
    /// Where it answers from, if that is not where we ask: it shares that address with others (anycast).
    pub(super) answers_from: Option<IpAddr>,
    /// Where it answered from before: another hub, which has our registration until that expires. It may send to us.
    pub(super) answered_from: Option<IpAddr>,
    pub(super) state: NhsState,
    pub(super) since: Time,
    /// A request waits for its reply.
    waiting: bool,
    /// Requests since the last reply.
    pub(super) unanswered: u32,
    /// When to send the next request.
    pub(super) next: Option<Time>,
    /// Its link-local address, learnt from it.
    pub(super) link_local: Option<IpAddr>,
    /// Requests with our link-local address since its last reply to one.
    pub(super) link_local_attempts: u32,
    /// What else it was told of.
    pub(super) announced: Rare<Announced>,
    /// Why it refused us the last time, if it did.
    refused: Option<CieCode>,
    /// Our address as it sees it, when we are behind NAT.
    pub(super) public: Option<IpAddr>,
    pub(super) requests_sent: u64,
    pub(super) requests_failed: u64,
    pub(super) replies_received: u64,
    pub(super) last_reply: Option<Time>,
}

impl Server {
    pub(super) fn new(id: ServerId, config: Nhs, now: Time) -> Self {
        Self {
            id,
            protocol: config.protocol,
            answers_from: None,
            answered_from: None,
            config,
            state: NhsState::Standby,
            since: now,
            waiting: false,
            unanswered: 0,
            next: None,
            link_local: None,
            link_local_attempts: 0,
            announced: Rare::default(),
            refused: None,
            public: None,
            requests_sent: 0,
            requests_failed: 0,
            replies_received: 0,
            last_reply: None,
        }
    }

    /// Where traffic to it goes. Registrations go where the operator said.
    pub(super) fn nbma(&self) -> IpAddr {
        self.answers_from.unwrap_or(self.config.nbma)
    }

    /// Forgets the exchange with it.
    pub(super) fn stand_by(&mut self) {
        self.waiting = false;
        self.unanswered = 0;
        self.refused = None;
        self.public = None;
        self.announced = Rare::default();
        self.next = None;
    }

    /// Whether another server should do its work.
    pub(super) const fn has_failed(&self) -> bool {
        self.unanswered >= UNANSWERED || self.refused.is_some()
    }
}

/// Time to wait for the reply to the n-th request in a row, before jitter: as long as Cisco waits.
fn patience(unanswered: u32) -> Duration {
    Duration::from_secs(1 << unanswered.clamp(1, 6))
}

impl Tunnel {
    /// Changes a server's state and what follows from it.
    pub(super) fn set_server_state(&mut self, cx: &mut Context<'_>, index: usize, state: NhsState) {
        let server = &mut self.servers[index];
        let old = std::mem::replace(&mut server.state, state);
        if old == state {
            return;
        }
        server.since = cx.now;
        let nbma = server.nbma();
        if self.config.multicast.servers == MulticastServers::Active {
            if state == NhsState::Up {
                self.peers.start_copies(nbma, cx.out);
            } else if old == NhsState::Up {
                self.peers.stop_copies(nbma, cx.out);
            }
        }
        if state == NhsState::Up || old == NhsState::Up {
            self.move_relays(cx);
        }
        let server = &mut self.servers[index];
        if state != NhsState::Up
            && server.config.protocol.is_none()
            && let Some(learnt) = server.protocol.take()
        {
            // What was learnt from a server that is gone may be true of another one by now.
            self.remove(cx, learnt);
        }
        if state != NhsState::Up
            && let Some(learnt) = self.servers[index].link_local.take()
        {
            self.remove(cx, learnt);
        }
        if state != NhsState::Up {
            let asked = self.servers[index].config.nbma;
            self.server_answers_from(cx, index, asked);
        }
    }

    /// Points the traffic that goes by a server to the server that is best now.
    pub(super) fn move_relays(&mut self, cx: &mut Context<'_>) {
        let Some(nbma) = self.relay(None) else { return };
        let stale =
            |binding: &super::cache::Binding| binding.offer.kind == Kind::Relay && binding.offer.nbma != nbma;
        let moved: Vec<_> =
            self.cache.iter().filter(|(_, binding)| stale(binding)).map(|(&protocol, _)| protocol).collect();
        for protocol in moved {
            let negative_time = Some(self.config.policy.negative_time);
            self.install(cx, protocol, Offer::new(Kind::Relay, nbma, negative_time));
        }
    }

    /// The server that takes what we have no better way for: one that answers if there is one, the best of those.
    pub(super) fn relay(&self, exclude: Option<IpAddr>) -> Option<IpAddr> {
        let candidates = self.servers.iter().filter(|server| Some(server.nbma()) != exclude);
        // `min_by_key` takes the first of equals: the operator's order.
        let best = candidates.min_by_key(|server| {
            let rank = match server.state {
                NhsState::Up => 0,
                NhsState::Probing => 1,
                NhsState::Standby => 2,
            };
            (rank, server.config.priority)
        });
        best.map(Server::nbma)
    }

    /// Whether an NBMA address is that of a server of ours.
    pub(super) fn is_server(&self, nbma: IpAddr) -> bool {
        self.servers.iter().any(|server| server.config.nbma == nbma || server.answers_from == Some(nbma))
    }

    /// Our address as others see it, if a server told us that we are behind NAT.
    pub(super) fn public(&self) -> Option<IpAddr> {
        self.servers.iter().find_map(|server| server.public)
    }

    /// Sends a Registration Request.
    pub(super) fn register(&mut self, cx: &mut Context<'_>, index: usize) {
        let server = &mut self.servers[index];
        if server.waiting {
            server.requests_failed += 1;
        }
        server.waiting = true;
        server.unanswered = server.unanswered.saturating_add(1);
        server.requests_sent += 1;
        let attempt = server.unanswered;
        let nbma = server.config.nbma;
        // A server whose address is not known is asked for by our own address (RFC 2332 5.2.3, Cisco and FRR). A
        // server that runs OpenNHRP does not understand that; it takes the subnet's broadcast address, which comes
        // as every other attempt once the first ones failed.
        let broadcast = if self.config.host_routes() { None } else { self.broadcast() };
        let destination = match (self.servers[index].protocol, broadcast) {
            (Some(protocol), _) => protocol,
            (None, Some(broadcast)) if attempt > UNANSWERED && attempt.is_multiple_of(2) => broadcast,
            (None, _) => self.address(),
        };

        // The server's addresses as we see them; Cisco leaves the protocol address zero while it is unknown.
        let unknown = match self.address() {
            IpAddr::V4(_) => IpAddr::from([0; 4]),
            IpAddr::V6(_) => IpAddr::from([0; 16]),
        };
        let nat = self.nat_cie(nbma, self.servers[index].protocol.unwrap_or(unknown));
        let cie = Cie { nbma: None, protocol: None, ..self.own_cie() };
        let body = Body::RegistrationRequest(Clients { request_id: self.ids.registration, cies: vec![cie] });
        let unique = if self.config.unique { Flags::REGISTRATION_UNIQUE } else { Flags::default() };
        let packet = self.request(destination, body, unique | Flags::NAT, vec![nat]);
        self.send(cx, nbma, packet);
        self.register_link_local(cx, index);
        let wait = self.random.jitter(patience(attempt), 75);
        self.plan_registration(cx, index, wait);
    }

    pub(super) fn plan_registration(&mut self, cx: &Context<'_>, index: usize, wait: Duration) {
        let at = cx.now + wait;
        self.servers[index].next = Some(at);
        self.timers.set(Subject::Server(self.servers[index].id), at);
    }

    /// The timer of a server fired: renew the registration, or give up waiting for the reply.
    pub(super) fn server_due(&mut self, cx: &mut Context<'_>, id: ServerId) {
        let Some(index) = self.servers.iter().position(|server| server.id == id) else { return };
        let server = &self.servers[index];
        match server.next {
            Some(at) if at <= cx.now => {}
            Some(at) => return self.timers.set(Subject::Server(id), at),
            None => return,
        }
        let unanswered = server.unanswered;
        if server.waiting && unanswered == UNANSWERED {
            let nbma = server.config.nbma;
            self.report(cx, EventKind::NhsDown { nbma, unanswered });
            self.set_server_state(cx, index, NhsState::Probing);
            self.choose_servers(cx);
        }
        if self.servers[index].state != NhsState::Standby {
            self.register(cx, index);
        }
    }

    /// A Registration Reply came.
    pub(super) fn registration_reply(&mut self, cx: &mut Context<'_>, source: IpAddr, packet: &Packet) {
        let Body::RegistrationReply(Clients { request_id, cies }) = &packet.body else { return };
        if packet.source_protocol.is_some() && packet.source_protocol == self.link_local() {
            return self.link_local_reply(cx, source, packet);
        }
        if self.announcement_reply(cx, source, packet) {
            return;
        }
        let found = self.who_answers(source, packet);
        let Some(index) = found.filter(|_| *request_id == self.ids.registration) else {
            return self.counters.count(Fault::UnexpectedReply);
        };
        let server = &mut self.servers[index];
        server.waiting = false;
        server.unanswered = 0;
        server.replies_received += 1;
        server.last_reply = Some(cx.now);
        if let Some(code) = cies.iter().map(|cie| cie.code).find(|&code| code != CieCode::SUCCESS) {
            return self.registration_refused(cx, index, code);
        }
        server.refused = None;
        self.server_answers_from(cx, index, source);
        self.learn_public(cx, index, packet);
        self.learn_server(cx, index, packet);
        let Some(protocol) = self.servers[index].protocol else {
            // It accepted us, but did not say who it is. Ask again: the next reply may.
            let wait = self.random.jitter(patience(u32::MAX), 75);
            return self.plan_registration(cx, index, wait);
        };
        if self.servers[index].state != NhsState::Up {
            self.set_server_state(cx, index, NhsState::Up);
            self.report(cx, EventKind::NhsUp { protocol, nbma: source });
        }
        self.announce(cx, index);
        let server = &self.servers[index];
        let wait = if self.misses_link_local(index) {
            patience(server.link_local_attempts)
        } else if server.announced.misses_reply() {
            patience(server.announced.attempts)
        } else {
            self.config.registration_interval()
        };
        let wait = self.random.jitter(wait, 90);
        self.plan_registration(cx, index, wait);
        self.choose_servers(cx);
    }

    /// The server that a Registration Reply comes from. One that is asked at an address that it shares with others
    /// (anycast) may answer from its own: then the reply says by the NAT address extension, which is ours, where we
    /// asked; or it is the only one that we wait for.
    fn who_answers(&self, source: IpAddr, packet: &Packet) -> Option<usize> {
        let waiting = || (0..self.servers.len()).filter(|&index| self.servers[index].waiting);
        let at = |nbma| waiting().find(|&index| self.servers[index].config.nbma == nbma);
        let asked = packet.records(ExtensionKind::NAT_ADDRESS).and_then(|cies| cies.first()?.nbma);
        let only = || waiting().next().filter(|_| waiting().count() == 1 && asked.is_none());
        at(source).or_else(|| at(asked?)).or_else(only)
    }

    /// Traffic to a server goes where it answers from, so that one hub gets all of it.
    fn server_answers_from(&mut self, cx: &mut Context<'_>, index: usize, nbma: IpAddr) {
        let server = &mut self.servers[index];
        let (id, asked, before) = (server.id, server.config.nbma, server.nbma());
        if before == nbma {
            return;
        }
        server.answers_from = Some(nbma).filter(|&nbma| nbma != asked);
        // Where we ask it is always a peer.
        let earlier = std::mem::replace(&mut server.answered_from, Some(before).filter(|&at| at != asked));
        let known = server.protocol.into_iter().chain(server.link_local);
        let copies = match self.config.multicast.servers {
            MulticastServers::None => false,
            MulticastServers::Active => server.state == NhsState::Up,
            MulticastServers::All => true,
        };
        let known: Vec<_> = known.collect();
        self.peers.hold(nbma, User::Server(id), cx.now, cx.out);
        if copies {
            self.peers.start_copies(nbma, cx.out);
            self.peers.stop_copies(before, cx.out);
        }
        for protocol in known {
            self.install(cx, protocol, Offer::new(Kind::Nhs, nbma, None));
        }
        self.move_relays(cx);
        if let Some(earlier) = earlier.filter(|&earlier| earlier != nbma && earlier != before) {
            self.leave_peer(cx, earlier, User::Server(id));
        }
    }

    /// Learns the protocol address of a server that was configured without: it puts it in the place of ours.
    fn learn_server(&mut self, cx: &mut Context<'_>, index: usize, packet: &Packet) {
        if self.servers[index].config.protocol.is_some() {
            return;
        }
        let nbma = self.servers[index].nbma();
        let responder = packet.records(ExtensionKind::RESPONDER_ADDRESS);
        let responder = responder.and_then(|cies| cies.first()).and_then(|cie| cie.protocol);
        let named = [packet.destination_protocol, responder].into_iter().flatten();
        let Some(protocol) = named.into_iter().find(|&address| self.is_client_address(address)) else {
            return;
        };
        if self.servers[index].protocol == Some(protocol) {
            return;
        }
        if let Some(old) = self.servers[index].protocol.replace(protocol) {
            self.remove(cx, old);
        }
        self.install(cx, protocol, Offer::new(Kind::Nhs, nbma, None));
    }

    /// Learns whether there is a NAT between us and the server: then it adds our address as it sees it.
    fn learn_public(&mut self, cx: &mut Context<'_>, index: usize, packet: &Packet) {
        let seen = packet.records(ExtensionKind::NAT_ADDRESS).into_iter().flatten();
        let ours = self.address();
        let public = seen
            .filter(|cie| cie.protocol == Some(ours))
            .filter_map(|cie| cie.nbma)
            .find(|&nbma| nbma != self.config.nbma);
        let before = self.public();
        self.servers[index].public = public;
        let after = self.public();
        if before != after {
            self.report(cx, EventKind::Nat { public: after });
        }
    }

    /// A server does not want us.
    fn registration_refused(&mut self, cx: &mut Context<'_>, index: usize, code: CieCode) {
        let server = &mut self.servers[index];
        let nbma = server.config.nbma;
        server.requests_failed += 1;
        let repeated = server.refused.replace(code) == Some(code);
        if !repeated {
            self.report(cx, EventKind::NhsRefused { nbma, code });
        }
        self.set_server_state(cx, index, NhsState::Probing);
        if code == CieCode::ALREADY_REGISTERED {
            // Most likely it was us, from an address we had before: take that back (as OpenNHRP does) and try again.
            // Every time: the purge may get lost, and nothing else would let us in before that registration ends.
            self.purge_own_registration(cx, index, None);
        }
        let wait = if code == CieCode::ALREADY_REGISTERED && !repeated {
            Duration::from_secs(2)
        } else {
            self.random.jitter(Duration::from_mins(1), 50)
        };
        self.plan_registration(cx, index, wait);
        self.choose_servers(cx);
    }

    /// The tunnel source has another address, or the same one after it was gone: tell the servers at once.
    pub(super) fn local_nbma(&mut self, cx: &mut Context<'_>, nbma: IpAddr) {
        if self.config.nbma == nbma {
            // Nobody heard what was sent meanwhile; those who still count us in do not mind.
            for index in 0..self.servers.len() {
                if self.servers[index].state == NhsState::Probing {
                    self.register(cx, index);
                }
            }
            return;
        }
        let old = std::mem::replace(&mut self.config.nbma, nbma);
        for index in 0..self.servers.len() {
            if self.servers[index].state == NhsState::Standby {
                continue;
            }
            if self.config.unique {
                // Our own registration from the old address would be in the way.
                self.purge_own_registration(cx, index, Some(old));
            }
            self.servers[index].stand_by();
            self.register(cx, index);
        }
        // Those who were told the old address send there until they are told.
        self.purge_all_requesters(cx);
        self.resolve_anew(cx);
    }

    /// Asks a server to forget us, or only that we are at `from`: then it cannot hurt a new registration that it
    /// overtakes. The networks behind us go with our address.
    pub(super) fn purge_own_registration(
        &mut self,
        cx: &mut Context<'_>,
        index: usize,
        from: Option<IpAddr>,
    ) {
        let server = &self.servers[index];
        let to = |ours| (ours, server.protocol.unwrap_or(ours));
        let aliases = self.config.aliases.iter().copied().map(to);
        let link_local = self.link_local().zip(server.link_local);
        let all: Vec<_> = aliases.chain(std::iter::once(to(self.address()))).chain(link_local).collect();
        for registered in all {
            self.purge_address(cx, index, registered, from);
        }
    }

    /// The same for one address, and to which destination. No reply is wanted: nothing would follow from it.
    pub(super) fn purge_address(
        &mut self,
        cx: &mut Context<'_>,
        index: usize,
        (ours, destination): (IpAddr, IpAddr),
        from: Option<IpAddr>,
    ) {
        let nbma = self.servers[index].nbma();
        let cie = Cie {
            prefix_length: self.host_prefix(),
            // RFC 2332 5.2.5 wants 0, but a Huawei server does not answer that.
            mtu: self.config.mtu,
            nbma: from,
            protocol: Some(ours),
            ..Cie::default()
        };
        let body = Body::PurgeRequest(Clients { request_id: self.ids.registration, cies: vec![cie] });
        let packet = self.request(destination, body, Flags::PURGE_NO_REPLY, Vec::new());
        self.send(cx, nbma, packet);
    }
}
