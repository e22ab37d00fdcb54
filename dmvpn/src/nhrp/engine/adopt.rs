//! Taking over from an earlier agent: what it left in the kernel is believed for one holding time unless it is
//! confirmed, so that traffic goes on while clients and servers do not even know of the restart.

use std::net::IpAddr;

use super::{
    cache::{Kind, Offer},
    tunnel::{Context, Tunnel},
};

impl Tunnel {
    /// Takes over a neighbour entry.
    pub(super) fn adopt(&mut self, cx: &mut Context<'_>, protocol: IpAddr, nbma: IpAddr) {
        if self.cache.get(&protocol).is_some_and(|binding| binding.offer.kind > Kind::Adopted) {
            // The configuration knows better; its entry has replaced the old one.
            return;
        }
        // Behind the address of a server there is the server, or what it relays for us.
        let (kind, holding) = if self.is_server(nbma) {
            (Kind::Relay, self.config.policy.negative_time)
        } else {
            (Kind::Adopted, self.config.holding_time)
        };
        self.install(cx, protocol, Offer::new(kind, nbma, Some(holding)));
    }
}
