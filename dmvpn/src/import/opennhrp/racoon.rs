//! racoon.conf, psk.txt and setkey.conf.

use std::collections::BTreeSet;

use super::super::{
    ciphers::{self, Algorithm},
    line::{At, LineId},
    model::{Auth, Mode, Model, Profile, SharedKey, Suite},
    verdict::{Hidden, Judgement, converted, hinted, ignored, refused, unknown},
};

/// Everything about IPsec. There is one profile: policies are for all GRE.
#[derive(Debug, Default)]
pub(super) struct Racoon {
    lines: BTreeSet<LineId>,
    /// The first policy, or the first block: what makes tunnels protected.
    policy: Option<LineId>,
    block: Option<LineId>,
    /// Lines about algorithms of ESP.
    esp_lines: BTreeSet<LineId>,
    /// Open braces.
    stack: Vec<Block>,
    /// The words before a brace that is on the next line.
    pending: Option<Block>,
    proposals: Vec<Proposal>,
    version: u8,
    aggressive: bool,
    ike_lifetime: Option<u64>,
    lifetime: Option<u64>,
    dpd_delay: Option<u64>,
    cipher: Vec<Algorithm>,
    hash: Vec<Algorithm>,
    group: Option<Algorithm>,
    mode: Option<Mode>,
    keys: Vec<SharedKey>,
    certificate: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Remote,
    Proposal,
    Sainfo,
    /// `listen`, `timer`, `padding` and so on.
    Other,
}

#[derive(Debug, Default)]
struct Proposal {
    lines: BTreeSet<LineId>,
    cipher: Option<Algorithm>,
    hash: Option<Algorithm>,
    group: Option<Algorithm>,
}

/// Most levels of braces: racoon has two.
const DEPTH: usize = 8;

/// Name of the only profile.
const PROFILE: &str = "racoon";

impl Racoon {
    /// A file does not go on in the next one.
    pub(super) fn next_file(&mut self) {
        self.stack.clear();
        self.pending = None;
    }

    /// What becomes of a line; `None`: it is not of these files.
    pub(super) fn line(&mut self, at: LineId, words: &[&str]) -> Option<Judgement> {
        let judgement = match words {
            ["{"] => match self.pending.take() {
                Some(block) => self.open(block, ignored("context")),
                None => return None,
            },
            ["}", ..] if !self.stack.is_empty() => {
                self.stack.pop();
                ignored("context")
            }
            [
                "remote" | "sainfo" | "proposal" | "listen" | "timer" | "padding" | "log" | "mode_cfg",
                rest @ ..,
            ] if self.is_start(words) => {
                let block = match words.first() {
                    Some(&"remote") => Block::Remote,
                    Some(&"sainfo") => Block::Sainfo,
                    Some(&"proposal") => {
                        self.proposals.push(Proposal::default());
                        Block::Proposal
                    }
                    _ => Block::Other,
                };
                if block != Block::Other {
                    self.block.get_or_insert(at);
                }
                let judgement = match (block, rest) {
                    (Block::Other, _) => ignored("strongSwan does it in its own way"),
                    (Block::Remote | Block::Sainfo, [peer, ..]) if *peer != "anonymous" && *peer != "{" => {
                        hinted("swanctl: for all peers here; a peer of its own needs a connection of its own")
                    }
                    _ => converted("swanctl: the connection"),
                };
                if rest.contains(&"{") {
                    if let Some(position) = rest.iter().position(|word| *word == "}")
                        && position + 1 == rest.len()
                    {
                        // All on one line: the settings are between the braces.
                        return Some(self.one_line(at, block, rest));
                    }
                    self.open(block, judgement)
                } else {
                    self.pending = Some(block);
                    judgement
                }
            }
            ["path", rest @ ..] if self.stack.is_empty() => path(rest),
            ["spdadd", rest @ ..] => {
                self.policy.get_or_insert(at);
                self.policy(rest)
            }
            ["spdflush" | "flush", ..] => ignored("strongSwan begins without policies"),
            _ => {
                let block = *self.stack.last()?;
                self.setting(at, block, words)
            }
        };
        self.lines.insert(at);
        Some(judgement)
    }

    fn is_start(&self, words: &[&str]) -> bool {
        match words.first() {
            Some(&"proposal") => self.stack.last() == Some(&Block::Remote),
            // A daemon's `log stdout` has no brace.
            Some(&"log" | &"listen" | &"timer" | &"padding") => words.contains(&"{"),
            _ => self.stack.is_empty(),
        }
    }

    fn open(&mut self, block: Block, judgement: Judgement) -> Judgement {
        if self.stack.len() >= DEPTH {
            return unknown("too many levels");
        }
        self.stack.push(block);
        judgement
    }

    /// A block on one line: what becomes of it is what becomes of its worst setting.
    fn one_line(&mut self, at: LineId, block: Block, words: &[&str]) -> Judgement {
        self.lines.insert(at);
        let inside = words.split(|word| *word == "{").nth(1).unwrap_or_default();
        let settings = inside.split(|word| matches!(*word, ";" | "}")).filter(|words| !words.is_empty());
        let mut worst = converted("swanctl: the connection");
        for setting in settings {
            let judgement = self.setting(at, block, setting);
            if judgement.verdict > worst.verdict {
                worst = judgement;
            }
        }
        worst
    }

    fn setting(&mut self, at: LineId, block: Block, words: &[&str]) -> Judgement {
        let words = words.strip_suffix(&[";"]).unwrap_or(words);
        match block {
            Block::Other => ignored("strongSwan does it in its own way"),
            Block::Remote => self.remote(words),
            Block::Proposal => self.proposal(at, words),
            Block::Sainfo => self.sainfo(at, words),
        }
    }

    fn remote(&mut self, words: &[&str]) -> Judgement {
        match words {
            ["exchange_mode", modes] => {
                self.version = 1;
                if modes.split(',').next() == Some("aggressive") {
                    self.aggressive = true;
                    return refused(
                        "aggressive mode shows a hash of the key: kept in the swanctl fragment, marked weak",
                    );
                }
                converted("swanctl: version 1, main mode")
            }
            ["exchange_mode", ..] => {
                self.version = 1;
                converted("swanctl: version 1, main mode")
            }
            ["lifetime", "time", amount, unit] => match seconds(amount, unit) {
                Some(seconds) => {
                    self.ike_lifetime = Some(seconds);
                    converted("swanctl: rekey_time")
                }
                None => unknown("not a time"),
            },
            ["dpd_delay", delay] => match delay.parse() {
                Ok(delay) => {
                    self.dpd_delay = Some(delay);
                    converted("swanctl: dpd_delay")
                }
                Err(_) => unknown("not a number of seconds"),
            },
            ["script", _, "phase1_down"] => hinted(
                "not needed: strongSwan's trap policies stay when a peer goes; if it flushed policies, it opened a hole",
            ),
            ["script", ..] => {
                hinted("not needed: strongSwan's trap policies raise associations when there is traffic")
            }
            ["my_identifier" | "peers_identifier" | "verify_identifier", ..] => hinted("swanctl: `id`"),
            ["certificate_type" | "ca_type" | "verify_cert" | "send_cert" | "send_cr", ..] => {
                self.certificate = true;
                hinted("certificates: put them where swanctl looks for them")
            }
            [
                "nat_traversal" | "proposal_check" | "generate_policy" | "passive" | "initial_contact"
                | "support_proxy" | "dpd_retry" | "dpd_maxfail" | "ike_frag" | "esp_frag" | "doi"
                | "situation" | "nonce_size" | "rekey" | "ph1id" | "mode_cfg" | "weak_phase1_check",
                ..,
            ] => ignored("strongSwan does it in its own way"),
            _ => unknown("not understood"),
        }
    }

    fn proposal(&mut self, at: LineId, words: &[&str]) -> Judgement {
        let Some(proposal) = self.proposals.last_mut() else { return unknown("not understood") };
        proposal.lines.insert(at);
        let (place, found) = match words {
            ["encryption_algorithm", name] => (&mut proposal.cipher, ciphers::encryption(name, None)),
            ["encryption_algorithm", name, bits] => {
                (&mut proposal.cipher, ciphers::encryption(name, Some(bits)))
            }
            ["hash_algorithm", name] => (&mut proposal.hash, ciphers::integrity(name)),
            ["dh_group", name] => (&mut proposal.group, ciphers::group(name)),
            ["authentication_method", "pre_shared_key"] => return converted("swanctl: auth, psk"),
            ["authentication_method", ..] => {
                self.certificate = true;
                return hinted("certificates: put them where swanctl looks for them");
            }
            ["lifetime", "time", amount, unit] => {
                self.ike_lifetime = seconds(amount, unit).or(self.ike_lifetime);
                return converted("swanctl: rekey_time");
            }
            _ => return unknown("not understood"),
        };
        match found {
            Some(algorithm) => {
                *place = Some(algorithm);
                algorithm.judge("proposals")
            }
            None => unknown("no algorithm of strongSwan"),
        }
    }

    fn sainfo(&mut self, at: LineId, words: &[&str]) -> Judgement {
        if matches!(words, ["pfs_group" | "encryption_algorithm" | "authentication_algorithm", ..]) {
            self.esp_lines.insert(at);
        }
        match words {
            ["lifetime", "time", amount, unit] => match seconds(amount, unit) {
                Some(seconds) => {
                    self.lifetime = Some(seconds);
                    converted("swanctl: life_time")
                }
                None => unknown("not a time"),
            },
            ["pfs_group", name] => match ciphers::group(name) {
                Some(group) => {
                    self.group = Some(group);
                    group.judge("esp_proposals")
                }
                None => unknown("no group of strongSwan"),
            },
            ["encryption_algorithm", names @ ..] => {
                // `aes 256, 3des`: a comma ends a name.
                let text = names.join(" ");
                let found = text.split(',').map(|name| {
                    let mut words = name.split_whitespace();
                    ciphers::encryption(words.next().unwrap_or_default(), words.next())
                });
                take(&mut self.cipher, found.collect())
            }
            ["authentication_algorithm", names @ ..] => {
                let text = names.join(" ");
                take(&mut self.hash, text.split(',').map(|name| ciphers::integrity(name.trim())).collect())
            }
            ["compression_algorithm", "deflate"] => {
                refused("racoon only names it; compression leaks what is encrypted, and is left out")
            }
            ["my_identifier" | "remoteid" | "group", ..] => hinted("swanctl: `id`"),
            _ => unknown("not understood"),
        }
    }

    /// `spdadd SOURCE DESTINATION gre -P in|out ipsec esp/MODE//LEVEL;`.
    fn policy(&mut self, words: &[&str]) -> Judgement {
        if !words.contains(&"gre") {
            return hinted("a policy that is not about GRE: see swanctl.conf");
        }
        let Some(rule) = words.iter().find(|word| word.starts_with("esp/") || word.starts_with("ah/")) else {
            return refused("a policy without encryption");
        };
        let mut parts = rule.split('/');
        let (protocol, mode, level) = (parts.next(), parts.next(), parts.nth(1));
        if protocol != Some("esp") {
            return refused("AH is not used with GRE: ESP with a hash does the same");
        }
        self.mode = match mode {
            Some("transport") => Some(Mode::Transport),
            Some("tunnel") => Some(Mode::Tunnel),
            _ => return unknown("not understood"),
        };
        match level {
            Some("require" | "unique") => converted("swanctl: start_action, trap"),
            _ => converted("swanctl: start_action, trap, which requires ESP; `use` did not"),
        }
    }

    /// A line of psk.txt.
    pub(super) fn shared_key(&mut self, model: &mut Model, at: LineId, peer: &str, key: &str) -> Judgement {
        let any = peer == "*";
        let is_peer = any || peer.parse::<std::net::IpAddr>().is_ok() || peer.contains('@');
        if !is_peer {
            return unknown("not understood").secret(Hidden::From(1));
        }
        let peer = (!any).then(|| peer.to_owned());
        self.keys.push(SharedKey { at, peer, key: key.to_owned() });
        self.lines.insert(at);
        model.ipsec_lines.insert(at);
        converted("swanctl: secrets").secret(Hidden::From(1))
    }

    /// Puts the profile into the model, for every tunnel: the policies are for all GRE.
    pub(super) fn finish(self, model: &mut Model) {
        let Some(first) = self.lines.first().copied() else { return };
        if self.proposals.is_empty() && self.cipher.is_empty() && self.mode.is_none() {
            return;
        }
        let bound = self.policy.or(self.block).unwrap_or(first);
        for tunnel in &mut model.tunnels {
            tunnel.profile.get_or_insert_with(|| At::new(bound, PROFILE.to_owned()));
        }
        let mut profile = Profile {
            name: PROFILE.to_owned(),
            lines: self.lines,
            version: self.version.max(1),
            auth: if self.certificate { Auth::Certificate } else { Auth::SharedKey },
            ike_lifetime: self.ike_lifetime,
            lifetime: self.lifetime,
            mode: self.mode.unwrap_or_default(),
            dpd: self.dpd_delay.map(|delay| (delay, None)),
            aggressive: self.aggressive,
            keys: self.keys,
            ..Profile::default()
        };
        for proposal in self.proposals {
            let at = proposal.lines.first().copied().unwrap_or(first);
            let mut suite = Suite { lines: proposal.lines, ..Suite::default() };
            for algorithm in [proposal.cipher, proposal.hash, proposal.group].into_iter().flatten() {
                suite.add(at, algorithm);
            }
            if !suite.algorithms.is_empty() {
                profile.ike.push(suite);
            }
        }
        let mut suite = Suite { lines: self.esp_lines, ..Suite::default() };
        let first = suite.lines.first().copied().unwrap_or(first);
        for algorithm in self.cipher.into_iter().chain(self.hash).chain(self.group) {
            suite.add(first, algorithm);
        }
        if !suite.algorithms.is_empty() {
            profile.esp.push(suite);
        }
        model.profiles.push(profile);
    }
}

/// `path pre_shared_key FILE;` and others.
fn path(words: &[&str]) -> Judgement {
    match words {
        ["pre_shared_key", ..] => hinted("give that file, too: keys go into the swanctl fragment"),
        ["certificate", ..] => hinted("certificates: put them where swanctl looks for them"),
        _ => ignored("where racoon looks for files"),
    }
}

/// Adds algorithms; what becomes of the line is what becomes of the worst.
fn take(list: &mut Vec<Algorithm>, found: Vec<Option<Algorithm>>) -> Judgement {
    if found.is_empty() || found.contains(&None) {
        return unknown("no algorithm of strongSwan");
    }
    let found: Vec<Algorithm> = found.into_iter().flatten().collect();
    let worst = found.iter().find(|algorithm| algorithm.weak.is_some()).or(found.first()).copied();
    list.extend(found);
    worst.map_or_else(|| unknown("not understood"), |algorithm| algorithm.judge("esp_proposals"))
}

/// `24 hour`.
fn seconds(amount: &str, unit: &str) -> Option<u64> {
    let amount: u64 = amount.parse().ok()?;
    let factor = match unit {
        "sec" | "secs" | "second" | "seconds" => 1,
        "min" | "mins" | "minute" | "minutes" => 60,
        "hour" | "hours" => 3600,
        _ => return None,
    };
    amount.checked_mul(factor)
}
