//! What has to become of a frame: derived from the standards and from what the box was told, without a line of the
//! programs' own code.

use std::net::IpAddr;

use dmvpn::datapath::{DontFragment, OuterTos};
use dmvpn_common::{DropReason, PeerMac, Underlay};

use super::{
    packet::{Inner, set_tos, take_hop},
    world::{HOST_MAC, LAN_MAC, Remote, World, peer_mac},
};
use crate::frames::{DF, ETHERTYPE_IPV4, ETHERTYPE_IPV6, GRE, Ip, Ip6, ethernet, tagged};

/// A hook that runs one of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// XDP of the underlay.
    Xdp,
    /// TC ingress of the underlay.
    Tc,
    /// XDP of the LAN.
    Lan,
    /// TC egress of the tunnel interface.
    Tunnel,
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// To the kernel, as if there were no program.
    Pass,
    Drop,
    /// Back by the interface it came in by (XDP).
    Transmit,
    /// To another interface.
    Redirect,
    /// By the tunnel interface to its far end.
    Leave,
}

/// A column of a peer's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    ReceivedXdp,
    ReceivedTc,
    SentXdp,
    SentTc,
    TransitXdp,
    TransitTc,
}

/// One packet of so many bytes, counted for a peer.
pub(super) type Counted = (u32, Column, u64);

/// One thing that may become of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) verdict: Verdict,
    /// What is counted as dropped.
    pub(super) reason: Option<DropReason>,
    pub(super) counted: Vec<Counted>,
    /// What the frame has become, and how many bytes at its begin somebody else writes; `None`: it does not matter.
    pub(super) frame: Option<Vec<u8>>,
    pub(super) unwritten: usize,
}

impl Expected {
    pub(super) fn pass(frame: &[u8]) -> Self {
        Self {
            verdict: Verdict::Pass,
            reason: None,
            counted: Vec::new(),
            frame: Some(frame.to_vec()),
            unwritten: 0,
        }
    }

    pub(super) fn drop(reason: DropReason) -> Self {
        Self { verdict: Verdict::Drop, reason: Some(reason), counted: Vec::new(), frame: None, unwritten: 0 }
    }

    pub(super) fn redirect(frame: Vec<u8>) -> Self {
        Self { verdict: Verdict::Redirect, frame: Some(frame), ..Self::pass(&[]) }
    }

    pub(super) fn counting(mut self, counted: &[Counted]) -> Self {
        self.counted.extend(counted);
        self
    }
}

impl Hook {
    /// The columns where it counts what is received, sent, and passed on.
    pub(super) fn columns(self) -> [Column; 3] {
        match self {
            Self::Xdp | Self::Lan => [Column::ReceivedXdp, Column::SentXdp, Column::TransitXdp],
            Self::Tc | Self::Tunnel => [Column::ReceivedTc, Column::SentTc, Column::TransitTc],
        }
    }
}

/// A packet that goes to a peer: it is at the begin of `rest`, which also has what follows it in its frame.
pub(super) fn encapsulated(
    world: &World,
    hook: Hook,
    ingress: u32,
    remote: &Remote,
    inner: &Inner,
    rest: &[u8],
) -> Expected {
    let next_hop = &world.next_hops[remote.peer.underlay as usize];
    let frame = link(hook, next_hop, &outer(remote, inner, rest));
    let back = matches!(hook, Hook::Xdp | Hook::Lan) && next_hop.ifindex == ingress;
    Expected {
        verdict: if back { Verdict::Transmit } else { Verdict::Redirect },
        ..Expected::redirect(frame)
    }
}

/// The packet with one hop less and another type of service, and what follows it.
pub(super) fn passed_on(inner: &Inner, tos: u8, rest: &[u8]) -> Vec<u8> {
    let mut rest = rest.to_vec();
    take_hop(&mut rest, inner.protocol);
    if tos != inner.tos {
        set_tos(&mut rest, inner.protocol, tos);
    }
    rest
}

/// The outer packet for a peer. What follows the inner packet in `rest` also follows the outer one.
fn outer(remote: &Remote, inner: &Inner, rest: &[u8]) -> Vec<u8> {
    let parameters = &remote.header;
    let tos = match parameters.tos {
        OuterTos::Inherit => inner.tos,
        OuterTos::Dscp(dscp) => dscp << 2 | inner.tos & 3,
    };
    let mut gre = if parameters.key.is_some() { vec![0x20, 0] } else { vec![0, 0] };
    gre.extend(inner.protocol.to_be_bytes());
    gre.extend(parameters.key.map(u32::to_be_bytes).into_iter().flatten());
    let length = gre.len() + inner.length;
    gre.extend(rest);
    match (parameters.local, parameters.remote) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let df = match parameters.dont_fragment {
                DontFragment::Set => true,
                DontFragment::Clear => false,
                DontFragment::Copy => inner.dont_fragment,
            };
            let packet = Ip {
                tos,
                identification: 0,
                fragment: if df { DF } else { 0 },
                ttl: parameters.ttl,
                protocol: GRE,
                source,
                destination,
                options: Vec::new(),
                payload: gre,
                length: Some(u16::try_from(20 + length).unwrap()),
            };
            packet.bytes()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let hop_limit = parameters.ttl;
            let packet = Ip6 { class: tos, next_header: GRE, hop_limit, source, destination, payload: gre };
            let mut bytes = packet.bytes();
            bytes[4..6].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
            bytes
        }
        other => panic!("{other:?}"),
    }
}

/// The frame that carries an outer packet to a next hop. A VLAN device puts the tag in itself.
fn link(hook: Hook, next_hop: &Underlay, packet: &[u8]) -> Vec<u8> {
    let protocol = if packet[0] >> 4 == 4 { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
    let frame = ethernet(next_hop.gateway_mac, next_hop.source_mac, protocol, packet);
    if next_hop.vlan != 0 && matches!(hook, Hook::Xdp | Hook::Lan) {
        tagged(next_hop.vlan, &frame)
    } else {
        frame
    }
}

/// The frame that reaches the tunnel interface from a peer.
pub(super) fn delivered(inner: &Inner, peer: u32, tos: u8, rest: &[u8]) -> Expected {
    let mut rest = rest.to_vec();
    if tos != inner.tos {
        set_tos(&mut rest, inner.protocol, tos);
    }
    Expected::redirect(ethernet(PeerMac::TUNNEL.0, peer_mac(peer), inner.protocol, &rest))
}

/// The frame for the host on the LAN.
pub(super) fn to_host(inner: &Inner, tos: u8, rest: &[u8]) -> Expected {
    Expected::redirect(ethernet(HOST_MAC, LAN_MAC, inner.protocol, &passed_on(inner, tos, rest)))
}
