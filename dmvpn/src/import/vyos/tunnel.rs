//! `interfaces tunnel NAME ...`.

use std::net::IpAddr;

use super::super::{
    line::{At, LineId},
    model::{Model, Tunnel},
    settings,
    verdict::{Judgement, converted, hinted, ignored, refused, unknown},
};

/// What becomes of a line of the tunnel `name`.
pub(super) fn line(model: &mut Model, at: LineId, name: &str, words: &[&str]) -> Judgement {
    let index = model.tunnel(name, at);
    let Some(tunnel) = model.tunnels.get_mut(index) else { return unknown("not understood") };
    let text = |word: &str| Some(At::new(at, word.to_owned()));
    match words {
        [] => converted(format!("tunnel {}", tunnel.name)),
        ["address", address] => match address.parse() {
            Ok(_) if tunnel.address.is_some() => refused("a tunnel has one address"),
            Ok(prefix) => {
                tunnel.address = Some(At::new(at, prefix));
                converted("address")
            }
            Err(_) => unknown("not an address with a length"),
        },
        ["encapsulation", "gre"] => {
            tunnel.multipoint = tunnel.destination.is_none();
            converted("GRE")
        }
        ["encapsulation", "ip6gre"] => {
            tunnel.multipoint = tunnel.destination.is_none();
            tunnel.over_ipv6 = true;
            converted("GRE over IPv6")
        }
        ["encapsulation", ..] => refused("only GRE"),
        ["parameters", rest @ ..] => outer(tunnel, at, rest),
        ["local-ip" | "source-address", "0.0.0.0" | "::"] => hinted("any address: give --source"),
        ["local-ip" | "source-address", address] => {
            tunnel.source = text(address);
            converted("source")
        }
        ["source-interface", interface] => {
            // The address says more.
            if tunnel.source.as_ref().is_some_and(|source| source.value.parse::<IpAddr>().is_ok()) {
                return ignored("the source address is given");
            }
            tunnel.source = text(interface);
            converted("source")
        }
        ["remote-ip" | "remote", "0.0.0.0" | "::"] => converted("multipoint GRE"),
        ["remote-ip" | "remote", far] => {
            tunnel.destination = text(far);
            tunnel.multipoint = false;
            converted("phase: 1, and where the server is")
        }
        ["mtu", bytes] => {
            tunnel.mtu = text(bytes);
            converted("mtu")
        }
        ["multicast", "enable"] | ["enable-multicast"] => {
            converted("the tunnel interface always has multicast")
        }
        ["multicast", "disable"] => {
            hinted("the tunnel interface always has multicast: multicast.clients, .servers")
        }
        ["ip", "adjust-mss", "clamp-mss-to-pmtu"] => {
            tunnel.mss_clamp = text("auto");
            converted("mss-clamp: auto")
        }
        ["ip", "adjust-mss", bytes] => {
            tunnel.mss_clamp = text(bytes);
            converted("mss-clamp")
        }
        ["ipv6", "adjust-mss", _] => hinted("mss-clamp: over IPv6 it is 20 bytes less than over IPv4"),
        ["ip", "ospf", "network", kind] => frr(tunnel, at, format!("ip ospf network {kind}")),
        ["ip", "ospf", key @ ("priority" | "cost" | "hello-interval" | "dead-interval"), value] => {
            frr(tunnel, at, format!("ip ospf {key} {value}"))
        }
        ["ip", "ospf", "mtu-ignore"] => frr(tunnel, at, "ip ospf mtu-ignore".to_owned()),
        ["ip", "rip", "split-horizon", "disable"] => frr(tunnel, at, "no ip rip split-horizon".to_owned()),
        ["ip", "ospf" | "rip" | "pim" | "bgp", ..] => {
            tunnel.frr.push(At::new(at, format!("! {}", words.join(" "))));
            hinted("a comment in the FRR fragment: translate it by hand")
        }
        ["ip", "source-validation", "strict"] => settings::check_source(tunnel, at),
        ["vrf", name] => settings::vrf(tunnel, at, &words.join(" "), name),
        ["firewall", ..] => settings::firewall(tunnel, at, &words.join(" ")),
        ["traffic-policy", ..] => {
            hinted("queueing is the kernel's (`tc`); a bound for each peer is a group (`groups`)")
        }
        ["disable"] => refused("the tunnel was switched off: do not start it with this configuration"),
        ["description", ..] => ignored("description"),
        ["ip" | "ipv6" | "redirect" | "mirror" | "dhcp-interface" | "6rd-prefix", ..] => {
            ignored("not about the tunnel")
        }
        _ => unknown("not understood"),
    }
}

/// `parameters ...`: the outer header.
fn outer(tunnel: &mut Tunnel, at: LineId, words: &[&str]) -> Judgement {
    let text = |word: &str| Some(At::new(at, word.to_owned()));
    match words {
        ["erspan", ..] => refused("only GRE"),
        ["ip", "tos", "inherit"] | ["ipv6", "tclass", "inherit"] => converted("tos: inherit, as by default"),
        ["ip", "tos", octet] | ["ipv6", "tclass", octet] => {
            settings::type_of_service_of_linux(tunnel, at, octet)
        }
        ["ip", "ttl", "0"] | ["ipv6", "hoplimit", "0"] => {
            hinted("ttl: not copied from the inner packet, 255 by default")
        }
        ["ip", "ttl", ttl] | ["ipv6", "hoplimit", ttl] => {
            tunnel.ttl = text(ttl);
            converted("ttl")
        }
        ["ip", "key", key] => {
            tunnel.key = text(key);
            converted("key")
        }
        ["ip", "no-pmtu-discovery"] => {
            tunnel.df = text("copy");
            converted("df: copy")
        }
        ["ip", "ignore-df"] => {
            tunnel.df = text("clear");
            converted("df: clear")
        }
        ["ipv6", ..] => ignored("the outer header has nothing else of the kind"),
        _ => unknown("not understood"),
    }
}

fn frr(tunnel: &mut Tunnel, at: usize, text: String) -> Judgement {
    let judgement = hinted(format!("FRR: {text}"));
    tunnel.frr.push(At::new(at, text));
    judgement
}
