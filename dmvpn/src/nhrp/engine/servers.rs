//! The list of next hop servers. It changes while the agent runs: a server that is given by its host name has another
//! address one day.

use super::{
    MulticastServers, Nhs,
    cache::{Kind, Offer},
    client::Server,
    peers::User,
    tunnel::{Context, Tunnel},
};

/// Names a server for as long as it is in the list, whatever comes and goes beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServerId(pub(super) u32);

/// Whether two descriptions are of one server: how it is used may differ.
fn is_same(a: &Nhs, b: &Nhs) -> bool {
    (a.nbma, a.protocol) == (b.nbma, b.protocol)
}

impl Tunnel {
    /// Makes `wanted` the list of servers, in the operator's order, and begins to register with those that are new.
    /// What is known of the others stays, and so does what goes on with them.
    pub(super) fn set_servers(&mut self, cx: &mut Context<'_>, wanted: &[Nhs]) {
        // The new ones come first, so that traffic can move from a server that goes to one that is there.
        for nhs in wanted {
            match self.servers.iter_mut().find(|server| is_same(&server.config, nhs)) {
                Some(server) => server.config = nhs.clone(),
                None => self.add_server(cx, nhs.clone()),
            }
        }
        let gone = |server: &Server| !wanted.iter().any(|nhs| is_same(&server.config, nhs));
        while let Some(index) = self.servers.iter().position(gone) {
            self.remove_server(cx, index);
        }
        self.servers.sort_by_key(|server| wanted.iter().position(|nhs| is_same(&server.config, nhs)));
        self.choose_servers(cx);
    }

    /// A server with a configured address is a neighbour from the start, like a static map: a routing protocol may
    /// talk to it before it answered us.
    fn add_server(&mut self, cx: &mut Context<'_>, config: Nhs) {
        let id = ServerId(self.servers.iter().map(|server| server.id.0 + 1).max().unwrap_or(0));
        let Nhs { nbma, protocol, .. } = config;
        self.servers.reserve_exact(1);
        self.servers.push(Server::new(id, config, cx.now));
        self.peers.hold(nbma, User::Server(id), cx.now, cx.out);
        if self.config.multicast.servers == MulticastServers::All {
            self.peers.start_copies(nbma, cx.out);
        }
        if let Some(protocol) = protocol {
            self.install(cx, protocol, Offer::new(Kind::Nhs, nbma, None));
        }
    }

    fn remove_server(&mut self, cx: &mut Context<'_>, index: usize) {
        self.release_server(cx, index);
        let Server { id, config: Nhs { nbma, protocol, .. }, answered_from, .. } = self.servers.remove(index);
        if let Some(earlier) = answered_from {
            self.leave_peer(cx, earlier, User::Server(id));
        }
        if self.config.multicast.servers == MulticastServers::All {
            self.peers.stop_copies(nbma, cx.out);
        }
        self.move_relays(cx);
        let is_left = |kind| {
            move |binding: &super::cache::Binding| binding.offer.kind == kind && binding.offer.nbma == nbma
        };
        // With no server left, nothing carries what it carried.
        let is_relay = is_left(Kind::Relay);
        let mut left: Vec<_> =
            self.cache.iter().filter(|(_, binding)| is_relay(binding)).map(|(&address, _)| address).collect();
        left.extend(protocol.filter(|address| self.cache.get(address).is_some_and(is_left(Kind::Nhs))));
        for address in left {
            self.remove(cx, address);
        }
        self.leave_peer(cx, nbma, User::Server(id));
    }
}
