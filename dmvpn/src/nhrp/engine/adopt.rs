//! Taking over from an earlier agent: what it left in the kernel is believed for one holding time unless it is
//! confirmed, so that traffic goes on while clients and servers do not even know of the restart.

use std::net::IpAddr;

use super::{
    cache::{Kind, Offer},
    peers::Peer,
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

    /// Takes over that an address got copies of multicast packets: whoever was adopted there had registered.
    pub(super) fn adopt_client(&mut self, cx: &mut Context<'_>, nbma: IpAddr) {
        if self.config.multicast.fixed.contains(&nbma) {
            return;
        }
        let holding = Some(self.config.holding_time);
        let protocols: Vec<_> = self.peers.get(nbma).into_iter().flat_map(Peer::protocols).collect();
        for protocol in protocols {
            if self.cache.get(&protocol).is_some_and(|binding| binding.offer.kind == Kind::Adopted) {
                self.install(cx, protocol, Offer::new(Kind::Registered, nbma, holding));
            }
        }
    }
}
