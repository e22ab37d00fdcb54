//! The address plan: which number of a node is which address.
//!
//! | what | addresses |
//! |---|---|
//! | tunnel subnet | 172.16.0.0/12: hub h is 172.16.0.(1+h), spoke s is 172.16.1.0 + s |
//! | LAN of spoke s | 10.0.0.0 + 64 s, /26 |
//! | underlay | 100.64.0.1 + p for place p; places of hubs come first and never change |
//! | strangers | 198.18.0.0/15 on the underlay, 172.30.0.0/16 in the tunnel subnet |

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

/// An IPv4 address, compact.
pub(super) type Address = u32;

/// A node: the hubs come first.
pub(super) type NodeId = u32;

/// An underlay address that a node has or had. A node that moves gets a new one; none is used twice.
pub(super) type Place = u32;

/// Most spokes the plan has room for.
pub(super) const MOST_SPOKES: u32 = 262_144;

/// Most hubs.
pub(super) const MOST_HUBS: u32 = 200;

const HUB_TUNNEL: Address = 0xAC10_0001;
const SPOKE_TUNNEL: Address = 0xAC10_0100;
const STRANGER_TUNNEL: Address = 0xAC1E_0000;
const LAN: Address = 0x0A00_0000;
const LAN_BITS: u32 = 6;
const UNDERLAY: Address = 0x6440_0001;
const UNDERLAY_END: Address = 0x6480_0000;
const STRANGER: Address = 0xC612_0000;

/// The tunnel subnet.
pub(super) const SUBNET: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12);

/// All LANs together: what spokes route by a hub.
pub(super) const ALL_LANS: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8);

/// Length of a LAN's prefix.
pub(super) const LAN_LENGTH: u8 = 26;

pub(super) const fn ip(address: Address) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(address))
}

/// The address as a number; `None` for IPv6, which nobody uses here.
pub(super) const fn bits(address: IpAddr) -> Option<Address> {
    match address {
        IpAddr::V4(v4) => Some(v4.to_bits()),
        IpAddr::V6(_) => None,
    }
}

/// How many nodes there are, and so which number is what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) hubs: u32,
    pub(super) spokes: u32,
}

impl Plan {
    pub(super) const fn nodes(self) -> u32 {
        self.hubs + self.spokes
    }

    pub(super) const fn is_hub(self, node: NodeId) -> bool {
        node < self.hubs
    }

    /// The node that is spoke number `spoke`.
    pub(super) const fn spoke(self, spoke: u32) -> NodeId {
        self.hubs + spoke
    }

    /// A node's address in the tunnel.
    pub(super) const fn tunnel(self, node: NodeId) -> Address {
        if self.is_hub(node) { HUB_TUNNEL + node } else { SPOKE_TUNNEL + (node - self.hubs) }
    }

    /// Who has an address in the tunnel.
    pub(super) const fn node_of_tunnel(self, address: Address) -> Option<NodeId> {
        if address >= HUB_TUNNEL && address - HUB_TUNNEL < self.hubs {
            Some(address - HUB_TUNNEL)
        } else if address >= SPOKE_TUNNEL && address - SPOKE_TUNNEL < self.spokes {
            Some(self.hubs + (address - SPOKE_TUNNEL))
        } else {
            None
        }
    }

    /// First address of a spoke's LAN.
    pub(super) const fn lan(self, node: NodeId) -> Address {
        LAN + ((node - self.hubs) << LAN_BITS)
    }

    /// A spoke's LAN.
    pub(super) fn lan_prefix(self, node: NodeId) -> IpNet {
        IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from_bits(self.lan(node)), LAN_LENGTH))
    }

    /// Whose LAN an address is in.
    pub(super) const fn node_of_lan(self, address: Address) -> Option<NodeId> {
        if address < LAN || (address - LAN) >> LAN_BITS >= self.spokes {
            return None;
        }
        Some(self.hubs + ((address - LAN) >> LAN_BITS))
    }
}

/// Underlay address of a place; `None` when the underlay is used up.
pub(super) const fn underlay(place: Place) -> Option<Address> {
    if place < UNDERLAY_END - UNDERLAY { Some(UNDERLAY + place) } else { None }
}

/// The place of an underlay address; `None` for a stranger's.
pub(super) const fn place(underlay: Address) -> Option<Place> {
    if underlay >= UNDERLAY && underlay < UNDERLAY_END { Some(underlay - UNDERLAY) } else { None }
}

/// Underlay address of a stranger.
pub(super) const fn stranger(number: u16) -> Address {
    STRANGER + number as Address
}

/// An address of the tunnel subnet that no node of ours has.
pub(super) const fn stranger_tunnel(number: u16) -> Address {
    STRANGER_TUNNEL + number as Address
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan { hubs: MOST_HUBS, spokes: MOST_SPOKES };

    #[test]
    fn every_address_leads_back_to_its_node() {
        for node in [0, MOST_HUBS - 1, MOST_HUBS, MOST_HUBS + 77, PLAN.nodes() - 1] {
            let tunnel = PLAN.tunnel(node);
            assert_eq!(PLAN.node_of_tunnel(tunnel), Some(node));
            assert!(SUBNET.contains(&Ipv4Addr::from_bits(tunnel)));
            assert!(tunnel != SUBNET.network().to_bits() && tunnel != SUBNET.broadcast().to_bits());
            if !PLAN.is_hub(node) {
                assert_eq!(PLAN.node_of_lan(PLAN.lan(node)), Some(node));
                assert_eq!(PLAN.node_of_lan(PLAN.lan(node) + 63), Some(node));
                assert!(ALL_LANS.contains(&Ipv4Addr::from_bits(PLAN.lan(node) + 63)));
            }
        }
        assert_eq!(underlay(5).and_then(place), Some(5));
        assert_eq!(underlay(1 << 22), None);
    }

    #[test]
    fn strangers_are_nobody() {
        for number in [0, u16::MAX] {
            assert_eq!(place(stranger(number)), None);
            assert_eq!(PLAN.node_of_tunnel(stranger_tunnel(number)), None);
            assert!(SUBNET.contains(&Ipv4Addr::from_bits(stranger_tunnel(number))));
        }
    }
}
