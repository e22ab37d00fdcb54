//! Tells XDP which link-layer addresses are our own, so that it takes no frame for another box that has our NBMA address.

use std::collections::BTreeSet;

use dmvpn_common::Station;
use tracing::warn;

use super::{Agent, actions::ActionError, tunnels::UnderlayHook};
use crate::{datapath::Vlan, netlink::interfaces};

impl Agent {
    /// Finds our link-layer addresses anew. To be called when interfaces changed.
    pub(super) async fn follow_stations(&mut self) {
        if let Err(error) = self.find_stations().await {
            warn!("cannot tell which frames are for this box: {error}");
        }
    }

    async fn find_stations(&mut self) -> Result<(), ActionError> {
        let xdp = self.tunnels.underlays.iter().filter(|(_, underlay)| underlay.hook != UnderlayHook::Tc);
        let underlays: Vec<_> = xdp.map(|(ifindex, underlay)| (*ifindex, underlay.vlan)).collect();
        let mut stations = BTreeSet::new();
        for (ifindex, vlan) in underlays {
            stations.append(&mut self.stations_of(ifindex, vlan).await?);
        }
        if !self.data_path.stations.set(stations)? {
            warn!("so many underlay interfaces that XDP takes frames whoever they are for");
        }
        Ok(())
    }

    /// Has frames for an interface taken that is to have the program: before it has, so that it takes all from the start.
    pub(super) async fn add_stations(&mut self, ifindex: u32, vlan: Option<Vlan>) -> Result<(), ActionError> {
        let stations = self.stations_of(ifindex, vlan).await?;
        self.data_path.stations.add(&stations)?;
        Ok(())
    }

    /// What frames for an interface are for. Below a VLAN device they may come without their tag: some drivers take it off
    /// before XDP.
    async fn stations_of(&self, ifindex: u32, vlan: Option<Vlan>) -> Result<BTreeSet<Station>, ActionError> {
        let mut stations = BTreeSet::new();
        let below = vlan.into_iter().flat_map(|vlan| [(ifindex, vlan.id), (vlan.physical, 0)]);
        for (ifindex, vlan) in below.chain([(ifindex, 0)]) {
            let interface = interfaces::by_index(&self.netlink, ifindex).await?;
            if let Some(mac) = interface.and_then(|interface| interface.mac) {
                stations.insert(Station { mac, vlan });
            }
        }
        Ok(stations)
    }
}
