//! From a configuration to a running agent, and back to nothing.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Instant};

use anyhow::{Context, Result};
use dmvpn_common::FastPath;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{
    Agent, Tunnels,
    names::Names,
    plan::Plan,
    receiver::{Received, Receiver},
    settings,
    socket::NhrpSocket,
    tunnels::Tunnel,
};
use crate::{
    config::{Accept, Config, RunOptions},
    datapath::{DataPath, DontFragment, OuterTos, TcMode, TunnelParameters, remove_all_pins},
    netlink::{
        Netlink,
        links::{self, TunnelSpec},
        lookup::Lookup,
        underlay::Underlay,
    },
    nhrp::engine::{Engine, TunnelConfig, TunnelId},
    state::State,
};

impl Agent {
    /// Brings everything up. When it fails, what this call made is removed again; what an earlier agent left is not.
    pub(super) async fn start(
        config: &Config,
        plans: Vec<Plan>,
        options: RunOptions,
        netlink: Netlink,
        packets: mpsc::Sender<Received>,
        state: Option<&State>,
    ) -> Result<Self> {
        let fresh = !config.pin_directory.exists();
        let names: Vec<_> = plans.iter().map(|plan| plan.config.name.clone()).collect();
        let existing = existing_interfaces(&netlink, &names).await?;
        let result = Self::build(config, plans, options, netlink.clone(), packets, state).await;
        if result.is_err() {
            for name in names.iter().filter(|name| !existing.contains(*name)) {
                if let Err(error) = links::delete_tunnel(&netlink, name).await {
                    warn!("{error}");
                }
            }
            if fresh && let Err(error) = remove_all_pins(&config.pin_directory) {
                warn!("{error}");
            }
        }
        result
    }

    async fn build(
        config: &Config,
        plans: Vec<Plan>,
        options: RunOptions,
        netlink: Netlink,
        packets: mpsc::Sender<Received>,
        state: Option<&State>,
    ) -> Result<Self> {
        let data_path = DataPath::open(&settings::data_path(config, options))?;
        let mut agent = Self {
            started: Instant::now(),
            ways: Underlay::new(netlink.clone()),
            lookup: Lookup::open()?,
            engine: Engine::new(Vec::new(), 0),
            tunnels: Tunnels::default(),
            names: Names::new(config, state),
            actions: Vec::new(),
            pin_directory: config.pin_directory.clone(),
            packets,
            netlink,
            data_path,
        };
        let mut engine_configs = Vec::with_capacity(plans.len());
        for plan in plans {
            let name = plan.config.name.clone();
            let id = agent.add_tunnel(plan, config.max_peers, &mut engine_configs).await;
            id.with_context(|| format!("tunnel {name}"))?;
        }
        agent.engine = Engine::new(engine_configs, seed()?);
        for tunnel in agent.tunnels.iter() {
            if let Some(saved) = state.and_then(|state| state.tunnels.get(tunnel.name())) {
                agent.engine.resume(tunnel.id, saved.ids);
            }
        }
        agent.remove_stale_tunnels().await?;
        Ok(agent)
    }

    async fn add_tunnel(
        &mut self,
        plan: Plan,
        max_peers: u32,
        engine_configs: &mut Vec<TunnelConfig>,
    ) -> Result<()> {
        let config = &plan.config;
        let spec = TunnelSpec {
            name: config.name.clone(),
            address: config.address,
            link_local: plan.link_local,
            mtu: plan.mtu,
        };
        let link = links::create_or_adopt(&self.netlink, &spec).await?;
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
            local: plan.source.into(),
            key: config.key,
            ttl: config.ttl,
            dont_fragment: DontFragment::Set,
            tos: OuterTos::Inherit,
            fast_path: FastPath::Full,
            redirect: config.redirect,
            accept_any: config.accept == Accept::Any,
            check_source: false,
            mtu: plan.mtu,
        };
        let socket = NhrpSocket::open(plan.source, config.key, config.ttl)
            .with_context(|| format!("cannot open a GRE socket on {}", plan.source))?;
        self.data_path.tunnels.set(&parameters)?;
        let tc = self.data_path.attach_tc(&config.name, TcMode::Tcx)?;
        info!(tunnel = config.name, hook = tc.mode.name(), kept = tc.kept, "TC attached");
        let (underlay, mode) = (plan.underlay.index, config.xdp);
        let source = plan.source.into();
        let servers = self.names.servers(&plan.config, source);
        engine_configs.push(TunnelConfig {
            link_local: plan.link_local,
            ..settings::engine(id, &plan.config, servers, source, plan.mtu, max_peers)
        });
        let socket = Arc::new(socket);
        let receiver = Receiver::start(id, Arc::clone(&socket), self.packets.clone());
        let tc = tc.mode;
        self.tunnels.insert(Tunnel { id, plan, link, parameters, tc, has_source: true, socket, receiver });
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
            let interface = crate::netlink::interfaces::by_index(&self.netlink, tunnel.ifindex).await?;
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

async fn existing_interfaces(netlink: &Netlink, names: &[String]) -> Result<BTreeSet<String>> {
    let mut existing = BTreeSet::new();
    for name in names {
        if crate::netlink::interfaces::by_name(netlink, name).await?.is_some() {
            existing.insert(name.clone());
        }
    }
    Ok(existing)
}

/// Randomness for request ids and jitter.
fn seed() -> Result<u64> {
    let mut bytes = [0; 8];
    std::fs::File::open(Path::new("/dev/urandom"))
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes))
        .context("cannot read /dev/urandom")?;
    Ok(u64::from_ne_bytes(bytes))
}
