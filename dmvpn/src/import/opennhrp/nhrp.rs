//! Lines of opennhrp.conf below `interface`.

use ipnet::IpNet;

use super::{
    super::{
        line::{At, Line},
        model::{Map, Server, Tunnel},
        verdict::{Hidden, Judgement, converted, ignored, refused, unknown},
        vyos::nhrp::{multicast, summary},
    },
    at,
};

/// What becomes of a line of `tunnel`.
pub(super) fn line(tunnel: &mut Tunnel, line: &Line<'_>, words: &[&str]) -> Judgement {
    let id = line.id;
    // That is said of the networks behind the node.
    tunnel.nhrp |= words != ["shortcut-destination"];
    match words {
        ["holding-time", seconds] => {
            tunnel.holding_time = Some(at(id, seconds));
            converted("holding-time")
        }
        ["cisco-authentication", secret] => {
            tunnel.authentication = Some(at(id, secret));
            converted("authentication").secret(Hidden::From(1))
        }
        ["multicast", to] => {
            tunnel.multicast.push(At::new(id, multicast(to)));
            converted("multicast")
        }
        ["redirect"] => {
            tunnel.redirect = Some(id);
            converted("redirect")
        }
        ["shortcut"] => {
            tunnel.shortcut = Some(id);
            converted("shortcut")
        }
        ["map", address, nbma, flags @ ..] => map(tunnel, id, address, nbma, flags),
        ["dynamic-map", prefix, name] if prefix.parse::<IpNet>().is_ok() => {
            let nbma = Some((*name).to_owned());
            tunnel.servers.push(Server { at: id, address: None, nbma, ..Server::default() });
            converted("nhs, dynamic")
        }
        ["shortcut-target", prefix, rest @ ..] => summary(tunnel, id, prefix, rest),
        ["shortcut-destination"] => ignored("what is behind this node is answered by its routing table"),
        ["non-caching"] => ignored("replies that only pass are never kept"),
        ["route-table", ..] => refused("only the main routing table is looked at"),
        _ => unknown("not understood"),
    }
}

/// `map ADDRESS[/LENGTH] NBMA [register] [no-unique] [cisco]`.
fn map(tunnel: &mut Tunnel, id: usize, address: &str, nbma: &str, flags: &[&str]) -> Judgement {
    let prefix = address.parse().ok().or_else(|| address.parse().ok().map(|net: IpNet| net.addr()));
    let Some(address) = prefix else { return unknown("not an address") };
    if flags.iter().any(|flag| !matches!(*flag, "register" | "no-unique" | "cisco")) {
        return unknown("not understood");
    }
    if flags.contains(&"no-unique") {
        tunnel.no_unique = Some(id);
    }
    let nbma = nbma.to_owned();
    if flags.contains(&"register") {
        let nbma = Some(nbma);
        tunnel.servers.push(Server { at: id, address: Some(address), nbma, ..Server::default() });
        converted("nhs")
    } else {
        tunnel.maps.push(At::new(id, Map { address, nbma }));
        converted("maps")
    }
}
