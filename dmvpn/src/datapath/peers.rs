//! The peers: `PEERS`, `PEER_BY_NBMA` and `PEER_COUNTERS`.
//!
//! The kernel's maps are the only copy. What is written in which order matters, because packets look things up all
//! the time: a peer is complete in `PEERS` before `PEER_BY_NBMA` names it, and `PEER_BY_NBMA` forgets it before its
//! slot is freed.

use std::{
    collections::{HashMap as StdHashMap, HashSet},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray, PerCpuValues};
use dmvpn_common::{
    Address, NbmaKey, Peer, PeerCounters, PeerIndex, PeerState, Traffic, Underlay, map_names,
};

use super::{
    ControlTable, DataPathError, NextHop, OuterHeader, OuterParameters, TunnelParameters, UnderlayTable,
    cached_counts::CachedCounts, index_pool::IndexPool,
};

/// The maps of the table.
pub(super) struct PeerMaps {
    pub peers: Array<MapData, Peer>,
    pub by_nbma: HashMap<MapData, NbmaKey, PeerIndex>,
    pub counters: PerCpuArray<MapData, PeerCounters>,
    pub underlay: Array<MapData, Underlay>,
    pub cached: CachedCounts,
    pub control: ControlTable,
}

/// The peers in the kernel. An index stays with its peer until that is removed, over restarts of the agent too.
pub struct PeerTable {
    /// The next hops that peers use.
    pub underlays: UnderlayTable,
    peers: Array<MapData, Peer>,
    by_nbma: HashMap<MapData, NbmaKey, PeerIndex>,
    counters: PerCpuArray<MapData, PeerCounters>,
    cached: CachedCounts,
    /// What was found in `cached`, and when.
    recent: Mutex<Recent>,
    /// What the agent received from peers itself; it cannot add to counters that the programs write.
    received_slow: StdHashMap<u32, Traffic>,
    pool: IndexPool,
    control: ControlTable,
}

/// Counts that were in the route caches a moment ago, by peer.
type Recent = Option<(Instant, StdHashMap<u32, PeerCounters>)>;

impl PeerTable {
    /// Takes over the peers an earlier run left in the maps. What a run that was killed left half done is undone.
    pub(super) fn open(maps: PeerMaps) -> Result<Self, DataPathError> {
        let PeerMaps { mut peers, mut by_nbma, counters, underlay, cached, control } = maps;
        let mut owners = StdHashMap::new();
        let keys = by_nbma
            .iter()
            .collect::<Result<Vec<(NbmaKey, PeerIndex)>, _>>()
            .map_err(DataPathError::map(map_names::PEER_BY_NBMA, "read"))?;
        for (key, PeerIndex { peer }) in keys {
            owners.entry(peer).or_insert_with(Vec::new).push(key);
        }
        let mut kept = StdHashMap::new();
        for index in 1..peers.len() {
            let peer = peers.get(&index, 0).map_err(DataPathError::map(map_names::PEERS, "read"))?;
            if peer.state == PeerState::Free {
                continue;
            }
            let keys = owners.entry(index).or_default();
            match keys.iter().position(|key| key.tunnel == peer.tunnel && key.nbma == peer.nbma) {
                Some(place) => {
                    keys.swap_remove(place);
                    kept.insert(index, peer);
                }
                None => {
                    peers.set(index, Peer::FREE, 0).map_err(DataPathError::map(map_names::PEERS, "write"))?;
                }
            }
        }
        for key in owners.into_values().flatten() {
            by_nbma.remove(&key).map_err(DataPathError::map(map_names::PEER_BY_NBMA, "remove from"))?;
        }
        let underlays = UnderlayTable::open(underlay, kept.values().map(|peer| peer.underlay))?;
        let pool = IndexPool::new(peers.len().saturating_sub(1), |index| kept.contains_key(&index));
        let recent = Mutex::default();
        let received_slow = StdHashMap::new();
        let mut table =
            Self { underlays, peers, by_nbma, counters, cached, recent, received_slow, pool, control };
        for (index, peer) in kept {
            if peer.underlay != 0 && table.underlays.next_hop(peer.underlay).is_none() {
                table.write(index, &Peer { underlay: 0, ..peer })?;
            }
        }
        Ok(table)
    }

    /// Adds the peer at `nbma` of a tunnel and returns its index. A peer that is there already keeps its index, next
    /// hop, MTU and counters and gets its header and state anew; that is how an agent brings the peers of an earlier
    /// run up to date with its configuration.
    ///
    /// A new peer has no next hop and the MTU of the tunnel.
    pub fn add(
        &mut self,
        tunnel: &TunnelParameters,
        nbma: IpAddr,
        state: PeerState,
    ) -> Result<u32, DataPathError> {
        let outer = OuterParameters {
            local: tunnel.local,
            remote: nbma,
            key: tunnel.key,
            ttl: tunnel.ttl,
            dont_fragment: tunnel.dont_fragment,
            tos: tunnel.tos,
        };
        let header = OuterHeader::build(&outer)?;
        let mut peer = Peer {
            state,
            mtu: tunnel.mtu,
            header_sum: header.sum,
            header_length: header.length,
            tos: header.tos,
            tos_mask: header.tos_mask,
            df_mask: header.df_mask,
            header: header.bytes,
            tunnel: tunnel.id,
            tunnel_ifindex: tunnel.ifindex,
            network_id: tunnel.network_id,
            nbma: nbma.into(),
            // Removing the one that had the index before raised the generation.
            since: self.control.value().generation,
            ..Peer::FREE
        };
        if let Some(index) = self.index_of(tunnel.id, nbma)? {
            let old = self.existing(index)?;
            peer.underlay = old.underlay;
            peer.mtu = old.mtu;
            peer.policer = old.policer;
            peer.since = old.since;
            self.write(index, &peer)?;
            self.control.forget_routes()?;
            return Ok(index);
        }
        let full = DataPathError::PeerTableFull { capacity: self.pool.capacity() };
        let index = self.pool.take().ok_or(full)?;
        let added = self.write_new(index, &peer);
        if added.is_err() {
            self.pool.give_back(index);
        }
        added?;
        self.control.forget_routes()?;
        Ok(index)
    }

    /// Removes a peer. Its index is not given to another one for as long as possible.
    pub fn remove(&mut self, index: u32) -> Result<(), DataPathError> {
        let peer = self.existing(index)?;
        match self.by_nbma.remove(&key(peer.tunnel, peer.nbma)) {
            Ok(()) | Err(MapError::KeyNotFound) => {}
            Err(error) => return Err(DataPathError::map(map_names::PEER_BY_NBMA, "remove from")(error)),
        }
        self.write(index, &Peer::FREE)?;
        self.control.forget_routes()?;
        self.received_slow.remove(&index);
        self.pool.give_back(index);
        self.underlays.release(peer.underlay)
    }

    /// Sets whether packets may be exchanged with the peer.
    pub fn set_state(&mut self, index: u32, state: PeerState) -> Result<(), DataPathError> {
        let peer = self.existing(index)?;
        self.write(index, &Peer { state, ..peer })?;
        self.control.forget_routes()
    }

    /// Sets the largest inner packet in bytes.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> Result<(), DataPathError> {
        let peer = self.existing(index)?;
        self.write(index, &Peer { mtu, ..peer })
    }

    /// Sets which policer bounds what is sent to the peer; 0: none does.
    pub fn set_policer(&mut self, index: u32, policer: u32) -> Result<(), DataPathError> {
        let peer = self.existing(index)?;
        self.write(index, &Peer { policer, ..peer })
    }

    /// Sets where frames to the peer go first; `None` leaves them to the kernel. A next hop that is new to the table
    /// starts unresolved, see [`UnderlayTable::set_resolved`].
    pub fn set_next_hop(&mut self, index: u32, hop: Option<NextHop>) -> Result<(), DataPathError> {
        let peer = self.existing(index)?;
        if hop == self.underlays.next_hop(peer.underlay) {
            return Ok(());
        }
        let underlay = match hop {
            Some(hop) => self.underlays.acquire(hop)?,
            None => 0,
        };
        if let Err(error) = self.write(index, &Peer { underlay, ..peer }) {
            self.underlays.release(underlay)?;
            return Err(error);
        }
        self.underlays.release(peer.underlay)
    }

    /// Index of the peer at `nbma` of the tunnel with the id `tunnel`.
    pub fn index_of(&self, tunnel: u32, nbma: IpAddr) -> Result<Option<u32>, DataPathError> {
        match self.by_nbma.get(&key(tunnel, nbma.into()), 0) {
            Ok(PeerIndex { peer }) => Ok(Some(peer)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(DataPathError::map(map_names::PEER_BY_NBMA, "read")(error)),
        }
    }

    /// The peer with this index, if there is one.
    pub fn get(&self, index: u32) -> Result<Option<Peer>, DataPathError> {
        if index == 0 || index >= self.peers.len() {
            return Ok(None);
        }
        let peer = self.peers.get(&index, 0).map_err(DataPathError::map(map_names::PEERS, "read"))?;
        Ok((peer.state != PeerState::Free).then_some(peer))
    }

    /// Every peer with its index, in the order of the indexes.
    pub fn entries(&self) -> Result<Vec<(u32, Peer)>, DataPathError> {
        let indexes = self
            .by_nbma
            .iter()
            .map(|entry| entry.map(|(_, PeerIndex { peer })| peer))
            .collect::<Result<HashSet<u32>, _>>()
            .map_err(DataPathError::map(map_names::PEER_BY_NBMA, "read"))?;
        let mut peers = Vec::with_capacity(indexes.len());
        for index in indexes {
            peers.extend(self.get(index)?.map(|peer| (index, peer)));
        }
        peers.sort_unstable_by_key(|(index, _)| *index);
        Ok(peers)
    }

    /// Counts a packet of `bytes` bytes from a peer that the agent itself took out of the tunnel; those of a stranger,
    /// peer 0, are nobody's.
    pub fn count_slow(&mut self, index: u32, bytes: u64) {
        if index == 0 {
            return;
        }
        let received = self.received_slow.entry(index).or_default();
        *received = received.plus(Traffic { packets: 1, bytes });
    }

    /// Counters of a peer since it was added, all CPUs together; what the agent received itself, since it runs. What was
    /// counted in route caches is looked for anew when that was `age` or longer ago: it takes some milliseconds, for all
    /// peers at once.
    pub fn counters(&self, index: u32, age: Duration) -> Result<PeerCounters, DataPathError> {
        let values =
            self.counters.get(&index, 0).map_err(DataPathError::map(map_names::PEER_COUNTERS, "read"))?;
        let received_slow = self.received_slow.get(&index).copied().unwrap_or_default();
        let own = PeerCounters { received_slow, ..PeerCounters::default() };
        let settled = values.iter().fold(own, |sum, cpu| sum.plus(cpu));
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let cached = match recent.take() {
            Some((read, counts)) if read.elapsed() < age => recent.insert((read, counts)),
            _ => {
                let since = |index| Ok(self.get(index)?.map(|peer| peer.since));
                let counts = self.cached.read(self.control.value().generation, since)?;
                recent.insert((Instant::now(), counts))
            }
        };
        Ok(cached.1.get(&index).map_or(settled, |counts| settled.plus(counts)))
    }

    /// How many peers fit.
    pub const fn capacity(&self) -> u32 {
        self.pool.capacity()
    }

    fn write_new(&mut self, index: u32, peer: &Peer) -> Result<(), DataPathError> {
        self.zero_counters(index)?;
        self.write(index, peer)?;
        let named = self
            .by_nbma
            .insert(key(peer.tunnel, peer.nbma), PeerIndex { peer: index }, 0)
            .map_err(DataPathError::map(map_names::PEER_BY_NBMA, "write"));
        if named.is_err() {
            self.write(index, &Peer::FREE)?;
        }
        named
    }

    fn zero_counters(&mut self, index: u32) -> Result<(), DataPathError> {
        let failed = DataPathError::map(map_names::PEER_COUNTERS, "write");
        let zero = self
            .counters
            .get(&index, 0)
            .and_then(|old| Ok(PerCpuValues::try_from(vec![PeerCounters::default(); old.len()])?));
        zero.and_then(|zero| self.counters.set(index, zero, 0)).map_err(failed)
    }

    fn existing(&self, index: u32) -> Result<Peer, DataPathError> {
        self.get(index)?.ok_or(DataPathError::NoSuchPeer { index })
    }

    fn write(&mut self, index: u32, peer: &Peer) -> Result<(), DataPathError> {
        self.peers.set(index, peer, 0).map_err(DataPathError::map(map_names::PEERS, "write"))
    }
}

fn key(tunnel: u32, nbma: Address) -> NbmaKey {
    NbmaKey { tunnel, discriminator: 0, nbma }
}
