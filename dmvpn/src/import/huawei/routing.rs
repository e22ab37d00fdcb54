//! Routing: lines for FRR.

use super::super::{
    line::{At, Line},
    model::{Model, Route},
    prefix,
    verdict::{Judgement, hinted, ignored},
};

/// A routing protocol, and what the last line in it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Process {
    /// In this area.
    Ospf(Option<String>),
    Rip,
    Bgp,
}

const BY_HAND: &str = "a comment in the FRR fragment: translate it by hand";

impl Process {
    pub(super) fn new(words: &[&str]) -> Option<Self> {
        Some(match words {
            ["ospf", ..] => Self::Ospf(None),
            ["rip", ..] => Self::Rip,
            ["bgp", _, ..] => Self::Bgp,
            _ => return None,
        })
    }

    /// The line that starts it in FRR.
    pub(super) fn header(&self, rest: &[&str]) -> String {
        match self {
            Self::Ospf(_) => "router ospf".to_owned(),
            Self::Rip => "router rip".to_owned(),
            Self::Bgp => format!("router bgp {}", rest.first().copied().unwrap_or_default()),
        }
    }
}

/// A line of a routing process.
pub(super) fn line(
    model: &mut Model,
    index: usize,
    process: Process,
    line: &Line<'_>,
    words: &[&str],
) -> (Process, Judgement) {
    if let (Process::Ospf(_), ["area", area]) = (&process, words) {
        return (Process::Ospf(Some((*area).to_owned())), hinted("FRR: the area of the networks below"));
    }
    if let ["undo", "summary" | "synchronization"] = words {
        return (process, ignored("FRR does not do it anyway"));
    }
    let judgement = if let Some(text) = translate(&process, words) {
        let judgement = hinted(format!("FRR: {text}"));
        if let Some(router) = model.routers.get_mut(index) {
            router.lines.push(At::new(line.id, text));
        }
        judgement
    } else {
        model.routing_notes.push(At::new(line.id, line.text.to_owned()));
        hinted(BY_HAND)
    };
    (process, judgement)
}

fn translate(process: &Process, words: &[&str]) -> Option<String> {
    let source = |name: &str| {
        Some(match name {
            "direct" => "connected",
            "static" => "static",
            "bgp" => "bgp",
            "ospf" => "ospf",
            "rip" => "rip",
            _ => return None,
        })
    };
    Some(match (process, words) {
        (Process::Ospf(Some(area)), ["network", network, wildcard]) => {
            format!("network {} area {area}", prefix::with_wildcard(network, wildcard)?)
        }
        (Process::Ospf(Some(area)), ["stub"]) => format!("area {area} stub"),
        (_, ["import-route", name]) => format!("redistribute {}", source(name)?),
        (Process::Ospf(_), ["default-route-advertise"]) => "default-information originate".to_owned(),
        (Process::Ospf(_), ["default-route-advertise", "always"]) => {
            "default-information originate always".to_owned()
        }
        (Process::Rip, ["version", version]) => format!("version {version}"),
        (Process::Rip, ["network", network]) => format!("network {}", prefix::classful(network)?),
        (Process::Bgp, ["router-id", id]) => format!("bgp router-id {id}"),
        (Process::Bgp, ["peer", peer, "as-number", number]) => format!("neighbor {peer} remote-as {number}"),
        (Process::Bgp, ["peer", peer, "reflect-client"]) => format!("neighbor {peer} route-reflector-client"),
        (Process::Bgp, ["peer", peer, "next-hop-local"]) => format!("neighbor {peer} next-hop-self"),
        (Process::Bgp, ["peer", peer, "enable"]) => format!("neighbor {peer} activate"),
        (Process::Bgp, ["ipv4-family", "unicast"]) => "address-family ipv4 unicast".to_owned(),
        (Process::Bgp, ["network", network, mask]) => {
            let prefix = match mask.parse::<u8>() {
                Ok(length) => format!("{network}/{length}").parse::<ipnet::IpNet>().ok()?,
                Err(_) => prefix::with_mask(network, mask)?,
            };
            format!("network {}", prefix.trunc())
        }
        _ => return None,
    })
}

/// `ip route-static ...`.
pub(super) fn static_route(model: &mut Model, line: &Line<'_>, words: &[&str]) -> Judgement {
    if let [network, mask, rest @ ..] = words
        && let Some(via) = rest.iter().find_map(|word| word.parse().ok())
    {
        let prefix = match mask.parse::<u8>() {
            Ok(length) => format!("{network}/{length}").parse().ok(),
            Err(_) => prefix::with_mask(network, mask),
        };
        if let Some(prefix) = prefix {
            model.routes.push(At::new(line.id, Route { prefix: prefix.trunc(), via }));
            // Revised when it leads through a tunnel.
            return hinted("FRR: ip route");
        }
    }
    model.routing_notes.push(At::new(line.id, line.text.to_owned()));
    hinted(BY_HAND)
}
