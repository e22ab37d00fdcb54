//! `vpn ipsec ...`.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{
    ciphers::{self, Algorithm},
    line::{At, LineId},
    model::{Auth, Mode, Model, Profile, SharedKey, Suite},
    verdict::{Hidden, Judgement, converted, hinted, ignored, refused, unknown},
};

/// Everything about IPsec, by name.
#[derive(Debug, Default)]
pub(super) struct Ipsec {
    esp: BTreeMap<String, Group>,
    ike: BTreeMap<String, Group>,
    profiles: BTreeMap<String, Draft>,
}

/// An esp-group or an ike-group.
#[derive(Debug, Default)]
struct Group {
    lines: BTreeSet<LineId>,
    proposals: BTreeMap<u32, Proposal>,
    lifetime: Option<u64>,
    bytes: Option<u64>,
    mode: Mode,
    pfs: Pfs,
    version: u8,
    aggressive: bool,
    dpd_interval: Option<u64>,
    dpd_timeout: Option<u64>,
    dpd_action: Option<&'static str>,
    close_action: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Pfs {
    /// With the group of IKE.
    #[default]
    OfIke,
    Off,
    Group(Algorithm),
}

#[derive(Clone, Debug, Default)]
struct Proposal {
    lines: BTreeSet<LineId>,
    cipher: Option<Algorithm>,
    hash: Option<Algorithm>,
    random_function: Option<Algorithm>,
    group: Option<Algorithm>,
}

#[derive(Debug, Default)]
struct Draft {
    lines: BTreeSet<LineId>,
    key: Option<(LineId, String)>,
    certificate: bool,
    esp: Option<String>,
    ike: Option<String>,
}

/// Words in a path before those of a profile's settings: `vpn ipsec profile NAME`.
const BEFORE: usize = 4;

impl Ipsec {
    /// What becomes of a line.
    pub(super) fn line(&mut self, model: &mut Model, at: LineId, words: &[&str]) -> Judgement {
        match words {
            ["esp-group", name, rest @ ..] => {
                // VyOS: tunnel mode unless it is said otherwise.
                let new = || Group { mode: Mode::Tunnel, ..Group::default() };
                let group = self.esp.entry((*name).to_owned()).or_insert_with(new);
                group.lines.insert(at);
                group.esp(at, rest)
            }
            ["ike-group", name, rest @ ..] => {
                let group = self.ike.entry((*name).to_owned()).or_default();
                group.lines.insert(at);
                group.ike(at, rest)
            }
            ["profile", name, rest @ ..] => {
                let profile = self.profiles.entry((*name).to_owned()).or_default();
                profile.lines.insert(at);
                profile.line(model, at, name, rest)
            }
            ["ipsec-interfaces", "interface", _] | ["interface", _] => {
                model.ipsec_lines.remove(&at);
                ignored("strongSwan listens on all interfaces")
            }
            ["site-to-site" | "remote-access" | "authentication", ..] => {
                model.ipsec_lines.remove(&at);
                hinted("no tunnel of DMVPN: see swanctl.conf")
            }
            [
                "logging"
                | "log"
                | "options"
                | "nat-traversal"
                | "nat-networks"
                | "auto-update"
                | "disable-uniqreqids"
                | "include-ipsec-conf"
                | "include-ipsec-secrets",
                ..,
            ] => {
                model.ipsec_lines.remove(&at);
                ignored("strongSwan does it in its own way")
            }
            _ => unknown("not understood"),
        }
    }

    /// Puts a [`Profile`] for every profile into the model.
    pub(super) fn finish(self, model: &mut Model) {
        for (name, draft) in &self.profiles {
            let protection = self.protection(name, draft, model);
            model.profiles.push(protection);
        }
    }

    fn protection(&self, name: &str, draft: &Draft, model: &mut Model) -> Profile {
        let mut to = Profile { name: name.to_owned(), lines: draft.lines.clone(), ..Profile::default() };
        if draft.certificate {
            to.auth = Auth::Certificate;
        }
        to.keys.extend(draft.key.iter().map(|(at, key)| SharedKey { at: *at, peer: None, key: key.clone() }));
        let mut missing = |what: &str| {
            let first = draft.lines.first().copied();
            model.revisions.extend(first.map(|at| (at, unknown(format!("its {what} is not there")))));
        };
        let mut of_ike = None;
        match draft.ike.as_ref().and_then(|name| self.ike.get(name)) {
            Some(ike) => {
                to.lines.extend(&ike.lines);
                to.version = ike.version;
                to.aggressive = ike.aggressive;
                to.ike_lifetime = ike.lifetime;
                to.dpd = ike.dpd_interval.map(|delay| (delay, ike.dpd_timeout));
                to.dpd_action = ike.dpd_action;
                to.close_action = ike.close_action;
                to.ike.extend(ike.proposals.values().map(|proposal| proposal.suite(proposal.group)));
                of_ike = ike.proposals.values().find_map(|proposal| proposal.group);
            }
            None => missing("ike-group"),
        }
        match draft.esp.as_ref().and_then(|name| self.esp.get(name)) {
            Some(esp) => {
                to.lines.extend(&esp.lines);
                to.mode = esp.mode;
                to.lifetime = esp.lifetime;
                to.lifetime_kilobytes = esp.bytes.map(|bytes| bytes / 1024);
                let group = match esp.pfs {
                    Pfs::OfIke => of_ike,
                    Pfs::Off => None,
                    Pfs::Group(group) => Some(group),
                };
                to.esp.extend(esp.proposals.values().map(|proposal| proposal.suite(group)));
            }
            None => missing("esp-group"),
        }
        if let Some(action) = to.dpd_action.or(to.close_action).filter(|action| *action == "restart") {
            let at = to.lines.first().copied().unwrap_or_default();
            to.notes.push(At::new(
                at,
                format!("`{action}` is not needed: the next packet raises a new association"),
            ));
        }
        to
    }
}

impl Proposal {
    fn suite(&self, group: Option<Algorithm>) -> Suite {
        let mut suite = Suite { lines: self.lines.clone(), ..Suite::default() };
        let at = self.lines.first().copied().unwrap_or_default();
        let alone = self.cipher.is_some_and(|cipher| ciphers::is_combined(cipher.name));
        let mut random_function = self.random_function;
        if alone && self.group.is_some() && random_function.is_none() {
            random_function = self.hash.and_then(|hash| ciphers::random_function(hash.name));
        }
        let parts = [self.cipher, self.hash.filter(|_| !alone), random_function, group];
        for algorithm in parts.into_iter().flatten() {
            suite.add(at, algorithm);
        }
        suite
    }

    fn line(&mut self, at: LineId, words: &[&str], setting: &str) -> Judgement {
        self.lines.insert(at);
        let (place, found) = match words {
            ["encryption", name] => (&mut self.cipher, ciphers::encryption(name, None)),
            ["hash", name] => (&mut self.hash, ciphers::integrity(name)),
            ["dh-group", name] => (&mut self.group, ciphers::group(name)),
            ["prf", name] => (
                &mut self.random_function,
                ciphers::random_function(name.strip_prefix("prf").unwrap_or(name)),
            ),
            [] => return converted(format!("swanctl: {setting}")),
            _ => return unknown("not understood"),
        };
        match found {
            Some(algorithm) => {
                *place = Some(algorithm);
                algorithm.judge(setting)
            }
            None => unknown("no algorithm of strongSwan"),
        }
    }
}

/// Takes the number, and says what becomes of its line.
fn number(place: &mut Option<u64>, text: &str, setting: &'static str) -> Judgement {
    match text.parse() {
        Ok(value) => {
            *place = Some(value);
            converted(setting)
        }
        Err(_) => unknown("not a number"),
    }
}

/// What strongSwan calls what VyOS does with a lost association.
fn action(word: &str) -> Option<&'static str> {
    Some(match word {
        "hold" | "trap" => "trap",
        "restart" | "start" => "restart",
        "clear" | "none" | "close" => "clear",
        _ => return None,
    })
}

impl Group {
    fn proposal(&mut self, at: LineId, number: &str, words: &[&str], setting: &str) -> Judgement {
        match number.parse() {
            Ok(number) => self.proposals.entry(number).or_default().line(at, words, setting),
            Err(_) => unknown("not a number"),
        }
    }

    fn esp(&mut self, at: LineId, words: &[&str]) -> Judgement {
        match words {
            ["proposal", number, rest @ ..] => self.proposal(at, number, rest, "esp_proposals"),
            ["compression", "disable"] => converted("swanctl: none, as by default"),
            ["compression", ..] => refused("compression leaks what is encrypted"),
            ["lifetime", seconds] => number(&mut self.lifetime, seconds, "swanctl: life_time"),
            ["life-bytes", bytes] => number(&mut self.bytes, bytes, "swanctl: life_bytes"),
            ["life-packets", ..] => hinted("swanctl: life_packets"),
            ["mode", "transport"] => {
                self.mode = Mode::Transport;
                converted("swanctl: mode, transport")
            }
            ["mode", "tunnel"] => {
                self.mode = Mode::Tunnel;
                converted("swanctl: mode, tunnel")
            }
            ["pfs", "enable"] => {
                self.pfs = Pfs::OfIke;
                converted("swanctl: esp_proposals, with the group of IKE")
            }
            ["pfs", "disable"] => {
                self.pfs = Pfs::Off;
                converted("swanctl: esp_proposals")
            }
            ["pfs", name] => match ciphers::group(name) {
                Some(group) => {
                    self.pfs = Pfs::Group(group);
                    group.judge("esp_proposals")
                }
                None => unknown("no group of strongSwan"),
            },
            ["disable-rekey"] => hinted("swanctl: rekey_time = 0"),
            [] => converted("swanctl: esp_proposals"),
            _ => unknown("not understood"),
        }
    }

    fn ike(&mut self, at: LineId, words: &[&str]) -> Judgement {
        match words {
            ["proposal", number, rest @ ..] => self.proposal(at, number, rest, "proposals"),
            ["lifetime", seconds] => number(&mut self.lifetime, seconds, "swanctl: rekey_time"),
            ["key-exchange", "ikev1"] => {
                self.version = 1;
                converted("swanctl: version")
            }
            ["key-exchange", "ikev2"] => {
                self.version = 2;
                converted("swanctl: version")
            }
            ["mode", "main"] => converted("swanctl: main mode"),
            ["mode", "aggressive"] => {
                self.aggressive = true;
                refused("aggressive mode shows a hash of the key: kept in the swanctl fragment, marked weak")
            }
            ["close-action", word] if action(word).is_some() => {
                self.close_action = action(word);
                converted("swanctl: the trap policy stays and asks again")
            }
            ["dead-peer-detection", "action", word] if action(word).is_some() => {
                self.dpd_action = action(word);
                converted("swanctl: dpd_action; the trap policy stays and asks again")
            }
            ["dead-peer-detection", "interval", seconds] => {
                number(&mut self.dpd_interval, seconds, "swanctl: dpd_delay")
            }
            ["dead-peer-detection", "timeout", seconds] => {
                number(&mut self.dpd_timeout, seconds, "swanctl: dpd_timeout")
            }
            ["ikev2-reauth", ..] => hinted("swanctl: reauth_time"),
            ["disable-mobike"] | ["mobike", ..] => converted("swanctl: mobike = no"),
            [] => converted("swanctl: proposals"),
            _ => unknown("not understood"),
        }
    }
}

impl Draft {
    fn line(&mut self, model: &mut Model, at: LineId, name: &str, words: &[&str]) -> Judgement {
        match words {
            ["authentication", "mode", "pre-shared-secret"] => converted("swanctl: auth, psk"),
            ["authentication", "mode", ..] => {
                self.certificate = true;
                hinted("certificates: put them where swanctl looks for them")
            }
            ["authentication", "pre-shared-secret", key] => {
                self.key = Some((at, (*key).to_owned()));
                converted("swanctl: secrets").secret(Hidden::From(BEFORE + 2))
            }
            ["bind", "tunnel", tunnel] => {
                let index = model.tunnel(tunnel, at);
                if let Some(tunnel) = model.tunnels.get_mut(index) {
                    tunnel.profile = Some(At::new(at, name.to_owned()));
                }
                converted("swanctl: a connection for this tunnel")
            }
            ["esp-group", group] => {
                self.esp = Some((*group).to_owned());
                converted("swanctl: esp_proposals")
            }
            ["ike-group", group] => {
                self.ike = Some((*group).to_owned());
                converted("swanctl: proposals")
            }
            ["disable"] => refused("the profile was switched off: do not load this connection"),
            [] => converted("swanctl: a connection"),
            _ => unknown("not understood"),
        }
    }
}
