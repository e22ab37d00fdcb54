//! The way to an NBMA address: next hop, link-layer addresses and MTU, for the outer frames the data path
//! writes.
//!
//! The data path writes link-layer addresses itself, so the kernel sees no use of the gateway's neighbour
//! entry and would let it go stale. A *managed* entry (Linux 5.16) is kept reachable by the kernel alone,
//! with or without the agent; on older kernels the agent pokes the entry now and then.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use ipnet::IpNet;
use nix::errno::Errno;
use rtnetlink::{
    packet_core::NLM_F_CREATE,
    packet_route::{
        RouteNetlinkMessage,
        neighbour::{
            NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage, NeighbourState,
        },
        route::{RouteAttribute, RouteMessage, RouteMetric, RouteType},
    },
};

use super::{
    Error, Netlink,
    error::Cause,
    interfaces,
    lookup::{gateway, is_refusal, question},
    neighbours::{entry, link_layer_address},
    routes::route_address,
};

/// How often [`Underlay::poke`] wants to be called: well below the 30 s after which the kernel calls an
/// unused neighbour stale.
pub const POKE_INTERVAL: Duration = Duration::from_secs(10);

/// The way to an NBMA address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// Interface the packet leaves by.
    pub ifindex: u32,
    /// The gateway (of either address family), or the NBMA address itself when it is on the link.
    pub address: IpAddr,
    /// Link-layer address of the interface; `None` when it is not Ethernet-like, so that no frame can be
    /// written for it.
    pub source_mac: Option<[u8; 6]>,
    /// Link-layer address of the next hop; `None` while the kernel does not know it.
    pub gateway_mac: Option<[u8; 6]>,
    /// Largest outer packet in bytes: the interface's MTU, or less where the route says so or a path was
    /// found narrower.
    pub mtu: u32,
}

/// How an entry is kept fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upkeep {
    Kernel,
    Pokes,
}

/// Most next hops whose particulars are remembered. More of them are neighbours on the link, one for each peer.
const REMEMBERED: usize = 256;

/// What a next hop has, whoever is behind it.
#[derive(Clone, Copy, Debug)]
struct Particulars {
    source_mac: Option<[u8; 6]>,
    gateway_mac: Option<[u8; 6]>,
    /// Of the interface.
    mtu: u32,
}

/// Ways to NBMA addresses, and the neighbour entries on them that are kept fresh.
#[derive(Debug)]
pub struct Underlay {
    netlink: Netlink,
    managed_entries: bool,
    kept: BTreeMap<(u32, IpAddr), Upkeep>,
    /// Particulars of the next hops that frames can be sent to, since the last [`forget`](Self::forget).
    remembered: BTreeMap<(u32, IpAddr), Particulars>,
}

impl Underlay {
    /// Keeps nothing yet.
    pub fn new(netlink: Netlink) -> Self {
        Self { netlink, managed_entries: true, kept: BTreeMap::new(), remembered: BTreeMap::new() }
    }

    /// The same without managed entries, as on kernels before 5.16: [`poke`](Self::poke) does the work.
    pub fn with_pokes(netlink: Netlink) -> Self {
        Self { managed_entries: false, ..Self::new(netlink) }
    }

    /// The way to `nbma` for packets from `source`; `None` when there is no route, a route that refuses, or
    /// when `nbma` is an address of this box.
    ///
    /// The route is asked for each time; most peers are behind few next hops, whose particulars are remembered.
    ///
    /// A `source` that is not an address of this box is an error.
    pub async fn next_hop(&mut self, nbma: IpAddr, source: IpAddr) -> Result<Option<NextHop>, Error> {
        let what = || format!("look up the way to {nbma} from {source}");
        let mut message = question(nbma);
        message.header.source_prefix_length = IpNet::from(source).prefix_len();
        message.attributes.push(RouteAttribute::Source(route_address(source)));
        let answer = match self.netlink.ask(RouteNetlinkMessage::GetRoute(message)) {
            Ok(answer) => answer,
            // No route, a route that refuses, or (EINVAL or ENETUNREACH, by kernel) a source that is not
            // ours.
            Err(cause) if is_refusal(&cause) => {
                if interfaces::address_owner(&self.netlink, source).await?.is_some() {
                    return Ok(None);
                }
                let cause = format!("{source} is not an address of this box: correct the tunnel's source");
                return Err(Error::new(what(), Cause::Conflict(cause)));
            }
            Err(cause) => return Err(Error::new(what(), cause)),
        };
        match answer {
            Some(RouteNetlinkMessage::NewRoute(route)) if route.header.kind == RouteType::Unicast => {
                self.resolve(nbma, &route).await
            }
            _ => Ok(None),
        }
    }

    /// A link or a neighbour has changed: what is remembered of next hops is not believed any more.
    pub fn forget(&mut self) {
        self.remembered.clear();
    }

    async fn resolve(&mut self, nbma: IpAddr, route: &RouteMessage) -> Result<Option<NextHop>, Error> {
        let mut outgoing = None;
        let mut path_mtu = u32::MAX;
        for attribute in &route.attributes {
            match attribute {
                RouteAttribute::Oif(index) => outgoing = Some(*index),
                RouteAttribute::Metrics(metrics) => {
                    for metric in metrics {
                        if let RouteMetric::Mtu(mtu) = metric {
                            path_mtu = *mtu;
                        }
                    }
                }
                _ => {}
            }
        }
        let Some(ifindex) = outgoing else { return Ok(None) };
        let address = gateway(&route.attributes).unwrap_or(nbma);
        let Some(Particulars { source_mac, gateway_mac, mtu }) = self.particulars(ifindex, address).await?
        else {
            return Ok(None);
        };
        Ok(Some(NextHop { ifindex, address, source_mac, gateway_mac, mtu: mtu.min(path_mtu) }))
    }

    /// What is known of the next hop `address` on the interface `ifindex`; `None` when that is no more.
    async fn particulars(&mut self, ifindex: u32, address: IpAddr) -> Result<Option<Particulars>, Error> {
        if let Some(found) = self.remembered.get(&(ifindex, address)) {
            return Ok(Some(*found));
        }
        // The interface can go between the two questions.
        let Some(interface) = interfaces::by_index(&self.netlink, ifindex).await? else { return Ok(None) };
        let gateway_mac = match interface.mac {
            Some(_) => self.entry(ifindex, address).await?.and_then(|entry| usable_address(&entry)),
            None => None,
        };
        let found = Particulars { source_mac: interface.mac, gateway_mac, mtu: interface.mtu };
        // One that is being resolved is about to change.
        if gateway_mac.is_some() && self.remembered.len() < REMEMBERED {
            self.remembered.insert((ifindex, address), found);
        }
        Ok(Some(found))
    }

    /// Makes the kernel resolve the next hop `address` on the interface `ifindex` now and keep it reachable,
    /// until [`release`](Self::release). To be called again when the interface was down: the kernel forgets
    /// then.
    ///
    /// An entry the operator made permanent is left as it is.
    pub async fn keep_fresh(&mut self, ifindex: u32, address: IpAddr) -> Result<(), Error> {
        if let Some(entry) = self.entry(ifindex, address).await?
            && matches!(entry.header.state, NeighbourState::Permanent | NeighbourState::Noarp)
        {
            return Ok(());
        }
        let upkeep = if self.managed_entries { self.manage(ifindex, address).await? } else { Upkeep::Pokes };
        if upkeep == Upkeep::Pokes {
            self.use_entry(ifindex, address, NLM_F_CREATE)
                .await
                .map_err(|cause| keeping(ifindex, address, cause))?;
        }
        self.kept.insert((ifindex, address), upkeep);
        Ok(())
    }

    /// Whether an entry is being kept fresh.
    pub fn keeps_fresh(&self, ifindex: u32, address: IpAddr) -> bool {
        self.kept.contains_key(&(ifindex, address))
    }

    /// Does [`keep_fresh`](Self::keep_fresh) again for every entry it was done for on the interface `ifindex`: after
    /// that was down, when the kernel forgot them. The first error, after all have been tried.
    pub async fn keep_fresh_again(&mut self, ifindex: u32) -> Result<(), Error> {
        let mut result = Ok(());
        let kept = self.kept.keys().filter(|(kept, _)| *kept == ifindex);
        for (_, address) in kept.copied().collect::<Vec<_>>() {
            result = result.and(self.keep_fresh(ifindex, address).await);
        }
        result
    }

    /// Leaves the entry to the kernel's ordinary ageing again. The link-layer address stays known. Nothing
    /// kept is no error.
    pub async fn release(&mut self, ifindex: u32, address: IpAddr) -> Result<(), Error> {
        if self.kept.remove(&(ifindex, address)).is_none() {
            return Ok(());
        }
        match self.use_entry(ifindex, address, 0).await {
            Ok(()) => Ok(()),
            Err(cause) if matches!(cause.errno(), Some(Errno::ENOENT | Errno::ENODEV)) => Ok(()),
            Err(cause) => {
                Err(Error::new(format!("release neighbour {address} on interface number {ifindex}"), cause))
            }
        }
    }

    /// Releases every entry; the first error, after all have been tried.
    pub async fn release_all(&mut self) -> Result<(), Error> {
        let mut result = Ok(());
        for (ifindex, address) in self.kept.keys().copied().collect::<Vec<_>>() {
            result = result.and(self.release(ifindex, address).await);
        }
        result
    }

    /// Whether [`poke`](Self::poke) must be called every [`POKE_INTERVAL`], because the kernel does not do it
    /// itself.
    pub fn needs_pokes(&self) -> bool {
        self.kept.values().any(|upkeep| *upkeep == Upkeep::Pokes)
    }

    /// Uses every entry that the kernel does not keep fresh itself, which makes it probe the stale ones. The
    /// first error, after all have been tried.
    pub async fn poke(&self) -> Result<(), Error> {
        let mut result = Ok(());
        for ((ifindex, address), upkeep) in &self.kept {
            if *upkeep == Upkeep::Pokes {
                let poked = self.use_entry(*ifindex, *address, NLM_F_CREATE).await;
                result = result.and(poked.map_err(|cause| keeping(*ifindex, *address, cause)));
            }
        }
        result
    }

    /// Hands the entry to the kernel. A kernel that does not know managed entries takes the message without a
    /// word, so the entry is read back.
    async fn manage(&self, ifindex: u32, address: IpAddr) -> Result<Upkeep, Error> {
        let mut message = entry(ifindex, address);
        message.header.flags = NeighbourFlags::ExtLearned;
        message.attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
        self.netlink
            .request(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE)
            .await
            .map_err(|cause| keeping(ifindex, address, cause))?;
        let managed = self.entry(ifindex, address).await?.is_some_and(|entry| {
            entry.attributes.iter().any(|attribute| match attribute {
                NeighbourAttribute::ExtFlags(flags) => flags.contains(NeighbourExtFlags::Managed),
                _ => false,
            })
        });
        Ok(if managed { Upkeep::Kernel } else { Upkeep::Pokes })
    }

    /// Acts as if a packet had used the entry: the kernel resolves or probes it. As the message has neither
    /// "managed" nor "extern-learned", it ends both.
    async fn use_entry(&self, ifindex: u32, address: IpAddr, flags: u16) -> Result<(), Cause> {
        let mut message = entry(ifindex, address);
        message.header.flags = NeighbourFlags::Use;
        self.netlink.request(RouteNetlinkMessage::NewNeighbour(message), flags).await.map(|_| ())
    }

    async fn entry(&self, ifindex: u32, address: IpAddr) -> Result<Option<NeighbourMessage>, Error> {
        let message = RouteNetlinkMessage::GetNeighbour(entry(ifindex, address));
        match self.netlink.request(message, 0).await {
            Ok(answers) => Ok(answers.into_iter().find_map(|answer| match answer {
                RouteNetlinkMessage::NewNeighbour(entry) => Some(entry),
                _ => None,
            })),
            Err(cause) if matches!(cause.errno(), Some(Errno::ENOENT | Errno::ENODEV)) => Ok(None),
            Err(cause) => {
                Err(Error::new(format!("look up neighbour {address} on interface number {ifindex}"), cause))
            }
        }
    }
}

fn keeping(ifindex: u32, address: IpAddr, cause: Cause) -> Error {
    Error::new(format!("keep neighbour {address} on interface number {ifindex} fresh"), cause)
}

/// The link-layer address of an entry that may be sent to: any state in which the kernel itself would use it.
pub(super) fn usable_address(entry: &NeighbourMessage) -> Option<[u8; 6]> {
    match entry.header.state {
        NeighbourState::Reachable
        | NeighbourState::Stale
        | NeighbourState::Delay
        | NeighbourState::Probe
        | NeighbourState::Noarp
        | NeighbourState::Permanent => link_layer_address(entry),
        _ => None,
    }
}
