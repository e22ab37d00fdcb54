//! VyOS: `set` commands with `edit` and `top`, or the form with braces. Both become paths.

mod ipsec;
pub(super) mod nhrp;
mod path;
mod routing;
mod tunnel;

use self::{ipsec::Ipsec, path::Place};
use super::{
    Read,
    line::{At, Cut, Line},
    model::Model,
    verdict::{Hidden, Judgement, hinted, ignored, unknown},
};

/// Reads a configuration of VyOS.
#[derive(Debug, Default)]
pub(super) struct Reader {
    model: Model,
    nhrp: nhrp::Maps,
    ipsec: Ipsec,
    place: Place,
}

impl Read for Reader {
    const CUT: Cut = Cut::Quoted;

    fn line(&mut self, line: &Line<'_>) -> Judgement {
        match self.place.read(line) {
            path::Step::Said(judgement) => judgement,
            path::Step::Path { words, here } => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let judgement = self.path(line, &words);
                // The words of the line are the last ones of the path, behind `set`.
                match judgement.secret {
                    Hidden::From(place) => {
                        judgement.secret(Hidden::From(place.saturating_sub(here.before) + here.set))
                    }
                    _ => judgement,
                }
            }
        }
    }

    fn finish(self) -> Model {
        let Self { mut model, nhrp, ipsec, .. } = self;
        nhrp.finish(&mut model);
        ipsec.finish(&mut model);
        model
    }
}

impl Reader {
    fn path(&mut self, line: &Line<'_>, words: &[&str]) -> Judgement {
        let at = line.id;
        match words {
            ["interfaces" | "interface", "tunnel", name, rest @ ..] => {
                tunnel::line(&mut self.model, at, name, rest)
            }
            ["protocols", "nhrp", "tunnel", name, rest @ ..] => {
                nhrp::line(&mut self.model, &mut self.nhrp, at, name, rest)
            }
            ["vpn", "ipsec", rest @ ..] => {
                self.model.ipsec_lines.insert(at);
                self.ipsec.line(&mut self.model, at, rest)
            }
            ["vpn", ..] => ignored("not about tunnels of DMVPN"),
            ["protocols", rest @ ..] => routing::line(&mut self.model, at, rest),
            ["policy", ..] => {
                self.model.routing_notes.push(At::new(at, words.join(" ")));
                hinted("a comment in the FRR fragment: translate it by hand")
            }
            ["interfaces", _, name, "address", address] => match address.parse() {
                Ok(prefix) => {
                    let index = self.model.underlay(name);
                    if let Some(interface) = self.model.underlay.get_mut(index)
                        && interface.address.is_none()
                    {
                        interface.address = Some(At::new(at, prefix));
                    }
                    ignored("address of an interface that is no tunnel")
                }
                Err(_) => ignored("of an interface that is no tunnel"),
            },
            ["interfaces", ..] => ignored("of an interface that is no tunnel"),
            [
                "system" | "service" | "firewall" | "nat" | "nat66" | "pki" | "qos" | "traffic-policy"
                | "high-availability" | "container" | "load-balancing" | "zone-policy" | "cluster" | "vrf",
                ..,
            ] => ignored("not about tunnels"),
            _ => unknown("not understood"),
        }
    }
}
