//! Lines of `interface Tunnel`.

use super::{
    super::{
        line::{At, Line},
        model::{Group, Map, Model, Multicast, Server, Tunnel},
        prefix, settings,
        verdict::{Hidden, Judgement, converted, hinted, ignored, refused, unknown},
    },
    routing,
};

/// What becomes of a line of the tunnel `index`.
pub(super) fn line(model: &mut Model, index: usize, line: &Line<'_>, words: &[&str]) -> Judgement {
    let Some(tunnel) = model.tunnels.get_mut(index) else { return unknown("not understood") };
    let at = line.id;
    match words {
        ["ip", "nhrp", rest @ ..] | ["nhrp", rest @ ..] => {
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
        ["vrf", "forwarding", name] | ["ip", "vrf", "forwarding", name] => {
            settings::vrf(tunnel, at, line.text, name)
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
        ["keepalive", ..] => settings::keepalive(),
        ["service-policy", ..] => {
            hinted("queueing is the kernel's (`tc`); a bound for each peer is a group (`groups`)")
        }
        ["qos" | "load-interval" | "bandwidth" | "delay", ..] => {
            ignored("not the tunnel's: queues and metrics are the kernel's and the routing daemon's")
        }
        ["ip", "verify", "unicast", "reverse-path", ..]
        | ["ip", "verify", "unicast", "source", "reachable-via", "rx", ..] => {
            settings::check_source(tunnel, at)
        }
        ["ip", "verify", ..] => {
            ignored("it refuses what has no route to its source at all, which gets no answer anyway")
        }
        ["ip", "access-group" | "nat" | "inspect", ..] | ["zone-member", "security", ..] => {
            settings::firewall(tunnel, at, line.text)
        }
        ["ip", "flow" | "route-cache" | "virtual-reassembly", ..]
        | ["logging" | "snmp" | "ip", "trap" | "event" | "cef", ..]
        | ["duplex" | "speed" | "media-type" | "negotiation" | "cdp" | "carrier-delay" | "hold-queue", ..] => {
            ignored("not about the tunnel")
        }
        ["if-state", "nhrp"] => hinted("the interface stays up: watch `dmvpn show nhs`"),
        ["ipv6", ..] => hinted("IPv6 inside: give it a tunnel of its own"),
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
        ["mode", "gre", "multipoint", "ipv6"] => {
            tunnel.multipoint = true;
            tunnel.over_ipv6 = true;
            converted("multipoint GRE, over IPv6")
        }
        ["mode", "gre", "ip"] => converted("GRE"),
        ["mode", "gre", "ipv6"] => {
            tunnel.over_ipv6 = true;
            converted("GRE over IPv6")
        }
        ["mode", ..] => refused("only GRE"),
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
        ["tos", octet] => settings::type_of_service(tunnel, at, octet.parse().ok()),
        ["checksum" | "sequence-datagrams", ..] => refused("GRE checksums and sequence numbers are not sent"),
        ["vrf", name] => settings::vrf(tunnel, at, line.text, name),
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
        ["holdtime", seconds, negative] => {
            tunnel.holding_time = text(seconds);
            tunnel.negative_time = text(negative);
            converted("holding-time, negative-time")
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
        ["map", "group", name, "service-policy", "output", policy] => {
            let (name, policy) = ((*name).to_owned(), (*policy).to_owned());
            tunnel.groups.push(At::new(at, Group { name, policy }));
            hinted("groups: of this name, with a rate and the spokes' addresses in the tunnel")
        }
        ["group", name] | ["attribute", "group", name] => {
            tunnel.group = text(name);
            hinted("on the hub, under `groups`: this spoke's address in the tunnel under `members`")
        }
        ["summary-map", prefix] => match prefix.parse() {
            Ok(prefix) => {
                tunnel.summaries.push(At::new(at, prefix));
                converted("summaries")
            }
            Err(_) => unknown("not a prefix"),
        },
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
