//! The box under test: a namespace with a real data path, as many peers as wanted, and a wire to a generator.
//!
//! ```text
//!   generator ---- wire ---- underlay0                     dmvpn0 ---- dmvpn0-x
//!   (sends, counts)          198.18.0.1                    10.0.0.1/8, a neighbour and a /24 for each peer
//! ```
//!
//! All of it is in one namespace: a test run sends by interfaces of the namespace it runs in.

use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    maps::MapInfo,
    programs::{ProgramFd, loaded_programs},
};
use dmvpn::{
    config::{BpfLog, Spread},
    datapath::{
        DataPath, DontFragment, LinkAddresses, NextHop, Options, OuterTos, Segments, TcMode, TunnelParameters,
    },
};
use dmvpn_common::{FastPath, LAYOUT_VERSION, PeerMac, PeerState, Station, map_names, program_names};

use super::{
    flow::{self, LinkLayer},
    kernel::Ways,
};
use crate::{command, config::TUNNEL, lab, namespace::Namespace, undo::Undo, wire::UNDERLAY};

/// The generator's end of the wire.
pub(super) const GENERATOR: &str = "generator";
/// The far end of the tunnel interface.
const FAR_END: &str = "dmvpn0-x";
/// The LAN's interface, and the hosts' end of it.
const LAN: &str = "lan0";
const LAN_HOSTS: &str = "hosts";
/// Most hosts of the LAN.
const MOST_HOSTS: u32 = 10_000;
/// Where all traffic to the underlay goes first: the generator.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 254);
const GENERATOR_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0xfe];
const UNDERLAY_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
const LAN_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];
const TUNNEL_MTU: u32 = 1472;
const TUNNEL_ID: u32 = 1;

/// The box. To be made and used by a thread inside [`Site::namespace`].
pub(super) struct Box {
    /// The real data path.
    pub(super) data_path: DataPath,
    /// How many peers it has.
    pub(super) peers: u32,
    /// Indexes of its interfaces.
    pub(super) ways: Ways,
    pins: PathBuf,
    tunnel: TunnelParameters,
}

/// A namespace for a box, with everything that is removed at the end.
pub(super) struct Site {
    /// Where the box is.
    pub(super) namespace: Namespace,
    pins: PathBuf,
    files: PathBuf,
    _undo: Undo,
}

impl Site {
    /// Makes the namespace and its interfaces.
    pub(super) fn prepare() -> Result<Self> {
        let name = lab::fresh_name();
        let undo = lab::claim(&name)?;
        let namespace = Namespace::create(&format!("{name}-box"))?;
        for conf in ["all", "default"] {
            // What is forwarded comes from networks that are reached by the same interface.
            namespace.set(&format!("ipv4/conf/{conf}/rp_filter"), "0")?;
            namespace.set(&format!("ipv4/conf/{conf}/send_redirects"), "0")?;
            namespace.set(&format!("ipv6/conf/{conf}/disable_ipv6"), "1")?;
        }
        namespace.set("ipv4/ip_forward", "1")?;
        for line in [
            format!(
                "ip link add {UNDERLAY} address {} type veth peer name {GENERATOR} address {}",
                mac(UNDERLAY_MAC),
                mac(GENERATOR_MAC)
            ),
            format!(
                "ip link add {TUNNEL} address {} type veth peer name {FAR_END} address {}",
                mac(PeerMac::TUNNEL.0),
                mac(PeerMac::FAR_END.0)
            ),
            format!("ip link add {LAN} address {} type veth peer name {LAN_HOSTS}", mac(LAN_MAC)),
            format!("ip link set {LAN} up"),
            format!("ip link set {LAN_HOSTS} up"),
            format!("ip address add 192.168.0.1/16 dev {LAN}"),
            // Native XDP may redirect into the far end only when the other end polls.
            format!("ethtool -K {TUNNEL} gro on"),
            format!("ip link set {UNDERLAY} up"),
            format!("ip link set {GENERATOR} up"),
            format!("ip link set {TUNNEL} mtu {TUNNEL_MTU} up"),
            format!("ip link set {FAR_END} up"),
            format!("ip address add {}/24 dev {UNDERLAY}", flow::LOCAL),
            format!("ip address add 10.0.0.1/8 dev {TUNNEL}"),
            format!("ip neigh replace {GATEWAY} lladdr {} dev {UNDERLAY} nud permanent", mac(GENERATOR_MAC)),
            format!("ip route add default via {GATEWAY}"),
        ] {
            namespace.command(&line)?;
        }
        Ok(Self { namespace, pins: lab::pins_of(&name, "box"), files: lab::files_of(&name), _undo: undo })
    }
}

impl Box {
    /// Loads the data path, and gives it `peers` peers with a network each, and `routes` slots to remember routes in.
    pub(super) fn open(site: &Site, peers: u32, routes: u32) -> Result<Self> {
        let index =
            |name: &str| nix::net::if_::if_nametoindex(name).with_context(|| format!("no interface {name}"));
        let ways = Ways {
            generator: index(GENERATOR)?,
            underlay: index(UNDERLAY)?,
            tunnel: index(TUNNEL)?,
            lan: index(LAN)?,
        };
        let options = Options {
            pin_directory: site.pins.clone(),
            max_peers: peers + 1,
            max_underlay: 16,
            log: BpfLog::Off,
            nhrp_source_limit: 0,
            // Once for each flow, while the caches warm up: then nothing is due for the rest of the bench.
            redirect_interval: Duration::from_hours(1),
            route_cache: routes,
            spread: Spread::Off,
        };
        let data_path = DataPath::open(&options).context("loading the data path")?;
        let tunnel = TunnelParameters {
            id: TUNNEL_ID,
            ifindex: ways.tunnel,
            far_ifindex: index(FAR_END)?,
            network_id: 1,
            local: IpAddr::V4(flow::LOCAL),
            key: Some(flow::KEY),
            ttl: 255,
            dont_fragment: DontFragment::Set,
            tos: OuterTos::Inherit,
            fast_path: FastPath::Full,
            check_source: false,
            redirect: true,
            accept_any: false,
            mtu: TUNNEL_MTU,
            // As by default.
            segments: Segments::ThatFit,
        };
        let mut this = Self { data_path, peers, ways, pins: site.pins.clone(), tunnel };
        this.data_path.tunnels.set(&this.tunnel)?;
        this.data_path.stations.set([Station { mac: UNDERLAY_MAC, vlan: 0 }].into())?;
        this.data_path.tunnels.interfaces.accelerate(this.ways.lan, LAN_MAC)?;
        this.add_peers(site)?;
        Ok(this)
    }

    /// The peers in the maps and, as an agent does it, in the kernel's tables.
    fn add_peers(&mut self, site: &Site) -> Result<()> {
        let hop = NextHop { ifindex: self.ways.underlay, gateway: IpAddr::V4(GATEWAY) };
        let mut lines = String::new();
        for number in 0..self.peers {
            let nbma = IpAddr::V4(flow::nbma(number));
            let index = self.data_path.peers.add(&self.tunnel, nbma, PeerState::Up)?;
            self.data_path.peers.set_next_hop(index, Some(hop))?;
            let (address, network) = (flow::address(number), flow::network(number));
            let link_layer = mac(PeerMac::from_index(index).0);
            // The kernel looks for next hops that it has already in a chain of all with the same metric: 100,000 routes
            // of one metric would take minutes.
            writeln!(
                lines,
                "neigh replace {address} lladdr {link_layer} dev {TUNNEL} nud permanent extern_learn\n\
                 route add {network}/24 via {address} dev {TUNNEL} metric {}",
                number + 1
            )?;
        }
        for number in 0..self.hosts() {
            let (address, link_layer) = (lan_address(number), mac(lan_mac(number)));
            writeln!(lines, "neigh replace {address} lladdr {link_layer} dev {LAN} nud permanent")?;
        }
        let addresses = LinkAddresses { gateway: GENERATOR_MAC, source: UNDERLAY_MAC, vlan: None };
        ensure!(self.data_path.peers.underlays.set_resolved(hop, addresses)?, "the next hop is not in use");
        let batch = site.files.join("peers.batch");
        fs::write(&batch, lines).with_context(|| format!("writing {}", batch.display()))?;
        command::run(&format!("ip -batch {}", batch.display())).map(drop)
    }

    /// A program of the data path that is loaded.
    pub(super) fn program(&self, name: &str) -> Result<ProgramFd> {
        let peers = self.map_id(map_names::PEERS)?;
        for program in loaded_programs() {
            // Programs of others come and go meanwhile.
            let Ok(program) = program else { continue };
            let Ok(Some(maps)) = program.map_ids() else { continue };
            if program.name_as_str() == Some(name) && maps.contains(&peers) {
                return program.fd().with_context(|| format!("opening the program {name}"));
            }
        }
        anyhow::bail!("the program {name} is not loaded")
    }

    /// How many hosts the LAN has.
    fn hosts(&self) -> u32 {
        self.peers.min(MOST_HOSTS)
    }

    /// The program of accelerated interfaces.
    pub(super) fn lan_program(&self) -> Result<ProgramFd> {
        self.program(program_names::XDP_LAN)
    }

    /// A packet for each peer's network, from the LAN.
    pub(super) fn outbound(&self) -> Vec<Vec<u8>> {
        let from = |to: u32| to % self.hosts();
        (0..self.peers)
            .map(|to| flow::plain((LAN_MAC, lan_mac(from(to))), lan_address(from(to)), to))
            .collect()
    }

    /// A packet from each peer, for hosts of the LAN.
    pub(super) fn inbound(&self) -> Vec<Vec<u8>> {
        (0..self.peers)
            .map(|from| {
                let to = flow::sender(from, self.peers) % self.hosts();
                flow::encapsulated(Self::from_generator(), from, lan_address(to))
            })
            .collect()
    }

    /// The program of the underlay.
    pub(super) fn underlay_program(&self) -> Result<ProgramFd> {
        self.program(program_names::XDP_UNDERLAY)
    }

    /// Attaches the program of the tunnel interface, for what comes from the stack.
    pub(super) fn attach_tunnel_program(&mut self) -> Result<()> {
        self.data_path.attach_tc(TUNNEL, TcMode::Tcx).context("attaching the tunnel's program").map(drop)
    }

    /// Says what may bypass the stack.
    pub(super) fn set_fast_path(&mut self, fast_path: FastPath) -> Result<()> {
        self.tunnel.fast_path = fast_path;
        self.data_path.tunnels.set(&self.tunnel).context("setting the fast path")
    }

    /// Where the maps are pinned.
    pub(super) fn pins(&self) -> PathBuf {
        self.pins.join(format!("v{LAYOUT_VERSION}"))
    }

    fn map_id(&self, name: &str) -> Result<u32> {
        let info = MapInfo::from_pin(self.pins().join(name)).with_context(|| format!("opening {name}"))?;
        Ok(info.id())
    }

    /// Addresses of frames that come in by the underlay.
    pub(super) const fn from_generator() -> LinkLayer {
        (UNDERLAY_MAC, GENERATOR_MAC)
    }

    /// A packet for each of `flows` flows between peers, all different as far as there are pairs.
    pub(super) fn pairs(&self, flows: u32) -> Vec<Vec<u8>> {
        (0..flows)
            .map(|flow| {
                let (to, round) = (flow % self.peers, flow / self.peers);
                let from = (flow::sender(to, self.peers) + 7 * round) % self.peers;
                let from = if from == to { (from + 3) % self.peers } else { from };
                flow::tunneled(Self::from_generator(), from, to)
            })
            .collect()
    }

    /// A packet for each peer's network, each from another peer.
    pub(super) fn transit(&self) -> Vec<Vec<u8>> {
        (0..self.peers)
            .map(|to| flow::tunneled(Self::from_generator(), flow::sender(to, self.peers), to))
            .collect()
    }
}

/// Address of a host of the LAN.
pub(super) fn lan_address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(192, 168, 1, 0).to_bits() + number)
}

/// Link-layer address of a host of the LAN.
pub(super) fn lan_mac(number: u32) -> [u8; 6] {
    let [_, a, b, c] = number.to_be_bytes();
    [0x02, 0, 1, a, b, c]
}

fn mac(address: [u8; 6]) -> String {
    address.map(|byte| format!("{byte:02x}")).join(":")
}
