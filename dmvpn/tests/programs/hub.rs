//! A box with a real tunnel interface, so that the programs have a routing table to ask.

use std::fs;

use dmvpn_common::{FastPath, PeerMac, Tunnel};

use crate::{
    frames::WAN_MAC,
    namespace::{index_of, ip, mac_text},
    programs::{Programs, Settings},
};

/// A hub with two spokes, in the namespace of the calling thread.
///
/// ```text
/// dmvpn0 10.0.0.1/24   192.168.1.0/24 via 10.0.0.11 = peer 1
///                      192.168.2.0/24 via 10.0.0.12 = peer 2
/// wan0   192.0.2.1/24
/// lan0   172.16.0.1/24 with a neighbour 172.16.0.9
/// ```
pub(crate) struct Hub {
    pub(crate) programs: Programs,
    pub(crate) tunnel: Tunnel,
    pub(crate) wan: u32,
}

impl Hub {
    /// A hub with the given flags and key of its tunnel.
    pub(crate) fn new(flags: u32, key: Option<u32>, settings: Settings) -> Self {
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        for (interface, address) in
            [("dmvpn0", "10.0.0.1/24"), ("wan0", "192.0.2.1/24"), ("lan0", "172.16.0.1/24")]
        {
            ip(&format!("link add {interface} type veth peer name {interface}-x"));
            ip(&format!("link set {interface}-x up"));
            ip(&format!("link set {interface} up"));
            ip(&format!("address add {address} dev {interface}"));
        }
        ip("link set dmvpn0 mtu 1476");
        ip(&format!("link set wan0 address {}", mac_text(WAN_MAC)));
        for spoke in [1, 2] {
            add_neighbour(&format!("10.0.0.1{spoke}"), spoke);
            ip(&format!("route add 192.168.{spoke}.0/24 via 10.0.0.1{spoke}"));
        }
        ip("neighbour add 172.16.0.9 lladdr 02:00:00:00:00:99 dev lan0 nud permanent");

        let tunnel = Tunnel {
            id: 1,
            ifindex: index_of("dmvpn0"),
            far_ifindex: index_of("dmvpn0-x"),
            network_id: 1,
            flags,
            mtu: 1476,
            fast_path: FastPath::Full,
            mss_ipv4: 0,
            mss_ipv6: 0,
        };
        let mut programs = Programs::load_with(settings);
        programs.set_up_two_spokes(key, tunnel);
        Self { programs, tunnel, wan: index_of("wan0") }
    }

    /// A hub with a plain tunnel.
    pub(crate) fn plain() -> Self {
        Self::new(0, None, Settings::default())
    }
}

/// Makes `address` a next hop on the tunnel interface: the peer with index `peer`.
pub(crate) fn add_neighbour(address: &str, peer: u32) {
    let mac = mac_text(PeerMac::from_index(peer).0);
    ip(&format!("neighbour replace {address} lladdr {mac} dev dmvpn0 nud permanent extern_learn"));
}
