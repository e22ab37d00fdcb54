//! Lines of `interface Tunnel`.

use super::{
    super::{
        line::{At, Line},
        model::{Map, Model, Multicast, Server, Tunnel},
        prefix,
        verdict::{Hidden, Judgement, converted, hinted, ignored, refused, unknown},
    },
    routing,
};

/// What to do about NHRP groups.
const GROUPS: &str =
    "on the hub, write the group under `groups`: its rate, and the spokes' tunnel addresses as members";

/// What becomes of a line of the tunnel `index`.
pub(super) fn line(model: &mut Model, index: usize, line: &Line<'_>, words: &[&str]) -> Judgement {
    let Some(tunnel) = model.tunnels.get_mut(index) else { return unknown("not understood") };
    let at = line.id;
    match words {
        ["ip", "nhrp", rest @ ..] => {
            tunnel.nhrp = true;
            nhrp(tunnel, line, rest)
        }
        ["tunnel", rest @ ..] => outer(tunnel, line, rest),
        ["ip", "address", address, mask] => match prefix::with_mask(address, mask) {
            Some(prefix) => {
                tunnel.address = Some(At::new(at, prefix));
                converted("address")
            }
            None => unknown("not an address and a mask"),
        },
        ["ip", "address", _, _, "secondary"] => refused("a tunnel has one address"),
        ["ip", "mtu", bytes] => {
            tunnel.mtu = Some(At::new(at, (*bytes).to_owned()));
            converted("mtu")
        }
        ["ip", "tcp", "adjust-mss", bytes] => {
            tunnel.mss_clamp = Some(At::new(at, (*bytes).to_owned()));
            converted("mss-clamp")
        }
        ["ipv6", "tcp", "adjust-mss", _] => hinted("mss-clamp: over IPv6 it is 20 bytes less than over IPv4"),
        ["vrf", "forwarding", _] | ["ip", "vrf", "forwarding", _] => {
            tunnel.hints.push(At::new(at, format!("{}: run the agent in a network namespace", line.text)));
            hinted("VRF: run the agent in a network namespace of its own")
        }
        ["no", "ip", "redirects" | "unreachables" | "proxy-arp"] => {
            ignored("the tunnel interface sends none")
        }
        ["no", "ip", "nhrp", "redirect"] => {
            tunnel.redirect = None;
            converted("redirect: off")
        }
        ["no", "ip", "nhrp", "shortcut"] => {
            tunnel.shortcut = None;
            converted("shortcut: off")
        }
        ["description", ..] => ignored("description"),
        ["shutdown"] => refused("the tunnel was switched off: do not start it with this configuration"),
        ["no", "shutdown"] => ignored("the tunnel is up while the agent runs"),
        ["qos" | "service-policy" | "load-interval" | "bandwidth" | "delay" | "keepalive", ..] => {
            ignored("not the tunnel's: queues and metrics are the kernel's and the routing daemon's")
        }
        [
            "ip",
            "flow" | "route-cache" | "access-group" | "nat" | "virtual-reassembly" | "verify" | "inspect",
            ..,
        ]
        | ["zone-member" | "logging" | "snmp" | "ip", "security" | "trap" | "event" | "cef", ..]
        | ["duplex" | "speed" | "media-type" | "negotiation" | "cdp" | "carrier-delay" | "hold-queue", ..] => {
            ignored("not about the tunnel")
        }
        ["if-state", "nhrp"] => hinted("the interface stays up: watch `dmvpn show nhs`"),
        ["ipv6", ..] => hinted("IPv6 inside: give it a tunnel of its own"),
        ["nhrp", ..] => {
            tunnel.nhrp = true;
            hinted(GROUPS)
        }
        _ => match routing::of_interface(tunnel, line, words) {
            Some(judgement) => judgement,
            None if matches!(words, ["no", ..]) => ignored("off"),
            None => unknown("not understood"),
        },
    }
}

/// `tunnel ...`: the outer packet.
fn outer(tunnel: &mut Tunnel, line: &Line<'_>, words: &[&str]) -> Judgement {
    let at = line.id;
    match words {
        ["source", "dynamic"] => unknown("not understood"),
        ["source", source] => {
            tunnel.source = Some(At::new(at, (*source).to_owned()));
            converted("source")
        }
        ["destination", far] => {
            tunnel.destination = Some(At::new(at, (*far).to_owned()));
            converted("phase: 1, and where the server is")
        }
        ["mode", "gre", "multipoint"] => {
            tunnel.multipoint = true;
            converted("multipoint GRE is all there is")
        }
        ["mode", "gre", "ip"] => converted("GRE"),
        ["mode", ..] => refused("only GRE over IPv4"),
        ["key", key] => {
            tunnel.key = Some(At::new(at, (*key).to_owned()));
            converted("key")
        }
        ["ttl", ttl] => {
            tunnel.ttl = Some(At::new(at, (*ttl).to_owned()));
            converted("ttl")
        }
        ["protection", "ipsec", "profile", profile, ..] => {
            tunnel.profile = Some(At::new(at, (*profile).to_owned()));
            converted("swanctl: a connection for this tunnel")
        }
        ["path-mtu-discovery", ..] => {
            tunnel.df = Some(At::new(at, "copy".to_owned()));
            converted("df: copy")
        }
        ["tos", _] => hinted("tos: the DSCP is the upper six bits"),
        ["checksum" | "sequence-datagrams", ..] => refused("GRE checksums and sequence numbers are not sent"),
        ["vrf", _] => {
            tunnel.hints.push(At::new(at, format!("{}: run the agent in a network namespace", line.text)));
            hinted("front VRF: run the agent in a network namespace of its own")
        }
        ["bandwidth" | "route-via" | "udlr" | "rbscp", ..] => ignored("not the tunnel's"),
        _ => unknown("not understood"),
    }
}

/// `ip nhrp ...`.
fn nhrp(tunnel: &mut Tunnel, line: &Line<'_>, words: &[&str]) -> Judgement {
    let at = line.id;
    let text = |word: &str| Some(At::new(at, word.to_owned()));
    match words {
        ["network-id", number] => {
            tunnel.network_id = text(number);
            converted("network-id")
        }
        ["authentication", secret] => {
            tunnel.authentication = text(secret);
            converted("authentication").secret(Hidden::From(3))
        }
        ["authentication", ..] => unknown("not understood").secret(Hidden::From(3)),
        ["holdtime", seconds] => {
            tunnel.holding_time = text(seconds);
            converted("holding-time")
        }
        ["registration", "timeout", seconds] => {
            tunnel.registration_interval = text(seconds);
            converted("registration-interval")
        }
        ["registration", "no-unique"] => {
            tunnel.no_unique = Some(at);
            converted("unique: false")
        }
        ["redirect"] => {
            tunnel.redirect = Some(at);
            converted("redirect")
        }
        ["redirect", "timeout", seconds] => {
            tunnel.redirect = Some(at);
            tunnel.redirect_interval = text(seconds);
            converted("redirect, redirect-interval")
        }
        ["shortcut"] => {
            tunnel.shortcut = Some(at);
            converted("shortcut")
        }
        ["multicast", "dynamic"] | ["map", "multicast", "dynamic"] => {
            tunnel.multicast.push(At::new(at, Multicast::Clients));
            multicast_note(words, "multicast.clients")
        }
        ["multicast", to] | ["map", "multicast", to] => {
            tunnel.multicast.push(At::new(at, Multicast::To((*to).to_owned())));
            multicast_note(words, "multicast")
        }
        ["map", "group", ..] | ["group" | "attribute", ..] => hinted(GROUPS),
        ["map", address, nbma] | ["map", address, "255.255.255.255", nbma] => match address.parse() {
            Ok(address) => {
                tunnel.maps.push(At::new(at, Map { address, nbma: (*nbma).to_owned() }));
                converted("maps")
            }
            Err(_) => unknown("not an address"),
        },
        ["map", _, _, _] => refused("a fixed mapping is of one address"),
        ["nhs", rest @ ..] => server(tunnel, at, rest),
        ["max-send", ..] => hinted("limits: packets-per-source and packets-total are by default high enough"),
        ["server-only", ..] => hinted("a node without `nhs` registers with nobody"),
        ["interest" | "responder" | "record" | "use" | "path" | "trigger-svc" | "cache", ..] => {
            ignored("no counterpart; not needed to interoperate")
        }
        _ => unknown("not understood"),
    }
}

/// A line that one of the examples spells without `map` is taken for what it means.
fn multicast_note(words: &[&str], key: &'static str) -> Judgement {
    match words {
        ["map", "multicast", _] => converted(key),
        _ => converted(format!("{key}; read as `ip nhrp map multicast`")),
    }
}

/// `ip nhrp nhs ...`.
fn server(tunnel: &mut Tunnel, at: usize, words: &[&str]) -> Judgement {
    let (first, mut rest) = match words {
        ["fallback", seconds] => {
            tunnel.fallback = Some(At::new(at, (*seconds).to_owned()));
            return converted("nhs-fallback");
        }
        ["cluster", cluster, "max-connections", most] => {
            tunnel.clusters.push(At::new(at, ((*cluster).to_owned(), (*most).to_owned())));
            return converted("nhs-clusters");
        }
        [first, rest @ ..] => (*first, rest),
        [] => return unknown("not understood"),
    };
    let address = match first {
        "dynamic" => None,
        _ => match first.parse() {
            Ok(address) => Some(address),
            Err(_) => return unknown("not an address"),
        },
    };
    let mut server = Server { at, address, nbma: None, ..Server::default() };
    let mut multicast = false;
    loop {
        rest = match rest {
            [] => break,
            ["multicast", rest @ ..] => {
                multicast = true;
                rest
            }
            ["nbma", value, rest @ ..] => {
                server.nbma = Some((*value).to_owned());
                rest
            }
            ["priority", value, rest @ ..] => {
                server.priority = Some((*value).to_owned());
                rest
            }
            ["cluster", value, rest @ ..] => {
                server.cluster = Some((*value).to_owned());
                rest
            }
            // The networks that this server serves: all are asked about all.
            [prefix, mask, rest @ ..] if prefix::with_mask(prefix, mask).is_some() => rest,
            _ => return unknown("not understood"),
        };
    }
    if multicast {
        tunnel.multicast.push(At::new(at, Multicast::Servers));
    }
    match tunnel.servers.iter_mut().find(|known| known.address.is_some() && known.address == server.address) {
        Some(known) if known.nbma.is_none() || server.nbma.is_none() => {
            known.also.push(at);
            known.nbma = known.nbma.take().or(server.nbma);
            known.priority = server.priority.or(known.priority.take());
            known.cluster = server.cluster.or(known.cluster.take());
        }
        _ => tunnel.servers.push(server),
    }
    converted("nhs")
}
