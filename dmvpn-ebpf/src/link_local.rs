//! Link-local sources (RFC 4291, 2.5.6). A routing daemon speaks from such an address and names it as next hop; the
//! agent learns from what peers send who has it.

use dmvpn_common::RedirectKey;

use crate::{
    address, ethernet, event, inner::Inner, ipv6, receive::UnderlayPacket, redirect, scratch::Scratch,
    way::Origin,
};

/// Raises an event when the packet has a link-local source, for each one of a peer as often as for a redirect.
#[inline(always)]
pub fn notice<P: UnderlayPacket, H: Inner>(
    packet: &P,
    origin: &Origin<'_>,
    header: &H,
    scratch: &mut Scratch,
) {
    if H::PROTOCOL != ethernet::IPV6 || origin.peer == 0 {
        return;
    }
    let source = header.source();
    if !ipv6::is_link_local(address::words(&source)) {
        return;
    }
    // No redirect is about a link-local destination, so the two share a table.
    scratch.redirect = RedirectKey { peer: origin.peer, destination: source };
    if redirect::is_due(&scratch.redirect) {
        event::link_local(origin.tunnel.ifindex, &scratch.outer.source, |head| {
            packet.copy_head(origin.offset, ipv6::LENGTH, head)
        });
    }
}
