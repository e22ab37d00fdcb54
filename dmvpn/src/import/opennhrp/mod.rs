//! A Linux box with OpenNHRP: opennhrp.conf, and the files beside it: racoon.conf, psk.txt, setkey.conf, ifcfg files,
//! commands of iproute2 and ifconfig, Quagga's daemons. One reader for all: their lines start with different words.

mod nhrp;
mod racoon;
mod routing;
mod system;

use self::racoon::Racoon;
use super::{
    Read,
    line::{At, Cut, Line},
    model::Model,
    verdict::{Judgement, converted, hinted, ignored, unknown},
};

/// Reads the configuration of OpenNHRP and what it works with.
#[derive(Debug, Default)]
pub(super) struct Reader {
    model: Model,
    racoon: Racoon,
    context: Context,
    /// Number of the file that the last line was of.
    file: usize,
    ifcfg: system::Ifcfg,
}

/// What the lines before began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Context {
    #[default]
    Top,
    /// `interface NAME`, of opennhrp.conf or of a routing daemon.
    Tunnel(usize),
    Router(usize),
    /// A file that starts with `#!`.
    Script,
    /// `[Unit]` and the like.
    Service,
    /// Lines that are left to a person.
    RoutingNote,
}

impl Read for Reader {
    const CUT: Cut = Cut::Braces;

    fn line(&mut self, line: &Line<'_>) -> Judgement {
        if line.file != self.file || line.number == 1 {
            self.next_file(line);
        }
        if line.text.is_empty() {
            return ignored("empty");
        }
        if self.context == Context::Script {
            return system::script(&mut self.model, &mut self.racoon, line);
        }
        if line.text.starts_with('[') && line.text.ends_with(']') {
            self.context = Context::Service;
            return ignored("of a service's unit: dmvpn has its own");
        }
        if self.context == Context::Service {
            return ignored("of a service's unit: dmvpn has its own");
        }
        let words = line.words();
        if words.is_empty() || line.text.starts_with('!') {
            return ignored("comment");
        }
        if let Some(judgement) = self.racoon.line(line.id, &words) {
            self.model.ipsec_lines.insert(line.id);
            return judgement;
        }
        if let Some(judgement) = self.top(line, &words) {
            return judgement;
        }
        self.inside(line, &words)
    }

    fn finish(mut self) -> Model {
        self.ifcfg.finish(&mut self.model);
        self.racoon.finish(&mut self.model);
        self.model
    }
}

impl Reader {
    fn next_file(&mut self, line: &Line<'_>) {
        self.file = line.file;
        self.racoon.next_file();
        std::mem::take(&mut self.ifcfg).finish(&mut self.model);
        self.context = if line.text.starts_with("#!") { Context::Script } else { Context::Top };
    }

    /// A line that stands for itself or begins something; `None`: it is of what is before it.
    fn top(&mut self, line: &Line<'_>, words: &[&str]) -> Option<Judgement> {
        let at = line.id;
        Some(match words {
            ["interface", name] => {
                let index = self.model.tunnel(name, at);
                self.context = Context::Tunnel(index);
                let name = self.model.tunnels.get(index).map_or("", |tunnel| &tunnel.name);
                converted(format!("tunnel {name}"))
            }
            ["router", kind @ ("rip" | "ospf" | "bgp"), rest @ ..] => {
                let header = match (*kind, rest) {
                    ("bgp", [number, ..]) => format!("router bgp {number}"),
                    _ => format!("router {kind}"),
                };
                self.context = Context::Router(self.model.router(&header, at));
                hinted(format!("FRR: {header}"))
            }
            ["router" | "route-map" | "access-list", ..] | ["ip", "prefix-list", ..] => {
                self.context = Context::RoutingNote;
                routing::note(&mut self.model, line)
            }
            ["line", "vty"] => {
                self.context = Context::Top;
                ignored("not about tunnels")
            }
            ["hostname" | "password" | "enable" | "log" | "service", ..] => {
                ignored("of a routing daemon: FRR is set up by itself")
            }
            ["ip", "route", rest @ ..] => routing::static_route(&mut self.model, line, rest),
            ["ip" | "ifconfig" | "sysctl" | "modprobe" | "echo" | "chmod" | "ifup" | "systemctl", ..] => {
                if let ["ip", "rip" | "ospf" | "pim", ..] = words {
                    return None;
                }
                system::command(&mut self.model, at, words)
            }
            ["$" | "#", ..] => ignored("a command, not configuration"),
            [single] if single.contains('=') => self.ifcfg.line(at, single),
            _ => return None,
        })
    }

    fn inside(&mut self, line: &Line<'_>, words: &[&str]) -> Judgement {
        match self.context {
            Context::Tunnel(index) => {
                let Some(tunnel) = self.model.tunnels.get_mut(index) else {
                    return unknown("not understood");
                };
                match routing::of_interface(tunnel, line, words) {
                    Some(judgement) => judgement,
                    None => nhrp::line(tunnel, line, words),
                }
            }
            Context::Router(index) => routing::line(&mut self.model, index, line, words),
            Context::RoutingNote => routing::note(&mut self.model, line),
            Context::Top | Context::Script | Context::Service => match words {
                [peer, key] => self.racoon.shared_key(&mut self.model, line.id, peer, key),
                _ => unknown("not understood"),
            },
        }
    }
}

/// A value with its line.
fn at(at: usize, word: &str) -> At<String> {
    At::new(at, word.to_owned())
}
