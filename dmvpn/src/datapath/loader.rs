//! Loads the eBPF object and opens the data path that an earlier run may have left.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Map, MapData, MapError, RingBuf},
    programs::{ProgramError, SchedClassifier, Xdp},
};
use dmvpn_common::{map_names, program_names};
use tracing::warn;

use super::{
    ControlTable, DataPathError, DataPathEvents, DataPathLog, DropCounters, Hook, InterfaceTable, LinkName,
    MulticastTable, PeerTable, PolicerTable, SpreadTable, StationTable, TcAttachment, TcMode, TunnelTable,
    XdpAttachment, attach_tc, attach_xdp,
    cached_counts::CachedCounts,
    capabilities,
    cpus::Cpus,
    map_layout::{self, SizedMap},
    peers::PeerMaps,
    pin_directory::PinDirectory,
    spread, upgrade,
};
use crate::config::{BpfLog, Spread, XdpMode};

/// The programs and maps, built with the agent.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/dmvpn-kernel"));

/// Names of the settings that the object takes before it is loaded.
mod settings {
    pub(super) const NHRP_SOURCE_LIMIT: &str = "NHRP_SOURCE_LIMIT";
    pub(super) const REDIRECT_INTERVAL_NS: &str = "REDIRECT_INTERVAL_NS";
    pub(super) const ROUTE_CACHE_BITS: &str = "ROUTE_CACHE_BITS";
    pub(super) const MAX_PEERS: &str = "MAX_PEERS";
    pub(super) const SPREAD_WIDTH: &str = "SPREAD_WIDTH";
}

/// How to load.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to pin maps and links; its parent is on a BPF file system.
    pub pin_directory: PathBuf,
    /// Most peers of all tunnels together.
    pub max_peers: u32,
    /// Most next hops of the underlay. As many as peers is always enough.
    pub max_underlay: u32,
    /// How much the programs log.
    pub log: BpfLog,
    /// NHRP packets a second that one NBMA address may send; 0: no limit.
    pub nhrp_source_limit: u32,
    /// Least time between two redirect events for the same inner source and destination.
    pub redirect_interval: Duration,
    /// Routes that each CPU remembers, rounded up to a power of two; 64 bytes each, and half as much again for IPv6.
    pub route_cache: u32,
    /// Which CPUs share the work on received packets.
    pub spread: Spread,
}

impl Options {
    /// [`Self::route_cache`] when nobody knows better: two destinations in use at once for each peer there may be, and
    /// enough for some ten thousand with few peers.
    pub fn default_route_cache(max_peers: u32) -> u32 {
        max_peers.saturating_mul(2).max(1 << 16)
    }

    /// Slots of each CPU as a power of two: at least 4, so that a quarter of them is one, and 2^20 at most.
    fn route_cache_bits(&self) -> u32 {
        self.route_cache.clamp(4, 1 << 20).next_power_of_two().ilog2()
    }
}

/// The data path in the kernel.
///
/// Dropping it leaves everything in place: packets are forwarded on, and the next agent takes over where this one
/// stopped. [`close`](Self::close) is for good.
pub struct DataPath {
    /// The tunnels.
    pub tunnels: TunnelTable,
    /// The peers, and the next hops they use.
    pub peers: PeerTable,
    /// Who gets copies of multicast packets.
    pub multicast: MulticastTable,
    /// What bounds the packets to groups of peers.
    pub policers: PolicerTable,
    /// Why packets were dropped.
    pub drops: DropCounters,
    /// What concerns the whole box.
    pub control: ControlTable,
    /// Which frames are for this box.
    pub stations: StationTable,
    /// Packets that went from one CPU to another.
    pub spread: SpreadTable,
    ebpf: Ebpf,
    pins: PinDirectory,
    /// Where there is a `clsact` filter of ours, which cannot be pinned.
    clsact: BTreeSet<LinkName>,
}

impl DataPath {
    /// Loads the programs and opens the maps, those of an earlier run where there are any. Attaches nothing yet, unless
    /// that run had another layout: then its programs are swapped now ([`upgrade`]).
    ///
    /// Blocks for some tenths of a second, most of which the kernel takes to verify the programs.
    pub fn open(options: &Options) -> Result<Self, DataPathError> {
        capabilities::check()?;
        let mut pins = PinDirectory::open(&options.pin_directory)?;
        let cpus = Cpus::read()?;
        let spread_over = cpus.chosen(&options.spread)?;
        let (mut ebpf, drops) = match load_filled(options, &pins, &cpus, &spread_over) {
            Ok(loaded) => loaded,
            Err(error) => {
                if let Err(error) = pins.discard() {
                    warn!("{error}");
                }
                return Err(error);
            }
        };
        upgrade::switch(&mut ebpf, &mut pins, underlay_program(&spread_over))?;
        let control = ControlTable::open(take_map(&mut ebpf, map_names::CONTROL)?)?;
        let mut interfaces =
            InterfaceTable::new(take_map(&mut ebpf, map_names::INTERFACES)?, control.clone());
        Ok(Self {
            multicast: MulticastTable::open(take_map(&mut ebpf, map_names::MULTICAST)?, &mut interfaces)?,
            tunnels: TunnelTable::new(
                take_map(&mut ebpf, map_names::TUNNELS)?,
                take_map(&mut ebpf, map_names::LOCAL)?,
                interfaces,
                control.clone(),
            ),
            peers: PeerTable::open(PeerMaps {
                peers: take_map(&mut ebpf, map_names::PEERS)?,
                by_nbma: take_map(&mut ebpf, map_names::PEER_BY_NBMA)?,
                counters: take_map(&mut ebpf, map_names::PEER_COUNTERS)?,
                underlay: take_map(&mut ebpf, map_names::UNDERLAY)?,
                cached: CachedCounts::open(
                    &take_array(&mut ebpf, map_names::ROUTE_CACHE)?,
                    &take_array(&mut ebpf, map_names::ROUTE_CACHE_IPV6)?,
                )?,
                control: control.clone(),
            })?,
            policers: PolicerTable::new(take_map(&mut ebpf, map_names::POLICERS)?),
            drops,
            stations: StationTable::open(take_map(&mut ebpf, map_names::STATIONS)?, control.clone())?,
            spread: SpreadTable::new(take_map(&mut ebpf, map_names::SPREAD_COUNTERS)?, spread_over),
            control,
            ebpf,
            pins,
            clsact: BTreeSet::new(),
        })
    }

    /// Attaches the underlay program to XDP of an interface, the one that spreads if CPUs were chosen for that; or swaps
    /// it in where an earlier run attached one.
    pub fn attach_xdp(&mut self, interface: &str, mode: XdpMode) -> Result<XdpAttachment, DataPathError> {
        let program = program::<Xdp>(&mut self.ebpf, underlay_program(self.spread.cpus()))?;
        attach_xdp::attach(program, &self.pins, interface, mode)
    }

    /// Attaches the program for accelerated interfaces to XDP of one, likewise. The interface has to be in
    /// [`TunnelTable::interfaces`] too.
    pub fn attach_lan(&mut self, interface: &str, mode: XdpMode) -> Result<XdpAttachment, DataPathError> {
        let program = program::<Xdp>(&mut self.ebpf, program_names::XDP_LAN)?;
        attach_xdp::attach(program, &self.pins, interface, mode)
    }

    /// Attaches the tunnel program to the egress of a tunnel interface, or swaps it in where an earlier run attached
    /// it. [`TcMode::Tcx`] falls back to `clsact` on kernels before 6.6.
    pub fn attach_tc(&mut self, interface: &str, mode: TcMode) -> Result<TcAttachment, DataPathError> {
        self.attach_classifier(program_names::TC_TUNNEL, LinkName::new(Hook::TcEgress, interface), mode)
    }

    /// Attaches the underlay's TC program to the ingress of an underlay interface, likewise: what
    /// [`attach_xdp`](Self::attach_xdp) does better where XDP is native.
    pub fn attach_underlay_tc(
        &mut self,
        interface: &str,
        mode: TcMode,
    ) -> Result<TcAttachment, DataPathError> {
        self.attach_classifier(program_names::TC_UNDERLAY, LinkName::new(Hook::TcIngress, interface), mode)
    }

    fn attach_classifier(
        &mut self,
        name: &'static str,
        link: LinkName,
        mode: TcMode,
    ) -> Result<TcAttachment, DataPathError> {
        let program = program::<SchedClassifier>(&mut self.ebpf, name)?;
        let attachment = attach_tc::attach(program, &self.pins, &link, mode)?;
        if attachment.mode == TcMode::Clsact {
            self.clsact.insert(link);
        }
        Ok(attachment)
    }

    /// What is attached with a pinned link, also what an earlier run attached and this one did not touch.
    pub fn links(&self) -> Result<Vec<LinkName>, DataPathError> {
        self.pins.links()
    }

    /// Detaches the program of one hook of an interface; nothing happens when there is none.
    pub fn detach(&mut self, link: &LinkName) -> Result<(), DataPathError> {
        if self.clsact.remove(link) {
            attach_tc::detach_clsact(link)?;
        }
        self.pins.remove_link(link)
    }

    /// The events, once: there is one reader.
    pub fn events(&mut self) -> Result<DataPathEvents, DataPathError> {
        let map = self.ebpf.take_map(map_names::EVENTS);
        let map = map.ok_or(DataPathError::AlreadyTaken { what: "events" })?;
        let ring = RingBuf::try_from(map).map_err(DataPathError::map(map_names::EVENTS, "open"))?;
        DataPathEvents::new(ring)
    }

    /// The log of the programs, once. There are no records when [`Options::log`] is off.
    pub fn log(&mut self) -> Result<DataPathLog, DataPathError> {
        DataPathLog::new(&mut self.ebpf)
    }

    /// Detaches every program, removes every map and the pin directory: no trace is left.
    pub fn close(self) -> Result<(), DataPathError> {
        let Self { ebpf, pins, clsact, .. } = self;
        for link in &clsact {
            attach_tc::detach_clsact(link)?;
        }
        drop(ebpf);
        pins.remove()
    }
}

/// The maps whose size the configuration or the machine decides. Index 0 of an array means "none", so it has one entry
/// more.
fn sized_maps(options: &Options, cpus: &Cpus) -> [SizedMap; 9] {
    let slots = (1_u32 << options.route_cache_bits()).saturating_mul(cpus.possible());
    let cache = |name, entries| SizedMap { name, entries, setting: "route-cache", unused: 0 };
    let peers = |name, unused| SizedMap {
        name,
        entries: options.max_peers.saturating_add(unused),
        setting: "max-peers",
        unused,
    };
    let underlay = SizedMap {
        name: map_names::UNDERLAY,
        entries: options.max_underlay.saturating_add(1),
        setting: "max-underlay",
        unused: 1,
    };
    [
        peers(map_names::PEER_BY_NBMA, 0),
        peers(map_names::PEERS, 1),
        peers(map_names::PEER_COUNTERS, 1),
        peers(map_names::MULTICAST, 1),
        peers(map_names::POLICERS, 1),
        underlay,
        cache(map_names::ROUTE_CACHE, slots),
        cache(map_names::ROUTE_CACHE_IPV6, slots / 4),
        SizedMap {
            name: map_names::SPREAD_COUNTERS,
            entries: cpus.possible(),
            setting: "the number of CPUs",
            unused: 0,
        },
    ]
}

/// The program for XDP of underlay interfaces.
const fn underlay_program(spread_over: &[u32]) -> &'static str {
    if spread_over.is_empty() { program_names::XDP_UNDERLAY } else { program_names::XDP_SPREAD }
}

/// Programs and maps, with what an earlier run left in its maps: up to here nothing of that is changed.
fn load_filled(
    options: &Options,
    pins: &PinDirectory,
    cpus: &Cpus,
    spread_over: &[u32],
) -> Result<(Ebpf, DropCounters), DataPathError> {
    let sized = sized_maps(options, cpus);
    map_layout::check_pinned(pins, OBJECT, &sized)?;
    let mut ebpf = load(options, pins, &sized, cpus, spread_over)?;
    if !spread_over.is_empty() {
        spread::prepare(&mut ebpf, spread_over)?;
    }
    upgrade::fill(pins)?;
    let drops = DropCounters::open(take_map(&mut ebpf, map_names::COUNTERS)?)?;
    Ok((ebpf, drops))
}

fn load(
    options: &Options,
    pins: &PinDirectory,
    sized: &[SizedMap],
    cpus: &Cpus,
    spread_over: &[u32],
) -> Result<Ebpf, DataPathError> {
    let log = options.log as u8;
    // 584 years fit.
    let redirect_interval = u64::try_from(options.redirect_interval.as_nanos()).unwrap_or(u64::MAX);
    let cache_bits = options.route_cache_bits();
    let spread_width = u32::try_from(spread_over.len()).unwrap_or(u32::MAX);
    let mut loader = EbpfLoader::new();
    loader
        .override_global(aya_log::LEVEL, &log, true)
        .override_global(settings::NHRP_SOURCE_LIMIT, &options.nhrp_source_limit, true)
        .override_global(settings::REDIRECT_INTERVAL_NS, &redirect_interval, true)
        .override_global(settings::ROUTE_CACHE_BITS, &cache_bits, true)
        .override_global(settings::MAX_PEERS, &options.max_peers, true)
        .override_global(settings::SPREAD_WIDTH, &spread_width, true);
    for name in map_names::ALL {
        loader.map_pin_path(name, pins.map(name));
    }
    for map in sized {
        loader.map_max_entries(map.name, map.entries);
    }
    loader.map_max_entries(map_names::SPREAD_QUEUES, cpus.possible());
    loader.map_max_entries(map_names::SPREAD_CPUS, cpus.possible());
    let mut ebpf = loader.load(OBJECT).map_err(|error| DataPathError::Load(Box::new(error)))?;
    let refused = |program| move |source| DataPathError::Program { program, source: Box::new(source) };
    let spreading: &[_] = &[program_names::XDP_SPREAD, program_names::XDP_SPREAD_CPU];
    let underlay: &[_] = if spread_over.is_empty() { &[program_names::XDP_UNDERLAY] } else { spreading };
    for &name in underlay.iter().chain(&[program_names::XDP_LAN]) {
        let xdp = program::<Xdp>(&mut ebpf, name)?;
        patiently(|| xdp.load()).map_err(refused(name))?;
    }
    let tc = program::<SchedClassifier>(&mut ebpf, program_names::TC_TUNNEL)?;
    patiently(|| tc.load()).map_err(refused(program_names::TC_TUNNEL))?;
    let twin = program::<SchedClassifier>(&mut ebpf, program_names::TC_UNDERLAY)?;
    patiently(|| twin.load()).map_err(refused(program_names::TC_UNDERLAY))?;
    Ok(ebpf)
}

/// Loads a program. The kernel gives up verifying when a signal comes, whatever it is: then it is asked again.
fn patiently(mut load: impl FnMut() -> Result<(), ProgramError>) -> Result<(), ProgramError> {
    const ATTEMPTS: u32 = 10;
    let mut result = load();
    for _ in 1..ATTEMPTS {
        match &result {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.raw_os_error() == Some(libc::EAGAIN) =>
            {
                result = load();
            }
            _ => break,
        }
    }
    result
}

/// A program of the object, as the type it has.
pub(super) fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, DataPathError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program>,
{
    ebpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .ok_or_else(|| DataPathError::ObjectIncomplete { what: format!("program {name}") })
}

/// A map of the object, as the type it has.
pub(super) fn take_map<M: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<M, DataPathError> {
    let map = ebpf.take_map(name);
    let map = map.ok_or_else(|| DataPathError::ObjectIncomplete { what: format!("map {name}") })?;
    M::try_from(map).map_err(DataPathError::map(name, "open"))
}

/// An array map of the object, without a type for its values.
fn take_array(ebpf: &mut Ebpf, name: &'static str) -> Result<MapData, DataPathError> {
    match ebpf.take_map(name) {
        Some(Map::Array(map)) => Ok(map),
        _ => Err(DataPathError::ObjectIncomplete { what: format!("array map {name}") }),
    }
}
