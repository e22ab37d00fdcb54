//! What the engine may ask the kernel in the middle of its work.

use std::{net::IpAddr, time::Duration};

use tracing::warn;

use super::Tunnels;
use crate::{
    datapath::PeerTable,
    netlink::lookup::{Lookup, Routing},
    nhrp::engine::{Environment, Route, TunnelId},
};

/// The engine wants to know whether a peer was sent anything in the last seconds or minutes.
const COUNTS_AGE: Duration = Duration::from_secs(1);

/// The kernel's routing table and the data path's counters.
pub(super) struct Kernel<'a> {
    pub(super) lookup: &'a Lookup,
    pub(super) peers: &'a PeerTable,
    pub(super) tunnels: &'a Tunnels,
}

/// Whether whoever made a route takes it out of the kernel when another program makes one for the same prefix. FRR's
/// zebra does: it prefers a kernel route to what its own daemons say.
const fn gives_way(protocol: u8) -> bool {
    // `RTPROT_ZEBRA`, `RTPROT_BABEL`, and what FRR's daemons have: `linux/rtnetlink.h`, zebra's `rt_netlink.h`.
    matches!(protocol, 11 | 42 | 186..=198)
}

impl Environment for Kernel<'_> {
    fn route(&self, destination: IpAddr) -> Route {
        let routing = self.lookup.route_without_shortcuts(destination).unwrap_or_else(|error| {
            warn!(%error, "treating a destination as unreachable");
            Routing::Unreachable
        });
        match routing {
            Routing::Local { prefix } => Route::Local { prefix },
            Routing::Via { ifindex, gateway, prefix, protocol, .. } => {
                match self.tunnels.by_ifindex(ifindex) {
                    Some(tunnel) => Route::Tunnel {
                        tunnel: tunnel.id,
                        next_hop: gateway.unwrap_or(destination),
                        prefix,
                        gives_way: gives_way(protocol),
                    },
                    None => Route::Elsewhere { prefix },
                }
            }
            Routing::Unreachable => Route::None,
        }
    }

    fn packets_sent(&self, tunnel: TunnelId, nbma: IpAddr) -> u64 {
        let counters = self.peers.index_of(tunnel.0, nbma).and_then(|index| match index {
            Some(index) => self.peers.counters(index, COUNTS_AGE).map(|counters| counters.sent().packets),
            None => Ok(0),
        });
        counters.unwrap_or_else(|error| {
            warn!(%error, "treating a peer as idle");
            0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_frr_give_way() {
        let (ospf, static_route, bird, ours) = (188, 4, 12, crate::netlink::PROTOCOL);
        assert!(gives_way(ospf) && !gives_way(static_route) && !gives_way(bird) && !gives_way(ours));
    }
}
