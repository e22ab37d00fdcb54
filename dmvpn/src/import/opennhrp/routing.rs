//! Quagga's daemons: FRR reads the same lines.

use ipnet::IpNet;

use super::super::{
    line::{At, Line},
    model::{Model, Route, Tunnel},
    prefix,
    verdict::{Judgement, hinted, ignored},
};

const BY_HAND: &str = "a comment in the FRR fragment: translate it by hand";

/// A line below `interface` of a routing daemon; `None`: it is not about routing.
pub(super) fn of_interface(tunnel: &mut Tunnel, line: &Line<'_>, words: &[&str]) -> Option<Judgement> {
    match words {
        ["ip", "rip" | "ospf" | "pim" | "igmp", ..] | ["no", "ip", "rip" | "ospf", ..] => {}
        ["bandwidth" | "description" | "link-detect", ..] | ["no", "link-detect"] => {
            return Some(ignored("not about tunnels"));
        }
        _ => return None,
    }
    let what = words.iter().take(4).copied().collect::<Vec<_>>().join(" ");
    tunnel.frr.push(At::new(line.id, line.text.to_owned()));
    Some(hinted(format!("FRR: {what}")))
}

/// A line below `router`.
pub(super) fn line(model: &mut Model, index: usize, line: &Line<'_>, words: &[&str]) -> Judgement {
    let text = match words {
        ["network", network] if network.parse::<IpNet>().is_err() => match prefix::classful(network) {
            Some(prefix) => format!("network {prefix}"),
            // The name of an interface: a tunnel has another now.
            None => match model.tunnels.iter().find(|tunnel| tunnel.old_name == *network) {
                Some(tunnel) => format!("network {}", tunnel.name),
                None => line.text.to_owned(),
            },
        },
        [
            "network"
            | "version"
            | "neighbor"
            | "redistribute"
            | "default-information"
            | "timers"
            | "area"
            | "ospf"
            | "bgp"
            | "address-family"
            | "exit-address-family",
            ..,
        ] => line.text.to_owned(),
        _ => return note(model, line),
    };
    let what = words.iter().take(3).copied().collect::<Vec<_>>().join(" ");
    if let Some(router) = model.routers.get_mut(index) {
        router.lines.push(At::new(line.id, text));
    }
    hinted(format!("FRR: {what}"))
}

/// A line that is left to a person.
pub(super) fn note(model: &mut Model, line: &Line<'_>) -> Judgement {
    model.routing_notes.push(At::new(line.id, line.text.to_owned()));
    hinted(BY_HAND)
}

/// `ip route ...`, of a routing daemon or of iproute2.
pub(super) fn static_route(model: &mut Model, line: &Line<'_>, words: &[&str]) -> Judgement {
    let words = match words {
        ["add" | "replace", rest @ ..] => rest,
        _ => words,
    };
    if let [prefix, rest @ ..] = words
        && let Ok(prefix) = (if *prefix == "default" { "0.0.0.0/0" } else { prefix }).parse::<IpNet>()
        && let Some(via) = rest.iter().find_map(|word| word.parse().ok())
    {
        model.routes.push(At::new(line.id, Route { prefix: prefix.trunc(), via }));
        // Revised when it leads through a tunnel.
        return hinted("FRR: ip route");
    }
    note(model, line)
}
