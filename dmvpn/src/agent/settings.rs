//! From the operator's words to the settings of the engine and the data path.

use std::{net::IpAddr, time::Duration};

use crate::{
    config::{self, Config, Phase, RunOptions},
    datapath::Options,
    nhrp::engine::{
        Failover, Limits, Multicast, MulticastServers, Nhs, Policy, StaticMap, TunnelConfig, TunnelId,
    },
};

/// What the engine is told of a tunnel: its servers, its source address, and the MTU of its interface in bytes are
/// found out by others, as is its link-local address.
pub fn engine(
    id: TunnelId,
    config: &config::Tunnel,
    servers: Vec<Nhs>,
    source: IpAddr,
    mtu: u32,
    max_peers: u32,
) -> TunnelConfig {
    let maps = config.maps.iter().map(|map| StaticMap { protocol: map.address, nbma: map.nbma });
    let connections = |cluster: &config::NhsCluster| (cluster.cluster, cluster.max_connections.into());
    TunnelConfig {
        id,
        network_id: config.network_id,
        address: config.address,
        link_local: None,
        aliases: config.aliases.clone(),
        networks: config.register_prefixes.clone(),
        nbma: source,
        mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
        holding_time: config.holding_time,
        registration_interval: Some(config.registration_interval),
        authentication: config.authentication.clone(),
        unique: config.unique,
        nhs: servers,
        static_maps: maps.collect(),
        resolve: config.phase != Phase::One,
        redirect: config.redirect,
        shortcut: config.shortcut,
        // A peer has an entry at least; several may share one address.
        max_entries: size(max_peers).saturating_mul(2),
        failover: Failover {
            max_connections: config.nhs_clusters.iter().map(connections).collect(),
            fallback: config.nhs_fallback,
        }
        .into(),
        multicast: Multicast {
            clients: config.multicast.clients,
            servers: match config.multicast.servers {
                config::MulticastServers::All => MulticastServers::All,
                config::MulticastServers::Active => MulticastServers::Active,
                config::MulticastServers::None => MulticastServers::None,
            },
            fixed: config.multicast.to.clone(),
        }
        .into(),
        policy: Policy {
            clients: config.allow.clone(),
            client_prefixes: config.allow_prefixes.clone(),
            summaries: config.summaries.clone(),
            purge_on_expiry: config.purge_on_expiry,
            answer_for_clients: config.answer_for_clients,
            negative_time: config.negative_time,
            // The data path keeps the interval by its own clock. What it let through is not to be refused because
            // the agent got to the last event later than to this one.
            redirect_interval: config.redirect_interval / 8 * 7,
        }
        .into(),
        limits: Limits {
            peers: size(max_peers),
            registrations_per_nbma: size(config.limits.registrations_per_nbma),
            pending_resolutions: size(config.limits.pending_resolutions),
            shortcuts: size(config.limits.shortcuts),
            requesters: size(config.limits.requesters),
            requesters_per_nbma: size(config.limits.requesters_per_nbma),
            packets_per_source: config.limits.packets_per_source,
            packets_total: config.limits.packets_total,
        }
        .into(),
    }
}

/// How the data path is loaded. It has one setting for all tunnels where the operator has one for each: the most
/// generous one then, as the engine keeps each tunnel's own.
pub(super) fn data_path(config: &Config, options: RunOptions) -> Options {
    let each_source = config.tunnels.iter().map(|tunnel| tunnel.limits.packets_per_source).max();
    let intervals = config.tunnels.iter().map(|tunnel| tunnel.redirect_interval);
    Options {
        pin_directory: config.pin_directory.clone(),
        max_peers: config.max_peers,
        max_underlay: config.max_peers,
        log: options.bpf_log,
        // A burst is for the engine to judge, which knows peers from strangers; this only keeps a flood away from it.
        nhrp_source_limit: each_source.unwrap_or_default().saturating_mul(2),
        redirect_interval: intervals.min().unwrap_or(Duration::ZERO),
        route_cache: Options::default_route_cache(config.max_peers),
        spread: config.spread.clone(),
    }
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn config(tunnels: &str) -> Config {
        Config::parse(format!("max-peers: 100\ntunnels:\n{tunnels}").as_bytes()).unwrap()
    }

    #[test]
    fn the_engine_gets_what_the_operator_wants() {
        let config = config(
            "  - name: a
    address: 10.0.0.1/24
    source: 192.0.2.10
    phase: 1
    negative-time: 5
    redirect-interval: 80
    answer-for-clients: true
    purge-on-expiry: false
    summaries: [10.3.0.0/16]
    allow: [10.1.0.0/16]
    allow-prefixes: [10.2.0.0/16]
    nhs: [{address: dynamic, nbma: 203.0.113.2, priority: 3, cluster: 4}]
    nhs-clusters: [{cluster: 4, max-connections: 2}]
    nhs-fallback: 9
    multicast: {clients: false, servers: none, to: [203.0.113.9]}
    limits: {registrations-per-nbma: 1, packets-per-source: 7}
",
        );
        let source = [192, 0, 2, 10].into();
        let nhs = Nhs { protocol: None, nbma: [203, 0, 113, 2].into(), priority: 3, cluster: 4 };
        let servers = vec![nhs];
        let engine = engine(TunnelId(1), &config.tunnels[0], servers.clone(), source, 1476, config.max_peers);
        assert_eq!((engine.nbma, engine.mtu, &engine.nhs), (source, 1476, &servers));
        let failover =
            Failover { max_connections: BTreeMap::from([(4, 2)]), fallback: Duration::from_secs(9) };
        assert_eq!(*engine.failover, failover);
        let fixed = vec![[203, 0, 113, 9].into()];
        let multicast = Multicast { clients: false, servers: MulticastServers::None, fixed };
        assert_eq!(*engine.multicast, multicast);
        let policy = Policy {
            clients: vec!["10.1.0.0/16".parse().unwrap()],
            client_prefixes: vec!["10.2.0.0/16".parse().unwrap()],
            summaries: vec!["10.3.0.0/16".parse().unwrap()],
            purge_on_expiry: false,
            answer_for_clients: true,
            negative_time: Duration::from_secs(5),
            redirect_interval: Duration::from_secs(70),
        };
        assert_eq!(*engine.policy, policy);
        let limits =
            Limits { peers: 100, registrations_per_nbma: 1, packets_per_source: 7, ..Limits::default() };
        assert_eq!(*engine.limits, limits);
        assert!(!engine.resolve && !engine.redirect && !engine.shortcut);
    }

    #[test]
    fn the_data_path_gets_the_most_generous_of_all_tunnels() {
        let config = config(
            "  - {name: a, address: 10.0.0.1/24, source: 192.0.2.1, redirect-interval: 20, \
             limits: {packets-per-source: 10}}
  - {name: b, address: 10.0.1.1/24, source: 192.0.2.2, redirect-interval: 30, limits: {packets-per-source: 50}}
",
        );
        let options = data_path(&config, RunOptions::default());
        assert_eq!(options.redirect_interval, Duration::from_secs(20));
        assert_eq!((options.nhrp_source_limit, options.max_peers), (100, 100));
    }
}
