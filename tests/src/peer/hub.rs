//! A scripted hub: takes registrations, sends requests and replies on, forwards data and sends redirects.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use dmvpn::nhrp::wire::{Body, Cie, CieCode, ExtensionKind, Flags, Packet, Value};
use ipnet::Ipv4Net;

use super::{
    Out, Settings, data,
    node::{Seconds, ipv4},
};

/// Between two redirects for the same pair of addresses.
const REDIRECT_INTERVAL: Seconds = 8.0;
/// Redirects that are remembered.
const MOST_REDIRECTS: usize = 1024;

#[derive(Debug)]
pub(super) struct Hub {
    routes: Vec<(Ipv4Net, Ipv4Addr)>,
    clients: BTreeMap<Ipv4Addr, Client>,
    redirected: BTreeMap<(Ipv4Addr, Ipv4Addr), Seconds>,
}

#[derive(Debug)]
struct Client {
    nbma: Ipv4Addr,
    claimed: Ipv4Addr,
    unique: bool,
    until: Seconds,
}

impl Hub {
    pub(super) const fn new(routes: Vec<(Ipv4Net, Ipv4Addr)>) -> Self {
        Self { routes, clients: BTreeMap::new(), redirected: BTreeMap::new() }
    }

    pub(super) fn tick(&mut self, now: Seconds, out: &mut Vec<Out>) {
        self.clients.retain(|address, client| {
            let stays = client.until > now;
            if !stays {
                out.push(Out::Say(format!("{address} has not renewed its registration")));
            }
            stays
        });
    }

    /// Where packets for `address` go.
    pub(super) fn way_to(&self, address: Ipv4Addr) -> Option<Ipv4Addr> {
        let route = self.routes.iter().filter(|(network, _)| network.contains(&address));
        let next_hop = route.max_by_key(|(network, _)| network.prefix_len()).map(|(_, hop)| *hop);
        self.clients.get(&next_hop.unwrap_or(address)).map(|client| client.nbma)
    }

    pub(super) fn forward(
        &mut self,
        settings: &Settings,
        now: Seconds,
        from: Ipv4Addr,
        packet: &[u8],
        out: &mut Vec<Out>,
    ) {
        let Some((source, to)) = data::addresses(packet) else { return };
        let Some((way, forwarded)) = self.way_to(to).zip(data::forwarded(packet)) else {
            out.push(Out::Say(format!("no way to {to}")));
            return;
        };
        out.push(Out::Data(way, forwarded));
        let last = self.redirected.get(&(source, to));
        if way == from || last.is_some_and(|last| now < last + REDIRECT_INTERVAL) {
            return;
        }
        if self.redirected.len() >= MOST_REDIRECTS {
            self.redirected.clear();
        }
        self.redirected.insert((source, to), now);
        out.push(Out::Say(format!("redirect for {source} to {to}")));
        out.push(Out::Nhrp(from, settings.indication(packet, source)));
    }

    pub(super) fn take(
        &mut self,
        settings: &Settings,
        now: Seconds,
        from: Ipv4Addr,
        packet: Packet,
        out: &mut Vec<Out>,
    ) {
        match &packet.body {
            Body::RegistrationRequest(_) => self.register(settings, now, from, packet, out),
            Body::ResolutionRequest(_) => {
                let to = ipv4(packet.destination_protocol);
                self.send_on(settings, to, packet, ExtensionKind::FORWARD_TRANSIT, out);
            }
            Body::ResolutionReply(_) | Body::PurgeReply(_) => {
                let to = ipv4(packet.source_protocol);
                self.send_on(settings, to, packet, ExtensionKind::REVERSE_TRANSIT, out);
            }
            Body::PurgeRequest(clients) => {
                for cie in &clients.cies {
                    if let Some(address) = ipv4(cie.protocol)
                        && self.clients.remove(&address).is_some()
                    {
                        out.push(Out::Say(format!("{address} says good-bye")));
                    }
                }
                out.extend(settings.purge_reply(packet).map(|reply| Out::Nhrp(from, reply)));
            }
            _ => {}
        }
    }

    fn register(
        &mut self,
        settings: &Settings,
        now: Seconds,
        from: Ipv4Addr,
        request: Packet,
        out: &mut Vec<Out>,
    ) {
        let (Some(address), Some(claimed)) = (ipv4(request.source_protocol), ipv4(request.source_nbma))
        else {
            return;
        };
        let unique = request.flags.contains(Flags::REGISTRATION_UNIQUE);
        let entry = request.body.clients().and_then(|clients| clients.cies.first());
        let holding_time = entry.map_or(settings.holding_time, |cie| cie.holding_time);
        let taken = settings.profile.keeps_unique
            && self.clients.get(&address).is_some_and(|client| client.unique && client.nbma != from);
        let code = if taken { CieCode::ALREADY_REGISTERED } else { CieCode::SUCCESS };
        let Some(mut reply) = request.into_reply() else { return };
        reply.hop_count = settings.profile.hops;
        for cie in reply.body.clients_mut().into_iter().flat_map(|clients| &mut clients.cies) {
            cie.code = code;
        }
        // That is how a client learns the address that it did not know.
        reply.destination_protocol = Some(IpAddr::V4(settings.address));
        let own = Cie {
            mtu: settings.profile.registration_mtu,
            holding_time: settings.holding_time,
            ..Cie::binding(IpAddr::V4(settings.nbma), IpAddr::V4(settings.address))
        };
        if let Some(responder) = reply.records_mut(ExtensionKind::RESPONDER_ADDRESS) {
            *responder = vec![own];
        }
        if from != claimed
            && let Some(nat) = reply.records_mut(ExtensionKind::NAT_ADDRESS)
        {
            nat.push(Cie::binding(IpAddr::V4(from), IpAddr::V4(address)));
        }
        settings.sign(&mut reply);
        if taken {
            out.push(Out::Say(format!("{address} at {from} is refused: it is registered already")));
        } else {
            let until = now + f64::from(holding_time);
            if self.clients.insert(address, Client { nbma: from, claimed, unique, until }).is_none() {
                out.push(Out::Say(format!("{address} has registered, at {from}")));
            }
        }
        out.push(Out::Nhrp(from, reply));
    }

    /// Sends a packet to the client that it is for, or that a route leads to, with a record of having been here.
    fn send_on(
        &self,
        settings: &Settings,
        to: Option<Ipv4Addr>,
        mut packet: Packet,
        record: ExtensionKind,
        out: &mut Vec<Out>,
    ) {
        let Some(to) = to else { return };
        let Some(way) = self.way_to(to) else {
            out.push(Out::Say(format!("{} for {to}, who is not known", packet.kind())));
            return;
        };
        let Some(hops) = packet.hop_count.checked_sub(1) else { return };
        packet.hop_count = hops;
        let own = Cie {
            holding_time: settings.holding_time,
            ..Cie::binding(IpAddr::V4(settings.nbma), IpAddr::V4(settings.address))
        };
        if let Some(records) = packet.records_mut(record) {
            records.push(own);
        }
        self.fill_in_nat(&mut packet);
        settings.sign(&mut packet);
        out.push(Out::Say(format!("{} for {to} sent on to {way}", packet.kind())));
        out.push(Out::Nhrp(way, packet));
    }

    /// An empty NAT address is filled in for a client that is behind NAT.
    fn fill_in_nat(&self, packet: &mut Packet) {
        let who = match &packet.body {
            Body::ResolutionReply(clients) => clients.cies.first().and_then(|cie| ipv4(cie.protocol)),
            _ => ipv4(packet.source_protocol),
        };
        let Some((address, client)) = who.and_then(|who| self.clients.get_key_value(&who)) else { return };
        let empty = packet.records(ExtensionKind::NAT_ADDRESS).is_some_and(Vec::is_empty);
        if empty && client.nbma != client.claimed {
            packet.set_extension(Value::NatAddress(vec![Cie::binding(
                IpAddr::V4(client.nbma),
                IpAddr::V4(*address),
            )]));
        }
    }
}
