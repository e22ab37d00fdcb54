//! Packets that are not for us: which way they go, and what a server does to them on the way (RFC 2332 5.2, 5.3).

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    EventKind, Fault, Route, TunnelId,
    cache::Kind,
    message::is_link_local,
    shortcut::Source,
    tunnel::{Context, Tunnel},
};
use crate::nhrp::wire::{Body, CieCode, ErrorCode, ExtensionKind, Packet, PacketKind, Value};

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It is for us: its destination is ours, or leaves the NHRP network here by a route for this prefix.
    Here {
        /// The route; `None` for an address of ours.
        prefix: Option<IpNet>,
    },
    /// A client, server or fixed mapping of the tunnel it came by.
    Peer {
        /// Where that is.
        nbma: IpAddr,
    },
    /// Along our route for its destination.
    Route {
        /// Tunnel of the same NHRP network.
        tunnel: TunnelId,
        /// Next hop in it.
        next_hop: IpAddr,
    },
    /// There is none.
    Nowhere,
}

/// Whom a packet is for: a request's destination, a reply's asker.
pub(super) fn towards(packet: &Packet) -> Option<IpAddr> {
    match packet.kind() {
        PacketKind::ResolutionReply | PacketKind::RegistrationReply | PacketKind::PurgeReply => {
            packet.source_protocol
        }
        PacketKind::ResolutionRequest
        | PacketKind::RegistrationRequest
        | PacketKind::PurgeRequest
        | PacketKind::ErrorIndication
        | PacketKind::TrafficIndication => packet.destination_protocol,
    }
}

impl Tunnel {
    /// Which way a packet to `destination` goes. `networks` in the context tells which tunnels are one network.
    pub(super) fn way(&self, cx: &Context<'_>, destination: IpAddr) -> Way {
        if self.is_own(destination) {
            return Way::Here { prefix: None };
        }
        // What was registered with us, or configured, is the best we know. What was resolved is not: the way of a
        // request must not depend on earlier answers, or it would never find that they are no longer true.
        let binding = self.cache.get(&destination);
        if let Some(binding) = binding.filter(|binding| is_authoritative(binding.offer.kind)) {
            return Way::Peer { nbma: binding.offer.nbma };
        }
        if let Some((_, shortcut)) = self.shortcuts.covering(destination)
            && shortcut.source == Source::Registered
            && let Some(binding) = self.cache.get(&shortcut.via)
        {
            return Way::Peer { nbma: binding.offer.nbma };
        }
        if is_link_local(destination) {
            // The kernel has routes for it on every interface; it is meant for this one.
            return Way::Route { tunnel: self.config.id, next_hop: destination };
        }
        match cx.environment.route(destination) {
            Route::Local { .. } => Way::Here { prefix: None },
            Route::Elsewhere { prefix } => Way::Here { prefix: Some(prefix) },
            Route::Tunnel { tunnel, next_hop, prefix, .. } => {
                let network = cx.networks.get(&tunnel).copied();
                if network == Some(self.config.network_id) {
                    Way::Route { tunnel, next_hop }
                } else {
                    Way::Here { prefix: Some(prefix) }
                }
            }
            Route::None => Way::Nowhere,
        }
    }

    /// Where packets for a next hop of this tunnel go: to the next hop, or to a server that may know it. Never to
    /// `exclude`, from where it came.
    pub(super) fn next_peer(&self, next_hop: IpAddr, exclude: Option<IpAddr>) -> Option<IpAddr> {
        let known = self.cache.get(&next_hop).map(|binding| binding.offer.nbma);
        known.filter(|&nbma| Some(nbma) != exclude).or_else(|| self.relay(exclude))
    }

    /// Checks whether a packet may be sent on: hop count and loops (RFC 2332 5.1, 5.2.7, 5.3.1 to 5.3.3). Answers it
    /// if not. `came_round`: the tunnel that it should leave by has seen it before.
    pub(super) fn may_pass(
        &mut self,
        cx: &mut Context<'_>,
        source: IpAddr,
        packet: &Packet,
        came_round: bool,
    ) -> bool {
        if !self.peers.contains(source) {
            // We carry for peers only: anything else could be bounced off us by anyone.
            self.counters.count(Fault::UnknownSource);
            return false;
        }
        if packet.hop_count == 0 {
            self.counters.count(Fault::HopCount);
            self.send_error(cx, source, packet, ErrorCode::HOP_COUNT_EXCEEDED);
            return false;
        }
        if packet.kind() == PacketKind::ErrorIndication
            && self.is_us(packet.source_nbma, packet.source_protocol)
        {
            self.counters.count(Fault::Loop);
            return false;
        }
        if came_round || self.has_seen(packet) {
            self.counters.count(Fault::Loop);
            self.report_bounded(cx, EventKind::Loop { source });
            self.send_error(cx, source, packet, ErrorCode::LOOP_DETECTED);
            return false;
        }
        true
    }

    /// Whether a packet says that it was sent on, or answered, by this tunnel.
    pub(super) fn has_seen(&self, packet: &Packet) -> bool {
        let mut records = packet.records(record_kind(packet.kind())).into_iter().flatten();
        let responder = packet.records(ExtensionKind::RESPONDER_ADDRESS).and_then(|cies| cies.first());
        let answered = packet.kind() == PacketKind::ResolutionReply
            && responder.is_some_and(|cie| cie.protocol.is_some_and(|address| self.is_own(address)));
        answered || records.any(|cie| self.is_us(cie.nbma, cie.protocol))
    }

    /// Whether both addresses are ours.
    fn is_us(&self, nbma: Option<IpAddr>, protocol: Option<IpAddr>) -> bool {
        nbma == Some(self.config.nbma) && protocol.is_some_and(|address| self.is_own(address))
    }

    /// A packet can go no further.
    pub(super) fn unreachable(&mut self, cx: &mut Context<'_>, source: IpAddr, packet: Packet) {
        self.counters.count(Fault::Unreachable);
        match packet.body {
            Body::ResolutionRequest(_) => self.refuse(cx, source, packet, CieCode::NO_BINDING),
            Body::RegistrationRequest(_) | Body::PurgeRequest(_) => {
                self.send_error(cx, source, &packet, ErrorCode::PROTOCOL_ADDRESS_UNREACHABLE);
            }
            _ => {}
        }
    }

    /// What we know of a NAT in front of `protocol`: for the NAT address extension of a packet we send on.
    pub(super) fn nat_of(&self, protocol: IpAddr) -> Option<IpAddr> {
        let offer = &self.cache.get(&protocol)?.offer;
        (offer.nbma != offer.claimed).then_some(offer.nbma)
    }

    /// Sends a packet on: one hop less, our record, the sender's NAT address if the sender left it open, and our
    /// password in the place of the last hop's. `nat` is the NAT address of the station the packet speaks for.
    pub(super) fn send_on(
        &mut self,
        cx: &mut Context<'_>,
        to: IpAddr,
        mut packet: Packet,
        nat: Option<IpAddr>,
    ) {
        packet.hop_count = packet.hop_count.saturating_sub(1);
        // RFC 2332 5.3: who does not understand a compulsory extension passes the packet on and keeps out of it.
        if unknown_compulsory(&packet).is_none() {
            let record = self.own_cie();
            if let Some(records) = packet.records_mut(record_kind(packet.kind())) {
                records.push(record);
            }
            let station = station(&packet);
            if let (Some(public), Some(station)) = (nat, station)
                && packet.records(ExtensionKind::NAT_ADDRESS).is_some_and(Vec::is_empty)
            {
                let cie = self.nat_cie(public, station);
                packet.set_extension(Value::NatAddress(vec![cie]));
            }
        }
        self.send(cx, to, packet);
    }
}

const fn is_authoritative(kind: Kind) -> bool {
    matches!(kind, Kind::Adopted | Kind::Registered | Kind::Nhs | Kind::Static)
}

/// The record that a server adds to when it sends a packet on.
pub(super) const fn record_kind(kind: PacketKind) -> ExtensionKind {
    match kind {
        PacketKind::ResolutionReply | PacketKind::RegistrationReply | PacketKind::PurgeReply => {
            ExtensionKind::REVERSE_TRANSIT
        }
        _ => ExtensionKind::FORWARD_TRANSIT,
    }
}

/// The station whose NAT address belongs into a packet: who asks, or in a reply who is the answer.
pub(super) fn station(packet: &Packet) -> Option<IpAddr> {
    match &packet.body {
        Body::ResolutionRequest(_) => packet.source_protocol,
        Body::ResolutionReply(clients) => clients.cies.first().and_then(|cie| cie.protocol),
        _ => None,
    }
}

/// An extension that its sender wants understood and that we do not know.
pub(super) fn unknown_compulsory(packet: &Packet) -> Option<ExtensionKind> {
    let list = &packet.extensions.as_ref()?.list;
    let unknown = list.iter().find(|extension| {
        let kind = extension.value.kind();
        extension.compulsory && !kind.is_known() && !kind.is_of_huawei()
    });
    unknown.map(|extension| extension.value.kind())
}
