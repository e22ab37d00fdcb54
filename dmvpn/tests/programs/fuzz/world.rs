//! The box that frames are sent through, and what it was told: tunnels of both families with and without key, peers in
//! every state, routes of every kind.

use std::{fs, net::IpAddr};

use dmvpn::datapath::{DontFragment, OuterHeader, OuterParameters, OuterTos};
use dmvpn_common::{
    Control, ControlFlags, FastPath, Interface, InterfaceRole, Peer, PeerMac, PeerState, Station, Tunnel,
    TunnelFlags, Underlay, UnderlayState,
};

use super::random::Random;
use crate::{
    frames::WAN_MAC,
    hub::{Hub, add_neighbour},
    namespace::{index_of, ip, mac_text},
    programs::{Programs, Settings, next_hop},
};

/// Link-layer addresses on the LAN: ours and that of the hosts `172.16.0.9` and `fd16::9`.
pub(super) const LAN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x90];
pub(super) const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

/// A VLAN of the underlay, and the link-layer address of its VLAN device.
pub(super) const VLAN: u16 = 100;
pub(super) const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x81];

/// Our link-layer addresses on the underlay. Frames without a tag also come by TC, where the kernel says for whom they are.
pub(super) const STATIONS: [Station; 3] = [
    Station { mac: WAN_MAC, vlan: 0 },
    Station { mac: WAN_MAC, vlan: VLAN },
    Station { mac: OTHER_MAC, vlan: VLAN + 1 },
];

/// MTU of the tunnel interface and of the LAN.
pub(super) const TUNNEL_MTU: usize = 1476;
pub(super) const LAN_MTU: usize = 1500;

/// Peers have the indexes from 1 to this one.
pub(super) const PEERS: u32 = 11;

/// Next hops have the indexes from 1 to this one; those of peers do. 0 is none.
const NEXT_HOPS: u32 = 3;

/// A tunnel: where its packets come to.
#[derive(Clone, Copy)]
pub(super) struct Endpoint {
    pub(super) local: IpAddr,
    pub(super) key: Option<u32>,
    pub(super) tunnel: Tunnel,
}

/// A peer.
#[derive(Clone, Copy)]
pub(super) struct Remote {
    /// What its outer header is made of.
    pub(super) header: OuterParameters,
    /// What is in the map.
    pub(super) peer: Peer,
    /// It was up, and it was free, at some time in this generation.
    pub(super) was_up: bool,
    pub(super) was_free: bool,
}

/// Where the routing table leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Peer(u32),
    /// The host on the LAN.
    Lan,
    Blackhole,
    /// Anything that the kernel has to deal with: this box, no route, no neighbour, another interface.
    Kernel,
}

/// The box.
pub(super) struct World {
    pub(super) hub: Hub,
    /// The LAN's interface, which is accelerated.
    pub(super) lan: u32,
    pub(super) endpoints: Vec<Endpoint>,
    /// By index; there is no peer 0.
    pub(super) remotes: Vec<Remote>,
    /// By index; 0 is none.
    pub(super) next_hops: Vec<Underlay>,
    /// The only receiver of multicast packets.
    pub(super) receiver: Option<u32>,
    /// NHRP may be above the limit.
    pub(super) limits_nhrp: bool,
    control: Control,
}

/// What differs from world to world.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) fast_path: FastPath,
    /// Flags of the first tunnel.
    pub(super) flags: u32,
    pub(super) receiver: Option<u32>,
    pub(super) nhrp_source_limit: u32,
}

impl World {
    /// Builds it in the namespace of the calling thread.
    pub(super) fn new(plan: Plan) -> Self {
        let Plan { fast_path, flags, receiver, nhrp_source_limit } = plan;
        let settings = Settings { nhrp_source_limit, max_peers: PEERS + 1, ..Settings::default() };
        let mut hub = Hub::new(flags, None, settings);
        hub.tunnel.fast_path = fast_path;
        routes();
        let lan = index_of("lan0");
        let endpoints = endpoints(hub.tunnel);
        let remotes = remotes(&endpoints);
        let mut next_hops = vec![Underlay::default(); NEXT_HOPS as usize + 1];
        next_hops[1] = next_hop();
        next_hops[2] = Underlay { vlan: 7, ..next_hop() };
        next_hops[3] = Underlay { ifindex: hub.wan, ..next_hop() };

        let programs = &mut hub.programs;
        programs.set_stations(&STATIONS);
        for &Endpoint { local, key, tunnel } in &endpoints {
            programs.add_tunnel(local, key, tunnel);
        }
        for (index, remote) in (0..).zip(&remotes).skip(1) {
            programs.add_peer(index, &remote.peer);
        }
        for (index, &next_hop) in (0..).zip(&next_hops).skip(1) {
            programs.set_next_hop(index, next_hop);
        }
        let tunnel = Interface {
            role: InterfaceRole::Tunnel,
            tunnel: 1,
            fast_path,
            first_receiver: receiver.unwrap_or(0),
            ..Interface::default()
        };
        programs.set_interface(hub.tunnel.ifindex, tunnel);
        let interface = Interface { role: InterfaceRole::Lan, mac: LAN_MAC, ..Interface::default() };
        programs.set_interface(lan, interface);
        let checks = endpoints.iter().any(|of| of.tunnel.flags & TunnelFlags::CHECK_SOURCE != 0);
        let control = Control { source_mask: if checks { u32::MAX } else { 0 }, ..Control::default() };
        programs.set_control(control);
        let limits_nhrp = nhrp_source_limit != 0;
        Self { hub, lan, endpoints, remotes, next_hops, receiver, limits_nhrp, control }
    }

    pub(super) fn programs(&self) -> &Programs {
        &self.hub.programs
    }

    /// The tunnel of packets to this address with this key.
    pub(super) fn endpoint(&self, local: IpAddr, key: Option<u32>) -> Option<&Endpoint> {
        self.endpoints.iter().find(|of| of.local == local && of.key == key)
    }

    /// The peer of a tunnel that is at this address.
    pub(super) fn remote_at(&self, tunnel: u32, nbma: IpAddr) -> Option<u32> {
        let is_it =
            |(_, remote): &(u32, &Remote)| remote.peer.tunnel == tunnel && remote.header.remote == nbma;
        (0..).zip(&self.remotes).skip(1).find(is_it).map(|(index, _)| index)
    }

    /// Changes something that may change at any time, as the agent does.
    pub(super) fn change(&mut self, random: &mut Random) {
        match random.below(4) {
            0 => {
                let index = 1 + random.below(PEERS as usize);
                let state = random.pick(&[PeerState::Up, PeerState::Up, PeerState::Down, PeerState::Free]);
                self.set_state(index, state);
            }
            1 => {
                let index = 1 + random.below(NEXT_HOPS as usize);
                self.next_hops[index].state = random.pick(&[
                    UnderlayState::Valid,
                    UnderlayState::Valid,
                    UnderlayState::Unresolved,
                    UnderlayState::Free,
                ]);
                self.hub.programs.set_next_hop(u32::try_from(index).unwrap(), self.next_hops[index]);
            }
            2 => {
                self.control.seconds += 1;
                self.hub.programs.set_control(self.control);
            }
            _ => {
                // What the agent gives up for a while, it does not give up for ever.
                for index in 1..=PEERS as usize {
                    if self.remotes[index].peer.state != PeerState::Up && index != 9 {
                        self.set_state(index, PeerState::Up);
                    }
                }
                self.control.flags = if random.once_in(4) { ControlFlags::NO_CACHE } else { 0 };
                self.raise_generation();
            }
        }
        if random.once_in(2) {
            self.raise_generation();
        }
    }

    fn set_state(&mut self, index: usize, state: PeerState) {
        let remote = &mut self.remotes[index];
        remote.peer.state = state;
        remote.was_up |= state == PeerState::Up;
        remote.was_free |= state == PeerState::Free;
        self.hub.programs.set_peer(u32::try_from(index).unwrap(), &remote.peer);
    }

    fn raise_generation(&mut self) {
        self.control.generation += 1;
        self.hub.programs.set_control(self.control);
        for remote in &mut self.remotes {
            remote.was_up = remote.peer.state == PeerState::Up;
            remote.was_free = remote.peer.state == PeerState::Free;
        }
    }
}

/// Where the routing table leads packets for an address: what [`routes`] put in.
pub(super) fn route(to: IpAddr) -> Route {
    let peer = |index: u32| if (1..=PEERS).contains(&index) { Route::Peer(index) } else { Route::Kernel };
    match to {
        IpAddr::V4(to) => match to.octets() {
            [10, 0, 0, last] if last > 10 => peer(u32::from(last) - 10),
            [192, 168, 60, _] => Route::Blackhole,
            [192, 168, site, _] => peer(site.into()),
            [172, 16, 0, 9] => Route::Lan,
            _ => Route::Kernel,
        },
        IpAddr::V6(to) => match to.segments() {
            [0xfd00, 0, 0, 0, 0, 0, 1, index] => peer(index.into()),
            [0xfd60, 0, 0, 0, ..] => Route::Blackhole,
            [0xfd01, 0, 0, site, ..] => peer(site.into()),
            [0xfd16, 0, 0, 0, 0, 0, 0, 9] => Route::Lan,
            _ => Route::Kernel,
        },
    }
}

fn routes() {
    fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
    ip(&format!("link set lan0 address {}", mac_text(LAN_MAC)));
    ip("address add fd00::1/64 dev dmvpn0 nodad");
    ip("address add fd16::1/64 dev lan0 nodad");
    for host in ["172.16.0.9", "fd16::9"] {
        // The kernel forgot its neighbours with the old address.
        ip(&format!("neighbour replace {host} lladdr {} dev lan0 nud permanent", mac_text(HOST_MAC)));
    }
    for index in 1..=PEERS {
        add_neighbour(&format!("10.0.0.{}", 10 + index), index);
        add_neighbour(&format!("fd00::1:{index:x}"), index);
        ip(&format!("route replace 192.168.{index}.0/24 via 10.0.0.{}", 10 + index));
        ip(&format!("route add fd01:0:0:{index:x}::/64 via fd00::1:{index:x}"));
    }
    ip("route add blackhole 192.168.60.0/24");
    ip("route add blackhole fd60::/64");
    ip("route add unreachable 192.168.50.0/24");
    ip("route add prohibit 192.168.51.0/24");
    ip("route add 192.168.52.0/24 via 10.0.0.99");
}

fn endpoints(first: Tunnel) -> Vec<Endpoint> {
    let endpoint = |local: &str, key, tunnel| Endpoint { local: local.parse().unwrap(), key, tunnel };
    let other = |id, flags, fast_path| Tunnel { id, flags, fast_path, ..first };
    vec![
        endpoint("192.0.2.1", None, first),
        endpoint("192.0.2.1", Some(42), other(2, TunnelFlags::REDIRECT, first.fast_path)),
        endpoint("2001:db8::1", None, other(3, TunnelFlags::ACCEPT_ANY, FastPath::Hairpin)),
        endpoint("2001:db8::1", Some(0xdead_beef), other(4, first.flags, FastPath::Full)),
        endpoint("192.0.2.5", Some(0), other(5, 0, FastPath::Off)),
    ]
}

fn remotes(endpoints: &[Endpoint]) -> Vec<Remote> {
    let remote = |endpoint: usize, nbma: &str, dont_fragment, tos, underlay| {
        let Endpoint { local, key, tunnel } = endpoints[endpoint];
        let header = OuterParameters {
            local,
            remote: nbma.parse().unwrap(),
            key,
            // Any number does.
            ttl: 255 - u8::try_from(underlay).unwrap(),
            dont_fragment,
            tos,
        };
        let built = OuterHeader::build(&header).unwrap();
        let peer = Peer {
            state: PeerState::Up,
            underlay,
            mtu: u32::try_from(TUNNEL_MTU).unwrap(),
            header_sum: built.sum,
            header_length: built.length,
            tos: built.tos,
            tos_mask: built.tos_mask,
            df_mask: built.df_mask,
            header: built.bytes,
            tunnel: tunnel.id,
            tunnel_ifindex: tunnel.ifindex,
            network_id: tunnel.network_id,
            nbma: header.remote.into(),
            ..Peer::FREE
        };
        Remote { header, peer, was_up: true, was_free: false }
    };
    let inherit = OuterTos::Inherit;
    let mut all = vec![
        remote(0, "203.0.113.99", DontFragment::Set, inherit, 0),
        remote(0, "198.51.100.1", DontFragment::Set, inherit, 1),
        remote(0, "198.51.100.2", DontFragment::Copy, OuterTos::Dscp(46), 2),
        remote(1, "198.51.100.1", DontFragment::Copy, inherit, 2),
        remote(1, "198.51.100.4", DontFragment::Clear, OuterTos::Dscp(0), 3),
        remote(2, "2001:db8::15", DontFragment::Set, inherit, 1),
        remote(3, "2001:db8::16", DontFragment::Set, OuterTos::Dscp(10), 2),
        remote(0, "198.51.100.7", DontFragment::Set, inherit, 1),
        remote(0, "198.51.100.8", DontFragment::Set, inherit, 3),
        remote(0, "198.51.100.9", DontFragment::Set, inherit, 1),
        remote(4, "198.51.100.1", DontFragment::Clear, inherit, 1),
        remote(3, "2001:db8::17", DontFragment::Set, inherit, 0),
    ];
    all[4].peer.mtu = 1400;
    all[7].peer.state = PeerState::Down;
    // Known by its address, but the slot is free.
    all[9].peer.state = PeerState::Free;
    for remote in &mut all {
        remote.was_up = remote.peer.state == PeerState::Up;
        remote.was_free = remote.peer.state == PeerState::Free;
    }
    all
}

/// A frame's link-layer address of a peer.
pub(super) fn peer_mac(index: u32) -> [u8; 6] {
    PeerMac::from_index(index).0
}
