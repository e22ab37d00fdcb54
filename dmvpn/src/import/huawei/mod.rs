//! Huawei USG and AR (VRP): blocks that start at the margin, lines of a block behind a space.

mod ipsec;
mod routing;
mod tunnel;

use self::{ipsec::Ipsec, routing::Process};
use super::{
    Read,
    line::{At, Cut, Line},
    model::Model,
    prefix,
    verdict::{Judgement, converted, hinted, ignored, unknown},
};

/// Reads a configuration of Huawei's VRP.
#[derive(Debug, Default)]
pub(super) struct Reader {
    model: Model,
    ipsec: Ipsec,
    block: Block,
}

/// What the last line at the margin began.
#[derive(Clone, Debug, Default)]
enum Block {
    #[default]
    Top,
    Tunnel(usize),
    Underlay(usize),
    Ipsec(ipsec::Block),
    Router(usize, Process),
    Unrelated,
}

/// Commands at a prompt.
const COMMANDS: [&str; 11] = [
    "display",
    "ping",
    "tracert",
    "system-view",
    "save",
    "reset",
    "debugging",
    "terminal",
    "commit",
    "refresh",
    "dis",
];

/// Starts of lines at the margin that are about something else.
const UNRELATED: [&str; 46] = [
    "sysname",
    "acl",
    "aaa",
    "user-interface",
    "firewall",
    "security-policy",
    "nat-policy",
    "nat",
    "snmp-agent",
    "ntp",
    "ntp-service",
    "info-center",
    "dns",
    "dhcp",
    "stp",
    "vlan",
    "ip-address-set",
    "time-range",
    "web-manager",
    "ssh",
    "telnet",
    "stelnet",
    "sftp",
    "ftp",
    "http",
    "lldp",
    "clock",
    "board",
    "license",
    "drop",
    "set",
    "pki",
    "rsa",
    "local-user",
    "authentication-scheme",
    "traffic",
    "qos",
    "l2tp",
    "right-manager",
    "user-manage",
    "anti-attack",
    "cpu-defend",
    "mpls",
    "efm",
    "wlan",
    "!Software",
];

impl Read for Reader {
    const CUT: Cut = Cut::Plain;

    fn line(&mut self, line: &Line<'_>) -> Judgement {
        let command = line.without(prompt(line.text), Self::CUT);
        let judgement = self.command(&command);
        let secret = judgement.secret.behind(line.words_before(&command));
        judgement.secret(secret)
    }

    fn finish(self) -> Model {
        let Self { mut model, ipsec, .. } = self;
        ipsec.finish(&mut model);
        model
    }
}

impl Reader {
    /// A line without its prompt.
    fn command(&mut self, line: &Line<'_>) -> Judgement {
        let words = line.words();
        match words.as_slice() {
            [] => return ignored("empty"),
            [first, ..] if first.starts_with(['#', '!']) => return ignored("comment"),
            ["return" | "quit"] => {
                self.block = Block::Top;
                return ignored("end of a block");
            }
            [first, ..] if COMMANDS.contains(first) => return ignored("a command, not configuration"),
            _ => {}
        }
        let inside = line.indent > 0 && !matches!(self.block, Block::Top);
        if !inside && let Some(judgement) = self.top(line, &words) {
            return judgement;
        }
        self.inside(line, &words)
    }

    /// A line at the margin that begins something; `None`: it is of the block before it.
    fn top(&mut self, line: &Line<'_>, words: &[&str]) -> Option<Judgement> {
        let at = line.id;
        if matches!(self.block, Block::Tunnel(_)) && matches!(words, ["ipsec", "profile", _, "shared"]) {
            return None;
        }
        Some(match words {
            ["interface", name @ ..] if !name.is_empty() => self.interface(at, &name.concat()),
            ["ike" | "ipsec", ..] => match self.ipsec.top(at, words) {
                Some((block, judgement)) => {
                    self.block = block.map_or(Block::Top, Block::Ipsec);
                    self.model.ipsec_lines.insert(at);
                    judgement
                }
                None => unknown("not understood"),
            },
            ["ospf" | "rip" | "bgp", rest @ ..]
                if !matches!(self.block, Block::Tunnel(_)) || line.indent == 0 =>
            {
                let process = Process::new(words)?;
                let header = process.header(rest);
                let index = self.model.router(&header, at);
                self.block = Block::Router(index, process);
                if let ["ospf", _, "router-id", id] = words
                    && let Some(router) = self.model.routers.get_mut(index)
                {
                    router.lines.push(At::new(at, format!("ospf router-id {id}")));
                }
                hinted(format!("FRR: {header}"))
            }
            ["ip", "route-static", rest @ ..] => routing::static_route(&mut self.model, line, rest),
            ["route-policy", ..] | ["ip", "ip-prefix", ..] => self.note(line),
            ["ip", "vpn-instance", ..] => {
                self.block = Block::Unrelated;
                hinted("VPN instances: run an agent for each in a network namespace of its own")
            }
            [first, ..] | ["undo", first, ..] if UNRELATED.contains(first) => {
                self.block = Block::Unrelated;
                ignored("not about tunnels")
            }
            ["nhrp", "identity", ..] | ["undo", "nhrp", "identity", ..] => {
                ignored("private extensions are not sent; those of others are passed on")
            }
            _ => return None,
        })
    }

    fn interface(&mut self, at: usize, name: &str) -> Judgement {
        if name.starts_with("Tunnel") {
            let index = self.model.tunnel(name, at);
            self.block = Block::Tunnel(index);
            let name = self.model.tunnels.get(index).map_or("", |tunnel| &tunnel.name);
            converted(format!("tunnel {name}"))
        } else {
            self.block = Block::Underlay(self.model.underlay(name));
            ignored("no tunnel")
        }
    }

    fn note(&mut self, line: &Line<'_>) -> Judgement {
        self.model.routing_notes.push(At::new(line.id, line.text.to_owned()));
        hinted("a comment in the FRR fragment: translate it by hand")
    }

    fn inside(&mut self, line: &Line<'_>, words: &[&str]) -> Judgement {
        match self.block.clone() {
            Block::Tunnel(index) => tunnel::line(&mut self.model, index, line, words),
            Block::Underlay(index) => match words {
                ["ip", "address", address, mask] => match prefix::with_mask(address, mask) {
                    Some(prefix) => {
                        if let Some(interface) = self.model.underlay.get_mut(index) {
                            interface.address = Some(At::new(line.id, prefix));
                        }
                        ignored("address of an interface that is no tunnel's source")
                    }
                    None => unknown("not an address and a mask"),
                },
                ["ospf" | "rip", ..] => self.note(line),
                _ => ignored("of an interface that is no tunnel"),
            },
            Block::Ipsec(block) => {
                self.model.ipsec_lines.insert(line.id);
                self.ipsec.inside(block, line.id, words)
            }
            Block::Router(index, process) => {
                let (process, judgement) = routing::line(&mut self.model, index, process, line, words);
                self.block = Block::Router(index, process);
                judgement
            }
            Block::Unrelated if line.indent > 0 => ignored("not about tunnels"),
            Block::Top | Block::Unrelated => unknown("not understood"),
        }
    }
}

/// How many bytes of `text` are a prompt, as in `[USG-Tunnel0]` or `<USG>`.
fn prompt(text: &str) -> usize {
    let end = match text.chars().next() {
        Some('[') => text.find(']'),
        Some('<') => text.find('>'),
        _ => None,
    };
    end.map_or(0, |end| end + 1)
}
