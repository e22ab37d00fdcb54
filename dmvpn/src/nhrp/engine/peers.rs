//! Who is a peer: an NBMA address is one for as long as anything uses it.

use std::net::IpAddr;

use super::{
    Action, Time, TunnelId, cache::Kind, limits::Bucket, ordered_map::OrderedMap, servers::ServerId,
};

/// What makes an NBMA address a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum User {
    /// A neighbour entry for this protocol address leads there.
    Neighbour(IpAddr),
    /// A next hop server of ours.
    Server(ServerId),
    /// We told somebody there that a prefix is here, so it may send for it: the number of that answer.
    Requester(u32),
    /// It gets copies of multicast packets because the configuration says so.
    Multicast,
    /// A neighbour entry for this link-local address leads there because it was seen in the peer's data. That alone
    /// makes nobody a peer: without another use it goes. The last kind of use, so that it is the first one of a peer
    /// only when there is no other.
    Seen(IpAddr),
}

impl User {
    /// What a cache entry is to the peer that it leads to.
    pub(super) const fn of_entry(kind: Kind, protocol: IpAddr) -> Self {
        match kind {
            Kind::Seen => Self::Seen(protocol),
            _ => Self::Neighbour(protocol),
        }
    }
}

/// A peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) users: OrderedMap<User, ()>,
    pub(super) since: Time,
    /// Protocol addresses registered from there.
    pub(super) registrations: u32,
    /// Answers that were given to it.
    pub(super) answers: u32,
    /// Limits its packets.
    pub(super) bucket: Bucket,
    /// Reasons to send it copies of multicast packets.
    copies: u32,
}

/// The peers of a tunnel.
#[derive(Debug)]
pub(super) struct Peers {
    tunnel: TunnelId,
    peers: OrderedMap<IpAddr, Peer>,
}

impl Peers {
    pub(super) const fn new(tunnel: TunnelId) -> Self {
        Self { tunnel, peers: OrderedMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    pub(super) fn contains(&self, nbma: IpAddr) -> bool {
        self.peers.contains_key(&nbma)
    }

    pub(super) fn get(&self, nbma: IpAddr) -> Option<&Peer> {
        self.peers.get(&nbma)
    }

    pub(super) fn get_mut(&mut self, nbma: IpAddr) -> Option<&mut Peer> {
        self.peers.get_mut(&nbma)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (IpAddr, &Peer)> {
        self.peers.iter().map(|(&nbma, peer)| (nbma, peer))
    }

    /// One more user; the first one makes it a peer.
    pub(super) fn hold(&mut self, nbma: IpAddr, user: User, now: Time, out: &mut Vec<Action>) {
        let peer = self.peers.get_or_insert_with(nbma, || {
            out.push(Action::AddPeer { tunnel: self.tunnel, nbma });
            Peer {
                users: OrderedMap::new(),
                since: now,
                registrations: 0,
                answers: 0,
                bucket: Bucket::default(),
                copies: 0,
            }
        });
        if peer.users.insert(user, ()).is_none() && matches!(user, User::Requester(..)) {
            peer.answers += 1;
        }
    }

    /// One user less; with the last one it is no peer any more.
    pub(super) fn release(&mut self, nbma: IpAddr, user: User, out: &mut Vec<Action>) {
        let Some(peer) = self.peers.get_mut(&nbma) else { return };
        if peer.users.remove(&user).is_some() && matches!(user, User::Requester(..)) {
            peer.answers -= 1;
        }
        if peer.users.is_empty() {
            if peer.copies > 0 {
                out.push(Action::RemoveMulticast { tunnel: self.tunnel, nbma });
            }
            self.peers.remove(&nbma);
            out.push(Action::RemovePeer { tunnel: self.tunnel, nbma });
        }
    }

    /// One more reason to send copies of multicast packets to a peer.
    pub(super) fn start_copies(&mut self, nbma: IpAddr, out: &mut Vec<Action>) {
        if let Some(peer) = self.peers.get_mut(&nbma) {
            peer.copies += 1;
            if peer.copies == 1 {
                out.push(Action::AddMulticast { tunnel: self.tunnel, nbma });
            }
        }
    }

    /// One reason less.
    pub(super) fn stop_copies(&mut self, nbma: IpAddr, out: &mut Vec<Action>) {
        if let Some(peer) = self.peers.get_mut(&nbma)
            && peer.copies > 0
        {
            peer.copies -= 1;
            if peer.copies == 0 {
                out.push(Action::RemoveMulticast { tunnel: self.tunnel, nbma });
            }
        }
    }
}

impl Peer {
    pub(super) const fn gets_multicast(&self) -> bool {
        self.copies > 0
    }

    /// Whether it is a next hop server of ours.
    pub(super) fn is_server(&self) -> bool {
        let first = self.users.range(User::Server(ServerId(0))..).next();
        matches!(first, Some((User::Server(_), ())))
    }

    /// Protocol addresses that are reached there.
    pub(super) fn protocols(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.users.keys().filter_map(|user| match user {
            User::Neighbour(protocol) | User::Seen(protocol) => Some(*protocol),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TUNNEL: TunnelId = TunnelId(1);
    const NBMA: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn user(last: u8) -> User {
        User::Neighbour(IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn a_peer_lives_from_its_first_user_to_its_last() {
        let mut peers = Peers::new(TUNNEL);
        let mut out = Vec::new();
        peers.hold(NBMA, user(1), Time::default(), &mut out);
        peers.hold(NBMA, user(2), Time::default(), &mut out);
        peers.hold(NBMA, user(2), Time::default(), &mut out);
        assert_eq!(out, [Action::AddPeer { tunnel: TUNNEL, nbma: NBMA }]);
        out.clear();
        peers.release(NBMA, user(1), &mut out);
        assert!(out.is_empty() && peers.contains(NBMA));
        peers.release(NBMA, user(2), &mut out);
        assert_eq!(out, [Action::RemovePeer { tunnel: TUNNEL, nbma: NBMA }]);
        assert!(!peers.contains(NBMA));
    }

    #[test]
    fn copies_stop_with_the_last_reason_and_before_the_peer_goes() {
        let mut peers = Peers::new(TUNNEL);
        let mut out = Vec::new();
        peers.hold(NBMA, user(1), Time::default(), &mut out);
        out.clear();
        peers.start_copies(NBMA, &mut out);
        peers.start_copies(NBMA, &mut out);
        peers.stop_copies(NBMA, &mut out);
        assert_eq!(out, [Action::AddMulticast { tunnel: TUNNEL, nbma: NBMA }]);
        out.clear();
        peers.release(NBMA, user(1), &mut out);
        let removals = [
            Action::RemoveMulticast { tunnel: TUNNEL, nbma: NBMA },
            Action::RemovePeer { tunnel: TUNNEL, nbma: NBMA },
        ];
        assert_eq!(out, removals);
    }
}
