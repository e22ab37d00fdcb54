//! Recursive routing: the route to a peer's NBMA address leads into a tunnel of ours, so what is sent to the peer would
//! be sent to it inside of what is sent to it. It happens when a routing protocol announces underlay networks over the
//! tunnel. Such a peer has no way until the route is another one: its packets are dropped and counted, not sent round.

use std::{collections::BTreeSet, net::IpAddr};

use tracing::{info, warn};

use super::Agent;
use crate::nhrp::engine::TunnelId;

/// NBMA addresses of a tunnel's peers that are routed into a tunnel.
#[derive(Debug, Default)]
pub(super) struct Recursive(BTreeSet<IpAddr>);

impl Recursive {
    /// Takes note of where an address is routed now; whether that is the first such address, or the end of the last.
    fn note(&mut self, nbma: IpAddr, is_recursive: bool) -> bool {
        let (before, changed) =
            (self.0.len(), if is_recursive { self.0.insert(nbma) } else { self.0.remove(&nbma) });
        changed && (before == 0 || self.0.is_empty())
    }
}

impl Agent {
    /// Whether an interface that the route to a peer leads to is a tunnel of ours. Says so once, not for every peer.
    pub(super) fn leads_into_tunnel(&mut self, id: TunnelId, nbma: IpAddr, ifindex: Option<u32>) -> bool {
        let into = ifindex.and_then(|ifindex| self.tunnels.by_ifindex(ifindex));
        let into = into.map(|tunnel| tunnel.name().to_owned());
        let Some(tunnel) = self.tunnels.get_mut(id) else { return into.is_some() };
        let is_news = tunnel.recursive.note(nbma, into.is_some());
        match &into {
            Some(into) if is_news => warn!(
                tunnel = tunnel.name(),
                "the route to {nbma} leads into {into} itself: packets for peers that are routed so are dropped. \
                 Give NBMA addresses a route by the underlay (ip route add {nbma} via GATEWAY), and keep them out of \
                 what is announced over the tunnel"
            ),
            None if is_news => {
                info!(tunnel = tunnel.name(), "all NBMA addresses are routed by the underlay again");
            }
            _ => {}
        }
        into.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_are_news() {
        let [a, b] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        let mut recursive = Recursive::default();
        let steps = [
            (a, false, false),
            (a, true, true),
            (a, true, false),
            (b, true, false),
            (a, false, false),
            (a, false, false),
            (b, false, true),
            (b, true, true),
        ];
        for (step, (nbma, is_recursive, news)) in steps.into_iter().enumerate() {
            assert_eq!(recursive.note(nbma, is_recursive), news, "step {step}");
        }
    }
}
