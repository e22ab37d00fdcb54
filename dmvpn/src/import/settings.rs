//! Settings of a tunnel that vendors spell apart and mean alike.

use super::{
    line::{At, LineId},
    model::Tunnel,
    verdict::{Judgement, converted, hinted, unknown},
};

/// A fixed type of service of outer headers, as the whole octet: the lower two bits of it are ECN's.
pub(super) fn type_of_service(tunnel: &mut Tunnel, at: LineId, octet: Option<u8>) -> Judgement {
    let Some(octet) = octet else { return unknown("not a type of service") };
    tunnel.tos = Some(At::new(at, (octet >> 2).to_string()));
    match octet & 3 {
        0 => converted("tos"),
        _ => converted("tos; the lower two bits are ECN's, which the inner packet says"),
    }
}

/// The same as iproute2 has it: in hexadecimal, with or without `0x`; its lowest bit takes the inner packet's.
pub(super) fn type_of_service_of_linux(tunnel: &mut Tunnel, at: LineId, text: &str) -> Judgement {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    match u8::from_str_radix(digits, 16) {
        Ok(octet) if octet & 1 == 1 => {
            tunnel.tos = Some(At::new(at, "inherit".to_owned()));
            converted("tos: inherit")
        }
        octet => type_of_service(tunnel, at, octet.ok()),
    }
}

/// A VRF, inside or outside: a network namespace has both.
pub(super) fn vrf(tunnel: &mut Tunnel, at: LineId, text: &str, name: &str) -> Judgement {
    tunnel.hints.push(At::new(
        at,
        format!("{text}: run the agent in a network namespace that has the LAN and the underlay interface"),
    ));
    hinted(format!("VRF: run the agent in a network namespace, as `ip netns exec {name} dmvpn run`"))
}

/// A rule for packets that pass the tunnel interface.
pub(super) fn firewall(tunnel: &mut Tunnel, at: LineId, text: &str) -> Judgement {
    tunnel.hints.push(At::new(
        at,
        format!("{text}: Linux' firewall sees what goes from peer to peer only with `fast-path: off`"),
    ));
    hinted("netfilter; `fast-path: off` shows it what goes from peer to peer, too")
}

/// Reverse path filtering on the tunnel interface.
pub(super) fn check_source(tunnel: &mut Tunnel, at: LineId) -> Judgement {
    tunnel.check_source = Some(at);
    converted("check-source")
}

/// GRE keepalives.
pub(super) fn keepalive() -> Judgement {
    hinted(
        "no GRE keepalives are sent: registrations find out who is gone (registration-interval, holding-time)",
    )
}
