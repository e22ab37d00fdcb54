//! Which peers are in which group, and so what may be sent to them.
//!
//! Each peer in a group has a policer of its own, whose index is the peer's.

use std::net::IpAddr;

use anyhow::Result;

use super::{Agent, actions::ActionError};
use crate::{config::Group, control::protocol::GroupRow, datapath::DataPathError, nhrp::engine::TunnelId};

impl Agent {
    /// Limits no peer that an earlier agent left: who is in a group is found out when the peer is adopted. Its policer
    /// then is the one it had, unless the configuration has changed.
    pub(super) fn set_up_groups(&mut self) -> Result<()> {
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
        let Some((_, number, &Group { rate, burst, .. })) = found else { return Ok(()) };
        if self.engine.servers(tunnel, self.now()).any(|server| server.nbma == nbma) {
            return Ok(());
        }
        if self.group_of.get(&index).is_none_or(|present| number < *present) {
            self.data_path.policers.set(index, rate.div_ceil(8), burst)?;
            self.data_path.peers.set_policer(index, index)?;
            self.group_of.insert(index, number);
        }
        Ok(())
    }

    /// Forgets that a peer, which is no more, was in a group.
    pub(super) fn leave_group(&mut self, index: u32) -> Result<(), DataPathError> {
        self.group_of.remove(&index);
        self.data_path.policers.clear(index)
    }

    /// For `dmvpn show groups`.
    pub(super) fn group_rows(&self) -> Result<Vec<GroupRow>, DataPathError> {
        let row = |(tunnel, number, group): (TunnelId, u32, &Group)| {
            let name = self.tunnels.get(tunnel).map_or_else(String::new, |tunnel| tunnel.name().to_owned());
            let mut row = GroupRow {
                interface: name,
                name: group.name.clone(),
                rate: group.rate,
                burst: group.burst,
                peers: 0,
                passed_packets: 0,
                passed_bytes: 0,
                policed_packets: 0,
                policed_bytes: 0,
            };
            for (peer, _) in self.group_of.iter().filter(|(_, of)| **of == number) {
                let policer = self.data_path.policers.get(*peer)?;
                row.peers += 1;
                row.passed_packets += policer.passed_packets;
                row.passed_bytes += policer.passed_bytes;
                row.policed_packets += policer.dropped_packets;
                row.policed_bytes += policer.dropped_bytes;
            }
            Ok(row)
        };
        self.groups().map(row).collect()
    }

    /// Every group with its tunnel and its number.
    fn groups(&self) -> impl Iterator<Item = (TunnelId, u32, &Group)> {
        let of = |tunnel: &'_ super::Tunnel| tunnel.id;
        let groups = self
            .tunnels
            .iter()
            .flat_map(move |tunnel| tunnel.plan.config.groups.iter().map(move |group| (of(tunnel), group)));
        groups.zip(1..).map(|((tunnel, group), number)| (tunnel, number, group))
    }
}
