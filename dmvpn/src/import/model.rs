//! What every vendor's configuration says, in one form; each value with the line that said it.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use super::{
    line::{At, LineId},
    verdict::Judgement,
};

/// Everything that was read.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) tunnels: Vec<Tunnel>,
    /// Other interfaces: a tunnel may have its source there.
    pub(super) underlay: Vec<Underlay>,
    pub(super) profiles: Vec<Profile>,
    pub(super) policies: Vec<Policy>,
    /// Lines about IPsec that count only if a tunnel uses them.
    pub(super) ipsec_lines: BTreeSet<LineId>,
    /// Static routes, wherever they lead.
    pub(super) routes: Vec<At<Route>>,
    pub(super) routers: Vec<Router>,
    /// Lines about routing that a person has to translate: into the FRR fragment as comments.
    pub(super) routing_notes: Vec<At<String>>,
    /// Verdicts that only the whole file showed to be others.
    pub(super) revisions: Vec<(LineId, Judgement)>,
}

/// A tunnel interface.
#[derive(Debug, Default)]
pub(super) struct Tunnel {
    /// What it was called.
    pub(super) old_name: String,
    /// What it is called now.
    pub(super) name: String,
    /// The line that starts it.
    pub(super) at: LineId,
    pub(super) address: Option<At<IpNet>>,
    /// An address, or the name of an interface of the old box.
    pub(super) source: Option<At<String>>,
    /// Far end of a point-to-point tunnel.
    pub(super) destination: Option<At<String>>,
    /// It was said to be multipoint GRE.
    pub(super) multipoint: bool,
    /// It has lines about NHRP.
    pub(super) nhrp: bool,
    pub(super) key: Option<At<String>>,
    pub(super) network_id: Option<At<String>>,
    pub(super) authentication: Option<At<String>>,
    pub(super) holding_time: Option<At<String>>,
    pub(super) registration_interval: Option<At<String>>,
    pub(super) redirect_interval: Option<At<String>>,
    pub(super) negative_time: Option<At<String>>,
    pub(super) no_unique: Option<LineId>,
    pub(super) redirect: Option<LineId>,
    pub(super) shortcut: Option<LineId>,
    pub(super) mtu: Option<At<String>>,
    /// Largest TCP segment over IPv4.
    pub(super) mss_clamp: Option<At<String>>,
    pub(super) ttl: Option<At<String>>,
    /// DSCP of outer headers, in our words.
    pub(super) tos: Option<At<String>>,
    /// Don't-fragment of outer headers, in our words.
    pub(super) df: Option<At<String>>,
    /// Outer packets are IPv6.
    pub(super) over_ipv6: bool,
    /// Packets have to come from where their source is routed to.
    pub(super) check_source: Option<LineId>,
    /// More addresses of this node.
    pub(super) aliases: Vec<At<IpAddr>>,
    /// Prefixes to answer with.
    pub(super) summaries: Vec<At<IpNet>>,
    /// The group that this node tells its hub.
    pub(super) group: Option<At<String>>,
    /// Groups of spokes, with the policies that bound them.
    pub(super) groups: Vec<At<Group>>,
    pub(super) servers: Vec<Server>,
    pub(super) clusters: Vec<At<(String, String)>>,
    pub(super) fallback: Option<At<String>>,
    pub(super) maps: Vec<At<Map>>,
    pub(super) multicast: Vec<At<Multicast>>,
    /// Name of the IPsec profile that protects it.
    pub(super) profile: Option<At<String>>,
    /// Lines for the interface in FRR's configuration.
    pub(super) frr: Vec<At<String>>,
    /// Advice that stands as a comment in the configuration.
    pub(super) hints: Vec<At<String>>,
}

/// Spokes to which no more is sent than a policy says.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) policy: String,
}

/// A policy of queueing; of it only the rates count.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) name: String,
    /// Bits a second.
    pub(super) rates: Vec<At<u64>>,
}

/// A next hop server.
#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) at: LineId,
    /// More lines about it.
    pub(super) also: Vec<LineId>,
    /// `None`: dynamic.
    pub(super) address: Option<IpAddr>,
    /// `None`: a map or the far end says it.
    pub(super) nbma: Option<String>,
    pub(super) priority: Option<String>,
    pub(super) cluster: Option<String>,
}

/// A fixed mapping.
#[derive(Debug)]
pub(super) struct Map {
    pub(super) address: IpAddr,
    pub(super) nbma: String,
}

/// Who gets multicast packets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Multicast {
    /// Whoever registers.
    Clients,
    /// Whoever registers, and the servers: what FRR and OpenNHRP call dynamic.
    Everyone,
    Servers,
    To(String),
}

/// An interface that is no tunnel.
#[derive(Debug)]
pub(super) struct Underlay {
    pub(super) name: String,
    pub(super) address: Option<At<IpNet>>,
    /// Its IPv6 address.
    pub(super) address6: Option<At<IpNet>>,
}

/// A static route.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) prefix: IpNet,
    pub(super) via: IpAddr,
}

/// A routing process, as FRR writes it.
#[derive(Debug)]
pub(super) struct Router {
    pub(super) header: At<String>,
    pub(super) lines: Vec<At<String>>,
}

/// How packets are carried by ESP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    Transport,
    Tunnel,
}

/// How peers show who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Auth {
    #[default]
    SharedKey,
    Certificate,
}

/// What protects a tunnel: everything that a connection of swanctl needs.
#[derive(Debug, Default)]
pub(super) struct Profile {
    pub(super) name: String,
    /// The lines it is made of.
    pub(super) lines: BTreeSet<LineId>,
    /// 1, 2, or 0 for both.
    pub(super) version: u8,
    pub(super) auth: Auth,
    pub(super) ike: Vec<Suite>,
    /// Seconds.
    pub(super) ike_lifetime: Option<u64>,
    pub(super) esp: Vec<Suite>,
    pub(super) mode: Mode,
    /// Seconds.
    pub(super) lifetime: Option<u64>,
    pub(super) lifetime_kilobytes: Option<u64>,
    /// Seconds without traffic.
    pub(super) inactivity: Option<u64>,
    /// Seconds between probes, and until a silent peer is given up.
    pub(super) dpd: Option<(u64, Option<u64>)>,
    pub(super) dpd_action: Option<&'static str>,
    pub(super) close_action: Option<&'static str>,
    pub(super) aggressive: bool,
    pub(super) keys: Vec<SharedKey>,
    /// Advice that stands as a comment.
    pub(super) notes: Vec<At<String>>,
}

/// A set of algorithms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Suite {
    /// The lines that say so.
    pub(super) lines: BTreeSet<LineId>,
    /// As strongSwan writes them, joined with hyphens.
    pub(super) algorithms: Vec<&'static str>,
    /// What is weak about it.
    pub(super) weak: Vec<&'static str>,
}

/// A pre-shared key.
#[derive(Clone)]
pub(super) struct SharedKey {
    pub(super) at: LineId,
    /// Whose it is; `None`: everyone's.
    pub(super) peer: Option<String>,
    pub(super) key: String,
}

impl std::fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedKey").field("at", &self.at).field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// Most tunnels of one agent.
const MOST_TUNNELS: usize = 256;

/// Most bytes of a tunnel's name that are made here: `dmvpn` and a number of at most 8 digits.
const NUMBER_LENGTH: usize = 8;

impl Model {
    /// The index of the tunnel that was called `old_name`; a new one if there is none yet. Where there are more than
    /// an agent can have, it is the index of none.
    pub(super) fn tunnel(&mut self, old_name: &str, at: LineId) -> usize {
        if let Some(index) = self.tunnels.iter().position(|tunnel| tunnel.old_name == old_name) {
            return index;
        }
        if self.tunnels.len() >= MOST_TUNNELS {
            return usize::MAX;
        }
        let name = self.free_name(old_name);
        self.tunnels.push(Tunnel { old_name: old_name.to_owned(), name, at, ..Tunnel::default() });
        self.tunnels.len() - 1
    }

    /// `dmvpn` with the last number of `old_name`, or with the first number that is free.
    fn free_name(&self, old_name: &str) -> String {
        let digits = |letter: char| letter.is_ascii_digit();
        let number = old_name.rsplit(|letter| !digits(letter)).next().unwrap_or_default();
        let number = number.trim_start_matches('0');
        let number = match number {
            "" => "0",
            number if number.len() <= NUMBER_LENGTH => number,
            _ => "0",
        };
        let taken = |name: &str| self.tunnels.iter().any(|tunnel| tunnel.name == name);
        let wanted = format!("dmvpn{number}");
        if !taken(&wanted) {
            return wanted;
        }
        // As many names as tunnels and one: one of them is free.
        let mut names = (0..=self.tunnels.len()).map(|number| format!("dmvpn{number}"));
        names.find(|name| !taken(name)).unwrap_or(wanted)
    }

    /// The index of the interface `name`; a new one if there is none yet.
    pub(super) fn underlay(&mut self, name: &str) -> usize {
        if let Some(index) = self.underlay.iter().position(|interface| interface.name == name) {
            return index;
        }
        self.underlay.push(Underlay { name: name.to_owned(), address: None, address6: None });
        self.underlay.len() - 1
    }

    /// The index of the routing process with this line in FRR.
    pub(super) fn router(&mut self, header: &str, at: LineId) -> usize {
        if let Some(index) = self.routers.iter().position(|router| router.header.value == header) {
            return index;
        }
        self.routers.push(Router { header: At::new(at, header.to_owned()), lines: Vec::new() });
        self.routers.len() - 1
    }
}

impl Suite {
    /// Adds an algorithm that `line` named.
    pub(super) fn add(&mut self, line: LineId, algorithm: super::ciphers::Algorithm) {
        self.lines.insert(line);
        self.algorithms.push(algorithm.name);
        self.weak.extend(algorithm.weak);
    }
}
