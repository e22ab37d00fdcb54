//! IPv6 link-local addresses, which routing protocols name as next hops: registration of ours, what a server says of
//! its own, and those of others that are the source of their packets.
//!
//! It is a registration of its own, beside that of our tunnel address: a unique one has one entry. It goes to our own
//! link-local address, like any registration with a server whose address is not known, and the reply names the
//! server's. A server that does not answer it is a server all the same; it is asked again with every renewal.
//!
//! Peers that do not register theirs (OpenNHRP, FRR, Cisco where only a global address is configured) use them in
//! their routing protocols nevertheless. So the link-local source of a peer's packet is taken for that peer's: by us
//! alone, not told to anybody, and only as long as nobody else has it or says where it is.

use std::net::{IpAddr, Ipv6Addr};

use super::{
    Fault, LINK_LOCAL_SEEN,
    cache::{Kind, Offer},
    client::UNANSWERED,
    message::is_link_local,
    tunnel::{Context, Tunnel},
};
use crate::nhrp::wire::{Body, Cie, CieCode, Clients, Flags, Packet};

impl Tunnel {
    /// Sends a Registration Request for our link-local address, if we have one.
    pub(super) fn register_link_local(&mut self, cx: &mut Context<'_>, index: usize) {
        let Some(ours) = self.link_local() else { return };
        let server = &mut self.servers[index];
        server.link_local_attempts = server.link_local_attempts.saturating_add(1);
        let nbma = server.config.nbma;
        let destination = server.link_local.unwrap_or(ours);
        let nat = self.nat_cie(nbma, self.servers[index].link_local.unwrap_or(IpAddr::from([0; 16])));
        let cie = Cie { nbma: None, protocol: None, ..self.own_cie() };
        let body = Body::RegistrationRequest(Clients { request_id: self.ids.registration, cies: vec![cie] });
        let unique = if self.config.unique { Flags::REGISTRATION_UNIQUE } else { Flags::default() };
        let packet = self.request(destination, body, unique | Flags::NAT, vec![nat]);
        self.send(cx, nbma, packet);
    }

    /// Whether to ask a server again soon, because its reply about our link-local address is missing.
    pub(super) fn misses_link_local(&self, index: usize) -> bool {
        let attempts = self.servers[index].link_local_attempts;
        self.link_local().is_some() && (1..=UNANSWERED).contains(&attempts)
    }

    /// A Registration Reply about our link-local address came.
    pub(super) fn link_local_reply(&mut self, cx: &mut Context<'_>, source: IpAddr, packet: &Packet) {
        let Body::RegistrationReply(Clients { request_id, cies }) = &packet.body else { return };
        let found =
            self.servers.iter().position(|server| server.nbma() == source && server.link_local_attempts > 0);
        let named =
            packet.destination_protocol.filter(|&address| is_link_local(address) && !self.is_own(address));
        let accepted =
            cies.iter().all(|cie| cie.code == CieCode::SUCCESS) && *request_id == self.ids.registration;
        let (Some(index), Some(protocol), true) = (found, named, accepted) else {
            return self.counters.count(Fault::UnexpectedReply);
        };
        let server = &mut self.servers[index];
        server.link_local_attempts = 0;
        let before = server.link_local.replace(protocol);
        if let Some(before) = before.filter(|&before| before != protocol) {
            self.remove(cx, before);
        }
        self.install(cx, protocol, Offer::new(Kind::Nhs, source, None));
        if self.servers[index].state == super::NhsState::Up && !self.servers[index].announced.misses_reply() {
            // The reply to the other registration was first and waits for this one: back to the usual interval.
            let wait = self.random.jitter(self.config.registration_interval(), 90);
            self.plan_registration(cx, index, wait);
        }
    }

    /// A data packet from a peer had this link-local source.
    pub(super) fn link_local_seen(&mut self, cx: &mut Context<'_>, nbma: IpAddr, address: Ipv6Addr) {
        let seen = IpAddr::V6(address);
        if !self.peers.contains(nbma) {
            return self.counters.count(Fault::UnknownSource);
        }
        if !self.address().is_ipv6() || !address.is_unicast_link_local() || self.is_own(seen) {
            return self.counters.count(Fault::AddressFamily);
        }
        match self.cache.get(&seen).map(|binding| (binding.offer.kind, binding.offer.nbma)) {
            // The server carries what goes there, until now.
            Some((Kind::Relay, _)) => {}
            Some((Kind::Seen, holder)) if holder == nbma => {}
            Some((_, holder)) => {
                if holder != nbma {
                    self.counters.count(Fault::Conflict);
                }
                return;
            }
            None if !self.has_room_for_entry(cx, nbma) => return,
            None => {}
        }
        let offer = Offer { implicit: true, ..Offer::new(Kind::Seen, nbma, Some(LINK_LOCAL_SEEN)) };
        self.install(cx, seen, offer);
    }
}
