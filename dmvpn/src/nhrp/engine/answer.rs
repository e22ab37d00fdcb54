//! Answers to Resolution Requests for what is here, or for a client of ours (RFC 2332 5.2.1, 5.2.2).
//!
//! The reply goes back the way the request came, not straight to who asked: so it gets through the asker's NAT, and
//! needs no encryption of its own. Cisco sends it straight when nothing is encrypted, FRR and OpenNHRP send it back; all
//! three accept it from either. The asker is made a peer before the reply leaves, because its first direct packet
//! follows at once.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{
    Fault,
    cache::{Binding, Kind, Offer},
    message::seconds,
    server::Origin,
    shortcut::Source,
    tunnel::{Context, Tunnel},
};
use crate::nhrp::wire::{Body, Cie, CieCode, ExtensionKind, Flags, Packet, Value};

/// Prefixes shorter than this are answered with the one host that was asked for: a default route is no statement
/// about where things are. FRR does not take shorter ones either.
pub(super) const SHORTEST_PREFIX: u8 = 8;

/// What is said about a destination.
struct Answer {
    prefix: IpNet,
    nbma: IpAddr,
    protocol: IpAddr,
    holding: u16,
    mtu: u16,
    unique: bool,
    /// Another address of the answered station, seen from outside a NAT.
    public: Option<IpAddr>,
}

impl Tunnel {
    /// Answers for what is here: our own address, or what `covering` leads to outside of the NHRP network.
    pub(super) fn answer_for_us(
        &mut self,
        cx: &mut Context<'_>,
        source: IpAddr,
        packet: Packet,
        covering: Option<IpNet>,
    ) {
        let Some(destination) = packet.destination_protocol else { return };
        let prefix = match covering {
            Some(prefix) => match self.summary(destination) {
                Some(summary) => summary,
                None if prefix.prefix_len() >= SHORTEST_PREFIX => prefix.trunc(),
                None => IpNet::from(destination),
            },
            None => IpNet::from(destination),
        };
        let answer = Answer {
            prefix,
            nbma: self.config.nbma,
            protocol: self.address_towards(destination),
            holding: seconds(self.config.holding_time),
            mtu: self.config.mtu,
            unique: true,
            public: self.public(),
        };
        self.answer(cx, source, packet, &answer);
    }

    /// The summary that the operator wants to be told of for a destination.
    fn summary(&self, destination: IpAddr) -> Option<IpNet> {
        let summaries = self.config.policy.summaries.iter().filter(|summary| summary.contains(&destination));
        summaries.max_by_key(|summary| summary.prefix_len()).copied()
    }

    /// Whether we answer for a client from its registration: of the destination, or of a network that it is in.
    pub(super) fn can_answer_for(&self, destination: IpAddr) -> bool {
        self.config.policy.answer_for_clients && self.registration_for(destination).is_some()
    }

    /// The registration that a destination is in: its prefix, the client, and what the client said of itself.
    fn registration_for(&self, destination: IpAddr) -> Option<(IpNet, IpAddr, &Binding)> {
        let registered = |client| self.cache.get(&client).filter(|held| held.offer.kind == Kind::Registered);
        if self.cache.contains_key(&destination) {
            return Some((IpNet::from(destination), destination, registered(destination)?));
        }
        let (prefix, network) = self.shortcuts.covering(destination)?;
        let is_registered = network.source == Source::Registered;
        is_registered.then_some((prefix, network.via, registered(network.via)?))
    }

    /// Answers for a client from its registration.
    pub(super) fn answer_for_client(&mut self, cx: &mut Context<'_>, source: IpAddr, packet: Packet) {
        let Some(destination) = packet.destination_protocol else { return };
        let Some((prefix, client, binding)) = self.registration_for(destination) else { return };
        let network = self.shortcuts.get(prefix).map(|network| network.expires);
        let expires = [network, binding.expires].into_iter().flatten().min();
        // RFC 2332 5.2.2: what is left of the holding time.
        let left = expires.map_or(self.config.holding_time, |at| at.since(cx.now));
        let offer = &binding.offer;
        if packet.flags.contains(Flags::RESOLUTION_UNIQUE) && !offer.unique {
            return self.refuse(cx, source, packet, CieCode::NOT_UNIQUE);
        }
        if self.origin(&packet, source).nbma == offer.nbma {
            // Both are behind one NAT, which does not bring packets of one to the other. We relay them.
            return self.refuse(cx, source, packet, CieCode::PROHIBITED);
        }
        let answer = Answer {
            prefix,
            nbma: offer.claimed,
            protocol: client,
            holding: seconds(left),
            mtu: if offer.mtu == 0 { self.config.mtu } else { offer.mtu },
            unique: offer.unique,
            public: (offer.nbma != offer.claimed).then_some(offer.nbma),
        };
        self.answer(cx, source, packet, &answer);
    }

    fn answer(&mut self, cx: &mut Context<'_>, source: IpAddr, packet: Packet, answer: &Answer) {
        let (Some(requester), Some(destination)) = (packet.source_protocol, packet.destination_protocol)
        else {
            return;
        };
        let origin = self.origin(&packet, source);
        let holding = Duration::from_secs(u64::from(answer.holding));
        if !self.peers.contains(source) && self.config.authentication.is_none() {
            // Who is answered becomes a peer, and that is not to be had for the asking. A peer that we forgot in a
            // restart loses a shortcut by this, and gets it again through the server.
            self.counters.count(Fault::UnknownSource);
            return self.refuse(cx, source, packet, CieCode::PROHIBITED);
        }
        if origin.nbma == self.config.nbma || Some(origin.nbma) == self.public() {
            // Our packets to it would come back to us, or to the NAT that both of us are behind.
            return self.refuse(cx, source, packet, CieCode::PROHIBITED);
        }
        let prefix = narrowed(answer.prefix, destination, &packet);
        if !self.remember_requester(cx, prefix, requester, origin.nbma, holding, destination) {
            return self.refuse(cx, source, packet, CieCode::NO_RESOURCES);
        }
        self.cache_requester(cx, source, requester, origin, &packet);

        let kept = Flags::RESOLUTION_ROUTER | Flags::RESOLUTION_SOURCE_STABLE | Flags::NAT;
        let mut flags = packet.flags.intersection(kept)
            | Flags::RESOLUTION_AUTHORITATIVE
            | Flags::RESOLUTION_DESTINATION_STABLE;
        if answer.unique {
            flags = flags | Flags::RESOLUTION_UNIQUE;
        }
        let cie = Cie {
            prefix_length: prefix.prefix_len(),
            mtu: answer.mtu,
            holding_time: answer.holding,
            ..Cie::binding(answer.nbma, answer.protocol)
        };
        let Some(mut reply) = packet.into_reply() else { return };
        reply.flags = flags;
        if let Some(clients) = reply.body.clients_mut() {
            clients.cies = vec![cie];
        }
        self.sign_reply(&mut reply);
        if reply.records(ExtensionKind::NAT_ADDRESS).is_some() {
            let seen = answer.public.map(|public| self.nat_cie(public, answer.protocol));
            reply.set_extension(Value::NatAddress(seen.into_iter().collect()));
        }
        self.send(cx, source, reply);
    }

    /// Learns where the requester is from its request. It says for how long that may be believed; without the S bit
    /// or the time, not at all (RFC 2332 5.2.1). And only if a peer brought the request: anyone can claim to be
    /// anyone, and without the shared password nothing else speaks for a stranger.
    ///
    /// Where a server carries our traffic to the requester meanwhile, the request only tells us that what we know is
    /// wrong. The requester does not know us until our reply is there, and that may get lost: what we sent to it
    /// straight until then, it would drop. Those who answer a request of ours know us before they answer.
    fn cache_requester(
        &mut self,
        cx: &mut Context<'_>,
        source: IpAddr,
        requester: IpAddr,
        origin: Origin,
        packet: &Packet,
    ) {
        let trusted =
            self.peers.contains(source) && source != origin.nbma || self.config.authentication.is_some();
        let held = self.cache.get(&requester).map(|binding| (binding.offer.kind, binding.offer.nbma));
        let known = held.is_some_and(|(_, nbma)| nbma == origin.nbma);
        let cie = packet.body.clients().and_then(|clients| clients.cies.first());
        let Some(cie) = cie.filter(|cie| cie.holding_time > 0) else { return };
        if !packet.flags.contains(Flags::RESOLUTION_SOURCE_STABLE)
            || !(trusted || known)
            || !self.config.resolve
            || !self.is_client_address(requester)
        {
            return;
        }
        if self.relay(None).is_some() {
            if !known && held.is_some_and(|(kind, _)| matches!(kind, Kind::Adopted | Kind::Cached)) {
                self.resolve_again(cx, requester);
            }
            return;
        }
        if held.is_none() && !self.has_room_for_entry(cx, origin.nbma) {
            return;
        }
        let holding = Duration::from_secs(u64::from(cie.holding_time));
        let offer = Offer {
            claimed: origin.claimed,
            mtu: cie.mtu,
            implicit: true,
            ..Offer::new(Kind::Cached, origin.nbma, Some(holding))
        };
        self.install(cx, requester, offer);
    }

    /// Answers a Resolution Request with a refusal.
    pub(super) fn refuse(&mut self, cx: &mut Context<'_>, source: IpAddr, packet: Packet, code: CieCode) {
        let Some(mut reply) = packet.into_reply() else { return };
        let cie = Cie { code, mtu: self.config.mtu, ..Cie::default() };
        if let Body::ResolutionReply(clients) = &mut reply.body {
            clients.cies = vec![cie];
        }
        self.sign_reply(&mut reply);
        self.send(cx, source, reply);
    }
}

/// No wider than who asks wants it (RFC 2332 5.2.1). One host is no such wish: Cisco says it always (by 0), and takes
/// what comes.
fn narrowed(prefix: IpNet, destination: IpAddr, request: &Packet) -> IpNet {
    let cie = request.body.clients().and_then(|clients| clients.cies.first());
    let widest = cie.map_or(0, |cie| cie.prefix_length);
    let narrower = prefix.prefix_len() + 1..prefix.max_prefix_len();
    let narrower = IpNet::new(destination, widest).ok().filter(|_| narrower.contains(&widest));
    narrower.map_or(prefix, |narrower| narrower.trunc())
}
