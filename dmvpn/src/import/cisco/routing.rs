//! Routing: lines for FRR, whose syntax is mostly the same.

use super::super::{
    line::{At, Line},
    model::{Model, Route, Tunnel},
    prefix,
    verdict::{Judgement, hinted, ignored, unknown},
};

/// A routing protocol that FRR has, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Process {
    Ospf,
    Rip,
    Eigrp,
    Bgp,
}

const BY_HAND: &str = "a comment in the FRR fragment: translate it by hand";

impl Process {
    pub(super) fn new(kind: &str) -> Option<Self> {
        Some(match kind {
            "ospf" => Self::Ospf,
            "rip" => Self::Rip,
            "eigrp" => Self::Eigrp,
            "bgp" => Self::Bgp,
            _ => return None,
        })
    }

    /// The line that starts it in FRR. OSPF has one process there; its number meant something only on the old box.
    pub(super) fn header(self, rest: &[&str]) -> String {
        let number = rest.first().copied().unwrap_or("1");
        match self {
            Self::Ospf => "router ospf".to_owned(),
            Self::Rip => "router rip".to_owned(),
            Self::Eigrp => format!("router eigrp {number}"),
            Self::Bgp => format!("router bgp {number}"),
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
) -> Judgement {
    if let ["no", "auto-summary" | "synchronization"] = words {
        return ignored("FRR does not do it anyway");
    }
    if let Some(text) = translate(process, words) {
        let judgement = hinted(format!("FRR: {}", outline(&text)));
        if let Some(router) = model.routers.get_mut(index) {
            router.lines.push(At::new(line.id, text));
        }
        judgement
    } else {
        model.routing_notes.push(At::new(line.id, line.text.to_owned()));
        hinted(BY_HAND)
    }
}

/// The first words of a line for FRR: what is behind them may be a password.
fn outline(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    match words
        .iter()
        .position(|word| matches!(*word, "password" | "authentication-key" | "message-digest-key"))
    {
        Some(place) => format!("{} ...", words[..=place].join(" ")),
        None => text.to_owned(),
    }
}

fn translate(process: Process, words: &[&str]) -> Option<String> {
    Some(match (process, words) {
        (Process::Ospf, ["network", network, wildcard, "area", area]) => {
            format!("network {} area {area}", prefix::with_wildcard(network, wildcard)?)
        }
        (Process::Ospf, ["router-id", id]) => format!("ospf router-id {id}"),
        (Process::Ospf, ["redistribute", source @ .., "subnets"]) => {
            format!("redistribute {}", source.join(" "))
        }
        (
            Process::Ospf,
            [
                "redistribute"
                | "area"
                | "default-information"
                | "log-adjacency-changes"
                | "auto-cost"
                | "default-metric"
                | "distance"
                | "maximum-paths",
                ..,
            ],
        )
        | (Process::Rip, ["version" | "neighbor" | "redistribute" | "default-information" | "timers", ..])
        | (Process::Eigrp, ["neighbor" | "redistribute" | "variance" | "maximum-paths", ..])
        | (
            Process::Bgp,
            [
                "neighbor"
                | "bgp"
                | "redistribute"
                | "maximum-paths"
                | "aggregate-address"
                | "exit-address-family"
                | "timers",
                ..,
            ]
            | ["no", "bgp", "default", ..],
        ) => words.join(" "),
        (Process::Rip | Process::Eigrp, ["network", network]) => {
            format!("network {}", prefix::classful(network)?)
        }
        (Process::Eigrp, ["network", network, wildcard]) => {
            format!("network {}", prefix::with_wildcard(network, wildcard)?)
        }
        (Process::Eigrp, ["eigrp", "router-id", id]) => format!("eigrp router-id {id}"),
        (Process::Bgp, ["network", network, "mask", mask]) => {
            format!("network {}", prefix::with_mask(network, mask)?.trunc())
        }
        (Process::Bgp, ["network", network]) => format!("network {}", prefix::classful(network)?),
        (Process::Bgp, ["address-family", "ipv4"] | ["address-family", "ipv4", "unicast"]) => {
            "address-family ipv4 unicast".to_owned()
        }
        _ => return None,
    })
}

/// A line about routing in `interface Tunnel`; `None`: it is not about routing.
pub(super) fn of_interface(tunnel: &mut Tunnel, line: &Line<'_>, words: &[&str]) -> Option<Judgement> {
    let text = match words {
        ["ip", "ospf", "network", kind @ ..] => format!("ip ospf network {}", kind.join(" ")),
        ["ip", "ospf", process, "area", area] if process.parse::<u32>().is_ok() => {
            format!("ip ospf area {area}")
        }
        [
            "ip",
            "ospf",
            "priority"
            | "mtu-ignore"
            | "cost"
            | "hello-interval"
            | "dead-interval"
            | "authentication"
            | "authentication-key"
            | "message-digest-key"
            | "retransmit-interval"
            | "transmit-delay"
            | "bfd",
            ..,
        ]
        | ["ip", "rip", ..] => words.join(" "),
        ["no", "ip", "split-horizon"] => "no ip rip split-horizon".to_owned(),
        ["ip", "split-horizon"] => "ip rip split-horizon".to_owned(),
        ["ip", "pim", ..] => "ip pim".to_owned(),
        // No such switch in FRR's eigrpd, which has none of both on multipoint interfaces.
        ["ip" | "no", .., "eigrp", _]
        | [
            "ip",
            "summary-address" | "hello-interval" | "hold-time" | "bandwidth-percent" | "ospf" | "igmp"
            | "bfd",
            ..,
        ]
        | ["bfd", ..] => {
            tunnel.frr.push(At::new(line.id, format!("! {}", line.text)));
            return Some(hinted(BY_HAND));
        }
        _ => return None,
    };
    let judgement = hinted(format!("FRR: {}", outline(&text)));
    tunnel.frr.push(At::new(line.id, text));
    Some(judgement)
}

/// `ip route ...`.
pub(super) fn static_route(model: &mut Model, line: &Line<'_>, words: &[&str]) -> Judgement {
    let [network, mask, rest @ ..] = words else { return unknown("not understood") };
    let via = rest.iter().find_map(|word| word.parse().ok());
    if let (Some(prefix), Some(via)) = (prefix::with_mask(network, mask), via) {
        model.routes.push(At::new(line.id, Route { prefix: prefix.trunc(), via }));
        // Revised when it leads through a tunnel.
        hinted("FRR: ip route")
    } else {
        model.routing_notes.push(At::new(line.id, line.text.to_owned()));
        hinted(BY_HAND)
    }
}
