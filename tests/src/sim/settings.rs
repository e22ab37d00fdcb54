//! What a run is to be.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::{Result, ensure};
use dmvpn::nhrp::engine::{Limits, Nhs, Secret, Shared, StaticMap, TunnelConfig, TunnelId};
use ipnet::{IpNet, Ipv4Net};

use super::address::{Address, MOST_HUBS, MOST_SPOKES, NodeId, Plan, SUBNET, ip, underlay};

/// The tunnel of every node.
pub(super) const TUNNEL: TunnelId = TunnelId(1);

/// How long nodes want to be believed, in all of their configurations.
pub(super) const HOLDING_TIME: Duration = Duration::from_hours(2);

/// Time between two registrations.
pub(super) const REGISTRATION_INTERVAL: Duration = Duration::from_mins(40);

/// Password of the network.
pub(super) const PASSWORD: &[u8] = b"simulate";

/// Most cache entries of a spoke.
const SPOKE_ENTRIES: usize = 4096;

/// A run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Spokes: 2 to 262,144.
    pub spokes: u32,
    /// Hubs: 1 to 200. Every spoke registers with each of them.
    pub hubs: u32,
    /// Everything random comes from it: the same seed gives the same run.
    pub seed: u64,
    /// Virtual time to run.
    pub duration: Duration,
    /// What is to be wrong with the world.
    pub sabotage: Option<Sabotage>,
}

/// A fault that is built into the world, one for each invariant: so that tests see each of them fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Agents never remove a neighbour or a peer from their kernels.
    NothingIsRemoved,
    /// Hubs send data to each other instead of to the spoke.
    HubsPointAtEachOther,
    /// No table has room for more than half of the spokes, and the engines were told otherwise.
    SmallTables,
    /// Registration replies to spoke 7 never arrive, although the network does not lose them.
    SilentHub,
    /// Every node but a hub drops data from spoke 7.
    DeafSpokes,
    /// Agents do not add peers to their kernels.
    NoPeers,
    /// Hubs give every fifth spoke the underlay address of another one.
    WrongMappings,
}

impl Settings {
    /// Whether it can be run.
    pub fn check(&self) -> Result<()> {
        ensure!(
            (2..=MOST_SPOKES).contains(&self.spokes),
            "{} spokes: the address plan has room for 2 to {MOST_SPOKES}",
            self.spokes
        );
        ensure!(
            (1..=MOST_HUBS).contains(&self.hubs),
            "{} hubs: the address plan has room for 1 to {MOST_HUBS}",
            self.hubs
        );
        Ok(())
    }

    pub(super) const fn plan(&self) -> Plan {
        Plan { hubs: self.hubs, spokes: self.spokes }
    }

    /// Most cache entries of a hub: every spoke, the other hubs, and some room for strangers.
    const fn hub_entries(&self) -> usize {
        self.spokes as usize + self.spokes as usize / 8 + 4096
    }

    /// Seed of a node's engine. It keeps it when it restarts, as a real one keeps its machine id.
    pub(super) const fn engine_seed(&self, node: NodeId) -> u64 {
        (self.seed ^ 0xD1B5_4A32_D192_ED03).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(node as u64)
    }
}

/// The configurations, but for what differs from node to node.
#[derive(Debug)]
pub(super) struct Templates {
    plan: Plan,
    hub: TunnelConfig,
    spoke: TunnelConfig,
}

impl Templates {
    pub(super) fn new(settings: &Settings) -> Self {
        let hub_entries = settings.hub_entries();
        let hub = TunnelConfig {
            id: TUNNEL,
            network_id: 1,
            address: IpNet::V4(SUBNET),
            link_local: None,
            aliases: Vec::new(),
            networks: Vec::new(),
            nbma: ip(0),
            mtu: 1472,
            holding_time: HOLDING_TIME,
            registration_interval: Some(REGISTRATION_INTERVAL),
            authentication: Some(Secret::new(PASSWORD)),
            unique: true,
            nhs: Vec::new(),
            static_maps: Vec::new(),
            resolve: true,
            redirect: true,
            shortcut: false,
            max_entries: hub_entries,
            failover: Shared::default(),
            multicast: Shared::default(),
            policy: Shared::default(),
            limits: Limits { peers: hub_entries, ..Limits::default() }.into(),
        };
        let spoke = TunnelConfig {
            redirect: false,
            shortcut: true,
            max_entries: SPOKE_ENTRIES,
            limits: Limits { peers: SPOKE_ENTRIES, ..Limits::default() }.into(),
            ..hub.clone()
        };
        Self { plan: settings.plan(), hub, spoke }
    }

    /// Configuration of a node that is at an underlay address.
    pub(super) fn config(&self, node: NodeId, nbma: Address) -> TunnelConfig {
        let plan = self.plan;
        let hubs = (0..plan.hubs).filter(|&other| other != node);
        let at = |hub: NodeId| -> (IpAddr, IpAddr) { (ip(plan.tunnel(hub)), ip(underlay(hub).unwrap_or(0))) };
        let mut config = if plan.is_hub(node) { self.hub.clone() } else { self.spoke.clone() };
        let address = Ipv4Addr::from_bits(plan.tunnel(node));
        config.address = IpNet::V4(Ipv4Net::new_assert(address, SUBNET.prefix_len()));
        config.nbma = ip(nbma);
        if plan.is_hub(node) {
            config.static_maps = hubs.map(at).map(|(protocol, nbma)| StaticMap { protocol, nbma }).collect();
        } else {
            config.nhs = hubs
                .map(at)
                .map(|(protocol, nbma)| Nhs { protocol: Some(protocol), nbma, priority: 0, cluster: 0 })
                .collect();
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_the_address_plan_has_no_room_for() {
        let settings = |spokes, hubs| Settings {
            spokes,
            hubs,
            seed: 1,
            duration: Duration::from_hours(1),
            sabotage: None,
        };
        assert!(settings(1000, 2).check().is_ok());
        assert!(settings(1, 2).check().unwrap_err().to_string().contains("1 spokes"));
        assert!(settings(MOST_SPOKES + 1, 2).check().is_err());
        assert!(settings(1000, 0).check().is_err());
        assert!(settings(1000, MOST_HUBS + 1).check().is_err());
    }
}
