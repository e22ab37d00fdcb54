//! Multicast and broadcast: a tunnel interface has many receivers and no wire that reaches them all, so each gets a
//! packet of its own.
//!
//! The receivers of an interface are a list: [`Interface::first_receiver`](dmvpn_common::Interface::first_receiver) and
//! then `MULTICAST`. A copy is the frame with the link-layer address of one peer, sent by the tunnel interface again:
//! so it passes the tunnel program as any other frame to that peer does. The last receiver gets the frame itself, and
//! where there is one receiver only, as on most spokes, nothing is copied.

use dmvpn_common::{DropReason, PeerMac};

use crate::{ethernet, maps, tunnel::TunnelPacket};

/// Sends a copy of the frame to every receiver of its interface but one, and returns the index of that peer, to which
/// the frame itself is now addressed.
#[inline(always)]
#[expect(unsafe_code, reason = "values of a hash map may change while they are read")]
pub fn to_receivers<P: TunnelPacket>(packet: &mut P) -> Result<u32, DropReason> {
    // SAFETY: a word of the value is read; the agent replaces values whole.
    let interface = unsafe { maps::INTERFACES.get(packet.interface()) };
    let first = interface.map_or(0, |interface| interface.first_receiver);
    if first == 0 {
        return Err(DropReason::NoMulticastReceiver);
    }
    // One receiver: on a spoke that is the rule.
    let last = if after(first) == 0 { first } else { packet.copy_along(first) };
    // The kernel finds no next hop for a frame to a group.
    if !packet.reach(ethernet::LENGTH) {
        return Err(DropReason::Truncated);
    }
    let Some(mut header) = ethernet::header(packet) else { return Err(DropReason::Truncated) };
    header.copy_in::<[u8; 6], 0>(PeerMac::from_index(last).0);
    Ok(last)
}

/// The peer that follows `peer` in its list; 0 at the end.
#[inline(always)]
pub fn after(peer: u32) -> u32 {
    maps::MULTICAST.get(peer).map_or(0, |receiver| receiver.next)
}
