//! `protocols nhrp tunnel NAME ...`, as of OpenNHRP (VyOS up to 1.4) and as of FRR (1.5).

use std::net::IpAddr;

use ipnet::IpNet;

use super::super::{
    line::{At, LineId},
    model::{Map, Model, Multicast, Server, Tunnel},
    verdict::{Hidden, Judgement, converted, ignored, unknown},
};

/// The old form says a map in several lines.
#[derive(Debug, Default)]
pub(super) struct Maps(Vec<Draft>);

#[derive(Debug)]
struct Draft {
    tunnel: usize,
    address: IpAddr,
    /// The line that says where, else the first one.
    at: LineId,
    nbma: Option<String>,
    register: bool,
}

/// Words in a path before those of a tunnel: `protocols nhrp tunnel NAME`.
const BEFORE: usize = 4;

/// What becomes of a line of the tunnel `name`.
pub(super) fn line(model: &mut Model, maps: &mut Maps, at: LineId, name: &str, words: &[&str]) -> Judgement {
    let index = model.tunnel(name, at);
    let Some(tunnel) = model.tunnels.get_mut(index) else { return unknown("not understood") };
    tunnel.nhrp = true;
    let text = |word: &str| Some(At::new(at, word.to_owned()));
    match words {
        [] => converted(format!("tunnel {}", tunnel.name)),
        ["cisco-authentication" | "authentication", secret] => {
            tunnel.authentication = text(secret);
            converted("authentication").secret(Hidden::From(BEFORE + 1))
        }
        ["cisco-authentication" | "authentication", ..] => {
            unknown("not understood").secret(Hidden::From(BEFORE + 1))
        }
        ["holding-time" | "holdtime", seconds] => {
            tunnel.holding_time = text(seconds);
            converted("holding-time")
        }
        ["map", "tunnel-ip", address, "nbma", "local"] => match address.parse() {
            Ok(address) => {
                tunnel.aliases.push(At::new(at, address));
                converted("aliases")
            }
            Err(_) => unknown("not an address"),
        },
        ["map", "tunnel-ip", address, "nbma", nbma] => match address.parse() {
            Ok(address) => {
                tunnel.maps.push(At::new(at, Map { address, nbma: (*nbma).to_owned() }));
                converted("maps")
            }
            Err(_) => unknown("not an address"),
        },
        ["map", prefix, rest @ ..] => match prefix.parse::<IpNet>() {
            Ok(prefix) => maps.line(index, at, prefix.addr(), rest),
            Err(_) => unknown("not an address with a length"),
        },
        ["dynamic-map", prefix, "nbma-domain-name", name] if prefix.parse::<IpNet>().is_ok() => {
            let nbma = Some((*name).to_owned());
            tunnel.servers.push(Server { at, address: None, nbma, ..Server::default() });
            converted("nhs, dynamic")
        }
        ["nhs", "tunnel-ip", address, "nbma", nbma] => server(tunnel, at, address, nbma),
        ["multicast", to] => {
            tunnel.multicast.push(At::new(at, multicast(to)));
            converted("multicast")
        }
        ["redirect"] => {
            tunnel.redirect = Some(at);
            converted("redirect")
        }
        ["shortcut"] => {
            tunnel.shortcut = Some(at);
            converted("shortcut")
        }
        ["registration-no-unique"] => {
            tunnel.no_unique = Some(at);
            converted("unique: false")
        }
        ["network-id", number] => {
            tunnel.network_id = text(number);
            converted("network-id")
        }
        ["mtu", bytes] => {
            tunnel.mtu.get_or_insert_with(|| At::new(at, (*bytes).to_owned()));
            converted("mtu")
        }
        ["shortcut-target", prefix, rest @ ..] => summary(tunnel, at, prefix, rest),
        ["shortcut-destination"] => ignored("what is behind this node is answered by its routing table"),
        ["non-caching"] => ignored("replies that only pass are never kept"),
        _ => unknown("not understood"),
    }
}

/// What OpenNHRP and FRR call dynamic: everyone they are in touch with.
pub(in crate::import) fn multicast(to: &str) -> Multicast {
    match to {
        "dynamic" => Multicast::Everyone,
        "nhs" => Multicast::Servers,
        _ => Multicast::To(to.to_owned()),
    }
}

/// A network to answer for as a whole, maybe with a holding time of its own.
pub(in crate::import) fn summary(tunnel: &mut Tunnel, at: LineId, prefix: &str, rest: &[&str]) -> Judgement {
    let Ok(prefix) = prefix.parse::<IpNet>() else { return unknown("not a prefix") };
    let prefix = prefix.trunc();
    if !tunnel.summaries.iter().any(|known| known.value == prefix) {
        tunnel.summaries.push(At::new(at, prefix));
    }
    match rest {
        [] => converted("summaries"),
        ["holding-time", _] => converted("summaries; their holding time is the tunnel's"),
        _ => unknown("not understood"),
    }
}

fn server(tunnel: &mut Tunnel, at: LineId, address: &str, nbma: &str) -> Judgement {
    let address = match address {
        "dynamic" => None,
        _ => match address.parse() {
            Ok(address) => Some(address),
            Err(_) => return unknown("not an address"),
        },
    };
    tunnel.servers.push(Server { at, address, nbma: Some(nbma.to_owned()), ..Server::default() });
    converted("nhs")
}

impl Maps {
    fn line(&mut self, tunnel: usize, at: LineId, address: IpAddr, words: &[&str]) -> Judgement {
        let is = |draft: &Draft| draft.tunnel == tunnel && draft.address == address;
        let index = self.0.iter().position(is).unwrap_or_else(|| {
            self.0.push(Draft { tunnel, address, at, nbma: None, register: false });
            self.0.len() - 1
        });
        let Some(draft) = self.0.get_mut(index) else { return unknown("not understood") };
        match words {
            ["nbma-address", nbma] => {
                draft.at = at;
                draft.nbma = Some((*nbma).to_owned());
                converted("nhs or maps: where it is")
            }
            ["register"] => {
                draft.register = true;
                converted("nhs")
            }
            ["cisco"] => ignored("Cisco's form of packets is the only one"),
            [] => converted("nhs or maps"),
            _ => unknown("not understood"),
        }
    }

    /// Makes servers and maps of what was said.
    pub(super) fn finish(self, model: &mut Model) {
        for Draft { tunnel, address, at, nbma, register } in self.0 {
            let Some(tunnel) = model.tunnels.get_mut(tunnel) else { continue };
            match (nbma, register) {
                (Some(nbma), false) => tunnel.maps.push(At::new(at, Map { address, nbma })),
                // Without an NBMA address, planning says that it is missing.
                (nbma, _) => {
                    tunnel.servers.push(Server { at, address: Some(address), nbma, ..Server::default() });
                }
            }
        }
    }
}
