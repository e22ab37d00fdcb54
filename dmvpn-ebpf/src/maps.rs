//! The maps, by the names in [`dmvpn_common::map_names`]. All are BTF maps, so `bpftool map dump` prints field names.

use aya_ebpf::{
    btf_maps::{Array, CpuMap, HashMap, LruHashMap, PerCpuArray, RingBuf},
    macros::btf_map,
};
use dmvpn_common::{
    Address, CachedRoute, CachedRoute6, Control, DROP_COUNTERS, DropCounter, Event, Interface, LastRedirect,
    LocalAddress, MulticastReceiver, NbmaKey, NhrpRate, Peer, PeerCounters, PeerIndex, Policer,
    REDIRECT_SEEN_BITS, SpreadCounter, Stations, Tunnel, TunnelKey, Underlay,
};

/// Default size of the maps that grow with the number of peers; the loader sets the real one.
const PEERS_DEFAULT: usize = 16384;

/// The agent reads all slots of a cache to know what they have counted: as memory, not one system call for each.
const MMAPABLE: usize = aya_ebpf::bindings::BPF_F_MMAPABLE as usize;

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
pub static PEERS: Array<Peer, PEERS_DEFAULT, MMAPABLE> = Array::new();

/// Underlay next hop index to next hop.
#[btf_map]
pub static UNDERLAY: Array<Underlay, PEERS_DEFAULT> = Array::new();

/// When a peer's traffic to a destination was last the subject of a redirect event.
#[btf_map]
pub static REDIRECT_SEEN: Array<LastRedirect, { 1 << REDIRECT_SEEN_BITS }> = Array::new();

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

/// What the agent says about the box.
#[btf_map]
pub static CONTROL: Array<Control, 1> = Array::new();

/// The link-layer addresses that are our own.
#[btf_map]
pub static STATIONS: Array<Stations, 1> = Array::new();

/// What the data path has to know of an interface.
#[btf_map]
pub static INTERFACES: HashMap<u32, Interface, 4096> = HashMap::new();

/// Peer index to the next peer that gets copies of multicast packets.
#[btf_map]
pub static MULTICAST: Array<MulticastReceiver, PEERS_DEFAULT> = Array::new();

/// Peer index to what bounds the packets that are sent there.
#[btf_map]
pub static POLICERS: Array<Policer, PEERS_DEFAULT> = Array::new();

/// What became of IPv4 packets in IPv4. The loader makes it
/// [`crate::settings::ROUTE_CACHE_BITS`] for each CPU.
#[btf_map]
pub static ROUTE_CACHE: Array<CachedRoute, 2, MMAPABLE> = Array::new();

/// What became of packets with IPv6 inside or outside, likewise.
#[btf_map]
pub static ROUTE_CACHE_IPV6: Array<CachedRoute6, 2, MMAPABLE> = Array::new();

/// Number of a CPU to its queue. The loader makes it as large as there are CPUs, here and below.
#[btf_map]
pub static SPREAD_QUEUES: CpuMap<1> = CpuMap::new();

/// The CPUs to spread over, [`crate::settings::SPREAD_WIDTH`] of them.
#[btf_map]
pub static SPREAD_CPUS: Array<u32, 1> = Array::new();

/// Number of a CPU to what it was given and what it took.
#[btf_map]
pub static SPREAD_COUNTERS: PerCpuArray<SpreadCounter, 1> = PerCpuArray::new();
