//! Lines of `interface Tunnel`.

use super::super::{
    line::{At, Line},
    model::{Map, Model, Multicast, Server, Tunnel},
    prefix, settings,
    verdict::{Hidden, Judgement, converted, hinted, ignored, refused, unknown},
};

/// What becomes of a line of the tunnel `index`.
pub(super) fn line(model: &mut Model, index: usize, line: &Line<'_>, words: &[&str]) -> Judgement {
    let Some(tunnel) = model.tunnels.get_mut(index) else { return unknown("not understood") };
    let at = line.id;
    let text = |word: &str| Some(At::new(at, word.to_owned()));
    match words {
        ["nhrp", rest @ ..] | ["undo", "nhrp", rest @ ..] => {
            tunnel.nhrp = true;
            nhrp(tunnel, line, words.first() == Some(&"undo"), rest)
        }
        ["ip", "address", address, mask] => match prefix::with_mask(address, mask) {
            Some(prefix) => {
                tunnel.address = Some(At::new(at, prefix));
                converted("address")
            }
            None => unknown("not an address and a mask"),
        },
        ["ip", "address", _, _, "sub"] => refused("a tunnel has one address"),
        ["tunnel-protocol", "gre", "p2mp"] => {
            tunnel.multipoint = true;
            converted("multipoint GRE is all there is")
        }
        ["tunnel-protocol", "gre"] => converted("GRE"),
        ["tunnel-protocol", ..] => refused("only GRE"),
        ["source", source @ ..] if !source.is_empty() => {
            tunnel.source = Some(At::new(at, source.concat()));
            converted("source")
        }
        ["destination", far] => {
            tunnel.destination = text(far);
            converted("phase: 1, and where the server is")
        }
        ["gre", "key", key] | ["gre", "key", "plain" | "cipher", key] => {
            tunnel.key = text(key);
            converted("key")
        }
        ["gre", "checksum"] => refused("GRE checksums are not sent"),
        ["mtu", bytes] => {
            tunnel.mtu = text(bytes);
            converted("mtu")
        }
        ["tcp", "adjust-mss", bytes] => {
            tunnel.mss_clamp = text(bytes);
            converted("mss-clamp")
        }
        ["ipsec", "profile", profile] | ["ipsec", "profile", profile, "shared"] => {
            tunnel.profile = text(profile);
            converted("swanctl: a connection for this tunnel")
        }
        ["ospf", rest @ ..] => ospf(tunnel, line, rest),
        ["rip" | "pim" | "bfd" | "igmp", ..] | ["undo", "rip", ..] => {
            tunnel.frr.push(At::new(at, format!("! {}", line.text)));
            hinted("a comment in the FRR fragment: translate it by hand")
        }
        ["ip", "binding", "vpn-instance", name] => settings::vrf(tunnel, at, line.text, name),
        ["keepalive", ..] => settings::keepalive(),
        ["urpf", "strict", ..] => settings::check_source(tunnel, at),
        ["urpf", ..] => {
            ignored("it refuses what has no route to its source at all, which gets no answer anyway")
        }
        ["firewall" | "nat" | "traffic-filter", ..] => settings::firewall(tunnel, at, line.text),
        ["description" | "alias", ..] => ignored("description"),
        ["shutdown"] => refused("the tunnel was switched off: do not start it with this configuration"),
        ["undo", "shutdown"] => ignored("the tunnel is up while the agent runs"),
        ["service-manage", ..] | ["undo", "service-manage", ..] => {
            ignored("who may reach the box through the tunnel is the firewall's")
        }
        ["qos" | "traffic-policy", ..] => {
            hinted("queueing is the kernel's (`tc`); a bound for each peer is a group (`groups`)")
        }
        ["statistic" | "undo" | "bandwidth", ..] => ignored("not about the tunnel"),
        _ => unknown("not understood"),
    }
}

/// `nhrp ...` and `undo nhrp ...`.
fn nhrp(tunnel: &mut Tunnel, line: &Line<'_>, undo: bool, words: &[&str]) -> Judgement {
    let at = line.id;
    let text = |word: &str| Some(At::new(at, word.to_owned()));
    if undo {
        return match words {
            ["hub", "reverse-route", "enable"] => converted("allow-prefixes stays empty"),
            ["identity", "enable"] => {
                ignored("private extensions are not sent; those of others are passed on")
            }
            _ => ignored("off"),
        };
    }
    match words {
        ["network-id", number] => {
            tunnel.network_id = text(number);
            converted("network-id")
        }
        ["authentication", "plain" | "cipher", secret] if is_encrypted(secret) => {
            tunnel.hints.push(At::new(
                at,
                "authentication: it was encrypted for the old box; write it here".to_owned(),
            ));
            refused("encrypted for the old box: write `authentication` yourself").secret(Hidden::From(2))
        }
        ["authentication", "plain" | "cipher", secret] => {
            tunnel.authentication = text(secret);
            converted("authentication, as Cisco's").secret(Hidden::From(3))
        }
        ["authentication", "hash" | "md5" | "sha1" | "hmac", ..] => {
            refused("only Huawei has hashed authentication: use `plain` on all nodes").secret(Hidden::From(3))
        }
        ["authentication", kind, _] if kind.starts_with("sha") || kind.starts_with("hmac") => {
            refused("only Huawei has hashed authentication: use `plain` on all nodes").secret(Hidden::From(3))
        }
        ["authentication", ..] => unknown("not understood").secret(Hidden::From(2)),
        ["redirect"] => {
            tunnel.redirect = Some(at);
            converted("redirect")
        }
        ["shortcut"] => {
            tunnel.shortcut = Some(at);
            converted("shortcut")
        }
        ["entry", "multicast", "dynamic"] => {
            tunnel.multicast.push(At::new(at, Multicast::Clients));
            converted("multicast.clients")
        }
        ["entry", "multicast", to] => {
            tunnel.multicast.push(At::new(at, Multicast::To((*to).to_owned())));
            converted("multicast")
        }
        ["entry", "holdtime", "seconds", seconds] | ["entry", "holdtime", seconds] => {
            tunnel.holding_time = text(seconds);
            converted("holding-time")
        }
        ["entry", address, nbma, rest @ ..] => entry(tunnel, at, address, nbma, rest),
        ["registration", "interval", seconds] => {
            tunnel.registration_interval = text(seconds);
            converted("registration-interval")
        }
        ["registration", "no-unique"] => {
            tunnel.no_unique = Some(at);
            converted("unique: false")
        }
        ["tunnel-if-state", "related"] => hinted("the interface stays up: watch `dmvpn show nhs`"),
        ["hub", "reverse-route", "enable"] => {
            let advice = "to let spokes register what is behind them, list it under allow-prefixes";
            tunnel.hints.push(At::new(at, advice.to_owned()));
            hinted("allow-prefixes: a comment in the configuration")
        }
        ["identity", ..] => ignored("private extensions are not sent; those of others are passed on"),
        _ => unknown("not understood"),
    }
}

/// `nhrp entry ADDRESS NBMA [register [preference N]]`.
fn entry(tunnel: &mut Tunnel, at: usize, address: &str, nbma: &str, rest: &[&str]) -> Judgement {
    let Ok(address) = address.parse() else { return unknown("not an address") };
    let nbma = nbma.to_owned();
    let server = |nbma| Server { at, address: Some(address), nbma: Some(nbma), ..Server::default() };
    match rest {
        [] => {
            tunnel.maps.push(At::new(at, Map { address, nbma }));
            converted("maps")
        }
        ["register"] => {
            tunnel.servers.push(server(nbma));
            converted("nhs")
        }
        ["register", "preference", _] => {
            tunnel.servers.push(server(nbma));
            converted("nhs; all servers are used at once, whatever their preference")
        }
        _ => unknown("not understood"),
    }
}

/// Whether it is what the box stores in place of a secret: `%^%#...%^%#` and the like.
pub(super) fn is_encrypted(secret: &str) -> bool {
    secret.len() > 8 && secret.starts_with(['%', '$', '^'])
}

fn ospf(tunnel: &mut Tunnel, line: &Line<'_>, words: &[&str]) -> Judgement {
    let text = match words {
        ["network-type", kind] => {
            let kind = match *kind {
                "p2mp" => "point-to-multipoint",
                "p2p" => "point-to-point",
                "nbma" => "non-broadcast",
                other => other,
            };
            format!("ip ospf network {kind}")
        }
        ["dr-priority", number] => format!("ip ospf priority {number}"),
        ["cost", number] => format!("ip ospf cost {number}"),
        ["timer", "hello", number] => format!("ip ospf hello-interval {number}"),
        ["timer", "dead", number] => format!("ip ospf dead-interval {number}"),
        ["enable", "area", area] | ["enable", _, "area", area] => format!("ip ospf area {area}"),
        _ => format!("! {}", line.text),
    };
    let judgement = if text.starts_with('!') {
        hinted("a comment in the FRR fragment: translate it by hand").secret(Hidden::From(2))
    } else {
        hinted(format!("FRR: {text}"))
    };
    tunnel.frr.push(At::new(line.id, text));
    judgement
}
