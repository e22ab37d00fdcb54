//! A hub and spokes, some of them ours and some FRR's.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use dmvpn::control::protocol::EntryState;
use ipnet::{IpNet, Ipv4Net};

use super::{
    super::{Report, captures::Sender},
    frr::{Frr, Settings, Version},
};
use crate::{
    agent::Agent,
    lab::{Addressing, Lab, Node, Plan},
    poll,
    traffic::ping,
    wire::UNDERLAY,
};

/// Longest time until packets go where they should.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// Whose software a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// This project's.
    Ours,
    /// FRR's, with the kernel's GRE: 8.4.
    Frr,
    /// The same, but 10.3.
    Frr10,
}

/// A running node.
#[derive(Debug)]
pub(super) enum Peer {
    Ours(Box<Agent>),
    Frr(Frr),
}

/// The network and what runs in it.
#[derive(Debug)]
pub(super) struct Cloud {
    pub(super) hub: Peer,
    pub(super) spokes: Vec<Peer>,
    /// Last, so that programs end before their network.
    pub(super) lab: Lab,
}

/// What the plan does not say about the nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Extra {
    /// Further lines of our configurations.
    pub(super) more: &'static str,
    /// FRR's spokes let nobody else register their address.
    pub(super) unique: bool,
    /// FRR sends multicast packets to its peers.
    pub(super) multicast: bool,
    /// What FRR has for a password.
    pub(super) password_of_frr: Password,
    /// Our spokes are told the interface of their NBMA address instead of the address.
    pub(super) by_interface: bool,
}

/// Authentication of FRR's nodes. (8.4 never has any.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Password {
    /// As the plan says, so the same as ours.
    #[default]
    Planned,
    /// This one.
    Other(&'static str),
    /// There is none.
    None,
}

/// What FRR needs: an address of its own on each node, and nothing on the link.
pub(super) fn plan() -> Plan {
    Plan { addressing: Addressing::Host, authentication: None, ..Plan::default() }
}

impl Kind {
    const fn sender(self) -> Sender {
        match self {
            Self::Ours => Sender::Ours,
            Self::Frr | Self::Frr10 => Sender::Other,
        }
    }
}

/// Captures the wire of each node of a network. `kinds` are theirs, in the same order.
pub(super) fn capture(
    report: &mut Report,
    title: &str,
    lab: &Lab,
    kinds: impl IntoIterator<Item = Kind>,
) -> Result<()> {
    lab.nodes().zip(kinds).try_for_each(|(node, kind)| {
        let place = format!("{}-{}", title.replace([' ', ',', ':', '\''], "-"), node.name);
        report.capture(&lab.underlay, &node.name, &place, kind.sender())
    })
}

impl Cloud {
    /// Builds the network, starts everybody, and waits until all spokes are registered: as both sides see it.
    pub(super) fn start(
        report: &mut Report,
        title: &str,
        plan: &Plan,
        hub: Kind,
        spokes: &[Kind],
        extra: &Extra,
    ) -> Result<Self> {
        let plan = Plan { spokes: u8::try_from(spokes.len())?, ..plan.clone() };
        Self::start_in(report, title, Lab::new(plan)?, hub, spokes, extra, None)
    }

    /// The same in a network that is there already. The hub sees the first spoke at the address `seen`, if there is one.
    pub(super) fn start_in(
        report: &mut Report,
        title: &str,
        lab: Lab,
        hub_kind: Kind,
        spokes: &[Kind],
        extra: &Extra,
        seen: Option<Ipv4Addr>,
    ) -> Result<Self> {
        let kinds = std::iter::once(hub_kind).chain(spokes.iter().copied());
        capture(report, title, &lab, kinds)?;
        let mut cloud = None;
        report.step(format!("{title}: everybody registers"), || {
            let hub = Peer::start(&lab, &lab.hub, hub_kind, extra)?;
            let started: Vec<Peer> = lab
                .spokes
                .iter()
                .zip(spokes)
                .map(|(node, kind)| Peer::start(&lab, node, *kind, extra))
                .collect::<Result<_>>()?;
            let mut made = Self { hub, spokes: started, lab };
            let private = made.lab.spokes[0].nbma;
            made.lab.spokes[0].nbma = seen.unwrap_or(private);
            made.wait_registered()?;
            made.lab.spokes[0].nbma = private;
            cloud = Some(made);
            Ok(format!("hub {hub_kind:?}, spokes {spokes:?}"))
        })?;
        cloud.context("started above")
    }

    /// Waits until every spoke and the hub know each other.
    pub(super) fn wait_registered(&self) -> Result<()> {
        for (spoke, node) in self.spokes.iter().zip(&self.lab.spokes) {
            self.hub.wait_cached(node.address, node.nbma)?;
            spoke.wait_cached(self.lab.hub.address, self.lab.hub.nbma)?;
        }
        Ok(())
    }

    /// Looks for longer than `holding_time` whether the hub knows every spoke all the time.
    pub(super) fn stay_registered(&self, holding_time: u16) -> Result<String> {
        let time = Duration::from_secs(u64::from(holding_time) * 3 / 2);
        let start = Instant::now();
        poll::until("the end of the holding time", time + PATIENCE, || {
            for node in &self.lab.spokes {
                if !self.hub.has_cached(node.address, node.nbma)? {
                    return Ok(Some(Err(anyhow!("{} is gone after {:?}", node.name, start.elapsed()))));
                }
            }
            Ok((start.elapsed() >= time).then_some(Ok(())))
        })??;
        Ok(format!("all of them known for {time:?}"))
    }

    /// Sends a packet from one LAN to another until one is answered.
    pub(super) fn wait_reachable(&self, from: usize, to: usize) -> Result<Duration> {
        let (a, b) = (self.lab.spoke_lan(from)?, self.lab.spoke_lan(to)?);
        let mut sequence = 0;
        poll::until(&format!("an answer of {} to {}", b.name, a.name), PATIENCE, || {
            sequence += 1;
            Ok(ping(&a.host, b.address, sequence, Duration::from_secs(1))?.map(|reply| reply.time))
        })
    }

    /// Pings between two LANs both ways until both have a shortcut, and follows the way packets take.
    pub(super) fn shortcut(&self, report: &mut Report, title: &str, a: usize, b: usize) -> Result<()> {
        report.step(format!("{title}: the LANs reach each other"), || {
            let there = self.wait_reachable(a, b)?;
            let back = self.wait_reachable(b, a)?;
            Ok(format!("answers after {there:.1?} and {back:.1?}"))
        })?;
        for (from, to) in [(a, b), (b, a)] {
            let (start, end) = (self.lab.spoke_lan(from)?, self.lab.spoke_lan(to)?);
            let (near, far) = (&self.lab.spokes[from], &self.lab.spokes[to]);
            report.step(format!("{title}: a shortcut from {} to {}", near.name, end.name), || {
                self.provoke_shortcut(from, to)?;
                let wanted = [start.name.as_str(), near.name.as_str(), far.name.as_str(), end.name.as_str()];
                let path = poll::until_matches(
                    "the direct way",
                    PATIENCE,
                    || self.lab.path(from, to),
                    |path| path.iter().eq(wanted.iter()),
                )?;
                Ok(path.join(" > "))
            })?;
        }
        Ok(())
    }

    /// Pings until the spoke has a shortcut to the other LAN.
    fn provoke_shortcut(&self, from: usize, to: usize) -> Result<()> {
        let (a, b) = (self.lab.spoke_lan(from)?, self.lab.spoke_lan(to)?);
        let mut sequence = 100;
        poll::until(&format!("a shortcut to {}", b.prefix), PATIENCE, || {
            sequence += 1;
            ping(&a.host, b.address, sequence, Duration::from_millis(500))?;
            let found = self.spokes[from].has_shortcut(b.prefix)?;
            Ok(found.then_some(()))
        })
        .map_err(|error| anyhow!("{error:#}\n{}", self.spokes[from].log()))
    }
}

impl Peer {
    /// Starts a node of this kind as the plan of the lab says.
    pub(super) fn start(lab: &Lab, node: &Node, kind: Kind, extra: &Extra) -> Result<Self> {
        match kind {
            Kind::Ours => {
                let mut config = lab.config(node);
                extra.more.clone_into(&mut config.more);
                if extra.by_interface {
                    UNDERLAY.clone_into(&mut config.source);
                }
                Ok(Self::Ours(Box::new(Agent::start(node, &config)?)))
            }
            Kind::Frr | Kind::Frr10 => Ok(Self::Frr(Frr::start(node, &settings(lab, node, kind, extra)?)?)),
        }
    }

    /// Ends it without a warning.
    pub(super) fn kill(self) -> Result<()> {
        match self {
            Self::Ours(agent) => agent.kill(),
            Self::Frr(frr) => {
                drop(frr);
                Ok(())
            }
        }
    }

    /// Whether it maps `address` to `nbma`.
    pub(super) fn has_cached(&self, address: Ipv4Addr, nbma: Ipv4Addr) -> Result<bool> {
        match self {
            Self::Ours(agent) => Ok(agent.cache()?.iter().any(|row| {
                row.protocol.addr() == address && row.nbma == Some(nbma.into()) && row.state == EntryState::Up
            })),
            Self::Frr(frr) => {
                let (address, nbma) = (address.to_string(), nbma.to_string());
                let rows = frr.rows("cache")?;
                Ok(rows.iter().any(|row| row["protocol"] == address.as_str() && row["nbma"] == nbma.as_str()))
            }
        }
    }

    /// Waits until it maps `address` to `nbma`.
    pub(super) fn wait_cached(&self, address: Ipv4Addr, nbma: Ipv4Addr) -> Result<()> {
        let what = format!("{address} at {nbma} in the cache of {}", self.node().name);
        poll::until(&what, PATIENCE, || Ok(self.has_cached(address, nbma)?.then_some(())))
            .map_err(|error| anyhow!("{error:#}\n{}", self.log()))
    }

    /// Its node.
    pub(super) fn node(&self) -> &Node {
        match self {
            Self::Ours(agent) => agent.node(),
            Self::Frr(frr) => frr.node(),
        }
    }

    /// Whether it has a shortcut for exactly this prefix, in use.
    pub(super) fn has_shortcut(&self, prefix: Ipv4Net) -> Result<bool> {
        match self {
            Self::Ours(agent) => {
                let rows = agent.shortcuts()?;
                Ok(rows.iter().any(|row| row.prefix == prefix.into() && row.state == EntryState::Up))
            }
            Self::Frr(frr) => {
                let prefix = prefix.to_string();
                let rows = frr.rows("shortcut")?;
                Ok(rows.iter().any(|row| row["prefix"] == prefix.as_str() && row["type"] == "dynamic"))
            }
        }
    }

    /// What it has written.
    pub(super) fn log(&self) -> String {
        match self {
            Self::Ours(agent) => agent.log(),
            Self::Frr(frr) => frr.log("nhrpd"),
        }
    }
}

/// What the plan says, for an FRR of this kind.
pub(super) fn settings(lab: &Lab, node: &Node, kind: Kind, extra: &Extra) -> Result<Settings> {
    let version = match kind {
        Kind::Frr => Version::V8,
        Kind::Frr10 => Version::V10,
        Kind::Ours => bail!("our nodes have another configuration"),
    };
    let config = lab.config(node);
    let ipv4 = |(prefix, via): (IpNet, _)| match (prefix, via) {
        (IpNet::V4(prefix), std::net::IpAddr::V4(via)) => Some((prefix, via)),
        _ => None,
    };
    let authentication = match extra.password_of_frr {
        Password::Planned => config.authentication,
        Password::Other(password) => Some(password.to_owned()),
        Password::None => None,
    };
    Ok(Settings {
        version,
        authentication: authentication.filter(|_| version == Version::V10),
        key: config.key,
        holding_time: config.holding_time,
        servers: config.nhs.iter().map(|_| (None, lab.hub.nbma)).collect(),
        routes: config.routes.into_iter().filter_map(ipv4).collect(),
        unique: extra.unique,
        multicast: extra.multicast,
    })
}
