//! The rules that need more than one value.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    net::IpAddr,
};

use ipnet::IpNet;

use super::{
    draft::{Draft, TunnelDraft},
    model::{NhsAddress, Phase, Source, Spread, XdpMode},
    parts::{MapDraft, NhsDraft, RouteDraft},
    problem::{Position, Problem},
    section::At,
};

/// Most tunnels of one agent.
const MAX_TUNNELS: usize = 256;

/// Most groups of one agent, all tunnels together: each address that registers is looked for in all of them.
const MAX_GROUPS: usize = 1023;

/// The widest prefix of a resolution reply that peers take (FRR, and we).
const SHORTEST_SUMMARY: u8 = 8;

/// The smallest MTU of a link with IPv6 (RFC 8200 section 5).
const IPV6_MIN_MTU: u16 = 1280;

/// Reports everything that is wrong with `draft` beyond single values.
pub(super) fn validate(draft: &Draft, problems: &mut Vec<Problem>) {
    let mut report = Report { problems };
    report.cpus(draft);
    report.tunnels(draft);
    for tunnel in &draft.tunnels {
        report.tunnel(tunnel);
        report.servers(tunnel);
        report.clusters(tunnel);
        report.multicast(tunnel);
        report.aliases(tunnel);
        report.prefixes(tunnel);
        report.maps(tunnel);
        report.routes(tunnel);
    }
}

struct Report<'a> {
    problems: &'a mut Vec<Problem>,
}

impl Report<'_> {
    fn add(&mut self, at: Position, message: String) {
        self.problems.push(Problem { at, message });
    }

    /// Whether `value` was seen before; reports it if so.
    fn duplicate<T: Eq + Hash>(
        &mut self,
        seen: &mut HashMap<T, usize>,
        value: T,
        at: Position,
        what: &str,
    ) -> bool {
        let earlier = seen.insert(value, at.line);
        if let Some(line) = earlier {
            self.add(at, format!("{what} is on line {line} too"));
        }
        earlier.is_some()
    }

    /// Two shares of one CPU are a mistake. And of what CPUs hand over to each other in generic XDP, Linux 6.1 loses some.
    fn cpus(&mut self, draft: &Draft) {
        let spreads = !draft.spread_cpus.is_empty()
            || draft.spread.as_ref().is_some_and(|spread| spread.value != Spread::Off);
        for At { at, value } in draft.tunnels.iter().filter_map(|tunnel| tunnel.xdp.as_ref()) {
            if spreads && *value == XdpMode::Generic {
                let message = "`xdp`: generic XDP cannot `spread` over CPUs: expected auto or native";
                self.add(*at, message.into());
            }
        }
        let mut seen = HashMap::new();
        for &At { at, value: cpu } in &draft.spread_cpus {
            self.duplicate(&mut seen, cpu, at, &format!("`spread`: CPU {cpu}"));
        }
    }

    /// Rules between tunnels.
    fn tunnels(&mut self, draft: &Draft) {
        if let Some(name) = draft.tunnels.get(MAX_TUNNELS).and_then(|tunnel| tunnel.name.as_ref()) {
            self.add(name.at, format!("more than {MAX_TUNNELS} tunnels"));
        }
        let groups = draft.tunnels.iter().flat_map(|tunnel| &tunnel.groups);
        if let Some(name) = groups.filter_map(|group| group.name.as_ref()).nth(MAX_GROUPS) {
            self.add(name.at, format!("more than {MAX_GROUPS} groups, all tunnels together"));
        }

        let names: HashSet<&str> = draft
            .tunnels
            .iter()
            .filter_map(|tunnel| tunnel.name.as_ref())
            .map(|name| name.value.as_str())
            .collect();
        let (mut by_name, mut by_address, mut by_source) = (HashMap::new(), HashMap::new(), HashMap::new());
        for tunnel in &draft.tunnels {
            if let Some(At { at, value: name }) = &tunnel.name {
                self.duplicate(&mut by_name, name, *at, &format!("`name`: `{name}`"));
                if let Some(other) = name.strip_suffix("-x").filter(|other| names.contains(other)) {
                    self.add(
                        *at,
                        format!("`name`: `{name}` is the far end of tunnel `{other}`: choose another"),
                    );
                }
            }
            if let Some(At { at, value: address }) = tunnel.address {
                self.duplicate(
                    &mut by_address,
                    address.addr(),
                    at,
                    &format!("`address`: {}", address.addr()),
                );
            }
            if let Some(At { at, value: source }) = &tunnel.source {
                let key = tunnel.key.map(|key| key.value);
                let what = match key {
                    Some(key) => format!("`source`: {source} with key {key}"),
                    None => format!("`source`: {source} without `key`"),
                };
                self.duplicate(&mut by_source, (source, key), *at, &what);
                if let Source::Interface(name) = source
                    && names.contains(name.strip_suffix("-x").unwrap_or(name))
                {
                    let what = format!(
                        "`source`: `{name}` is a tunnel of this file: expected an underlay interface"
                    );
                    self.add(*at, what);
                }
            }
        }

        let fixed: usize = draft
            .tunnels
            .iter()
            .map(|tunnel| tunnel.nhs.len() + tunnel.maps.len() + tunnel.multicast.to.len())
            .sum();
        let max_peers = draft.max_peers();
        if u32::try_from(fixed).is_ok_and(|fixed| fixed <= max_peers) {
            return;
        }
        let at = draft.max_peers.map(|max| max.at);
        let first = || draft.tunnels.iter().find_map(|tunnel| tunnel.name.as_ref()).map(|name| name.at);
        if let Some(at) = at.or_else(first) {
            let message = format!("`max-peers`: {max_peers} is too few for the {fixed} peers of this file");
            self.add(at, message);
        }
    }

    /// Rules between the keys of one tunnel.
    fn tunnel(&mut self, tunnel: &TunnelDraft) {
        if let Some(At { at, value: address }) = tunnel.address {
            self.own_address(at, address);
        }
        if let (Some(At { at, value: link_local }), Some(At { value: IpNet::V4(address), .. })) =
            (tunnel.link_local, tunnel.address)
        {
            let message = format!(
                "`link-local`: {link_local} is IPv6: not for a tunnel with the IPv4 address {address}"
            );
            self.add(at, message);
        }
        if let (Some(mtu), Some(At { value: IpNet::V6(_), .. })) = (tunnel.mtu, tunnel.address)
            && mtu.value < IPV6_MIN_MTU
        {
            let message =
                format!("`mtu`: {} is too small for IPv6: expected at least {IPV6_MIN_MTU}", mtu.value);
            self.add(mtu.at, message);
        }
        if let Some(At { at, value: true }) = tunnel.shortcut
            && tunnel.phase() == Phase::One
        {
            self.add(at, "`shortcut`: phase 1 never resolves: expected false, or phase 2 or 3".into());
        }
        if let Some(At { at, value: interval }) = tunnel.registration_interval {
            let holding_time = tunnel.holding_time().as_secs();
            if u64::from(interval) >= holding_time {
                let message = format!(
                    "`registration-interval`: {interval} would let registrations expire: expected less than the \
                     holding time of {holding_time}"
                );
                self.add(at, message);
            }
        }
    }

    fn own_address(&mut self, at: Position, address: IpNet) {
        let (shortest, longest) = match address {
            IpNet::V4(_) => (8, 32),
            IpNet::V6(_) => (16, 128),
        };
        let length = address.prefix_len();
        if length < shortest {
            let message =
                format!("`address`: /{length} is too wide: expected a length from {shortest} to {longest}");
            self.add(at, message);
        } else if let IpNet::V4(v4) = address
            && length < 31
            && [v4.network(), v4.broadcast()].contains(&v4.addr())
        {
            let which = if v4.addr() == v4.network() { "network" } else { "broadcast" };
            let message = format!("`address`: {v4} is the {which} address of its subnet: expected a host's");
            self.add(at, message);
        }
    }

    fn servers(&mut self, tunnel: &TunnelDraft) {
        let mut seen = HashMap::new();
        for NhsDraft { address, nbma, .. } in &tunnel.nhs {
            if let Some(At { at, value: NhsAddress::Fixed(fixed) }) = *address {
                self.in_tunnel(tunnel, at, "address", fixed);
                self.duplicate(&mut seen, (Some(fixed), None), at, &format!("`address`: {fixed}"));
            }
            if let Some(At { at, value: nbma }) = nbma {
                let at = *at;
                if let Some(nbma) = nbma.address() {
                    self.nbma(tunnel, at, "nbma", nbma);
                }
                if let Some(At { value: NhsAddress::Dynamic, .. }) = address {
                    let what = format!("`nbma`: {nbma} with a dynamic address");
                    self.duplicate(&mut seen, (None, Some(nbma)), at, &what);
                }
            }
        }
    }

    fn clusters(&mut self, tunnel: &TunnelDraft) {
        let mut seen = HashMap::new();
        for At { at, value: cluster } in tunnel.nhs_clusters.iter().filter_map(|entry| entry.cluster) {
            self.duplicate(&mut seen, cluster, at, &format!("`cluster`: {cluster}"));
            if !tunnel.nhs.iter().any(|nhs| nhs.cluster() == cluster) {
                self.add(at, format!("`cluster`: no server of `nhs` is in cluster {cluster}"));
            }
        }
    }

    fn multicast(&mut self, tunnel: &TunnelDraft) {
        let mut seen = HashMap::new();
        for &At { at, value: nbma } in &tunnel.multicast.to {
            self.duplicate(&mut seen, nbma, at, &format!("`to`: {nbma}"));
            self.nbma(tunnel, at, "to", nbma);
        }
    }

    /// Aliases are addresses of the tunnel that nobody else has.
    fn aliases(&mut self, tunnel: &TunnelDraft) {
        let servers = tunnel.nhs.iter().filter_map(|nhs| {
            let At { at, value } = nhs.address.as_ref()?;
            Some((value.fixed()?, at.line))
        });
        let maps = tunnel.maps.iter().filter_map(|map| map.address.map(|At { at, value }| (value, at.line)));
        let mut seen: HashMap<_, _> = servers.chain(maps).collect();
        for &At { at, value: alias } in &tunnel.aliases {
            if self.in_tunnel(tunnel, at, "aliases", alias) {
                self.duplicate(&mut seen, alias, at, &format!("`aliases`: {alias}"));
            }
        }
    }

    /// Lists of prefixes are of the tunnel's IP version; and nobody believes a summary of half the world.
    fn prefixes(&mut self, tunnel: &TunnelDraft) {
        for &At { at, value: summary } in &tunnel.summaries {
            if summary.prefix_len() < SHORTEST_SUMMARY {
                let message = format!(
                    "`summaries`: {summary} is too wide: expected a length of {SHORTEST_SUMMARY} or more"
                );
                self.add(at, message);
            }
        }
        for &At { at, value: network } in &tunnel.register_prefixes {
            if is_host(network) {
                let message =
                    format!("`register-prefixes`: {network} is one host: expected a network, or `aliases`");
                self.add(at, message);
            }
        }
        let Some(At { value: own, .. }) = tunnel.address else { return };
        let lists = [
            ("register-prefixes", &tunnel.register_prefixes),
            ("summaries", &tunnel.summaries),
            ("allow", &tunnel.allow),
            ("allow-prefixes", &tunnel.allow_prefixes),
        ];
        for (key, prefixes) in lists {
            let mut seen = HashMap::new();
            for &At { at, value: prefix } in prefixes {
                self.duplicate(&mut seen, prefix, at, &format!("`{key}`: {prefix}"));
                if prefix.addr().is_ipv4() != own.addr().is_ipv4() {
                    let message = format!(
                        "`{key}`: {prefix} is not of the same IP version as the tunnel's address {own}"
                    );
                    self.add(at, message);
                }
            }
        }
    }

    fn maps(&mut self, tunnel: &TunnelDraft) {
        let servers: HashMap<IpAddr, IpAddr> = tunnel
            .nhs
            .iter()
            .filter_map(|NhsDraft { address, nbma, .. }| {
                Some((address.as_ref()?.value.fixed()?, nbma.as_ref()?.value.address()?))
            })
            .collect();
        let mut seen = HashMap::new();
        for MapDraft { address, nbma } in &tunnel.maps {
            if let Some(At { at, value: address }) = *address {
                self.in_tunnel(tunnel, at, "address", address);
                self.duplicate(&mut seen, address, at, &format!("`address`: {address}"));
                if let Some(server) = servers.get(&address)
                    && nbma.is_some_and(|nbma| nbma.value != *server)
                {
                    self.add(
                        at,
                        format!("`address`: {address} is a server with nbma {server}: expected the same"),
                    );
                }
            }
            if let Some(At { at, value: nbma }) = *nbma {
                self.nbma(tunnel, at, "nbma", nbma);
            }
        }
    }

    fn routes(&mut self, tunnel: &TunnelDraft) {
        let mut seen = HashMap::new();
        for RouteDraft { prefix, via } in &tunnel.routes {
            if let Some(At { at, value: prefix }) = *prefix {
                self.duplicate(&mut seen, prefix, at, &format!("`prefix`: {prefix}"));
            }
            let Some(At { at, value: via }) = *via else { continue };
            let family_fits = prefix.is_none_or(|prefix| prefix.value.addr().is_ipv4() == via.is_ipv4());
            if family_fits {
                self.in_tunnel(tunnel, at, "via", via);
            } else {
                self.add(at, format!("`via`: {via} is not of the same IP version as the prefix"));
            }
        }
    }

    /// Whether `address`, given under `key`, can be another node of `tunnel`; reports it if not.
    fn in_tunnel(&mut self, tunnel: &TunnelDraft, at: Position, key: &str, address: IpAddr) -> bool {
        let Some(At { value: own, .. }) = tunnel.address else { return true };
        let message = if address == own.addr() {
            format!("`{key}`: {address} is this tunnel's own address: expected another node's")
        } else if address.is_ipv4() != own.addr().is_ipv4() {
            format!("`{key}`: {address} is not of the same IP version as the tunnel's address {own}")
        } else if !is_host(own) && !own.contains(&address) {
            format!("`{key}`: {address} is outside the tunnel's subnet {}", own.trunc())
        } else {
            return true;
        };
        self.add(at, message);
        false
    }

    /// Rules for a peer's NBMA address, given under `key`.
    fn nbma(&mut self, tunnel: &TunnelDraft, at: Position, key: &str, nbma: IpAddr) {
        match tunnel.source.as_ref().map(|source| &source.value) {
            Some(Source::Address(own)) if nbma == *own => {
                self.add(at, format!("`{key}`: {nbma} is this tunnel's own source: expected another node's"));
            }
            Some(Source::Address(own)) if nbma.is_ipv4() != own.is_ipv4() => {
                self.add(at, format!("`{key}`: {nbma} is not of the same IP version as the source {own}"));
            }
            Some(Source::Address(_)) | None => {}
            Some(Source::Interface(_)) => {
                // The interface's address is not known here, but all peers must share its IP version.
                let servers = tunnel.nhs.iter().filter_map(|nhs| {
                    let At { at, value } = nhs.nbma.as_ref()?;
                    Some(At { at: *at, value: value.address()? })
                });
                let maps = tunnel.maps.iter().filter_map(|map| map.nbma);
                if let Some(first) = servers.chain(maps).chain(tunnel.multicast.to.iter().copied()).next()
                    && first.value.is_ipv4() != nbma.is_ipv4()
                {
                    let line = first.at.line;
                    let message = format!(
                        "`{key}`: {nbma} is not of the same IP version as {} on line {line}: a tunnel has one source",
                        first.value
                    );
                    self.add(at, message);
                }
            }
        }
    }
}

/// Whether the tunnel has no subnet: the host-route addressing model.
fn is_host(address: IpNet) -> bool {
    address.prefix_len() == address.max_prefix_len()
}
