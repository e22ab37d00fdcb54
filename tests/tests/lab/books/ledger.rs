//! What a node's programs have counted: by reason, and by peer, direction and path.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use anyhow::{Context as _, Result};
use aya::{
    Pod,
    maps::{Array, Map, MapData, PerCpuArray},
};
use dmvpn::control::protocol::DropRow;
use dmvpn_common::{
    CachedRoute, CachedVerdict, Control, DropReason, LAYOUT_VERSION, Peer, PeerCounters, Traffic, map_names,
};
use dmvpn_tests::agent::Agent;

/// Counters at one time, or what they grew by. What is zero is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    /// By the reason's name.
    pub(super) drops: BTreeMap<String, Traffic>,
    /// By NBMA address.
    pub(super) peers: BTreeMap<Ipv4Addr, PeerCounters>,
}

impl Ledger {
    /// Reads the maps that the agent has pinned, and asks it for what it has dropped itself.
    pub(super) fn read(agent: &Agent) -> Result<Self> {
        let pins = agent.config().pin_directory.join(format!("v{LAYOUT_VERSION}"));
        let mut ledger = Self::default();
        for DropRow { reason, packets, bytes, .. } in agent.drops()? {
            if packets > 0 {
                ledger.drops.insert(reason, Traffic { packets, bytes });
            }
        }
        let peers = array::<Peer>(&pins, map_names::PEERS)?;
        let counters = per_cpu::<PeerCounters>(&pins, map_names::PEER_COUNTERS)?;
        let cached = cached(&pins)?;
        // A lab has few peers, with the lowest indexes.
        for index in 1..16 {
            let Some(IpAddr::V4(nbma)) = peers.get(&index, 0)?.nbma.to_ip() else { continue };
            let values = counters.get(&index, 0)?;
            let cached = cached.get(&index).copied().unwrap_or_default();
            ledger.peers.insert(nbma, values.iter().fold(cached, |total, value| total.plus(value)));
        }
        // What it takes out of the tunnel itself, the agent alone knows: the rest of what it tells.
        for row in agent.peers()? {
            let IpAddr::V4(nbma) = row.nbma else { continue };
            let entry = ledger.peers.entry(nbma).or_default();
            let received = Traffic { packets: row.received_packets, bytes: row.received_bytes };
            let sent = Traffic { packets: row.sent_packets, bytes: row.sent_bytes };
            (entry.received_slow, entry.sent_slow) =
                (minus(received, entry.received()), minus(sent, entry.sent()));
        }
        Ok(ledger)
    }

    /// What was added since `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let mut grown = Self::default();
        for (reason, now) in &self.drops {
            let before = earlier.drops.get(reason).copied().unwrap_or_default();
            if *now != before {
                grown.drops.insert(reason.clone(), minus(*now, before));
            }
        }
        for (&nbma, now) in &self.peers {
            let before = earlier.peers.get(&nbma).copied().unwrap_or_default();
            if *now != before {
                grown.peers.insert(nbma, minus_all(now, &before));
            }
        }
        grown
    }

    /// Books dropped packets, all of a length.
    pub(super) fn dropped(&mut self, reason: DropReason, packets: u64, length: u64) {
        let entry = self.drops.entry(reason.name().to_owned()).or_default();
        *entry = entry.plus(Traffic { packets, bytes: packets * length });
    }

    /// Books what came from a peer or went to it.
    pub(super) fn exchanged(&mut self, nbma: Ipv4Addr, with: PeerCounters) {
        let entry = self.peers.entry(nbma).or_default();
        *entry = entry.plus(&with);
    }
}

/// What slots of the route cache have counted and nobody has added to the peers' counters yet.
fn cached(pins: &Path) -> Result<BTreeMap<u32, PeerCounters>> {
    let generation = array::<Control>(pins, map_names::CONTROL)?.get(&0, 0)?.generation;
    let peers = array::<Peer>(pins, map_names::PEERS)?;
    let is_the_same = |index, way: &dmvpn_common::CachedWay| -> Result<bool> {
        Ok(index != 0 && way.is_younger(peers.get(&index, 0)?.since, generation))
    };
    let mut counts = BTreeMap::<u32, PeerCounters>::new();
    for slot in array::<CachedRoute>(pins, map_names::ROUTE_CACHE)?.iter() {
        let way = slot?.way;
        if way.bytes == 0 {
            continue;
        }
        let traffic = Traffic { packets: way.hits.into(), bytes: way.bytes.into() };
        if is_the_same(way.source_peer, &way)? {
            let entry = counts.entry(way.source_peer).or_default();
            entry.received_xdp = entry.received_xdp.plus(traffic);
        }
        if way.verdict == CachedVerdict::Peer && is_the_same(way.to, &way)? {
            let entry = counts.entry(way.to).or_default();
            let column = if way.source_peer == 0 { &mut entry.sent_xdp } else { &mut entry.transit_xdp };
            *column = column.plus(traffic);
        }
    }
    Ok(counts)
}

fn minus(now: Traffic, before: Traffic) -> Traffic {
    Traffic { packets: now.packets.wrapping_sub(before.packets), bytes: now.bytes.wrapping_sub(before.bytes) }
}

fn minus_all(now: &PeerCounters, before: &PeerCounters) -> PeerCounters {
    PeerCounters {
        received_xdp: minus(now.received_xdp, before.received_xdp),
        transit_xdp: minus(now.transit_xdp, before.transit_xdp),
        sent_xdp: minus(now.sent_xdp, before.sent_xdp),
        sent_tc: minus(now.sent_tc, before.sent_tc),
        received_tc: minus(now.received_tc, before.received_tc),
        transit_tc: minus(now.transit_tc, before.transit_tc),
        received_slow: minus(now.received_slow, before.received_slow),
        sent_slow: minus(now.sent_slow, before.sent_slow),
    }
}

fn open(pins: &Path, name: &str) -> Result<MapData> {
    MapData::from_pin(pins.join(name)).with_context(|| format!("opening {name}"))
}

fn array<T: Pod>(pins: &Path, name: &str) -> Result<Array<MapData, T>> {
    Ok(Array::try_from(Map::Array(open(pins, name)?))?)
}

fn per_cpu<T: Pod>(pins: &Path, name: &str) -> Result<PerCpuArray<MapData, T>> {
    Ok(PerCpuArray::try_from(Map::PerCpuArray(open(pins, name)?))?)
}
