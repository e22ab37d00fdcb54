//! What has to become of a frame that comes in by the underlay.

use dmvpn_common::{DropReason, FastPath, GRE_PROTOCOL_NHRP, PeerState, Station, TunnelFlags, UnderlayState};

use super::{
    oracle::{self, Expected, Hook},
    packet::{Inner, Outer, decapsulated_tos, half, is_martian, is_unicast, sum, word},
    world::{Endpoint, LAN_MTU, Route, STATIONS, TUNNEL_MTU, World, route},
};
use crate::frames::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};

/// A packet that was taken out of its outer header.
struct Payload<'a> {
    hook: Hook,
    /// Interface it came in by.
    ingress: u32,
    endpoint: &'a Endpoint,
    /// 0: a stranger.
    peer: u32,
    inner: Inner,
    tos: u8,
    /// The packet and what follows it in the frame.
    rest: &'a [u8],
}

/// Everything that may become of a frame: one thing, unless several reasons speak against the frame, or peers changed
/// and the programs were not told to forget yet.
pub(super) fn expected(world: &World, hook: Hook, ingress: u32, frame: &[u8]) -> Vec<Expected> {
    let pass = || vec![Expected::pass(frame)];
    let drop = |reason| vec![Expected::drop(reason)];
    let Some(outer) = Outer::read(frame) else { return pass() };
    let to = frame[..6].try_into().unwrap();
    let vlan = if outer.link == 14 { 0 } else { u16::from_be_bytes([frame[14], frame[15]]) & 0xfff };
    if !STATIONS.contains(&Station { mac: to, vlan }) {
        return pass();
    }
    let ours = world.endpoints.iter().any(|of| of.local == outer.local);
    let martian = is_martian(outer.source);
    let slow = || if ours && martian { drop(DropReason::UnknownPeer) } else { pass() };
    // The kernel refuses a damaged header.
    let header = &frame[outer.link..outer.link + 20];
    if header[0] == 0x45 && sum(header) != 0xffff {
        return pass();
    }
    if !outer.plain {
        return slow();
    }
    let (Some(flags), Some(protocol)) = (half(frame, outer.gre), half(frame, outer.gre + 2)) else {
        return pass();
    };
    // Bits 6 to 12 are ignored (RFC 2784, 2.3).
    let (key, offset) = match flags & !0x03f8 {
        0 => (None, outer.gre + 4),
        0x2000 => match word(frame, outer.gre + 4) {
            Some(key) => (Some(key), outer.gre + 8),
            None => return if ours { drop(DropReason::Truncated) } else { pass() },
        },
        0x8000 | 0x1000 | 0x9000 | 0xa000 | 0x3000 | 0xb000 => return slow(),
        _ => return if ours { drop(DropReason::GreVersion) } else { pass() },
    };
    let Some(endpoint) = world.endpoint(outer.local, key) else {
        return if ours { drop(DropReason::WrongKey) } else { pass() };
    };

    let truncated = frame.len() < outer.end || outer.end < offset;
    if protocol == GRE_PROTOCOL_NHRP {
        return match truncated {
            true => drop(DropReason::Truncated),
            false if martian => drop(DropReason::UnknownPeer),
            false if world.limits_nhrp => [pass(), drop(DropReason::NhrpRateLimit)].concat(),
            false => pass(),
        };
    }
    let mut reasons = Vec::new();
    if truncated {
        reasons.push(DropReason::Truncated);
    }
    let (peer, against, perhaps) = peer(world, endpoint, &outer);
    reasons.extend(against);
    if protocol != ETHERTYPE_IPV4 && protocol != ETHERTYPE_IPV6 {
        reasons.push(DropReason::GreProtocol);
        return reasons.into_iter().map(Expected::drop).collect();
    }
    let rest = frame.get(offset..).unwrap_or_default();
    let inner = Inner::read(rest, outer.end.saturating_sub(offset), protocol);
    let tos = inner.as_ref().map(|inner| decapsulated_tos(inner.tos, outer.tos));
    let Some((inner, Some(tos))) = inner.zip(tos) else {
        reasons.extend(match tos {
            Some(_) => vec![DropReason::Congestion],
            None => vec![DropReason::Truncated, DropReason::InnerMalformed],
        });
        return reasons.into_iter().map(Expected::drop).collect();
    };
    let mut expected: Vec<_> = reasons.iter().copied().map(Expected::drop).collect();
    // A remembered way may still be open to a peer that was up a moment ago.
    if reasons.is_empty() || !truncated && perhaps {
        expected.extend(Payload { hook, ingress, endpoint, peer, inner, tos, rest }.expected(world));
    }
    expected
}

/// Which peer sent a packet, what speaks against it, and whether that may not have come round yet.
fn peer(world: &World, endpoint: &Endpoint, outer: &Outer) -> (u32, Option<DropReason>, bool) {
    let Some(index) = world.remote_at(endpoint.tunnel.id, outer.source) else {
        let anyone = endpoint.tunnel.flags & TunnelFlags::ACCEPT_ANY != 0 && is_unicast(outer.source);
        return (0, (!anyone).then_some(DropReason::UnknownPeer), false);
    };
    let remote = &world.remotes[index as usize];
    match remote.peer.state {
        PeerState::Up => (index, None, false),
        PeerState::Down => (index, Some(DropReason::PeerDown), remote.was_up),
        PeerState::Free => (index, Some(DropReason::MapInconsistent), remote.was_up),
    }
}

impl Payload<'_> {
    /// Everything that may become of it.
    fn expected(&self, world: &World) -> Vec<Expected> {
        let Self { endpoint, inner, .. } = self;
        let tunnel = &endpoint.tunnel;
        if tunnel.flags & TunnelFlags::CHECK_SOURCE != 0
            && is_unicast(inner.source)
            && route(inner.source) != Route::Peer(self.peer)
        {
            return vec![self.dropped(DropReason::Spoofed)];
        }
        if !inner.is_plain() || tunnel.fast_path == FastPath::Off {
            return vec![self.delivered()];
        }
        match route(inner.destination) {
            Route::Kernel => vec![self.delivered()],
            Route::Blackhole => vec![self.dropped(DropReason::RouteRefused)],
            Route::Lan if tunnel.fast_path != FastPath::Full || inner.length > LAN_MTU => {
                vec![self.delivered()]
            }
            Route::Lan if !inner.checksum_is_right => vec![self.dropped(DropReason::InnerMalformed)],
            Route::Lan => vec![self.received(oracle::to_host(inner, self.tos, self.rest))],
            Route::Peer(_) if inner.length > TUNNEL_MTU => vec![self.delivered()],
            Route::Peer(index) => self.to_peer(world, index),
        }
    }

    /// Everything that may become of it when the routing table leads to a peer.
    fn to_peer(&self, world: &World, index: u32) -> Vec<Expected> {
        let inner = &self.inner;
        let remote = &world.remotes[index as usize];
        let next_hop = &world.next_hops[remote.peer.underlay as usize];
        let mut expected = match remote.peer.state {
            PeerState::Down => vec![self.dropped(DropReason::PeerDown)],
            PeerState::Free => vec![self.delivered()],
            PeerState::Up => Vec::new(),
        };
        if !inner.checksum_is_right {
            expected.push(self.dropped(DropReason::InnerMalformed));
        } else if remote.peer.state == PeerState::Up {
            let fits = inner.length <= remote.peer.mtu as usize;
            expected.push(if fits && next_hop.state == UnderlayState::Valid {
                let rest = oracle::passed_on(inner, self.tos, self.rest);
                let inner = Inner { tos: self.tos, ..*inner };
                let sent = oracle::encapsulated(world, self.hook, self.ingress, remote, &inner, &rest);
                let [_, from_lan, from_peer] = self.hook.columns();
                let column = if self.peer == 0 { from_lan } else { from_peer };
                self.received(sent).counting(&[(index, column, inner.length as u64)])
            } else {
                self.delivered()
            });
            if remote.was_free {
                // A moment ago it was no peer, and the packet the kernel's.
                expected.push(self.delivered());
            }
        }
        expected
    }

    fn delivered(&self) -> Expected {
        self.received(oracle::delivered(&self.inner, self.peer, self.tos, self.rest))
    }

    /// Received all right, but there it ends.
    fn dropped(&self, reason: DropReason) -> Expected {
        self.received(Expected::drop(reason))
    }

    fn received(&self, expected: Expected) -> Expected {
        let [received, ..] = self.hook.columns();
        expected.counting(&[(self.peer, received, self.inner.length as u64)])
    }
}
