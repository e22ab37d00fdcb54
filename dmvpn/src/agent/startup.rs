//! From a configuration to a running agent, and back to nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    path::Path,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, Result};
use tracing::{info, warn};

use super::{
    Agent, Queues, Tunnels,
    names::Names,
    path_mtu::PathMtus,
    path_mtu_socket::PathMtuReceiver,
    plan::Plan,
    receiver::Receiver,
    recursion::Recursive,
    selection::Selection,
    settings,
    slow_path::Delivery,
    socket::NhrpSocket,
    too_long::{Reporter, TooLongReceiver},
    tunnels::Tunnel,
};
use crate::{
    config::{Accept, Config, Df, MssClamp, RunOptions, Tos},
    datapath::{
        DataPath, DataPathError, DontFragment, LinkName, OuterTos, Segments, TcMode, TunnelParameters,
        remove_all_pins,
    },
    netlink::{Netlink, interfaces, links, lookup::Lookup, underlay::Underlay},
    nhrp::engine::{Engine, TunnelConfig, TunnelId},
    state::State,
};

impl Agent {
    /// Brings everything up. When it fails, what this call made is removed again; what an earlier agent left is not.
    /// The same goes for [`take_back`](Self::take_back) later on.
    pub(super) async fn start(
        config: &Config,
        plans: Vec<Plan>,
        options: RunOptions,
        netlink: Netlink,
        queues: Queues,
        state: Option<&State>,
    ) -> Result<(Self, Before)> {
        let fresh = !config.pin_directory.exists();
        let lookup = Lookup::open()?;
        let names: Vec<_> = plans.iter().map(|plan| plan.config.name.clone()).collect();
        let new_interfaces = missing_interfaces(&netlink, names).await?;
        let data_path = match DataPath::open(&settings::data_path(config, options)) {
            Ok(data_path) => data_path,
            Err(error) => {
                if fresh && let Err(error) = remove_all_pins(&config.pin_directory) {
                    warn!("{error}");
                }
                return Err(error.into());
            }
        };
        let mut families: Vec<_> = plans.iter().map(|plan| plan.source.is_ipv6()).collect();
        families.sort_unstable();
        families.dedup();
        let path_mtu_receivers = families
            .into_iter()
            .map(|ipv6| PathMtuReceiver::start(ipv6, queues.too_big.clone()))
            .collect::<Result<_, _>>()
            .context("cannot open a socket for path MTUs")?;
        let mut agent = Self {
            started: Instant::now(),
            ways: Underlay::new(netlink.clone()),
            lookup,
            engine: Engine::new(Vec::new(), 0),
            tunnels: Tunnels::default(),
            slow_paths: BTreeMap::new(),
            delivery: Delivery::open().context("cannot open a packet socket")?,
            selection: Selection::default(),
            names: Names::new(config, state),
            actions: Vec::new(),
            group_of: HashMap::new(),
            to_reconnect: VecDeque::new(),
            pin_directory: config.pin_directory.clone(),
            path_mtus: PathMtus::default(),
            reporter: Reporter::open().context("cannot open an ICMP socket")?,
            queues,
            _path_mtu_receivers: path_mtu_receivers,
            netlink,
            data_path,
        };
        let before = Before {
            fresh,
            new_interfaces,
            links: agent.data_path.links()?,
            tunnels: agent.data_path.tunnels.entries()?.iter().map(|(_, tunnel)| tunnel.id).collect(),
        };
        match agent.build(config, plans, state).await {
            Ok(()) => Ok((agent, before)),
            Err(error) => {
                agent.take_back(before).await;
                Err(error)
            }
        }
    }

    async fn build(&mut self, config: &Config, plans: Vec<Plan>, state: Option<&State>) -> Result<()> {
        self.find_selectors().await;
        let mut engine_configs = Vec::with_capacity(plans.len());
        for plan in plans {
            let name = plan.config.name.clone();
            let added = self.add_tunnel(plan, config.max_peers, &mut engine_configs).await;
            added.with_context(|| format!("tunnel {name}"))?;
        }
        self.update_slow_paths().context("cannot open a GRE socket")?;
        self.engine = Engine::new(engine_configs, seed()?);
        for tunnel in self.tunnels.iter() {
            if let Some(saved) = state.and_then(|state| state.tunnels.get(tunnel.name())) {
                self.engine.resume(tunnel.id, saved.ids);
            }
        }
        self.remove_stale_tunnels().await?;
        self.accelerate_lans().await;
        self.follow_stations().await;
        self.apply_selection();
        Ok(self.remove_stale_lans()?)
    }

    /// Removes what a start that failed has made.
    pub(super) async fn take_back(self, before: Before) {
        let Self { netlink, mut ways, mut data_path, .. } = self;
        for name in &before.new_interfaces {
            if let Err(error) = links::delete_tunnel(&netlink, name).await {
                warn!("{error}");
            }
        }
        if let Err(error) = ways.release_all().await {
            warn!("{error}");
        }
        let taken_back =
            if before.fresh { data_path.close() } else { take_back_maps(&mut data_path, &before) };
        if let Err(error) = taken_back {
            warn!("{error}");
        }
    }

    async fn add_tunnel(
        &mut self,
        plan: Plan,
        max_peers: u32,
        engine_configs: &mut Vec<TunnelConfig>,
    ) -> Result<()> {
        let config = &plan.config;
        let link = links::create_or_adopt(&self.netlink, &plan.link()).await?;
        for change in &link.changes {
            info!(tunnel = config.name, "{change}");
        }
        for advice in &link.advice {
            warn!(tunnel = config.name, "{advice}");
        }
        let id = self.tunnel_id(link.ifindex)?;
        let parameters = TunnelParameters {
            id: id.0,
            ifindex: link.ifindex,
            far_ifindex: link.far_ifindex,
            network_id: config.network_id,
            local: plan.source,
            key: config.key,
            ttl: config.ttl,
            dont_fragment: match config.df {
                Df::Copy => DontFragment::Copy,
                Df::Set => DontFragment::Set,
                Df::Clear => DontFragment::Clear,
            },
            tos: match config.tos {
                Tos::Inherit => OuterTos::Inherit,
                Tos::Dscp(dscp) => OuterTos::Dscp(dscp),
            },
            fast_path: self.selection.fast_path(&plan),
            redirect: config.redirect,
            accept_any: config.accept == Accept::Any,
            check_source: config.check_source,
            mtu: plan.mtu,
            segments: match config.mss_clamp {
                MssClamp::Off => Segments::Any,
                MssClamp::Auto => Segments::ThatFit,
                MssClamp::AtMost(bytes) => Segments::AtMost(bytes),
            },
        };
        let socket = NhrpSocket::open(plan.source, config.key, config.ttl)
            .with_context(|| format!("cannot open a GRE socket on {}", plan.source))?;
        self.data_path.tunnels.set(&parameters)?;
        let tc = self.data_path.attach_tc(&config.name, TcMode::Tcx)?;
        info!(tunnel = config.name, hook = tc.mode.name(), kept = tc.kept, "TC attached");
        let (underlay, mode) = (plan.underlay.index, config.xdp);
        let source = plan.source;
        let servers = self.names.servers(&plan.config, source);
        engine_configs.push(TunnelConfig {
            link_local: plan.link_local,
            ..settings::engine(id, &plan.config, servers, source, plan.mtu, max_peers)
        });
        let socket = Arc::new(socket);
        let receiver = Receiver::start(id, Arc::clone(&socket), self.queues.packets.clone());
        let too_long =
            TooLongReceiver::start(id, link.ifindex, link.far_ifindex, self.queues.too_long.clone())
                .with_context(|| format!("cannot open a packet socket on the far end of {}", config.name))?;
        let tc = tc.mode;
        let recursive = Recursive::default();
        self.tunnels.insert(Tunnel {
            id,
            plan,
            link,
            parameters,
            tc,
            has_source: true,
            recursive,
            socket,
            receiver,
            too_long,
        });
        self.accelerate(underlay, mode).await?;
        Ok(())
    }

    /// The number of a tunnel: the one an earlier agent gave to the same interface, else the lowest that is free.
    fn tunnel_id(&self, ifindex: u32) -> Result<TunnelId> {
        let entries = self.data_path.tunnels.entries()?;
        if let Some((_, tunnel)) = entries.iter().find(|(_, tunnel)| tunnel.ifindex == ifindex) {
            return Ok(TunnelId(tunnel.id));
        }
        let taken: BTreeSet<_> = entries.iter().map(|(_, tunnel)| tunnel.id).collect();
        Ok(TunnelId((1..=u32::MAX).find(|id| !taken.contains(id)).unwrap_or(u32::MAX)))
    }

    /// Tunnels of an earlier agent that the configuration does not have any more.
    async fn remove_stale_tunnels(&mut self) -> Result<()> {
        for (_, tunnel) in self.data_path.tunnels.entries()? {
            if self.tunnels.get(TunnelId(tunnel.id)).is_some() {
                continue;
            }
            self.data_path.tunnels.remove(tunnel.id)?;
            for (index, _) in
                self.data_path.peers.entries()?.into_iter().filter(|(_, p)| p.tunnel == tunnel.id)
            {
                let DataPath { multicast, tunnels, .. } = &mut self.data_path;
                multicast.remove(&mut tunnels.interfaces, index)?;
                self.data_path.peers.remove(index)?;
            }
            let interface = interfaces::by_index(&self.netlink, tunnel.ifindex).await?;
            if let Some(interface) = interface {
                info!(tunnel = interface.name, "removing a tunnel that is not configured any more");
                links::delete_tunnel(&self.netlink, &interface.name).await?;
            }
        }
        Ok(())
    }

    /// Removes everything: interfaces with their neighbours and routes, programs, maps, pins.
    pub(super) async fn dismantle(self) {
        let Self { netlink, mut ways, tunnels, data_path, .. } = self;
        for tunnel in tunnels.iter() {
            if let Err(error) = links::delete_tunnel(&netlink, tunnel.name()).await {
                warn!("{error}");
            }
        }
        if let Err(error) = ways.release_all().await {
            warn!("{error}");
        }
        if let Err(error) = data_path.close() {
            warn!("{error}");
        }
    }
}

/// What was there before a start.
pub(super) struct Before {
    /// There were no pins: all there are now were made by the start.
    fresh: bool,
    /// Tunnel interfaces that there were not.
    new_interfaces: Vec<String>,
    links: Vec<LinkName>,
    tunnels: BTreeSet<u32>,
}

/// Detaches what was not attached, and forgets the tunnels that were not there. The rest is an earlier agent's, and
/// carries its traffic.
fn take_back_maps(data_path: &mut DataPath, before: &Before) -> Result<(), DataPathError> {
    for link in data_path.links()?.iter().filter(|link| !before.links.contains(link)) {
        data_path.detach(link)?;
    }
    for (_, tunnel) in data_path.tunnels.entries()? {
        if !before.tunnels.contains(&tunnel.id) {
            for (index, _) in
                data_path.peers.entries()?.into_iter().filter(|(_, peer)| peer.tunnel == tunnel.id)
            {
                data_path.multicast.remove(&mut data_path.tunnels.interfaces, index)?;
                data_path.peers.remove(index)?;
            }
            data_path.tunnels.remove(tunnel.id)?;
        }
    }
    Ok(())
}

async fn missing_interfaces(netlink: &Netlink, names: Vec<String>) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for name in names {
        if interfaces::by_name(netlink, &name).await?.is_none() {
            missing.push(name);
        }
    }
    Ok(missing)
}

/// Randomness for request ids and jitter.
fn seed() -> Result<u64> {
    let mut bytes = [0; 8];
    std::fs::File::open(Path::new("/dev/urandom"))
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes))
        .context("cannot read /dev/urandom")?;
    Ok(u64::from_ne_bytes(bytes))
}
