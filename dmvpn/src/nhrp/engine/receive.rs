//! From the bytes of a packet to what acts on it.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    EventKind, Fault, Route, TunnelId,
    ordered_map::OrderedMap,
    transit::{Way, station, towards, unknown_compulsory},
    tunnel::{Context, Tunnel},
};
use crate::nhrp::wire::{Body, CieCode, ErrorCode, IpFamily, Packet, PacketKind};

/// A packet arrived on a tunnel.
pub(super) fn packet(
    tunnels: &mut OrderedMap<TunnelId, Tunnel>,
    cx: &mut Context<'_>,
    id: TunnelId,
    source: IpAddr,
    bytes: &[u8],
) {
    let Some(tunnel) = tunnels.get_mut(&id) else { return };
    let Some(packet) = tunnel.admit(cx, source, bytes) else { return };
    let Some(destination) = towards(&packet) else { return };
    if packet.kind() == PacketKind::RegistrationRequest && tunnel.registration_is_ours(&packet) {
        return tunnel.act(cx, source, packet, None);
    }
    if packet.kind() == PacketKind::ResolutionRequest
        && tunnel.can_answer_for(destination)
        && unknown_compulsory(&packet).is_none()
    {
        return tunnel.answer_for_client(cx, source, packet);
    }
    match tunnel.way(cx, destination) {
        Way::Here { prefix } => match &packet.body {
            Body::TrafficIndication(indication) => {
                if let Some(destination) = tunnel.indicated(source, indication) {
                    follow_indication(tunnels, cx, (id, source), destination);
                }
            }
            _ => tunnel.act(cx, source, packet, prefix),
        },
        Way::Peer { nbma } if nbma == source && packet.kind() == PacketKind::ResolutionRequest => {
            // Both are behind one NAT, which does not bring packets of one to the other. We relay them.
            tunnel.refuse(cx, source, packet, CieCode::PROHIBITED);
        }
        Way::Peer { nbma } => pass_on(tunnels, cx, id, source, packet, (id, nbma)),
        Way::Route { tunnel: egress, next_hop } => {
            // Not back to where it came from, unless that is another tunnel.
            let exclude = (egress == id).then_some(source);
            match tunnels.get(&egress).and_then(|tunnel| tunnel.next_peer(next_hop, exclude)) {
                Some(nbma) => pass_on(tunnels, cx, id, source, packet, (egress, nbma)),
                None => stuck(tunnels, cx, id, source, packet),
            }
        }
        Way::Nowhere => stuck(tunnels, cx, id, source, packet),
    }
}

/// Sends a packet on by `egress`: a tunnel and an NBMA address.
fn pass_on(
    tunnels: &mut OrderedMap<TunnelId, Tunnel>,
    cx: &mut Context<'_>,
    id: TunnelId,
    source: IpAddr,
    packet: Packet,
    egress: (TunnelId, IpAddr),
) {
    let (egress, nbma) = egress;
    let came_round = tunnels.get(&egress).is_some_and(|tunnel| tunnel.has_seen(&packet));
    let Some(tunnel) = tunnels.get_mut(&id) else { return };
    if !tunnel.may_pass(cx, source, &packet, came_round) {
        return;
    }
    if towards(&packet) == packet.source_protocol && towards(&packet) == packet.destination_protocol {
        // Somebody asks where itself is.
        return tunnel.unreachable(cx, source, packet);
    }
    let station = station(&packet);
    let nat = station.and_then(|station| tunnel.nat_of(station));
    if let Some(tunnel) = tunnels.get_mut(&egress) {
        let nat = nat.or_else(|| station.and_then(|station| tunnel.nat_of(station)));
        tunnel.send_on(cx, nbma, packet, nat);
    }
}

fn stuck(
    tunnels: &mut OrderedMap<TunnelId, Tunnel>,
    cx: &mut Context<'_>,
    id: TunnelId,
    source: IpAddr,
    packet: Packet,
) {
    if let Some(tunnel) = tunnels.get_mut(&id) {
        tunnel.unreachable(cx, source, packet);
    }
}

/// Traffic to `destination` went the long way, says a peer: look for a shortcut in the tunnel that our route takes, if that is one
/// of the same network. A destination that is here, or nowhere, needs none.
fn follow_indication(
    tunnels: &mut OrderedMap<TunnelId, Tunnel>,
    cx: &mut Context<'_>,
    (id, peer): (TunnelId, IpAddr),
    destination: IpAddr,
) {
    if let Route::Tunnel { tunnel: egress, next_hop, .. } = cx.environment.route(destination)
        && cx.networks.get(&egress) == cx.networks.get(&id)
        && let Some(tunnel) = tunnels.get_mut(&egress)
    {
        tunnel.want_shortcut(cx, destination, next_hop, peer);
    } else if let Some(tunnel) = tunnels.get_mut(&id) {
        tunnel.counters.count(Fault::IndicationIgnored);
    }
}

impl Tunnel {
    /// Reads a packet, unless there are too many of them or it is not for this network.
    fn admit(&mut self, cx: &mut Context<'_>, source: IpAddr, bytes: &[u8]) -> Option<Packet> {
        if !self.has_token(cx, source) {
            return None;
        }
        let packet = match Packet::decode(bytes) {
            Ok(packet) => packet,
            Err(error) => {
                self.counters.count(Fault::Malformed);
                self.send_decode_error(cx, source, bytes, error);
                return None;
            }
        };
        self.counters.count_received(packet.kind());
        let family = IpFamily::of(self.address());
        let nbma_family = IpFamily::of(self.config.nbma);
        let complete = packet.source_protocol.is_some() && packet.destination_protocol.is_some();
        if packet.protocol.family() != family || packet.nbma_family != nbma_family || !complete {
            self.counters.count(Fault::AddressFamily);
            return None;
        }
        if source == self.config.nbma {
            self.counters.count(Fault::Loop);
            return None;
        }
        if !self.is_authentic(&packet) {
            self.counters.count(Fault::Authentication);
            self.report_bounded(cx, EventKind::AuthenticationFailed { source });
            self.send_error(cx, source, &packet, ErrorCode::AUTHENTICATION_FAILURE);
            return None;
        }
        Some(packet)
    }

    /// Whether the limits let one more packet of this source in.
    fn has_token(&mut self, cx: &Context<'_>, source: IpAddr) -> bool {
        let rate = u64::from(self.config.limits.packets_per_source);
        let peers = self.peers.len() as u64;
        let total = u64::from(self.config.limits.packets_total);
        let everyone = total + rate.saturating_mul(peers);
        let mut in_total = true;
        let from_source = if let Some(peer) = self.peers.get_mut(source) {
            let rate = if peer.is_server() {
                // A server brings us the packets of everyone.
                total
            } else {
                // Behind one NAT address there may be many clients.
                rate.saturating_mul(peer.registrations.max(1).into())
            };
            peer.bucket.take(cx.now, rate, rate.saturating_mul(3))
        } else {
            let from_source = self.strangers.take(source, cx.now, rate, rate.saturating_mul(3));
            // What peers add to the total is for peers.
            in_total = !from_source || self.crowd.take(cx.now, total, total);
            from_source
        };
        if !from_source {
            self.counters.count(Fault::SourceRate);
            return false;
        }
        if !in_total || !self.everyone.take(cx.now, everyone, everyone) {
            self.counters.count(Fault::TotalRate);
            return false;
        }
        true
    }

    /// Whether a packet has our password, if we have one. A report that our own password is wrong comes without:
    /// the one who sends it does not know ours, or would not tell his.
    fn is_authentic(&self, packet: &Packet) -> bool {
        let Some(secret) = &self.config.authentication else { return true };
        if let Body::ErrorIndication(error) = &packet.body
            && error.code == ErrorCode::AUTHENTICATION_FAILURE
        {
            return true;
        }
        let password = packet.authentication().and_then(|authentication| authentication.password());
        password.is_some_and(|password| secret.matches(password))
    }

    /// Acts on a packet that is for us, or whose destination leaves the network here by a route for `covering`.
    fn act(&mut self, cx: &mut Context<'_>, source: IpAddr, packet: Packet, covering: Option<IpNet>) {
        if unknown_compulsory(&packet).is_some() {
            self.counters.count(Fault::UnknownExtension);
            return self.send_error(cx, source, &packet, ErrorCode::UNRECOGNIZED_EXTENSION);
        }
        match &packet.body {
            Body::ResolutionRequest(_) => self.answer_for_us(cx, source, packet, covering),
            // For everything else the destination has to be us.
            _ if covering.is_some() => self.unreachable(cx, source, packet),
            Body::ResolutionReply(_) => self.resolution_reply(cx, source, &packet),
            Body::RegistrationRequest(_) => self.registration_request(cx, source, packet),
            Body::RegistrationReply(_) => self.registration_reply(cx, source, &packet),
            Body::PurgeRequest(_) => self.purge_request(cx, source, packet),
            Body::PurgeReply(_) => self.purge_reply(&packet),
            Body::ErrorIndication(error) => self.error_indication(cx, source, error),
            Body::TrafficIndication(_) => {}
        }
    }
}
