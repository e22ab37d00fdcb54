//! What the agents of all nodes wrote into their kernels: neighbours, peers, shortcut routes.

use std::collections::BTreeMap;

use super::{
    address::{Address, NodeId},
    clock::Moment,
};

/// A neighbour entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neighbour {
    /// Underlay address that frames go to.
    pub(super) underlay: Address,
    /// Since when they go there.
    pub(super) since: Moment,
}

/// The tables of all kernels. One tree for all nodes: most of them hold two or three entries each.
#[derive(Debug, Default)]
pub(super) struct Kernels {
    neighbours: BTreeMap<(NodeId, Address), Neighbour>,
    /// With the number of data packets sent.
    peers: BTreeMap<(NodeId, Address), u32>,
    /// Next hops of shortcuts, by prefix.
    routes: BTreeMap<(NodeId, Address, u8), Address>,
}

impl Kernels {
    pub(super) fn neighbour(&self, node: NodeId, protocol: Address) -> Option<Neighbour> {
        self.neighbours.get(&(node, protocol)).copied()
    }

    /// Sets a neighbour entry; gives the one that was there.
    pub(super) fn set_neighbour(
        &mut self,
        node: NodeId,
        protocol: Address,
        underlay: Address,
        now: Moment,
    ) -> Option<Neighbour> {
        let entry = self.neighbours.entry((node, protocol));
        let mut before = None;
        entry
            .and_modify(|neighbour| {
                before = Some(*neighbour);
                if neighbour.underlay != underlay {
                    *neighbour = Neighbour { underlay, since: now };
                }
            })
            .or_insert(Neighbour { underlay, since: now });
        before
    }

    pub(super) fn remove_neighbour(&mut self, node: NodeId, protocol: Address) -> Option<Neighbour> {
        self.neighbours.remove(&(node, protocol))
    }

    /// A node's neighbours, by protocol address.
    pub(super) fn neighbours(&self, node: NodeId) -> impl Iterator<Item = (Address, Neighbour)> {
        let entries = self.neighbours.range((node, 0)..=(node, Address::MAX));
        entries.map(|(&(_, protocol), &neighbour)| (protocol, neighbour))
    }

    /// Everybody's neighbours, by node.
    pub(super) fn all_neighbours(&self) -> impl Iterator<Item = (NodeId, Address, Neighbour)> {
        self.neighbours.iter().map(|(&(node, protocol), &neighbour)| (node, protocol, neighbour))
    }

    pub(super) fn is_peer(&self, node: NodeId, underlay: Address) -> bool {
        self.peers.contains_key(&(node, underlay))
    }

    /// Adds a peer; false if it is there.
    pub(super) fn add_peer(&mut self, node: NodeId, underlay: Address) -> bool {
        self.peers.insert((node, underlay), 0).is_none()
    }

    /// Removes a peer; false if it is not there.
    pub(super) fn remove_peer(&mut self, node: NodeId, underlay: Address) -> bool {
        self.peers.remove(&(node, underlay)).is_some()
    }

    /// A node's peers.
    pub(super) fn peers(&self, node: NodeId) -> impl Iterator<Item = Address> {
        self.peers.range((node, 0)..=(node, Address::MAX)).map(|(&(_, underlay), _)| underlay)
    }

    /// Everybody's peers, by node.
    pub(super) fn all_peers(&self) -> impl Iterator<Item = (NodeId, Address)> {
        self.peers.keys().copied()
    }

    /// Data packets sent to a peer.
    pub(super) fn sent(&self, node: NodeId, underlay: Address) -> u64 {
        self.peers.get(&(node, underlay)).copied().unwrap_or(0).into()
    }

    /// Counts a data packet that is sent to a peer.
    pub(super) fn count(&mut self, node: NodeId, underlay: Address) {
        if let Some(sent) = self.peers.get_mut(&(node, underlay)) {
            *sent = sent.wrapping_add(1);
        }
    }

    /// Adds a shortcut, in front of one for the same prefix.
    pub(super) fn add_route(&mut self, node: NodeId, prefix: (Address, u8), via: Address) {
        self.routes.insert((node, prefix.0, prefix.1), via);
    }

    /// Removes a shortcut, unless another one has taken its place.
    pub(super) fn remove_route(&mut self, node: NodeId, prefix: (Address, u8), via: Address) {
        let key = (node, prefix.0, prefix.1);
        if self.routes.get(&key) == Some(&via) {
            self.routes.remove(&key);
        }
    }

    /// A node's shortcuts: prefix, length, next hop.
    pub(super) fn routes(&self, node: NodeId) -> impl Iterator<Item = (Address, u8, Address)> {
        let all = self.routes.range((node, 0, 0)..=(node, Address::MAX, u8::MAX));
        all.map(|(&(_, prefix, length), &via)| (prefix, length, via))
    }

    /// Shortcuts of everybody.
    pub(super) fn route_count(&self) -> usize {
        self.routes.len()
    }

    /// Next hop of the longest shortcut for an address.
    pub(super) fn shortcut(&self, node: NodeId, destination: Address) -> Option<Address> {
        // Of the prefixes that cover an address, those that start later are longer; most nodes have few shortcuts.
        let from = (node, 0, 0);
        let to = (node, destination, u8::MAX);
        let covers = |prefix: Address, length: u8| {
            let mask = Address::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            destination & mask == prefix
        };
        let mut all = self.routes.range(from..=to).rev();
        all.find(|&(&(_, prefix, length), _)| covers(prefix, length)).map(|(_, &via)| via)
    }

    /// Empties the tables of a node that lost power, and tells of every neighbour and peer that it had.
    pub(super) fn clear(&mut self, node: NodeId, mut gone: impl FnMut(Gone)) {
        let routes: Vec<_> = self.routes(node).map(|(prefix, length, _)| (node, prefix, length)).collect();
        for route in routes {
            self.routes.remove(&route);
        }
        let neighbours: Vec<_> = self.neighbours(node).collect();
        for (protocol, neighbour) in neighbours {
            self.neighbours.remove(&(node, protocol));
            gone(Gone::Neighbour { protocol, underlay: neighbour.underlay });
        }
        let peers: Vec<_> = self.peers(node).collect();
        for underlay in peers {
            self.peers.remove(&(node, underlay));
            gone(Gone::Peer { underlay });
        }
    }
}

/// Something that a node lost with its power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    Neighbour { protocol: Address, underlay: Address },
    Peer { underlay: Address },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_shortcut_wins() {
        let mut kernels = Kernels::default();
        kernels.add_route(1, (0x0A00_0000, 8), 1);
        kernels.add_route(1, (0x0A00_0040, 26), 2);
        kernels.add_route(1, (0x0A00_0050, 32), 3);
        kernels.add_route(2, (0x0A00_0044, 32), 4);
        let next_hop = |address| kernels.shortcut(1, address);
        assert_eq!(next_hop(0x0A00_0050), Some(3));
        assert_eq!(next_hop(0x0A00_0051), Some(2));
        assert_eq!(next_hop(0x0A00_0080), Some(1));
        assert_eq!(next_hop(0x0B00_0000), None);
        assert_eq!(next_hop(0x0900_0000), None);
    }

    #[test]
    fn a_route_that_replaced_another_stays_when_that_is_removed() {
        let mut kernels = Kernels::default();
        kernels.add_route(1, (0x0A00_0000, 8), 1);
        kernels.add_route(1, (0x0A00_0000, 8), 2);
        kernels.remove_route(1, (0x0A00_0000, 8), 1);
        assert_eq!(kernels.shortcut(1, 0x0A00_0001), Some(2));
        kernels.remove_route(1, (0x0A00_0000, 8), 2);
        assert_eq!(kernels.route_count(), 0);
    }

    #[test]
    fn a_node_without_power_has_empty_tables_and_others_keep_theirs() {
        let mut kernels = Kernels::default();
        for node in [1, 2] {
            kernels.add_peer(node, 5);
            kernels.set_neighbour(node, 9, 5, Moment(0));
            kernels.add_route(node, (0, 0), 9);
        }
        let mut gone = Vec::new();
        kernels.clear(1, |what| gone.push(what));
        assert_eq!(gone, [Gone::Neighbour { protocol: 9, underlay: 5 }, Gone::Peer { underlay: 5 }]);
        assert!(kernels.neighbours(1).next().is_none() && !kernels.is_peer(1, 5));
        assert!(kernels.neighbours(2).next().is_some() && kernels.is_peer(2, 5));
        assert_eq!(kernels.route_count(), 1);
    }
}
