//! Traffic Indications, Cisco's "redirect": the server tells who sent it traffic that went back into the network.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    time::Duration,
};

use super::{
    Fault, Time,
    cache::Kind,
    peers::User,
    rare::Empty,
    tunnel::{Context, Tunnel},
};
use crate::nhrp::wire::{Body, ExtensionKind, Flags, TrafficIndication};

/// Who was told about what a moment ago.
#[derive(Debug, Default)]
pub(super) struct Redirects {
    told: BTreeMap<Flow, Time>,
    order: VecDeque<(Time, Flow)>,
}

impl Empty for Redirects {
    const EMPTY: &'static Self = &Self { told: BTreeMap::new(), order: VecDeque::new() };
}

/// Traffic that an indication is about. The peer is part of it: whatever sources another peer makes up, they do not
/// keep an indication from this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flow {
    peer: IpAddr,
    source: IpAddr,
    destination: IpAddr,
}

impl Redirects {
    /// Flows that are remembered; beyond, the oldest is forgotten.
    pub(super) const MOST: usize = 65_536;

    pub(super) fn len(&self) -> usize {
        self.told.len()
    }

    /// Whether an indication may be sent about a flow now. If so, remembers it.
    fn take(&mut self, flow: Flow, now: Time, interval: Duration) -> bool {
        while let Some(&(at, oldest)) = self.order.front() {
            if now.since(at) < interval && self.order.len() < Self::MOST {
                break;
            }
            self.order.pop_front();
            self.told.remove(&oldest);
        }
        if self.told.contains_key(&flow) {
            return false;
        }
        self.told.insert(flow, now);
        self.order.push_back((now, flow));
        true
    }
}

/// Addresses of an IP packet that begins with `head`, and the length of its header.
fn addresses(head: &[u8]) -> Option<(IpAddr, IpAddr, usize)> {
    match head.first()? >> 4 {
        4 => {
            let length = usize::from(head[0] & 0x0F) * 4;
            let source: [u8; 4] = head.get(12..16)?.try_into().ok()?;
            let destination: [u8; 4] = head.get(16..20)?.try_into().ok()?;
            (length >= 20).then(|| (source.into(), destination.into(), length))
        }
        6 => {
            let source: [u8; 16] = head.get(8..24)?.try_into().ok()?;
            let destination: [u8; 16] = head.get(24..40)?.try_into().ok()?;
            Some((source.into(), destination.into(), 40))
        }
        _ => None,
    }
}

impl Tunnel {
    /// Whether a peer is a client of ours: redirects go to nobody else.
    fn is_client(&self, nbma: IpAddr) -> bool {
        self.peers.get(nbma).is_some_and(|peer| {
            peer.registrations > 0
                // After a restart of the agent, until it registers again.
                || peer.users.keys().any(|user| match user {
                    User::Neighbour(protocol) => {
                        self.cache.get(protocol).is_some_and(|binding| binding.offer.kind == Kind::Adopted)
                    }
                    _ => false,
                })
        })
    }

    /// A data packet came from a peer and went back into the network.
    pub(super) fn redirect(&mut self, cx: &mut Context<'_>, peer: IpAddr, head: &[u8]) {
        /// Bytes of the payload behind the IP header: ports, and what ICMP echoes.
        const PAYLOAD: usize = 8;

        if !self.config.redirect {
            return;
        }
        let Some((source, destination, header)) = addresses(head) else {
            return self.counters.count(Fault::Malformed);
        };
        if !self.is_client(peer) {
            return self.counters.count(Fault::UnknownSource);
        }
        if source.is_ipv4() != self.address().is_ipv4() {
            return self.counters.count(Fault::AddressFamily);
        }
        let flow = Flow { peer, source, destination };
        if !self.redirects.take(flow, cx.now, self.config.policy.redirect_interval) {
            self.counters.redirects_suppressed += 1;
            return;
        }
        let head = &head[..head.len().min(header + PAYLOAD)];
        let body = Body::TrafficIndication(TrafficIndication::redirect(head));
        let mut packet = self.request(source, body, Flags::default(), Vec::new());
        if let Some(extensions) = &mut packet.extensions {
            extensions.remove(ExtensionKind::RESPONDER_ADDRESS);
        }
        self.send(cx, peer, packet);
    }

    /// A Traffic Indication for us came: the destination that should be reached by a shortcut. `None` when it is
    /// not to be acted on.
    pub(super) fn indicated(&mut self, from: IpAddr, indication: &TrafficIndication) -> Option<IpAddr> {
        if !self.config.shortcut {
            self.counters.count(Fault::IndicationIgnored);
            return None;
        }
        if !self.peers.contains(from) {
            self.counters.count(Fault::UnknownSource);
            return None;
        }
        let Some((_, destination, _)) = addresses(&indication.head) else {
            self.counters.count(Fault::Malformed);
            return None;
        };
        if indication.code != 0 || destination.is_ipv4() != self.address().is_ipv4() {
            self.counters.count(Fault::IndicationIgnored);
            return None;
        }
        Some(destination)
    }
}
