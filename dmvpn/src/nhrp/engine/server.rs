//! Registration of clients (RFC 2332 5.2.3, 5.2.4): the server's side.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{
    EventKind, Fault, Table,
    cache::{Installed, Kind, Offer},
    message::is_link_local,
    tunnel::{Context, Tunnel},
};
use crate::nhrp::wire::{Cie, CieCode, ExtensionKind, Flags, IpFamily, Packet, Value};

/// Where the sender of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// Where to send to.
    pub(super) nbma: IpAddr,
    /// Where it says it is: another address when it is behind NAT.
    pub(super) claimed: IpAddr,
}

/// Finds out where the sender of a request is. The outer source tells, and tells of a NAT, when the packet comes
/// from the sender itself. When servers sent it on, it is where the sender says; if a server knew of a NAT, it has
/// filled in the NAT address.
fn origin(packet: &Packet, source: IpAddr, forwarded: bool) -> Origin {
    let claimed = packet.source_nbma.unwrap_or(source);
    if !forwarded {
        return Origin { nbma: source, claimed };
    }
    let seen = packet.records(ExtensionKind::NAT_ADDRESS).into_iter().flatten();
    let seen = seen.filter(|cie| cie.protocol == packet.source_protocol).find_map(|cie| cie.nbma);
    Origin { nbma: seen.unwrap_or(claimed), claimed }
}

impl Tunnel {
    /// Where the sender of a request is. That servers sent it on is believed of peers only: a stranger could make us
    /// send to anyone that way.
    pub(super) fn origin(&self, packet: &Packet, source: IpAddr) -> Origin {
        let records = packet.records(ExtensionKind::FORWARD_TRANSIT);
        let forwarded = records.is_some_and(|records| !records.is_empty()) && self.peers.contains(source);
        origin(packet, source, forwarded)
    }

    /// Whether a Registration Request is for us: by our address, by the client's own (it does not know ours), or by
    /// the subnet's broadcast address (OpenNHRP's way to say the same).
    pub(super) fn registration_is_ours(&self, packet: &Packet) -> bool {
        let destination = packet.destination_protocol;
        destination == packet.source_protocol
            || destination.is_some_and(|address| self.is_own(address))
            || (destination.is_some() && destination == self.broadcast())
    }

    /// Whether an address is one of ours on this tunnel.
    pub(super) fn is_own(&self, address: IpAddr) -> bool {
        address == self.address()
            || Some(address) == self.link_local()
            || self.config.aliases.contains(&address)
    }

    /// Broadcast address of the tunnel's subnet; IPv6 has none.
    pub(super) fn broadcast(&self) -> Option<IpAddr> {
        match self.config.address {
            IpNet::V4(subnet) if subnet.prefix_len() < 31 => Some(IpAddr::V4(subnet.broadcast())),
            _ => None,
        }
    }

    /// Whether an address can be that of another node of the tunnel.
    pub(super) fn is_client_address(&self, address: IpAddr) -> bool {
        let usable = match address {
            IpAddr::V4(v4) => {
                !(v4.is_unspecified() || v4.is_broadcast() || v4.is_multicast() || v4.is_loopback())
            }
            IpAddr::V6(v6) => !(v6.is_unspecified() || v6.is_multicast() || v6.is_loopback()),
        };
        let allowed = &self.config.policy.clients;
        let in_network = if is_link_local(address) {
            self.link_local().is_some()
        } else if self.config.host_routes() {
            allowed.is_empty() || allowed.iter().any(|prefix| prefix.contains(&address))
        } else {
            let network = self.config.address.network();
            let subnet = self.config.address;
            // The network address of a subnet of two is a host (RFC 3021).
            let is_network = address == network && subnet.prefix_len() + 1 < subnet.max_prefix_len();
            (subnet.contains(&address) && !is_network && Some(address) != self.broadcast())
                || allowed.iter().any(|prefix| prefix.contains(&address))
        };
        usable && in_network && !self.is_own(address) && IpFamily::of(address) == IpFamily::of(self.address())
    }

    /// A Registration Request for us came.
    pub(super) fn registration_request(&mut self, cx: &mut Context<'_>, source: IpAddr, mut packet: Packet) {
        let origin = self.origin(&packet, source);
        let unique = packet.flags.contains(Flags::REGISTRATION_UNIQUE);
        let Some(client) = packet.source_protocol else { return };
        let Some(clients) = packet.body.clients_mut() else { return };
        let request_id = clients.request_id;
        let count = clients.cies.len();
        let mut cies = std::mem::take(&mut clients.cies);
        if cies.is_empty() {
            return self.counters.count(Fault::Malformed);
        }
        for cie in &mut cies {
            let protocol = cie.protocol.unwrap_or(client);
            cie.code = if unique && count > 1 {
                // RFC 2332 5.2.3: a unique registration has one entry.
                CieCode::PROHIBITED
            } else {
                self.register_client(cx, client, origin, cie, unique, request_id)
            };
            if cie.code != CieCode::SUCCESS {
                cie.holding_time = 0;
                self.counters.count(Fault::RegistrationRefused);
                // What holds the address, or which table is full, has been said.
                if !matches!(cie.code, CieCode::ALREADY_REGISTERED | CieCode::NO_RESOURCES) {
                    let event = EventKind::Refused { protocol, nbma: origin.nbma, code: cie.code };
                    self.report_bounded(cx, event);
                }
            }
        }
        if let Some(clients) = packet.body.clients_mut() {
            clients.cies = cies;
        }
        self.reply_to_registration(cx, origin, client, packet);
    }

    /// Registers one entry of a request; gives the code of the reply.
    fn register_client(
        &mut self,
        cx: &mut Context<'_>,
        client: IpAddr,
        origin: Origin,
        cie: &Cie,
        unique: bool,
        request_id: u32,
    ) -> CieCode {
        let protocol = cie.protocol.unwrap_or(client);
        let Some(length) = cie.prefix(IpFamily::of(protocol)) else { return CieCode::PROHIBITED };
        // A holding time of zero asks us to believe it for no time at all.
        if cie.holding_time == 0 || cie.nbma.is_some_and(|nbma| nbma != origin.claimed) {
            return CieCode::PROHIBITED;
        }
        let holding = Duration::from_secs(u64::from(cie.holding_time));
        if length < IpFamily::of(protocol).host_prefix() {
            return self.register_prefix(cx, protocol, length, client, origin, holding);
        }
        if !self.is_client_address(protocol) || origin.nbma == self.config.nbma {
            return CieCode::PROHIBITED;
        }

        let offer = Offer {
            claimed: origin.claimed,
            unique,
            mtu: cie.mtu,
            request_id,
            ..Offer::new(Kind::Registered, origin.nbma, Some(holding))
        };
        let held = self.cache.get(&protocol).map(|binding| binding.offer.kind);
        let was_registered = held == Some(Kind::Registered);
        let mut known = false;
        if let Some(binding) = self.cache.get(&protocol) {
            known = was_registered && binding.offer.nbma == origin.nbma;
            let moves = binding.offer.nbma != origin.nbma;
            if moves && binding.offer.kind == Kind::Registered && binding.offer.unique {
                let holder = binding.offer.nbma;
                self.counters.count(Fault::Conflict);
                self.report_bounded(cx, EventKind::Conflict { protocol, holder, claimant: origin.nbma });
                return CieCode::ALREADY_REGISTERED;
            }
            if binding.offer.kind > Kind::Registered {
                // What the operator said is not changed, but a server of ours may well register with us too.
                return if moves { CieCode::PROHIBITED } else { CieCode::SUCCESS };
            }
        }
        let most = self.config.limits.registrations_per_nbma;
        if !known && self.registered_from(origin.nbma) >= most {
            self.table_full(cx, Table::EntriesOf(origin.nbma));
            return CieCode::NO_RESOURCES;
        }
        match self.install(cx, protocol, offer) {
            Installed::Full => return CieCode::NO_RESOURCES,
            Installed::Moved { from } => {
                if matches!(held, Some(Kind::Registered | Kind::Adopted)) {
                    self.report(cx, EventKind::Moved { protocol, from, to: origin.nbma });
                } else {
                    self.report_registered(cx, protocol, origin);
                }
                // Those who were told where it was still send there.
                let networks: Vec<_> = self.shortcuts.via(protocol).collect();
                for told in networks.into_iter().chain([IpNet::from(protocol)]) {
                    self.purge_requesters(cx, told);
                }
            }
            Installed::New | Installed::Refreshed if !was_registered => {
                self.report_registered(cx, protocol, origin);
            }
            Installed::New | Installed::Refreshed | Installed::Kept => {}
        }
        CieCode::SUCCESS
    }

    fn report_registered(&mut self, cx: &mut Context<'_>, protocol: IpAddr, origin: Origin) {
        let claimed = (origin.claimed != origin.nbma).then_some(origin.claimed);
        self.report(cx, EventKind::Registered { protocol, nbma: origin.nbma, claimed });
    }

    /// Sends the Registration Reply: the request with the codes, who answers, and the client's address as we see it
    /// when that is another one than it knows.
    fn reply_to_registration(
        &mut self,
        cx: &mut Context<'_>,
        origin: Origin,
        client: IpAddr,
        packet: Packet,
    ) {
        let Some(mut reply) = packet.into_reply() else { return };
        if reply.destination_protocol == Some(client) || reply.destination_protocol == self.broadcast() {
            // The client does not know our address. It learns it here.
            reply.destination_protocol = Some(self.address_towards(client));
        }
        self.sign_reply(&mut reply);
        if origin.nbma != origin.claimed
            && let Some(seen) = reply.records(ExtensionKind::NAT_ADDRESS)
        {
            let mut seen = seen.clone();
            seen.push(self.nat_cie(origin.nbma, client));
            reply.set_extension(Value::NatAddress(seen));
        }
        self.send(cx, origin.nbma, reply);
    }
}
