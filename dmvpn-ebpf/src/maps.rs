//! The maps, by the names in [`dmvpn_common::map_names`]. All are BTF maps, so `bpftool map dump` prints field names.

use aya_ebpf::{
    btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
    macros::btf_map,
};
use dmvpn_common::{
    Address, DROP_COUNTERS, DropCounter, Event, FlowKey, LastRedirect, LocalAddress, NbmaKey, NhrpRate, Peer,
    PeerCounters, PeerIndex, Tunnel, TunnelKey, Underlay,
};

/// Default size of the maps that grow with the number of peers; the loader sets the real one.
const PEERS_DEFAULT: usize = 16384;

/// Local NBMA address and GRE key to tunnel.
#[btf_map]
pub static TUNNELS: HashMap<TunnelKey, Tunnel, 1024> = HashMap::new();

/// Every local NBMA address that has a tunnel, whatever its key.
#[btf_map]
pub static LOCAL: HashMap<Address, LocalAddress, 1024> = HashMap::new();

/// Tunnel and remote NBMA address to peer index.
#[btf_map]
pub static PEER_BY_NBMA: HashMap<NbmaKey, PeerIndex, PEERS_DEFAULT> = HashMap::new();

/// Peer index to peer.
#[btf_map]
pub static PEERS: Array<Peer, PEERS_DEFAULT> = Array::new();

/// Underlay next hop index to next hop.
#[btf_map]
pub static UNDERLAY: Array<Underlay, PEERS_DEFAULT> = Array::new();

/// When a flow was last the subject of a redirect event.
#[btf_map]
pub static REDIRECT_SEEN: LruHashMap<FlowKey, LastRedirect, 16384> = LruHashMap::new();

/// How much NHRP a source sent lately.
#[btf_map]
pub static NHRP_RATE: LruHashMap<Address, NhrpRate, 16384> = LruHashMap::new();

/// Drop reason to counter.
#[btf_map]
pub static COUNTERS: PerCpuArray<DropCounter, DROP_COUNTERS> = PerCpuArray::new();

/// Peer index to counters.
#[btf_map]
pub static PEER_COUNTERS: PerCpuArray<PeerCounters, PEERS_DEFAULT> = PerCpuArray::new();

/// Events for the agent.
#[btf_map]
pub static EVENTS: RingBuf<Event, { 256 * 1024 }> = RingBuf::new();
