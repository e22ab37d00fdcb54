//! What we register with a server beside our own address: more addresses of ours (aliases), and networks behind us.
//!
//! It follows the reply to our own registration, as a server takes networks only from clients that it knows. An alias
//! is a registration of its own, from the alias: a unique one has one entry (RFC 2332 5.2.3). Networks share one
//! that is not unique. What is not answered is repeated a few times, then with the next renewal; a server that wants
//! none of it is a server all the same.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use super::{
    EventKind,
    client::UNANSWERED,
    rare::Empty,
    tunnel::{Context, Tunnel},
};
use crate::nhrp::wire::{Body, Cie, CieCode, Clients, Flags, Packet};

/// Networks in one request: it must not be fragmented.
const NETWORKS_PER_REQUEST: usize = 32;

/// What a server was told of, by numbers: the aliases, then the requests with networks.
#[derive(Debug, Default)]
pub(super) struct Announced {
    /// Not answered yet.
    waiting: BTreeSet<usize>,
    /// Requests since all of it was to be registered the last time.
    pub(super) attempts: u32,
    /// Refused, and reported.
    refused: BTreeSet<IpNet>,
}

impl Empty for Announced {
    const EMPTY: &'static Self = &Self { waiting: BTreeSet::new(), attempts: 0, refused: BTreeSet::new() };
}

impl Announced {
    /// Whether to ask again soon, because a reply is missing.
    pub(super) fn misses_reply(&self) -> bool {
        !self.waiting.is_empty() && self.attempts <= UNANSWERED
    }
}

impl Tunnel {
    /// The server took our own registration: here is what else there is.
    pub(super) fn announce(&mut self, cx: &mut Context<'_>, index: usize) {
        let aliases = self.config.aliases.len();
        let requests = aliases + self.config.networks.chunks(NETWORKS_PER_REQUEST).len();
        if requests == 0 {
            return;
        }
        let announced = &mut self.servers[index].announced;
        if !announced.misses_reply() {
            announced.waiting = (0..requests).collect();
            announced.attempts = 0;
        }
        announced.attempts += 1;
        for item in announced.waiting.clone() {
            match item.checked_sub(aliases) {
                None => self.register_alias(cx, index, self.config.aliases[item]),
                Some(part) => self.register_networks(cx, index, part),
            }
        }
    }

    fn register_alias(&mut self, cx: &mut Context<'_>, index: usize, alias: IpAddr) {
        let cie = Cie { nbma: None, protocol: None, ..self.own_cie() };
        let body = Body::RegistrationRequest(Clients { request_id: self.ids.registration, cies: vec![cie] });
        let unique = if self.config.unique { Flags::REGISTRATION_UNIQUE } else { Flags::default() };
        self.send_announcement(cx, index, body, unique, alias);
    }

    fn register_networks(&mut self, cx: &mut Context<'_>, index: usize, part: usize) {
        let networks = self.config.networks.chunks(NETWORKS_PER_REQUEST).nth(part).unwrap_or_default();
        let entry = |network: &IpNet| Cie {
            prefix_length: network.prefix_len(),
            nbma: None,
            protocol: Some(network.addr()),
            ..self.own_cie()
        };
        let cies = networks.iter().map(entry).collect();
        let body = Body::RegistrationRequest(Clients { request_id: self.networks_id(part), cies });
        self.send_announcement(cx, index, body, Flags::default(), self.address());
    }

    fn send_announcement(
        &mut self,
        cx: &mut Context<'_>,
        index: usize,
        body: Body,
        flags: Flags,
        source: IpAddr,
    ) {
        let server = &self.servers[index];
        let (nbma, Some(protocol)) = (server.nbma(), server.protocol) else { return };
        let nat = self.nat_cie(nbma, protocol);
        let mut packet = self.request(protocol, body, flags | Flags::NAT, vec![nat]);
        packet.source_protocol = Some(source);
        self.send(cx, nbma, packet);
    }

    /// Id of the requests with networks: told apart from our own registration's by it, and like that always the
    /// same.
    fn networks_id(&self, part: usize) -> u32 {
        let part = u32::try_from(part).unwrap_or(u32::MAX);
        self.ids.registration.wrapping_add(1).wrapping_add(part)
    }

    /// A Registration Reply: takes it if it is about what we register beside our own address.
    pub(super) fn announcement_reply(
        &mut self,
        cx: &mut Context<'_>,
        source: IpAddr,
        packet: &Packet,
    ) -> bool {
        let Body::RegistrationReply(Clients { request_id, cies }) = &packet.body else { return false };
        let aliases = &self.config.aliases;
        let alias = aliases.iter().position(|&alias| packet.source_protocol == Some(alias));
        let parts = self.config.networks.chunks(NETWORKS_PER_REQUEST).len();
        let item = match alias {
            Some(alias) if *request_id == self.ids.registration => Some(alias),
            Some(_) => None,
            None => (0..parts)
                .find(|&part| self.networks_id(part) == *request_id)
                .map(|part| aliases.len() + part),
        };
        let is_waited_for = |item: usize| {
            self.servers
                .iter()
                .position(|server| server.nbma() == source && server.announced.waiting.contains(&item))
        };
        let Some((item, index)) = item.and_then(|item| Some((item, is_waited_for(item)?))) else {
            return false;
        };
        let mut held_elsewhere = false;
        for cie in cies {
            let Some(address) = cie.protocol.or(packet.source_protocol) else { continue };
            let length = if alias.is_some() { self.host_prefix() } else { cie.prefix_length };
            let Ok(prefix) = IpNet::new(address, length) else { continue };
            let refused = &mut self.servers[index].announced.refused;
            if cie.code == CieCode::SUCCESS {
                refused.remove(&prefix);
            } else if refused.insert(prefix) {
                let nbma = source;
                self.report(cx, EventKind::NotRegistered { prefix, nbma, code: cie.code });
            }
            held_elsewhere |= alias.is_some() && cie.code == CieCode::ALREADY_REGISTERED;
        }
        if held_elsewhere && let Some(alias) = packet.source_protocol {
            // By us, most likely, from an address that we had before: take that back, and ask again.
            let destination = self.servers[index].protocol.unwrap_or(alias);
            self.purge_address(cx, index, (alias, destination), None);
            return true;
        }
        let announced = &mut self.servers[index].announced;
        announced.waiting.remove(&item);
        if announced.waiting.is_empty() && !self.misses_link_local(index) {
            let wait = self.random.jitter(self.config.registration_interval(), 90);
            self.plan_registration(cx, index, wait);
        }
        true
    }
}
