//! What is to be written: the tunnels of the model, with their lines put together and the gaps filled.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use super::{
    Given, Vendor,
    judgements::Judgements,
    line::{At, LineId},
    model::{Group, Model, Multicast, Route, Tunnel},
    verdict::{Verdict, converted, hinted, ignored, refused, unknown},
};

/// Everything that is to be written.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) tunnels: Vec<Planned>,
    /// Routes that lead elsewhere than through a tunnel.
    pub(super) other_routes: Vec<At<Route>>,
    pub(super) warnings: Vec<String>,
    /// Why a tunnel is not among the others.
    pub(super) missing: Vec<String>,
}

/// A tunnel of the new configuration.
#[derive(Debug)]
pub(super) struct Planned {
    /// Its place in the model.
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) old_name: String,
    pub(super) at: LineId,
    pub(super) items: Vec<Item>,
    /// Advice that stands as a comment.
    pub(super) comments: Vec<At<String>>,
    /// Where it has its source, if that is known.
    pub(super) source: Option<IpAddr>,
    /// Its servers' NBMA addresses.
    pub(super) servers: Vec<String>,
    pub(super) profile: Option<String>,
}

/// Something in a tunnel's configuration that can be left out as a whole.
#[derive(Debug)]
pub(super) struct Item {
    /// The key of the list that it is in; `None`: a key of the tunnel.
    pub(super) list: Option<&'static str>,
    /// Keys and values.
    pub(super) keys: Vec<(&'static str, String)>,
    /// The lines that say so.
    pub(super) from: BTreeSet<LineId>,
    /// What the line says that cannot be seen in the value.
    pub(super) remark: Option<String>,
    /// Without it there is no tunnel.
    pub(super) needed: bool,
}

impl Item {
    fn key(key: &'static str, value: impl Into<String>, from: impl IntoIterator<Item = LineId>) -> Self {
        let keys = vec![(key, value.into())];
        Self { list: None, keys, from: from.into_iter().collect(), remark: None, needed: false }
    }

    /// An entry of a list of plain values.
    fn value(list: &'static str, value: String, from: LineId) -> Self {
        Self { list: Some(list), ..Self::key("", value, [from]) }
    }
}

/// Plans the configuration; corrects verdicts that only the whole file shows.
pub(super) fn plan(vendor: Vendor, model: &Model, given: &Given, judgements: &mut Judgements) -> Plan {
    let mut plan = Plan::default();
    for (index, tunnel) in model.tunnels.iter().enumerate() {
        if !tunnel.nhrp && !tunnel.multipoint {
            not_dmvpn(tunnel, judgements);
            continue;
        }
        let mut builder = Builder { vendor, model, given, tunnel, judgements, missing: Vec::new() };
        let planned = builder.build(index);
        let missing = builder.missing;
        if missing.is_empty() {
            plan.tunnels.push(planned);
        } else {
            plan.missing.extend(missing);
        }
    }
    routes(model, &mut plan, judgements);
    protection(model, &mut plan, judgements);
    plan
}

/// A tunnel without NHRP, or an interface that only has lines about routing.
fn not_dmvpn(tunnel: &Tunnel, judgements: &mut Judgements) {
    if tunnel.address.is_none() && tunnel.source.is_none() {
        let judgement = if tunnel.frr.is_empty() {
            ignored("no tunnel")
        } else {
            hinted("FRR: the interface; no tunnel")
        };
        judgements.revise(tunnel.at, judgement);
        return;
    }
    judgements.revise(tunnel.at, refused("no tunnel of DMVPN: it has no NHRP"));
    let Tunnel { source, destination, key, mtu, mss_clamp, ttl, profile, .. } = tunnel;
    let lines = [source, destination, key, mtu, mss_clamp, ttl, profile];
    let lines = lines.into_iter().flatten().map(|value| value.at);
    for at in lines.chain(tunnel.address.as_ref().map(|address| address.at)) {
        judgements.revise(at, ignored("of a tunnel that is not taken over"));
    }
}

/// Puts one tunnel together.
struct Builder<'a> {
    vendor: Vendor,
    model: &'a Model,
    given: &'a Given,
    tunnel: &'a Tunnel,
    judgements: &'a mut Judgements,
    missing: Vec<String>,
}

impl Builder<'_> {
    fn build(&mut self, index: usize) -> Planned {
        let tunnel = self.tunnel;
        let mut items = Vec::new();
        let mut comments = tunnel.hints.clone();
        self.address(&mut items);
        let source = self.source(&mut items);
        let text = |key, value: &Option<At<String>>| {
            value.as_ref().map(|value| Item::key(key, value.value.clone(), [value.at]))
        };
        items.extend(text("key", &tunnel.key));
        items.extend(text("network-id", &tunnel.network_id));
        self.phase(&mut items);
        items.extend(text("authentication", &tunnel.authentication));
        items.extend(text("holding-time", &tunnel.holding_time));
        items.extend(text("registration-interval", &tunnel.registration_interval));
        items.extend(text("redirect-interval", &tunnel.redirect_interval));
        items.extend(text("negative-time", &tunnel.negative_time));
        items.extend(tunnel.no_unique.map(|at| Item::key("unique", "false", [at])));
        items.extend(text("mtu", &tunnel.mtu));
        items.extend(text("mss-clamp", &tunnel.mss_clamp));
        items.extend(text("ttl", &tunnel.ttl));
        items.extend(text("tos", &tunnel.tos));
        items.extend(text("df", &tunnel.df));
        items.extend(tunnel.check_source.map(|at| Item::key("check-source", "true", [at])));
        items.extend(text("nhs-fallback", &tunnel.fallback));
        let (servers, used_maps) = self.servers(&mut items);
        for cluster in &tunnel.clusters {
            let (number, most) = cluster.value.clone();
            let mut item = Item::key("cluster", number, [cluster.at]);
            item.list = Some("nhs-clusters");
            item.keys.push(("max-connections", most));
            items.push(item);
        }
        self.multicast(&mut items, &servers);
        let maps = tunnel.maps.iter().enumerate().filter(|(place, _)| !used_maps.contains(place));
        for (_, map) in maps {
            let mut item = Item::key("address", map.value.address.to_string(), [map.at]);
            item.list = Some("maps");
            item.keys.push(("nbma", map.value.nbma.clone()));
            items.push(item);
        }
        self.own(&mut items);
        self.groups(&mut items, &mut comments);
        if self.vendor == Vendor::Cisco && tunnel.network_id.is_none() {
            let text = "without `ip nhrp network-id` NHRP was off on the old box; here the number is 1";
            comments.push(At::new(tunnel.at, text.to_owned()));
        }
        Planned {
            index,
            name: tunnel.name.clone(),
            old_name: tunnel.old_name.clone(),
            at: tunnel.at,
            items,
            comments,
            source,
            servers,
            profile: tunnel.profile.as_ref().map(|profile| profile.value.clone()),
        }
    }

    /// What was given for this tunnel, or for all.
    fn given(&self, list: &[(Option<String>, String)]) -> Option<String> {
        let of = |name: Option<&str>| list.iter().rev().find(|(tunnel, _)| tunnel.as_deref() == name);
        of(Some(&self.tunnel.old_name)).or_else(|| of(None)).map(|(_, value)| value.clone())
    }

    fn address(&mut self, items: &mut Vec<Item>) {
        let written = self.tunnel.address.as_ref();
        let value = match (self.given(&self.given.addresses), written) {
            (Some(given), _) => given,
            (None, Some(address)) => address.value.to_string(),
            (None, None) => {
                let name = &self.tunnel.old_name;
                self.missing
                    .push(format!("tunnel {name} has no address: give --address {name}=ADDRESS/LENGTH"));
                return;
            }
        };
        let item = Item::key("address", value, written.map(|address| address.at));
        items.push(Item { needed: true, ..item });
    }

    fn source(&mut self, items: &mut Vec<Item>) -> Option<IpAddr> {
        let written = self.tunnel.source.as_ref();
        let mut item = match (self.given(&self.given.sources), written) {
            (Some(given), _) => Item::key("source", given, written.map(|source| source.at)),
            (None, None) => {
                let name = &self.tunnel.old_name;
                self.missing.push(format!(
                    "tunnel {name} has no source: give --source {name}=ADDRESS, or the name of an interface"
                ));
                return None;
            }
            (None, Some(source)) => {
                // An interface of a Linux box has the same name on the next one.
                let same_names = matches!(self.vendor, Vendor::Vyos | Vendor::Opennhrp);
                let interface = self.model.underlay.iter().find(|interface| interface.name == source.value);
                let address = interface.and_then(|interface| {
                    if self.tunnel.over_ipv6 {
                        interface.address6.as_ref()
                    } else {
                        interface.address.as_ref()
                    }
                });
                if same_names || source.value.parse::<IpAddr>().is_ok() {
                    if let Some(address) = address {
                        self.judgements
                            .revise(address.at, ignored("the tunnel follows this interface's address"));
                    }
                    Item::key("source", source.value.clone(), [source.at])
                } else if let Some(address) = address {
                    self.judgements.revise(address.at, converted("source"));
                    let mut item =
                        Item::key("source", address.value.addr().to_string(), [source.at, address.at]);
                    item.remark = Some(format!("of {}", source.value));
                    item
                } else {
                    let note = format!(
                        "source: eth0 stands for {}, whose address is not here: give --source",
                        source.value
                    );
                    self.judgements.revise(source.at, hinted(note));
                    let mut item = Item::key("source", STAND_IN, [source.at]);
                    item.remark = Some(format!("put the name of {} on this box here", source.value));
                    item
                }
            }
        };
        item.needed = true;
        let value = item.keys.first().and_then(|(_, value)| value.parse().ok());
        items.push(item);
        value
    }

    fn phase(&mut self, items: &mut Vec<Item>) {
        let tunnel = self.tunnel;
        if let Some(far) = tunnel.destination.as_ref().filter(|_| !tunnel.multipoint) {
            items.push(Item::key("phase", "1", [far.at]));
            for at in tunnel.redirect.into_iter().chain(tunnel.shortcut) {
                self.judgements.revise(at, ignored("a point-to-point tunnel has no shortcuts"));
            }
            return;
        }
        let from = tunnel.redirect.into_iter().chain(tunnel.shortcut);
        match (tunnel.redirect, tunnel.shortcut) {
            (None, None) => items.push(Item::key("phase", "2", [])),
            (redirect, shortcut) => {
                items.push(Item::key("phase", "3", from));
                if redirect.is_none() {
                    items.push(Item::key("redirect", "false", []));
                }
                if shortcut.is_none() {
                    items.push(Item::key("shortcut", "false", []));
                }
            }
        }
    }

    /// Servers; also their NBMA addresses, and which maps are theirs.
    fn servers(&mut self, items: &mut Vec<Item>) -> (Vec<String>, BTreeSet<usize>) {
        let tunnel = self.tunnel;
        let mut nbmas = Vec::new();
        let mut used = BTreeSet::new();
        for server in &tunnel.servers {
            let mut item = Item::key("address", "dynamic", [server.at]);
            if let Some(address) = server.address {
                item.keys = vec![("address", address.to_string())];
            }
            item.list = Some("nhs");
            item.from.extend(&server.also);
            let mut nbma = server.nbma.clone();
            for (place, map) in tunnel.maps.iter().enumerate() {
                let same = nbma.as_ref().is_none_or(|nbma| *nbma == map.value.nbma);
                if Some(map.value.address) == server.address && same {
                    nbma = Some(map.value.nbma.clone());
                    used.insert(place);
                    item.from.insert(map.at);
                    self.judgements.revise(map.at, converted("nhs: where the server is"));
                }
            }
            if let (None, Some(far)) = (&nbma, &tunnel.destination) {
                nbma = Some(far.value.clone());
                item.from.insert(far.at);
            }
            let Some(nbma) = nbma else {
                self.judgements
                    .revise(server.at, refused("no line says where this server is outside the tunnel"));
                continue;
            };
            nbmas.push(nbma.clone());
            item.keys.push(("nbma", nbma));
            item.keys.extend(server.priority.clone().map(|priority| ("priority", priority)));
            item.keys.extend(server.cluster.clone().map(|cluster| ("cluster", cluster)));
            items.push(item);
        }
        if let (Some(far), true) = (&tunnel.destination, tunnel.servers.is_empty()) {
            self.judgements.revise(far.at, refused("no line says which address in the tunnel is there"));
        }
        (nbmas, used)
    }

    /// Addresses and networks to answer for.
    fn own(&mut self, items: &mut Vec<Item>) {
        let address = self.tunnel.address.as_ref().map(|address| address.value.addr());
        for alias in &self.tunnel.aliases {
            if Some(alias.value) == address {
                self.judgements.revise(alias.at, ignored("our own address"));
                continue;
            }
            items.push(Item::value("aliases", alias.value.to_string(), alias.at));
        }
        for summary in &self.tunnel.summaries {
            items.push(Item::value("summaries", summary.value.to_string(), summary.at));
        }
    }

    /// Groups of peers that a policy bounds, each peer for itself there, all members together here: the rate is taken
    /// over where it is known, the members are not known.
    fn groups(&mut self, items: &mut Vec<Item>, comments: &mut Vec<At<String>>) {
        let tunnel = self.tunnel;
        for group in &tunnel.groups {
            let Group { name, policy } = &group.value;
            let rates = self.model.policies.iter().find(|known| known.name == *policy);
            let Some([bound]) = rates.map(|policy| policy.rates.as_slice()) else {
                let text = format!(
                    "for each spoke of {name}, under groups: {{name: ..., rate: ..., members: [its address]}}, with the rate \
                     of {policy}"
                );
                comments.push(At::new(group.at, text));
                let note =
                    format!("groups: a comment, as the rate of {policy} is not one number in these files");
                self.judgements.revise(group.at, hinted(note));
                continue;
            };
            let mut item = Item::key("name", name.clone(), [group.at, bound.at]);
            item.list = Some("groups");
            item.keys.push(("rate", rate(bound.value)));
            item.remark = Some(
                "had this rate for each spoke: make a group for each, with members: [its address]".to_owned(),
            );
            items.push(item);
            let note = "groups: make one for each spoke, with its address in the tunnel under `members`";
            self.judgements.revise(group.at, hinted(note));
            self.judgements.revise(bound.at, converted("groups: rate"));
        }
        if let (Some(group), Some(address)) = (&tunnel.group, &tunnel.address) {
            let (host, length) = (address.value.addr(), address.value.max_prefix_len());
            let note =
                format!("on the hub, under `groups`: {{name: ..., rate: ..., members: [{host}/{length}]}}");
            self.judgements.revise(group.at, hinted(note));
        }
    }

    fn multicast(&mut self, items: &mut Vec<Item>, servers: &[String]) {
        let mut clients = BTreeSet::new();
        let mut all_servers = BTreeSet::new();
        let mut others = Vec::new();
        for line in &self.tunnel.multicast {
            match &line.value {
                Multicast::Clients => {
                    clients.insert(line.at);
                }
                Multicast::Everyone => {
                    clients.insert(line.at);
                    all_servers.insert(line.at);
                }
                Multicast::Servers => {
                    all_servers.insert(line.at);
                }
                Multicast::To(nbma) if servers.contains(nbma) => {
                    all_servers.insert(line.at);
                }
                Multicast::To(nbma) => others.push((nbma, line.at)),
            }
        }
        let entry = |key, value: &str, from: BTreeSet<LineId>| {
            let item = Item::key(key, value, from);
            Item { list: Some("multicast"), ..item }
        };
        if !clients.is_empty() {
            items.push(entry("clients", "true", clients));
        }
        if !all_servers.is_empty() {
            items.push(entry("servers", "all", all_servers));
        }
        for (nbma, at) in others {
            items.push(entry("to", nbma, BTreeSet::from([at])));
        }
    }
}

/// A rate as the configuration has it, in the largest unit without a fraction.
fn rate(bits: u64) -> String {
    let units = [(1_000_000_000, "gbit"), (1_000_000, "mbit"), (1_000, "kbit")];
    match units.into_iter().find(|(unit, _)| bits > 0 && bits.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bits / unit),
        None => format!("{bits}bit"),
    }
}

/// Stands for the interface of another vendor: it has no such name here.
const STAND_IN: &str = "eth0";

/// Static routes through a tunnel become its routes.
fn routes(model: &Model, plan: &mut Plan, judgements: &mut Judgements) {
    for route in &model.routes {
        let Route { prefix, via } = route.value;
        let through = plan.tunnels.iter_mut().find(|planned| {
            model.tunnels.get(planned.index).is_some_and(|tunnel| is_inside(tunnel, planned, prefix, via))
        });
        match through {
            Some(planned) => {
                let mut item = Item::key("prefix", prefix.to_string(), [route.at]);
                item.list = Some("routes");
                item.keys.push(("via", via.to_string()));
                planned.items.push(item);
                judgements.revise(route.at, converted("routes"));
            }
            None => plan.other_routes.push(At::new(route.at, Route { prefix, via })),
        }
    }
}

/// Whether `via` is another node of the tunnel.
fn is_inside(tunnel: &Tunnel, planned: &Planned, prefix: IpNet, via: IpAddr) -> bool {
    let own = planned.items.iter().flat_map(|item| &item.keys).find(|(key, _)| *key == "address");
    let Some(own) = own.and_then(|(_, value)| value.parse::<IpNet>().ok()) else { return false };
    let is_host = own.prefix_len() == own.max_prefix_len();
    let listed = tunnel.servers.iter().filter_map(|server| server.address).any(|address| address == via)
        || tunnel.maps.iter().any(|map| map.value.address == via);
    // Without a subnet, the route to the tunnel's network shows what is in it.
    let by_route =
        is_host && prefix.prefix_len() > 0 && prefix.contains(&own.addr()) && prefix.contains(&via);
    listed || by_route || (!is_host && own.contains(&via))
}

/// Which profiles are used, and what to say about it.
fn protection(model: &Model, plan: &mut Plan, judgements: &mut Judgements) {
    let mut used = BTreeSet::new();
    for planned in &mut plan.tunnels {
        let Some(bound) = model.tunnels.get(planned.index).and_then(|tunnel| tunnel.profile.as_ref()) else {
            continue;
        };
        let note = format!(
            "it was protected by the IPsec profile {}: see the swanctl fragment, and docs/import.md",
            bound.value
        );
        planned.comments.push(At::new(bound.at, note));
        plan.warnings.push(format!(
            "tunnel {} was protected by IPsec: dmvpn does not see to that yet, and what XDP and TC send bypasses the \
             kernel's IPsec policies",
            planned.name
        ));
        if let Some(profile) = model.profiles.iter().find(|profile| profile.name == bound.value) {
            used.extend(&profile.lines);
            judgements.revise(bound.at, hinted("swanctl: a connection; the agent does not see to it yet"));
        } else {
            judgements.revise(bound.at, unknown("there is no such IPsec profile in these files"));
            planned.profile = None;
        }
    }
    for at in model.ipsec_lines.difference(&used) {
        if matches!(judgements.verdict(*at), Some(Verdict::Converted | Verdict::Refused)) {
            judgements.revise(*at, ignored("no tunnel uses it"));
        }
    }
}
