//! Cisco IOS and IOS XE: blocks that start at the margin. Pasted text may have lost its indentation and may have
//! prompts in front, so a line is of the block that it can be of.

mod crypto;
mod policy;
mod protect;
mod routing;
pub(super) mod tunnel;

use self::{crypto::Crypto, routing::Process};
use super::{
    Read,
    line::{At, Cut, Line},
    model::Model,
    prefix,
    verdict::{Judgement, converted, hinted, ignored, unknown},
};

/// Reads a configuration of Cisco IOS.
#[derive(Debug, Default)]
pub(super) struct Reader {
    model: Model,
    crypto: Crypto,
    block: Block,
}

/// What the last line at the margin began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Block {
    #[default]
    Top,
    Tunnel(usize),
    Underlay(usize),
    Crypto(crypto::Block),
    Router(usize, Process),
    Policy(usize),
    /// Something about routing that is left to a person.
    RoutingNote,
    /// Something else.
    Unrelated,
    /// Text up to this character, or two.
    Banner([char; 2]),
}

/// Commands at a prompt, and what a terminal prints around a configuration.
const COMMANDS: [&str; 18] = [
    "show",
    "ping",
    "debug",
    "undebug",
    "traceroute",
    "configure",
    "copy",
    "write",
    "clear",
    "terminal",
    "Building",
    "Current",
    "do",
    "reload",
    "test",
    "telnet",
    "ssh",
    "wr",
];

/// Starts of lines at the margin that are about something else.
const UNRELATED: [&str; 47] = [
    "version",
    "service",
    "hostname",
    "boot",
    "boot-start-marker",
    "boot-end-marker",
    "aaa",
    "clock",
    "login",
    "multilink",
    "license",
    "username",
    "redundancy",
    "lldp",
    "cdp",
    "snmp-server",
    "ntp",
    "line",
    "control-plane",
    "enable",
    "logging",
    "archive",
    "memory",
    "platform",
    "spanning-tree",
    "subscriber",
    "diagnostic",
    "call-home",
    "access-list",
    "class-map",
    "voice-port",
    "dial-peer",
    "gatekeeper",
    "mgcp",
    "sip-ua",
    "event",
    "track",
    "netconf",
    "netconf-yang",
    "restconf",
    "scheduler",
    "vlan",
    "vtp",
    "key",
    "dialer-list",
    "privilege",
    "tftp-server",
];

/// The same below `ip` and `no ip`.
const UNRELATED_IP: [&str; 24] = [
    "access-list",
    "nat",
    "http",
    "ssh",
    "scp",
    "domain",
    "domain-name",
    "domain-lookup",
    "name-server",
    "cef",
    "forward-protocol",
    "dhcp",
    "host",
    "finger",
    "source-route",
    "bootp",
    "gratuitous-arps",
    "inspect",
    "flow-export",
    "flow-cache",
    "sla",
    "tftp",
    "ftp",
    "classless",
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
        let Self { mut model, crypto, .. } = self;
        crypto.finish(&mut model);
        model
    }
}

impl Reader {
    /// A line without its prompt.
    fn command(&mut self, line: &Line<'_>) -> Judgement {
        let words = line.words();
        if let Block::Banner(end) = self.block {
            if line.text.contains(String::from_iter(end).trim_end_matches('\0')) {
                self.block = Block::Top;
            }
            return ignored("of a banner");
        }
        match words.as_slice() {
            [] => return ignored("empty"),
            [first, ..] if first.starts_with('!') => return ignored("comment"),
            ["end" | "exit"] => {
                self.block = Block::Top;
                return ignored("end of a block");
            }
            [first, ..] if COMMANDS.contains(first) => return ignored("a command, not configuration"),
            _ => {}
        }
        let inside = self.block != Block::Top && line.indent > 0
            // Of RIP, where indentation is lost; the release of the software otherwise.
            || matches!((self.block, words.as_slice()), (Block::Router(..), ["version", "1" | "2"]));
        if !inside && let Some(judgement) = self.top(line, &words) {
            return judgement;
        }
        self.inside(line, &words)
    }

    /// A line at the margin that begins something; `None`: it is of the block before it.
    fn top(&mut self, line: &Line<'_>, words: &[&str]) -> Option<Judgement> {
        let at = line.id;
        Some(match words {
            ["interface", name @ ..] if !name.is_empty() => self.interface(at, &name.concat()),
            ["crypto", rest @ ..] => match self.crypto.top(at, rest) {
                Some((block, judgement)) => {
                    self.block = block.map_or(Block::Unrelated, Block::Crypto);
                    self.model.ipsec_lines.insert(at);
                    judgement
                }
                None => unknown("not understood"),
            },
            ["router", kind, rest @ ..] => {
                let Some(process) = Process::new(kind) else {
                    self.block = Block::RoutingNote;
                    return Some(self.routing_note(line));
                };
                let header = process.header(rest);
                self.block = Block::Router(self.model.router(&header, at), process);
                hinted(format!("FRR: {header}"))
            }
            ["ip", "route", rest @ ..] => routing::static_route(&mut self.model, line, rest),
            ["route-map", ..] | ["ip", "prefix-list" | "as-path" | "community-list", ..] => {
                self.block = Block::RoutingNote;
                self.routing_note(line)
            }
            ["bfd-template" | "key", ..] | ["ip", "multicast-routing" | "pim", ..]
                if matches!(self.block, Block::Top | Block::Unrelated | Block::RoutingNote) =>
            {
                self.block = Block::RoutingNote;
                self.routing_note(line)
            }
            ["policy-map", .., name] => {
                self.block = Block::Policy(policy::of(&mut self.model, name));
                ignored("queueing is the kernel's (`tc`)")
            }
            ["vrf", "definition", ..] | ["ip", "vrf", _] => {
                self.block = Block::Unrelated;
                hinted("VRFs: run an agent for each in a network namespace of its own")
            }
            ["banner", _, text, ..] => {
                let mut start = text.chars();
                // `^C` stands for a control character.
                let end = match (start.next(), start.next()) {
                    (Some('^'), Some(letter)) => ['^', letter],
                    (Some(letter), _) => [letter, '\0'],
                    (None, _) => return None,
                };
                let end_text = String::from_iter(end);
                let is_open = line.text.matches(end_text.trim_end_matches('\0')).count() < 2;
                self.block = if is_open { Block::Banner(end) } else { Block::Top };
                ignored("a banner")
            }
            [first, ..] if UNRELATED.contains(first) => self.unrelated(),
            ["ip", second, ..] | ["no", "ip", second, ..] if UNRELATED_IP.contains(second) => {
                self.unrelated()
            }
            ["no", first, ..] if UNRELATED.contains(first) => self.unrelated(),
            _ => return None,
        })
    }

    fn interface(&mut self, at: usize, name: &str) -> Judgement {
        let is_tunnel = name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("tunnel"));
        if is_tunnel {
            let index = self.model.tunnel(name, at);
            self.block = Block::Tunnel(index);
            let name = self.model.tunnels.get(index).map_or("", |tunnel| &tunnel.name);
            converted(format!("tunnel {name}"))
        } else {
            self.block = Block::Underlay(self.model.underlay(name));
            ignored("no tunnel")
        }
    }

    fn unrelated(&mut self) -> Judgement {
        self.block = Block::Unrelated;
        ignored("not about tunnels")
    }

    fn routing_note(&mut self, line: &Line<'_>) -> Judgement {
        self.model.routing_notes.push(At::new(line.id, line.text.to_owned()));
        hinted("a comment in the FRR fragment: translate it by hand")
    }

    fn inside(&mut self, line: &Line<'_>, words: &[&str]) -> Judgement {
        match self.block {
            Block::Tunnel(index) => tunnel::line(&mut self.model, index, line, words),
            Block::Underlay(index) => self.underlay(index, line, words),
            Block::Crypto(block) => {
                self.model.ipsec_lines.insert(line.id);
                self.crypto.inside(block, line.id, words)
            }
            Block::Router(index, process) => routing::line(&mut self.model, index, process, line, words),
            Block::Policy(place) => policy::line(&mut self.model, place, line.id, words),
            Block::RoutingNote => self.routing_note(line),
            Block::Unrelated if line.indent > 0 => ignored("not about tunnels"),
            Block::Top | Block::Banner(_) | Block::Unrelated => unknown("not understood"),
        }
    }

    fn underlay(&mut self, index: usize, line: &Line<'_>, words: &[&str]) -> Judgement {
        match words {
            ["ip", "address", address, mask] => match prefix::with_mask(address, mask) {
                Some(prefix) => {
                    if let Some(interface) = self.model.underlay.get_mut(index) {
                        interface.address = Some(At::new(line.id, prefix));
                    }
                    ignored("address of an interface that is no tunnel's source")
                }
                None => unknown("not an address and a mask"),
            },
            ["ipv6", "address", prefix] => match prefix.parse() {
                Ok(prefix) => {
                    if let Some(interface) = self.model.underlay.get_mut(index) {
                        interface.address6 = Some(At::new(line.id, prefix));
                    }
                    ignored("address of an interface that is no tunnel's source")
                }
                Err(_) => unknown("not an address with a length"),
            },
            ["ip", "ospf" | "rip" | "pim" | "summary-address" | "split-horizon", ..]
            | ["no", "ip", "ospf" | "rip" | "pim" | "split-horizon", ..] => self.routing_note(line),
            _ => ignored("of an interface that is no tunnel"),
        }
    }
}

/// How many bytes of `text` are a prompt, as in `R1(config-if)#`.
fn prompt(text: &str) -> usize {
    let Some(end) = text.find(['#', '>']) else { return 0 };
    let name = &text[..end];
    let name = match name.split_once('(') {
        Some((name, mode)) if mode.starts_with("config") && mode.ends_with(')') => name,
        Some(_) => return 0,
        None => name,
    };
    let legal = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if !name.is_empty() && name.chars().all(legal) { end + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_prompts() {
        for (text, expected) in [
            ("R1(config-if)# ip mtu 1400", "ip mtu 1400"),
            ("Router#show ip nhrp", "show ip nhrp"),
            ("R>enable", "enable"),
            ("ip nhrp authentication a#b", "ip nhrp authentication a#b"),
            ("(config)#x", "(config)#x"),
        ] {
            assert_eq!(text[prompt(text)..].trim_start(), expected);
        }
    }
}
