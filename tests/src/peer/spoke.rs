//! A scripted spoke: registers, answers for its networks, follows redirects, pings.

use std::net::{IpAddr, Ipv4Addr};

use dmvpn::nhrp::wire::{Body, Cie, CieCode, ExtensionKind, Packet};
use ipnet::Ipv4Net;

use super::{
    Out, Settings, data,
    node::{Seconds, Ways, ipv4, network_of},
};

/// Between two pings.
const PING_INTERVAL: Seconds = 0.1;
/// Between two requests for the same redirect.
const RESOLUTION_INTERVAL: Seconds = 2.0;

#[derive(Debug)]
pub(super) struct Spoke {
    server: Ipv4Addr,
    server_nbma: Ipv4Addr,
    /// Request id of the registration that is under way, or was the last.
    id: u32,
    /// How often that was sent.
    sent: u32,
    /// When the next registration is sent.
    due: Seconds,
    answered: u32,
    ways: Ways,
    /// What was asked for last, and when.
    asked: Option<(Ipv4Addr, Seconds)>,
    next_id: u32,
    ping: Option<Ping>,
}

/// Somebody who is pinged.
#[derive(Debug)]
pub(super) struct Ping {
    to: Ipv4Addr,
    number: u16,
    due: Seconds,
    /// Where the last answer came from.
    from: Option<Ipv4Addr>,
}

impl Ping {
    pub(super) const fn new(to: Ipv4Addr) -> Self {
        Self { to, number: 0, due: 0.0, from: None }
    }
}

impl Spoke {
    pub(super) fn new(server: Ipv4Addr, server_nbma: Ipv4Addr, ping: Option<Ping>) -> Self {
        Self {
            server,
            server_nbma,
            id: 1,
            sent: 0,
            due: 0.0,
            answered: 0,
            ways: Ways::default(),
            asked: None,
            next_id: 1000,
            ping,
        }
    }

    pub(super) fn tick(&mut self, settings: &Settings, now: Seconds, chance: f64, out: &mut Vec<Out>) {
        if now >= self.due {
            self.sent += 1;
            let pause = settings.profile.retry.pause(self.sent, chance);
            self.due = now + pause;
            let packet = settings.registration(self.id, self.server, self.server_nbma);
            out.push(Out::Say(format!("registration {} sent, the next one in {pause:.2} s", self.id)));
            out.push(Out::Nhrp(self.server_nbma, packet));
        }
        if self.answered > 0
            && let Some(ping) = &mut self.ping
            && now >= ping.due
        {
            ping.due = now + PING_INTERVAL;
            ping.number = ping.number.wrapping_add(1);
            let packet = data::ping(settings.address, ping.to, ping.number);
            let way = self.ways.to(ping.to).unwrap_or(self.server_nbma);
            out.push(Out::Data(way, packet));
        }
    }

    /// Where packets for `address` go: directly where that is known, else to the hub.
    pub(super) fn way_to(&self, address: Ipv4Addr) -> Ipv4Addr {
        self.ways.to(address).unwrap_or(self.server_nbma)
    }

    pub(super) fn take_data(&mut self, from: Ipv4Addr, packet: &[u8], _now: Seconds, out: &mut Vec<Out>) {
        if let (Some(number), Some(ping)) = (data::answered(packet), &mut self.ping)
            && ping.from != Some(from)
        {
            ping.from = Some(from);
            let way = if from == self.server_nbma { "by the hub" } else { "directly" };
            out.push(Out::Say(format!("ping {number} to {} was answered {way}, by {from}", ping.to)));
        }
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
            Body::RegistrationReply(clients) if clients.request_id == self.id => {
                if let Some(refused) = clients.cies.iter().find(|cie| cie.code != CieCode::SUCCESS) {
                    out.push(Out::Say(format!("registration {} was refused: {:?}", self.id, refused.code)));
                    return;
                }
                self.registered(settings, now, &packet, out);
            }
            Body::ResolutionRequest(_) => self.answer(settings, from, packet, out),
            Body::ResolutionReply(clients) => {
                let Some(about) = ipv4(packet.destination_protocol) else { return };
                let Some(entry) = clients.cies.first() else { return };
                self.resolved(about, entry, &packet, out);
            }
            Body::TrafficIndication(indication) => {
                let Some((_, to)) = data::addresses(&indication.head) else { return };
                let lately =
                    |asked: (Ipv4Addr, Seconds)| asked.0 == to && now < asked.1 + RESOLUTION_INTERVAL;
                if self.asked.is_some_and(lately) {
                    return;
                }
                self.asked = Some((to, now));
                self.next_id += 1;
                out.push(Out::Say(format!("redirect by {from}: asking for {to}")));
                out.push(Out::Nhrp(self.server_nbma, settings.resolution(self.next_id, to)));
            }
            Body::PurgeRequest(clients) => {
                for cie in &clients.cies {
                    let network = ipv4(cie.protocol).and_then(|address| network_of(cie, address));
                    if let Some(network) = network
                        && self.ways.forget(network)
                    {
                        out.push(Out::Say(format!("{network} was purged by {from}")));
                    }
                }
                out.extend(settings.purge_reply(packet).map(|reply| Out::Nhrp(from, reply)));
            }
            _ => {}
        }
    }

    fn registered(&mut self, settings: &Settings, now: Seconds, reply: &Packet, out: &mut Vec<Out>) {
        self.answered += 1;
        self.id += 1;
        self.sent = 0;
        let again = self.answered == 1 && settings.profile.registers_twice;
        self.due = now + if again { 1.0 } else { settings.registration_interval() };
        let server = ipv4(reply.destination_protocol).map_or_else(String::new, |server| server.to_string());
        out.push(Out::Say(format!("registered with {server}")));
        // Where it is behind NAT, the server adds what it sees.
        let seen = reply.records(ExtensionKind::NAT_ADDRESS).and_then(|cies| cies.get(1)?.nbma);
        if let Some(seen) = seen {
            out.push(Out::Say(format!("the server sees {seen}")));
        }
    }

    /// Answers for its own address and its networks.
    fn answer(&self, settings: &Settings, from: Ipv4Addr, request: Packet, out: &mut Vec<Out>) {
        let Some(about) = ipv4(request.destination_protocol) else { return };
        let lan = settings.lans.iter().find(|lan| lan.contains(&about)).map(Ipv4Net::prefix_len);
        let Some(prefix) = lan.or((about == settings.address).then_some(32)) else {
            out.push(Out::Say(format!("{from} asks for {about}, which is not here")));
            return;
        };
        let Some(reply) = settings.resolution_reply(request, prefix) else { return };
        out.push(Out::Say(format!("{from} asks for {about}: it is here")));
        out.push(Out::Nhrp(self.server_nbma, reply));
    }

    fn resolved(&mut self, about: Ipv4Addr, entry: &Cie, reply: &Packet, out: &mut Vec<Out>) {
        if entry.code != CieCode::SUCCESS {
            out.push(Out::Say(format!("nobody has {about}: {:?}", entry.code)));
            return;
        }
        // Behind NAT the address that others see counts.
        let seen = reply.records(ExtensionKind::NAT_ADDRESS).and_then(|cies| {
            cies.iter().find(|cie| cie.protocol == entry.protocol).and_then(|cie| ipv4(cie.nbma))
        });
        let Some(nbma) = seen.or(ipv4(entry.nbma)) else { return };
        let Some(network) = network_of(entry, about) else { return };
        self.ways.learn(network, nbma);
        if let Some(IpAddr::V4(next_hop)) = entry.protocol {
            self.ways.learn(Ipv4Net::from(next_hop), nbma);
        }
        out.push(Out::Say(format!("{network} is at {nbma}")));
    }
}
