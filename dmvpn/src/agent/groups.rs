//! Which peers are in which group, and so what may be sent to them.
//!
//! A group's policer has the index of the group's place among those of all tunnels, from 1.

use std::net::IpAddr;

use anyhow::Result;

use super::{Agent, actions::ActionError};
use crate::{config::Group, control::protocol::GroupRow, datapath::DataPathError, nhrp::engine::TunnelId};

impl Agent {
    /// Brings the policers in line with the configuration, and the peers that an earlier agent left.
    pub(super) fn set_up_groups(&mut self) -> Result<()> {
        for (index, group) in
            self.groups().map(|(_, index, group)| (index, group.clone())).collect::<Vec<_>>()
        {
            self.data_path.policers.set(index, group.rate.div_ceil(8), group.burst)?;
        }
        for (index, peer) in self.data_path.peers.entries()? {
            if peer.policer != 0 {
                self.data_path.peers.set_policer(index, 0)?;
            }
        }
        Ok(())
    }

    /// Limits a peer when `protocol`, which is reached there, is in a group. The first group of the configuration that any
    /// of its addresses is in counts, for as long as it is a peer.
    ///
    /// A server is never limited: addresses that are still being resolved are mapped to it.
    pub(super) fn put_in_group(
        &mut self,
        tunnel: TunnelId,
        protocol: IpAddr,
        nbma: IpAddr,
        index: u32,
    ) -> Result<(), ActionError> {
        let is_member = |group: &Group| group.members.iter().any(|prefix| prefix.contains(&protocol));
        let found = self.groups().find(|(of, _, group)| *of == tunnel && is_member(group));
        let Some(policer) = found.map(|(_, policer, _)| policer) else { return Ok(()) };
        if self.engine.servers(tunnel, self.now()).any(|server| server.nbma == nbma) {
            return Ok(());
        }
        let present = self.data_path.peers.get(index)?.map_or(0, |peer| peer.policer);
        if present == 0 || policer < present {
            self.data_path.peers.set_policer(index, policer)?;
        }
        Ok(())
    }

    /// For `dmvpn show groups`.
    pub(super) fn group_rows(&self) -> Result<Vec<GroupRow>, DataPathError> {
        let peers = self.data_path.peers.entries()?;
        let row = |(tunnel, index, group): (TunnelId, u32, &Group)| {
            let policer = self.data_path.policers.get(index)?;
            let members = peers.iter().filter(|(_, peer)| peer.policer == index).count();
            Ok(GroupRow {
                interface: self
                    .tunnels
                    .get(tunnel)
                    .map_or_else(String::new, |tunnel| tunnel.name().to_owned()),
                name: group.name.clone(),
                rate: group.rate,
                burst: group.burst,
                peers: u32::try_from(members).unwrap_or(u32::MAX),
                passed_packets: policer.passed_packets,
                passed_bytes: policer.passed_bytes,
                policed_packets: policer.dropped_packets,
                policed_bytes: policer.dropped_bytes,
            })
        };
        self.groups().map(row).collect()
    }

    /// Every group with its tunnel and the index of its policer.
    fn groups(&self) -> impl Iterator<Item = (TunnelId, u32, &Group)> {
        let of = |tunnel: &'_ super::Tunnel| tunnel.id;
        let groups = self
            .tunnels
            .iter()
            .flat_map(move |tunnel| tunnel.plan.config.groups.iter().map(move |group| (of(tunnel), group)));
        groups.zip(1..).map(|((tunnel, group), index)| (tunnel, index, group))
    }
}
