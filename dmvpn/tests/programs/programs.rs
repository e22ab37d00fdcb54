//! The loaded programs, and what a test puts into their maps and takes out again.

use std::{
    borrow::Cow,
    env, fs,
    net::{IpAddr, Ipv4Addr},
    sync::LazyLock,
};

use aya::{
    Ebpf, EbpfLoader, Pod, TestRun as _, TestRunOptions,
    maps::{Array, CpuMap, HashMap, Map, MapData, PerCpuArray, RingBuf},
    programs::{ProgramError, ProgramFd, ProgramInfo, SchedClassifier, TcAttachType, Xdp, XdpMode},
};
use dmvpn::datapath::{DontFragment, OuterHeader, OuterParameters, OuterTos};
use dmvpn_common::{
    CachedRoute, CachedRoute6, CachedVerdict, CachedWay, Control, DropCounter, DropReason, EVENT_HEAD_SIZE,
    Event, FastPath, Interface, InterfaceRole, Keyed, LocalAddress, MulticastReceiver, NbmaKey, Peer,
    PeerCounters, PeerIndex, PeerState, Policer, SpreadCounter, Station, Stations, Traffic, Tunnel,
    TunnelKey, Underlay, UnderlayState, map_names, program_names,
};

use crate::frames::{GATEWAY_MAC, LOCAL, SPOKE_1, SPOKE_2, WAN_MAC};

/// The programs: those of the agent, or the file that `DMVPN_TEST_OBJECT` names (`cargo xtask mutate`).
pub(crate) static OBJECT: LazyLock<Cow<'static, [u8]>> =
    LazyLock::new(|| match env::var_os("DMVPN_TEST_OBJECT") {
        Some(path) => fs::read(path).unwrap().into(),
        None => aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/dmvpn-kernel")).into(),
    });

/// Interface indexes of the tunnel, where a test has no real interfaces. No namespace gets that far.
pub(crate) const TUNNEL_IFINDEX: u32 = 0x7000_0001;
pub(crate) const FAR_IFINDEX: u32 = 0x7000_0002;
/// The underlay interface, where a test has no real one. It is not where frames come in, so they are redirected.
pub(crate) const WAN_IFINDEX: u32 = 0x7000_0003;

/// Two to the power of it are the slots of a CPU in the route cache.
const CACHE_BITS: u32 = 8;

/// Actions of XDP.
pub(crate) mod xdp {
    pub(crate) const DROP: u32 = 1;
    pub(crate) const PASS: u32 = 2;
    pub(crate) const TX: u32 = 3;
    pub(crate) const REDIRECT: u32 = 4;
}

/// Actions of TC.
pub(crate) mod tc {
    pub(crate) const UNSPEC: u32 = u32::MAX;
    pub(crate) const OK: u32 = 0;
    pub(crate) const SHOT: u32 = 2;
    pub(crate) const REDIRECT: u32 = 7;
}

/// What a program did with a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) action: u32,
    pub(crate) frame: Vec<u8>,
}

/// Settings to load the programs with.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) nhrp_source_limit: u32,
    pub(crate) redirect_interval_ns: u64,
    pub(crate) log_level: u8,
    /// Peers there is room for, index 0 not counted.
    pub(crate) max_peers: u32,
    /// The CPUs to spread over; none: the programs for that are not loaded.
    pub(crate) spread: &'static [u32],
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            nhrp_source_limit: 200,
            redirect_interval_ns: 8_000_000_000,
            log_level: 0,
            max_peers: 8,
            spread: &[],
        }
    }
}

/// The programs with maps of their own.
pub(crate) struct Programs {
    ebpf: Ebpf,
}

impl Programs {
    pub(crate) fn load() -> Self {
        Self::load_with(Settings::default())
    }

    pub(crate) fn load_with(settings: Settings) -> Self {
        let Settings { nhrp_source_limit, redirect_interval_ns, log_level, max_peers, spread } = settings;
        let cpus = u32::try_from(aya::util::nr_cpus().unwrap()).unwrap();
        let mut ebpf = EbpfLoader::new()
            .override_global("NHRP_SOURCE_LIMIT", &nhrp_source_limit, true)
            .override_global("REDIRECT_INTERVAL_NS", &redirect_interval_ns, true)
            .override_global("AYA_LOG_LEVEL", &log_level, true)
            .override_global("ROUTE_CACHE_BITS", &CACHE_BITS, true)
            .map_max_entries(map_names::ROUTE_CACHE, cpus << CACHE_BITS)
            .map_max_entries(map_names::ROUTE_CACHE_IPV6, cpus << CACHE_BITS >> 2)
            .override_global("MAX_PEERS", &max_peers, true)
            .override_global("SPREAD_WIDTH", &u32::try_from(spread.len()).unwrap(), true)
            .map_max_entries(map_names::SPREAD_QUEUES, cpus)
            .map_max_entries(map_names::SPREAD_CPUS, cpus)
            .map_max_entries(map_names::SPREAD_COUNTERS, cpus)
            .map_max_entries(map_names::PEERS, max_peers + 1)
            .map_max_entries(map_names::PEER_BY_NBMA, max_peers)
            .map_max_entries(map_names::PEER_COUNTERS, max_peers + 1)
            .map_max_entries(map_names::MULTICAST, max_peers + 1)
            .map_max_entries(map_names::UNDERLAY, 4)
            .load(&OBJECT)
            .unwrap_or_else(|error| panic!("loading needs root: {error}"));
        let underlay: &mut Xdp = ebpf.program_mut(program_names::XDP_UNDERLAY).unwrap().try_into().unwrap();
        load_patiently(|| underlay.load());
        let lan: &mut Xdp = ebpf.program_mut(program_names::XDP_LAN).unwrap().try_into().unwrap();
        load_patiently(|| lan.load());
        let underlay: &mut SchedClassifier =
            ebpf.program_mut(program_names::TC_UNDERLAY).unwrap().try_into().unwrap();
        load_patiently(|| underlay.load());
        let tunnel: &mut SchedClassifier =
            ebpf.program_mut(program_names::TC_TUNNEL).unwrap().try_into().unwrap();
        load_patiently(|| tunnel.load());
        let mut programs = Self { ebpf };
        if !spread.is_empty() {
            programs.prepare_spreading(spread);
        }
        programs
    }

    fn prepare_spreading(&mut self, cpus: &[u32]) {
        /// Enough for all that a test sends while a busy machine does not look.
        const QUEUE_SIZE: u32 = 16_384;
        for name in [program_names::XDP_SPREAD, program_names::XDP_SPREAD_CPU] {
            let program: &mut Xdp = self.ebpf.program_mut(name).unwrap().try_into().unwrap();
            load_patiently(|| program.load());
        }
        let worker = self.worker();
        for (slot, &cpu) in (0..).zip(cpus) {
            self.array::<u32>(map_names::SPREAD_CPUS).set(slot, cpu, 0).unwrap();
            self.set_queue(cpu, QUEUE_SIZE, &worker);
        }
    }

    /// What CPUs run on packets that were handed over to them.
    pub(crate) fn worker(&self) -> ProgramFd {
        let worker: &Xdp = self.ebpf.program(program_names::XDP_SPREAD_CPU).unwrap().try_into().unwrap();
        worker.fd().unwrap().try_clone().unwrap()
    }

    /// Gives a CPU another queue, of `size` packets, and a program to run on them.
    pub(crate) fn set_queue(&mut self, cpu: u32, size: u32, worker: &ProgramFd) {
        let mut queues: CpuMap<_> = self.map_mut(map_names::SPREAD_QUEUES).try_into().unwrap();
        queues.set(cpu, size, Some(worker), 0).unwrap();
    }

    /// What a CPU was given by others, and what it took.
    pub(crate) fn spread(&self, cpu: u32) -> SpreadCounter {
        let counters: PerCpuArray<_, SpreadCounter> =
            self.map(map_names::SPREAD_COUNTERS).try_into().unwrap();
        let values = counters.get(&cpu, 0).unwrap();
        values.iter().fold(SpreadCounter::default(), |total, value| total.plus(value))
    }

    /// Runs the program that spreads on a frame.
    pub(crate) fn receive_and_spread(&self, frame: &[u8]) -> Outcome {
        self.run_xdp(program_names::XDP_SPREAD, 1, frame)
    }

    /// The programs of a box with one tunnel without key, two spokes that are up (indexes 1 and 2), and a next hop
    /// (index 1) for both of them.
    pub(crate) fn with_two_spokes() -> Self {
        let mut programs = Self::load();
        programs.set_up_two_spokes(None, tunnel());
        programs
    }

    /// Fills the maps as [`with_two_spokes`](Self::with_two_spokes) does.
    pub(crate) fn set_up_two_spokes(&mut self, key: Option<u32>, tunnel: Tunnel) {
        self.add_tunnel(LOCAL, key, tunnel);
        self.add_peer(1, &peer(&tunnel, SPOKE_1, key));
        self.add_peer(2, &peer(&tunnel, SPOKE_2, key));
        self.set_next_hop(1, next_hop());
    }

    pub(crate) fn add_tunnel(&mut self, local: impl Into<IpAddr>, key: Option<u32>, tunnel: Tunnel) {
        let local = local.into().into();
        let keyed = if key.is_some() { Keyed::Yes } else { Keyed::No };
        self.insert(map_names::TUNNELS, TunnelKey { local, keyed, key: key.unwrap_or(0) }, tunnel);
        self.insert(map_names::LOCAL, local, LocalAddress { tunnels: 1 });
    }

    /// Stores a peer and makes it known by its NBMA address.
    pub(crate) fn add_peer(&mut self, index: u32, peer: &Peer) {
        self.set_peer(index, peer);
        let key = NbmaKey { tunnel: peer.tunnel, discriminator: 0, nbma: peer.nbma };
        self.insert(map_names::PEER_BY_NBMA, key, PeerIndex { peer: index });
    }

    pub(crate) fn set_peer(&mut self, index: u32, peer: &Peer) {
        self.array::<Peer>(map_names::PEERS).set(index, *peer, 0).unwrap();
    }

    pub(crate) fn change_peer(&mut self, index: u32, change: impl FnOnce(&mut Peer)) {
        let mut peer = self.array::<Peer>(map_names::PEERS).get(&index, 0).unwrap();
        change(&mut peer);
        self.set_peer(index, &peer);
    }

    /// Makes these peers, in this order, the receivers of multicast packets of a tunnel.
    pub(crate) fn set_receivers(&mut self, tunnel: &Tunnel, peers: &[u32]) {
        let mut list = self.array::<MulticastReceiver>(map_names::MULTICAST);
        let mut next = 0;
        // From the end, so that a peer that occurs twice makes a list without an end.
        for &peer in peers.iter().rev() {
            list.set(peer, MulticastReceiver { next }, 0).unwrap();
            next = peer;
        }
        let interface = Interface {
            role: InterfaceRole::Tunnel,
            tunnel: tunnel.id,
            first_receiver: next,
            ..Interface::default()
        };
        self.insert(map_names::INTERFACES, tunnel.ifindex, interface);
    }

    pub(crate) fn set_next_hop(&mut self, index: u32, next_hop: Underlay) {
        self.array::<Underlay>(map_names::UNDERLAY).set(index, next_hop, 0).unwrap();
    }

    pub(crate) fn set_policer(&mut self, index: u32, policer: Policer) {
        self.array::<Policer>(map_names::POLICERS).set(index, policer, 0).unwrap();
    }

    pub(crate) fn policer(&self, index: u32) -> Policer {
        Array::<_, Policer>::try_from(self.map(map_names::POLICERS)).unwrap().get(&index, 0).unwrap()
    }

    /// Says what an interface is.
    pub(crate) fn set_interface(&mut self, ifindex: u32, interface: Interface) {
        self.insert(map_names::INTERFACES, ifindex, interface);
    }

    /// Says which link-layer addresses are our own.
    pub(crate) fn set_stations(&mut self, own: &[Station]) {
        let mut stations = Stations::default();
        stations.own[..own.len()].copy_from_slice(own);
        self.array::<Stations>(map_names::STATIONS).set(0, stations, 0).unwrap();
    }

    /// Changes what the agent says about the box.
    pub(crate) fn set_control(&mut self, control: Control) {
        self.array::<Control>(map_names::CONTROL).set(0, control, 0).unwrap();
    }

    /// Ends the life of every cached route.
    pub(crate) fn forget_routes(&mut self) {
        let mut control = self.array::<Control>(map_names::CONTROL);
        let old = control.get(&0, 0).unwrap();
        control.set(0, Control { generation: old.generation + 1, ..old }, 0).unwrap();
    }

    /// Runs the underlay program on a frame that comes in by `ifindex`, or by the loopback interface.
    pub(crate) fn receive_on(&self, ifindex: u32, frame: &[u8]) -> Outcome {
        self.run_xdp(program_names::XDP_UNDERLAY, ifindex, frame)
    }

    /// Runs the program of an accelerated interface on a frame that comes in by `ifindex`.
    pub(crate) fn receive_from_lan(&self, ifindex: u32, frame: &[u8]) -> Outcome {
        self.run_xdp(program_names::XDP_LAN, ifindex, frame)
    }

    fn run_xdp(&self, program: &str, ifindex: u32, frame: &[u8]) -> Outcome {
        self.try_xdp(program, ifindex, frame).unwrap()
    }

    /// Runs one of the XDP programs; an error is the kernel's, which does not run it on every frame.
    pub(crate) fn try_xdp(&self, program: &str, ifindex: u32, frame: &[u8]) -> Result<Outcome, ProgramError> {
        let program: &Xdp = self.ebpf.program(program).unwrap().try_into().unwrap();
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context = [0, u32::try_from(frame.len()).unwrap(), 0, ifindex, 0, 0];
        let context: Vec<u8> = context.iter().flat_map(|field| field.to_ne_bytes()).collect();
        run(frame, &context, |options| program.test_run(options))
    }

    /// Runs the underlay program on a frame.
    pub(crate) fn receive(&self, frame: &[u8]) -> Outcome {
        const LOOPBACK: u32 = 1;
        self.receive_on(LOOPBACK, frame)
    }

    /// Runs the tunnel program on a frame that leaves by the interface `ifindex`, a real one.
    pub(crate) fn send(&self, ifindex: u32, frame: &[u8]) -> Outcome {
        self.run_tc(program_names::TC_TUNNEL, ifindex, frame)
    }

    /// Runs the underlay's TC program on a frame that comes in by the interface `ifindex`, a real one.
    pub(crate) fn receive_tc(&self, ifindex: u32, frame: &[u8]) -> Outcome {
        self.run_tc(program_names::TC_UNDERLAY, ifindex, frame)
    }

    fn run_tc(&self, program: &str, ifindex: u32, frame: &[u8]) -> Outcome {
        self.try_tc(program, ifindex, frame, 0).unwrap()
    }

    /// Runs one of the TC programs, likewise. A `segment` that is not zero is how much of the payload goes into each
    /// packet, two of them.
    pub(crate) fn try_tc(
        &self,
        program: &str,
        ifindex: u32,
        frame: &[u8],
        segment: u32,
    ) -> Result<Outcome, ProgramError> {
        let program: &SchedClassifier = self.ebpf.program(program).unwrap().try_into().unwrap();
        // struct __sk_buff: ifindex, gso_segs, gso_size.
        let mut context = vec![0; 192];
        for (at, value) in [(40, ifindex), (164, if segment == 0 { 0 } else { 2 }), (176, segment)] {
            context[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        run(frame, &context, |options| program.test_run(options))
    }

    /// What was dropped for `reason`.
    pub(crate) fn dropped(&self, reason: DropReason) -> Traffic {
        let counters: PerCpuArray<_, DropCounter> = self.map(map_names::COUNTERS).try_into().unwrap();
        let values = counters.get(&(reason as u32), 0).unwrap();
        let traffic = |value: &DropCounter| Traffic { packets: value.packets, bytes: value.bytes };
        values.iter().map(traffic).fold(Traffic::default(), Traffic::plus)
    }

    /// What was dropped, with packets and bytes.
    pub(crate) fn drops(&self) -> Vec<(DropReason, u64, u64)> {
        let total = |reason| {
            let Traffic { packets, bytes } = self.dropped(reason);
            (reason, packets, bytes)
        };
        DropReason::ALL.into_iter().map(total).filter(|&(_, packets, _)| packets > 0).collect()
    }

    /// What `action` made the programs drop.
    pub(crate) fn drops_by<T>(&self, action: impl FnOnce() -> T) -> (T, Vec<(DropReason, u64, u64)>) {
        let before = self.drops();
        let result = action();
        let earlier =
            |reason| before.iter().find(|(of, ..)| *of == reason).copied().unwrap_or((reason, 0, 0));
        let new = self.drops().into_iter().map(|(reason, packets, bytes)| {
            let (_, packets_before, bytes_before) = earlier(reason);
            (reason, packets - packets_before, bytes - bytes_before)
        });
        (result, new.filter(|&(_, packets, _)| packets > 0).collect())
    }

    /// What was received from and sent to a peer.
    pub(crate) fn counters(&self, peer: u32) -> PeerCounters {
        self.counters_up_to(peer).pop().unwrap()
    }

    /// What was received from and sent to strangers (index 0) and all peers up to one.
    pub(crate) fn counters_up_to(&self, last: u32) -> Vec<PeerCounters> {
        let mut totals: Vec<_> = (0..=last).map(|peer| self.settled_counters(peer)).collect();
        for way in self.cached_ways().into_iter().filter(|way| way.bytes > 0) {
            let traffic = Traffic { packets: way.hits.into(), bytes: way.bytes.into() };
            if let Some(total) = totals.get_mut(way.source_peer as usize) {
                total.received_xdp = total.received_xdp.plus(traffic);
            }
            if way.verdict == CachedVerdict::Peer
                && let Some(total) = totals.get_mut(way.to as usize)
            {
                let sum = if way.source_peer == 0 { &mut total.sent_xdp } else { &mut total.transit_xdp };
                *sum = sum.plus(traffic);
            }
        }
        totals
    }

    /// The same without what is counted in cached routes.
    pub(crate) fn settled_counters(&self, peer: u32) -> PeerCounters {
        let counters: PerCpuArray<_, PeerCounters> = self.map(map_names::PEER_COUNTERS).try_into().unwrap();
        let values = counters.get(&peer, 0).unwrap();
        values.iter().fold(PeerCounters::default(), |total, value| total.plus(value))
    }

    /// The answers in all slots of both caches.
    fn cached_ways(&self) -> Vec<CachedWay> {
        let ipv4: Array<_, CachedRoute> = self.map(map_names::ROUTE_CACHE).try_into().unwrap();
        let ipv6: Array<_, CachedRoute6> = self.map(map_names::ROUTE_CACHE_IPV6).try_into().unwrap();
        let ipv4 = ipv4.iter().map(|slot| slot.unwrap().way);
        ipv4.chain(ipv6.iter().map(|slot| slot.unwrap().way)).collect()
    }

    /// Takes the events raised since the last call.
    pub(crate) fn events(&mut self) -> Vec<Told> {
        let mut ring: RingBuf<&mut MapData> = self.map_mut(map_names::EVENTS).try_into().unwrap();
        let mut events = Vec::new();
        while let Some(record) = ring.next() {
            events.push(Told::parse(&record));
        }
        events
    }

    /// Takes the log records written since the last call, in aya's own format.
    pub(crate) fn log_records(&mut self) -> Vec<Vec<u8>> {
        let mut ring: RingBuf<&mut MapData> = self.map_mut("AYA_LOGS").try_into().unwrap();
        let mut records = Vec::new();
        while let Some(record) = ring.next() {
            records.push(record.to_vec());
        }
        records
    }

    /// Attaches the underlay program to an interface in the namespace of the calling thread, until `self` goes away.
    pub(crate) fn attach_underlay(&mut self, interface: &str, mode: XdpMode) {
        let program: &mut Xdp =
            self.ebpf.program_mut(program_names::XDP_UNDERLAY).unwrap().try_into().unwrap();
        program.attach(interface, mode).unwrap();
    }

    /// Attaches the program that spreads likewise.
    pub(crate) fn attach_spread(&mut self, interface: &str, mode: XdpMode) {
        let program: &mut Xdp = self.ebpf.program_mut(program_names::XDP_SPREAD).unwrap().try_into().unwrap();
        program.attach(interface, mode).unwrap();
    }

    /// Attaches the underlay's TC program likewise.
    pub(crate) fn attach_underlay_tc(&mut self, interface: &str) {
        aya::programs::tc::qdisc_add_clsact(interface).unwrap();
        let program = self.ebpf.program_mut(program_names::TC_UNDERLAY).unwrap();
        let program: &mut SchedClassifier = program.try_into().unwrap();
        program.attach(interface, TcAttachType::Ingress).unwrap();
    }

    /// Attaches the tunnel program likewise. Kernels before 6.6 need the queueing discipline.
    pub(crate) fn attach_tunnel(&mut self, interface: &str) {
        aya::programs::tc::qdisc_add_clsact(interface).unwrap();
        let program = self.ebpf.program_mut(program_names::TC_TUNNEL).unwrap();
        let program: &mut SchedClassifier = program.try_into().unwrap();
        program.attach(interface, TcAttachType::Egress).unwrap();
    }

    /// What the kernel says about a program.
    pub(crate) fn info(&self, name: &str) -> ProgramInfo {
        self.ebpf.program(name).unwrap().info().unwrap()
    }

    /// Names of the maps in the object.
    pub(crate) fn map_names(&self) -> Vec<String> {
        self.ebpf.maps().map(|(name, _)| name.to_owned()).collect()
    }

    fn map(&self, name: &str) -> &Map {
        self.ebpf.map(name).unwrap_or_else(|| panic!("no map {name}"))
    }

    fn map_mut(&mut self, name: &str) -> &mut Map {
        self.ebpf.map_mut(name).unwrap_or_else(|| panic!("no map {name}"))
    }

    fn insert<K: Pod, V: Pod>(&mut self, name: &str, key: K, value: V) {
        HashMap::<_, K, V>::try_from(self.map_mut(name)).unwrap().insert(key, value, 0).unwrap();
    }

    fn array<V: Pod>(&mut self, name: &str) -> Array<&mut MapData, V> {
        self.map_mut(name).try_into().unwrap()
    }
}

fn run(
    frame: &[u8],
    context: &[u8],
    test_run: impl FnOnce(TestRunOptions<'_>) -> Result<aya::TestRunResult, ProgramError>,
) -> Result<Outcome, ProgramError> {
    let mut output = vec![0; frame.len() + 256];
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut output),
        ctx_in: Some(context),
        ..TestRunOptions::default()
    };
    let result = test_run(options)?;
    output.truncate(result.data_size_out as usize);
    Ok(Outcome { action: result.return_value, frame: output })
}

/// The kernel gives up verifying when a signal comes, and many tests start processes that end.
fn load_patiently(mut load: impl FnMut() -> Result<(), ProgramError>) {
    let interrupted = |error: &ProgramError| matches!(error, ProgramError::LoadError { io_error, .. } if io_error.raw_os_error() == Some(libc::EAGAIN));
    let mut result = load();
    while result.as_ref().is_err_and(interrupted) {
        result = load();
    }
    result.unwrap();
}

/// An event as the agent reads it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) kind: u32,
    pub(crate) ifindex: u32,
    pub(crate) address: IpAddr,
    pub(crate) head: Vec<u8>,
}

impl Told {
    fn parse(record: &[u8]) -> Self {
        assert_eq!(record.len(), size_of::<Event>());
        let word = |at: usize| u32::from_ne_bytes(record[at..at + 4].try_into().unwrap());
        let address = match word(8) {
            4 => <[u8; 4]>::try_from(&record[12..16]).unwrap().into(),
            6 => <[u8; 16]>::try_from(&record[12..28]).unwrap().into(),
            other => panic!("family {other}"),
        };
        let (head, rest) = record[32..32 + EVENT_HEAD_SIZE].split_at(word(28) as usize);
        assert!(rest.iter().all(|&byte| byte == 0), "the rest of the head is zero");
        Self { kind: word(0), ifindex: word(4), address, head: head.to_vec() }
    }
}

/// A tunnel without real interfaces.
pub(crate) fn tunnel() -> Tunnel {
    Tunnel {
        id: 1,
        ifindex: TUNNEL_IFINDEX,
        far_ifindex: FAR_IFINDEX,
        network_id: 1,
        flags: 0,
        mtu: 1476,
        fast_path: FastPath::Full,
        mss_ipv4: 0,
        mss_ipv6: 0,
    }
}

/// A peer of `tunnel` that is up and reached by next hop 1.
pub(crate) fn peer(tunnel: &Tunnel, nbma: Ipv4Addr, key: Option<u32>) -> Peer {
    peer_of(LOCAL, tunnel, nbma, key)
}

/// As `peer`, of a tunnel on another address.
pub(crate) fn peer_of(
    local: impl Into<IpAddr>,
    tunnel: &Tunnel,
    nbma: impl Into<IpAddr>,
    key: Option<u32>,
) -> Peer {
    let nbma = nbma.into();
    let parameters = OuterParameters {
        local: local.into(),
        remote: nbma,
        key,
        ttl: 255,
        dont_fragment: DontFragment::Set,
        tos: OuterTos::Inherit,
    };
    let header = OuterHeader::build(&parameters).unwrap();
    Peer {
        state: PeerState::Up,
        underlay: 1,
        mtu: 1476,
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
        ..Peer::FREE
    }
}

/// A next hop by an interface that is not the one frames come in by.
pub(crate) fn next_hop() -> Underlay {
    Underlay {
        state: UnderlayState::Valid,
        ifindex: WAN_IFINDEX,
        route_ifindex: WAN_IFINDEX,
        gateway: IpAddr::from([192, 0, 2, 254]).into(),
        gateway_mac: GATEWAY_MAC,
        source_mac: WAN_MAC,
        ..Underlay::default()
    }
}
