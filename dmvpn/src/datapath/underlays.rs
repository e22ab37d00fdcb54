//! Next hops of the underlay: `UNDERLAY`. Many peers share one, so that a gateway's new link-layer address is one
//! write.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use aya::maps::{Array, MapData};
use dmvpn_common::{Underlay, UnderlayState, map_names};

use super::{DataPathError, index_pool::IndexPool};

/// Where frames to a peer go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextHop {
    /// Interface that the route names.
    pub ifindex: u32,
    /// The gateway, or the peer itself when it is on the link.
    pub gateway: IpAddr,
}

/// Link-layer addresses a frame needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkAddresses {
    /// Of the gateway.
    pub gateway: [u8; 6],
    /// Of the interface.
    pub source: [u8; 6],
    /// How to get by the interface when it is a VLAN device.
    pub vlan: Option<Vlan>,
}

/// A VLAN device (802.1Q): programs bypass it, so they put the tag into frames for the interface below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// Index of the interface below.
    pub physical: u32,
    /// VLAN identifier, 1 to 4094.
    pub id: u16,
}

/// The next hops that peers use. One is there as long as a peer names it
/// ([`PeerTable::set_next_hop`](super::PeerTable::set_next_hop)).
pub struct UnderlayTable {
    map: Array<MapData, Underlay>,
    pool: IndexPool,
    indexes: BTreeMap<NextHop, u32>,
    used: HashMap<u32, Use>,
}

/// What an index in use stands for.
#[derive(Clone, Copy, Debug)]
struct Use {
    hop: NextHop,
    /// Peers that name it.
    peers: u32,
}

impl UnderlayTable {
    /// Takes over what an earlier run left in the map; `peers` are the indexes that its peers name, once for each peer.
    /// What no peer names is freed.
    pub(super) fn open(
        map: Array<MapData, Underlay>,
        peers: impl Iterator<Item = u32>,
    ) -> Result<Self, DataPathError> {
        let mut named = HashMap::<u32, u32>::new();
        for index in peers {
            *named.entry(index).or_default() += 1;
        }
        let mut table =
            Self { map, pool: IndexPool::new(0, |_| false), indexes: BTreeMap::new(), used: HashMap::new() };
        for index in 1..table.map.len() {
            let entry = table.read(index)?;
            if entry.state == UnderlayState::Free {
                continue;
            }
            let hop = entry.gateway.to_ip().map(|gateway| NextHop { ifindex: entry.route_ifindex, gateway });
            match (hop, named.get(&index)) {
                (Some(hop), Some(peers)) => {
                    table.indexes.insert(hop, index);
                    table.used.insert(index, Use { hop, peers: *peers });
                }
                _ => table.write(index, &Underlay::default())?,
            }
        }
        let capacity = table.map.len().saturating_sub(1);
        table.pool = IndexPool::new(capacity, |index| table.used.contains_key(&index));
        Ok(table)
    }

    /// Writes the link-layer addresses of a next hop: from now on the data path sends frames by itself. `false` when no
    /// peer uses the next hop.
    pub fn set_resolved(&mut self, hop: NextHop, addresses: LinkAddresses) -> Result<bool, DataPathError> {
        let Some(&index) = self.indexes.get(&hop) else { return Ok(false) };
        let LinkAddresses { gateway: gateway_mac, source: source_mac, vlan } = addresses;
        let (ifindex, vlan) = vlan.map_or((hop.ifindex, 0), |vlan| (vlan.physical, vlan.id));
        let mut entry = Underlay { ifindex, gateway_mac, source_mac, vlan, ..unresolved(hop) };
        let old = self.read(index)?;
        let frame = |entry: &Underlay| (entry.ifindex, entry.gateway_mac, entry.source_mac, entry.vlan);
        if old.state != UnderlayState::Valid || frame(&old) != frame(&entry) {
            // The kernel copies a value while packets read it: no frame may see the new state with old addresses.
            self.write(index, &entry)?;
            entry.state = UnderlayState::Valid;
            self.write(index, &entry)?;
        }
        Ok(true)
    }

    /// Leaves frames by this next hop to the kernel, which resolves it. `false` when no peer uses the next hop.
    pub fn set_unresolved(&mut self, hop: NextHop) -> Result<bool, DataPathError> {
        let Some(&index) = self.indexes.get(&hop) else { return Ok(false) };
        self.write(index, &unresolved(hop))?;
        Ok(true)
    }

    /// The next hops in use, with what the data path knows of them; for the agent to watch.
    pub fn entries(&self) -> Result<Vec<(NextHop, Underlay)>, DataPathError> {
        self.indexes.iter().map(|(hop, index)| Ok((*hop, self.read(*index)?))).collect()
    }

    /// Whether a peer uses the next hop.
    pub fn contains(&self, hop: NextHop) -> bool {
        self.indexes.contains_key(&hop)
    }

    /// The next hop at `index`; `None` for 0 and for an index that is not in use.
    pub fn next_hop(&self, index: u32) -> Option<NextHop> {
        self.used.get(&index).map(|used| used.hop)
    }

    /// Index of a next hop, for one more peer; it is added when it is new.
    pub(super) fn acquire(&mut self, hop: NextHop) -> Result<u32, DataPathError> {
        if let Some(&index) = self.indexes.get(&hop) {
            if let Some(used) = self.used.get_mut(&index) {
                used.peers += 1;
            }
            return Ok(index);
        }
        let full = DataPathError::UnderlayTableFull { capacity: self.pool.capacity() };
        let index = self.pool.take().ok_or(full)?;
        if let Err(error) = self.write(index, &unresolved(hop)) {
            self.pool.give_back(index);
            return Err(error);
        }
        self.indexes.insert(hop, index);
        self.used.insert(index, Use { hop, peers: 1 });
        Ok(index)
    }

    /// One peer less; the last one takes the next hop with it. Index 0 names none.
    pub(super) fn release(&mut self, index: u32) -> Result<(), DataPathError> {
        let Some(used) = self.used.get_mut(&index) else { return Ok(()) };
        used.peers = used.peers.saturating_sub(1);
        if used.peers > 0 {
            return Ok(());
        }
        let hop = used.hop;
        self.write(index, &Underlay::default())?;
        self.indexes.remove(&hop);
        self.used.remove(&index);
        self.pool.give_back(index);
        Ok(())
    }

    fn read(&self, index: u32) -> Result<Underlay, DataPathError> {
        self.map.get(&index, 0).map_err(DataPathError::map(map_names::UNDERLAY, "read"))
    }

    fn write(&mut self, index: u32, entry: &Underlay) -> Result<(), DataPathError> {
        self.map.set(index, entry, 0).map_err(DataPathError::map(map_names::UNDERLAY, "write"))
    }
}

fn unresolved(hop: NextHop) -> Underlay {
    Underlay {
        state: UnderlayState::Unresolved,
        ifindex: hop.ifindex,
        route_ifindex: hop.ifindex,
        gateway: hop.gateway.into(),
        ..Underlay::default()
    }
}
