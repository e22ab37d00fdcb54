//! `protocols ...` but for NHRP: lines for FRR, which does the routing of VyOS, too.

use super::super::{
    line::{At, LineId},
    model::{Model, Route},
    verdict::{Judgement, hinted},
};

const BY_HAND: &str = "a comment in the FRR fragment: translate it by hand";

/// What becomes of a line about routing.
pub(super) fn line(model: &mut Model, at: LineId, words: &[&str]) -> Judgement {
    if let ["static", "route", prefix, "next-hop", via, ..] = words
        && let (Ok(prefix), Ok(via)) = (prefix.parse::<ipnet::IpNet>(), via.parse())
    {
        model.routes.push(At::new(at, Route { prefix: prefix.trunc(), via }));
        // Revised when it leads through a tunnel.
        return hinted("FRR: ip route");
    }
    if let [kind @ ("ospf" | "rip"), "interface", name, rest @ ..] = words
        && let Some(text) = of_interface(kind, rest)
        && model.tunnels.iter().any(|tunnel| tunnel.old_name == *name)
    {
        let index = model.tunnel(name, at);
        if let Some(tunnel) = model.tunnels.get_mut(index) {
            tunnel.frr.push(At::new(at, text.clone()));
        }
        return hinted(format!("FRR: {text}"));
    }
    if let Some((header, text)) = translate(words) {
        let judgement = hinted(format!("FRR: {header}, {text}"));
        let index = model.router(&header, at);
        if let Some(router) = model.routers.get_mut(index) {
            router.lines.push(At::new(at, text));
        }
        judgement
    } else {
        model.routing_notes.push(At::new(at, format!("protocols {}", words.join(" "))));
        hinted(BY_HAND)
    }
}

fn of_interface(kind: &str, words: &[&str]) -> Option<String> {
    Some(match (kind, words) {
        ("ospf", ["network", value]) => format!("ip ospf network {value}"),
        ("ospf", ["area", value]) => format!("ip ospf area {value}"),
        ("ospf", [key @ ("priority" | "cost" | "hello-interval" | "dead-interval"), value]) => {
            format!("ip ospf {key} {value}")
        }
        ("ospf", ["mtu-ignore"]) => "ip ospf mtu-ignore".to_owned(),
        ("rip", ["split-horizon", "disable"]) => "no ip rip split-horizon".to_owned(),
        _ => return None,
    })
}

/// A routing process of FRR and a line in it.
fn translate(words: &[&str]) -> Option<(String, String)> {
    let (header, line) = match words {
        ["ospf", "area", area, "network", prefix] => {
            ("router ospf".to_owned(), format!("network {prefix} area {area}"))
        }
        ["ospf", "parameters", "router-id", id] => ("router ospf".to_owned(), format!("ospf router-id {id}")),
        ["ospf", "redistribute", source] => ("router ospf".to_owned(), format!("redistribute {source}")),
        ["rip", "network", prefix] => ("router rip".to_owned(), format!("network {prefix}")),
        ["rip", "neighbor", peer] => ("router rip".to_owned(), format!("neighbor {peer}")),
        ["rip", "redistribute", source] => ("router rip".to_owned(), format!("redistribute {source}")),
        // Up to VyOS 1.3; later the number is a key of its own, which stays a comment.
        ["bgp", number, "neighbor", peer, "remote-as", other] if number.parse::<u32>().is_ok() => {
            (format!("router bgp {number}"), format!("neighbor {peer} remote-as {other}"))
        }
        ["bgp", number, "parameters", "router-id", id] if number.parse::<u32>().is_ok() => {
            (format!("router bgp {number}"), format!("bgp router-id {id}"))
        }
        ["bgp", number, "address-family", "ipv4-unicast", "network", prefix]
            if number.parse::<u32>().is_ok() =>
        {
            (format!("router bgp {number}"), format!("network {prefix}"))
        }
        _ => return None,
    };
    Some((header, line))
}
