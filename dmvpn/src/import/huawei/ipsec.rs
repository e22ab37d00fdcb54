//! `ike ...` and `ipsec ...`.

use std::collections::BTreeSet;

use super::{
    super::{
        ciphers::{self, Algorithm},
        line::{At, LineId},
        model::{Auth, Mode, Model, Profile, SharedKey, Suite},
        verdict::{Hidden, Judgement, converted, hinted, ignored, refused, unknown},
    },
    tunnel::is_encrypted,
};

/// Everything about IPsec.
#[derive(Debug, Default)]
pub(super) struct Ipsec {
    ike_proposals: Vec<Part>,
    peers: Vec<Part>,
    proposals: Vec<Part>,
    profiles: Vec<Part>,
    /// `ike dpd type ...`.
    dpd: Option<LineId>,
    sha2_compatible: Option<LineId>,
}

/// Which of the blocks, by its place in its list.
#[derive(Clone, Copy, Debug)]
pub(super) enum Block {
    IkeProposal(usize),
    Peer(usize),
    Proposal(usize),
    Profile(usize),
}

/// A block: each kind has some of this.
#[derive(Debug, Default)]
struct Part {
    name: String,
    at: LineId,
    lines: BTreeSet<LineId>,
    cipher: Option<Algorithm>,
    /// Of IKEv1 and of ESP.
    hash: Option<Algorithm>,
    /// Of IKEv2.
    integrity: Option<Algorithm>,
    random_function: Option<Algorithm>,
    group: Option<Algorithm>,
    auth: Auth,
    mode: Mode,
    lifetime: Option<u64>,
    kilobytes: Option<u64>,
    key: Option<(LineId, String)>,
    remote: Option<String>,
    dpd: bool,
    dpd_delay: Option<u64>,
    dpd_retry: Option<u64>,
    version: u8,
    aggressive: bool,
    /// Names of what it uses.
    ike: Option<String>,
    esp: Option<String>,
}

/// Seconds of silence before the first probe, and between probes, where the configuration does not say.
const DPD_DELAY: u64 = 30;
const DPD_RETRY: u64 = 15;
/// Probes before a peer is given up.
const DPD_LIMIT: u64 = 3;

fn part<'a>(list: &'a mut Vec<Part>, at: LineId, name: &str) -> (usize, &'a mut Part) {
    let index = list.iter().position(|part| part.name == name).unwrap_or_else(|| {
        list.push(Part { name: name.to_owned(), at, ..Part::default() });
        list.len() - 1
    });
    let part = &mut list[index];
    part.lines.insert(at);
    (index, part)
}

impl Ipsec {
    /// A line at the margin, and the block that it starts.
    pub(super) fn top(&mut self, at: LineId, words: &[&str]) -> Option<(Option<Block>, Judgement)> {
        Some(match words {
            ["ike", "proposal", name] => {
                let (index, _) = part(&mut self.ike_proposals, at, name);
                (Some(Block::IkeProposal(index)), converted("swanctl: proposals"))
            }
            ["ike", "peer", name, rest @ ..] => {
                let (index, peer) = part(&mut self.peers, at, name);
                peer.version = match rest {
                    ["v1"] => 1,
                    ["v2"] => 2,
                    _ => peer.version,
                };
                (Some(Block::Peer(index)), converted("swanctl: the connection's IKE"))
            }
            ["ipsec", "proposal", name] => {
                let (index, _) = part(&mut self.proposals, at, name);
                (Some(Block::Proposal(index)), converted("swanctl: esp_proposals"))
            }
            ["ipsec", "profile", name, ..] => {
                let (index, _) = part(&mut self.profiles, at, name);
                (Some(Block::Profile(index)), converted("swanctl: a connection"))
            }
            ["ike", "dpd", "type", _] => {
                self.dpd = Some(at);
                (None, converted("swanctl: dpd_delay"))
            }
            ["ike", "dpd", ..] => (None, hinted("swanctl: dpd_delay, dpd_timeout")),
            ["ipsec", "sha2", "compatible", "enable"]
            | ["ipsec", "authentication", "sha2", "compatible", "enable"] => {
                self.sha2_compatible = Some(at);
                (None, hinted("SHA-256 with 128 bits, as strongSwan does; peers without it need sha256_96"))
            }
            ["ike", "local-name", ..] => (None, hinted("swanctl: `local { id }`")),
            [
                "ike" | "ipsec",
                "nat-keepalive" | "heartbeat" | "sa" | "anti-replay" | "df-bit" | "fragmentation" | "decrypt"
                | "netmask" | "remote",
                ..,
            ] => (None, ignored("strongSwan does it in its own way")),
            ["ipsec", "policy" | "policy-template", ..] => {
                (None, hinted("a policy protects an interface's traffic, not a tunnel: see swanctl.conf"))
            }
            _ => return None,
        })
    }

    /// A line of a block.
    pub(super) fn inside(&mut self, block: Block, at: LineId, words: &[&str]) -> Judgement {
        let (list, index) = match block {
            Block::IkeProposal(index) => (&mut self.ike_proposals, index),
            Block::Peer(index) => (&mut self.peers, index),
            Block::Proposal(index) => (&mut self.proposals, index),
            Block::Profile(index) => (&mut self.profiles, index),
        };
        let Some(part) = list.get_mut(index) else { return unknown("not understood") };
        part.lines.insert(at);
        match block {
            Block::IkeProposal(_) => part.ike_proposal(words),
            Block::Peer(_) => part.peer(at, words),
            Block::Proposal(_) => part.proposal(words),
            Block::Profile(_) => part.profile(words),
        }
    }

    /// Puts a [`Profile`] for every IPsec profile into the model.
    pub(super) fn finish(self, model: &mut Model) {
        for profile in &self.profiles {
            let protection = self.protection(profile, model);
            model.profiles.push(protection);
        }
    }

    fn protection(&self, from: &Part, model: &mut Model) -> Profile {
        let mut to = Profile {
            name: from.name.clone(),
            lines: from.lines.clone(),
            lifetime: from.lifetime,
            lifetime_kilobytes: from.kilobytes,
            ..Profile::default()
        };
        let find = |list: &'_ [Part], name: &Option<String>| {
            list.iter().position(|part| Some(&part.name) == name.as_ref())
        };
        match find(&self.proposals, &from.esp).and_then(|index| self.proposals.get(index)) {
            Some(proposal) => {
                to.lines.extend(&proposal.lines);
                to.mode = proposal.mode;
                let alone = proposal.cipher.is_some_and(|cipher| ciphers::is_combined(cipher.name));
                let hash = proposal.hash.filter(|_| !alone);
                to.esp.extend(suite(&proposal.lines, proposal.at, [proposal.cipher, hash, from.group]));
            }
            None => {
                model
                    .revisions
                    .push((from.at, unknown("there is no such proposal: its ciphers are missing")));
            }
        }
        let Some(peer) = find(&self.peers, &from.ike).and_then(|index| self.peers.get(index)) else {
            model.revisions.push((from.at, unknown("there is no such ike-peer: its key is missing")));
            return to;
        };
        to.lines.extend(&peer.lines);
        to.version = peer.version;
        to.aggressive = peer.aggressive;
        if let Some((at, key)) = &peer.key {
            to.keys.push(SharedKey { at: *at, peer: peer.remote.clone(), key: key.clone() });
        }
        if peer.dpd || self.dpd.is_some() {
            to.lines.extend(self.dpd);
            let delay = peer.dpd_delay.unwrap_or(DPD_DELAY);
            let retry = peer.dpd_retry.unwrap_or(DPD_RETRY);
            to.dpd = Some((delay, Some(delay.saturating_add(retry.saturating_mul(DPD_LIMIT)))));
        }
        let proposals = self.ike_proposals.iter();
        for proposal in
            proposals.filter(|proposal| peer.ike.as_ref().is_none_or(|name| *name == proposal.name))
        {
            to.lines.extend(&proposal.lines);
            to.auth = proposal.auth;
            to.ike_lifetime = proposal.lifetime.or(to.ike_lifetime);
            let (hash, integrity) = (proposal.hash, proposal.integrity);
            let alone = proposal.cipher.is_some_and(|cipher| ciphers::is_combined(cipher.name));
            let hash = integrity.or(hash).filter(|_| !alone);
            let parts = [proposal.cipher, hash, proposal.random_function, proposal.group];
            to.ike.extend(suite(&proposal.lines, proposal.at, parts));
        }
        self.note_truncation(&mut to);
        to
    }

    fn note_truncation(&self, to: &mut Profile) {
        if !to.esp.iter().any(|suite| suite.algorithms.contains(&"sha256")) {
            return;
        }
        if let Some(at) = self.sha2_compatible {
            to.lines.insert(at);
            let text =
                "peers without `sha2 compatible enable` cut SHA-256 to 96 bits: sha256_96 = yes for them";
            to.notes.push(At::new(at, text.to_owned()));
        } else {
            let at = to.lines.first().copied().unwrap_or_default();
            let text = "the old box cut SHA-256 to 96 bits (no `sha2 compatible enable`): if its peers do, too, \
                        set sha256_96 = yes";
            to.notes.push(At::new(at, text.to_owned()));
        }
    }
}

/// A suite of what there is; `None` without anything.
fn suite<const N: usize>(
    lines: &BTreeSet<LineId>,
    at: LineId,
    parts: [Option<Algorithm>; N],
) -> Option<Suite> {
    let mut suite = Suite { lines: lines.clone(), ..Suite::default() };
    for algorithm in parts.into_iter().flatten() {
        suite.add(at, algorithm);
    }
    (!suite.algorithms.is_empty()).then_some(suite)
}

/// Takes the algorithm, and says what becomes of its line.
fn take(place: &mut Option<Algorithm>, found: Option<Algorithm>, setting: &str) -> Judgement {
    match found {
        Some(algorithm) => {
            *place = Some(algorithm);
            algorithm.judge(setting)
        }
        None => unknown("no algorithm of strongSwan"),
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

impl Part {
    fn ike_proposal(&mut self, words: &[&str]) -> Judgement {
        match words {
            ["encryption-algorithm", name] => {
                take(&mut self.cipher, ciphers::encryption(name, None), "proposals")
            }
            ["dh", name] => take(&mut self.group, ciphers::group(name), "proposals"),
            ["authentication-algorithm", name] => take(&mut self.hash, ciphers::integrity(name), "proposals"),
            ["integrity-algorithm", name] => take(&mut self.integrity, ciphers::integrity(name), "proposals"),
            ["prf", name] => take(&mut self.random_function, ciphers::random_function(name), "proposals"),
            ["authentication-method", "pre-share"] => converted("swanctl: auth, psk"),
            ["authentication-method", ..] => {
                self.auth = Auth::Certificate;
                hinted("certificates: put them where swanctl looks for them")
            }
            ["sa", "duration", seconds] => number(&mut self.lifetime, seconds, "swanctl: rekey_time"),
            _ => unknown("not understood"),
        }
    }

    fn peer(&mut self, at: LineId, words: &[&str]) -> Judgement {
        match words {
            ["pre-shared-key", key] | ["pre-shared-key", "plain" | "simple" | "cipher", key] => {
                if is_encrypted(key) {
                    return refused("encrypted for the old box: put the key into the swanctl fragment");
                }
                self.key = Some((at, (*key).to_owned()));
                converted("swanctl: secrets").secret(Hidden::From(words.len() - 1))
            }
            ["ike-proposal", name] => {
                self.ike = Some((*name).to_owned());
                converted("swanctl: proposals")
            }
            ["exchange-mode", "aggressive"] => {
                self.aggressive = true;
                refused("aggressive mode shows a hash of the key: kept in the swanctl fragment, marked weak")
            }
            ["exchange-mode", _] => converted("swanctl: main mode"),
            ["version", "1"] | ["undo", "version", "2"] => {
                self.version = 1;
                converted("swanctl: version")
            }
            ["version", "2"] | ["undo", "version", "1"] => {
                self.version = 2;
                converted("swanctl: version")
            }
            ["remote-address", address, ..] => {
                self.remote = Some((*address).to_owned());
                converted("swanctl: the secret's id")
            }
            ["dpd", "type", _] => {
                self.dpd = true;
                converted("swanctl: dpd_delay")
            }
            ["dpd", "idle-time", seconds] => {
                self.dpd = true;
                number(&mut self.dpd_delay, seconds, "swanctl: dpd_delay")
            }
            ["dpd", "retransmit-interval", seconds] => {
                self.dpd = true;
                number(&mut self.dpd_retry, seconds, "swanctl: dpd_timeout")
            }
            ["dpd", ..] => ignored("strongSwan sends and reads probes of either form"),
            ["rsa", "encryption-padding" | "signature-padding", ..]
            | ["ikev2", "authentication", "sign-hash", ..] => {
                ignored("only for certificates; strongSwan agrees on it with its peer")
            }
            [
                "local-id-type" | "local-id" | "remote-id-type" | "remote-id" | "certificate"
                | "local-address",
                ..,
            ] => hinted("swanctl: `local` and `remote`"),
            [
                "nat"
                | "undo"
                | "lifetime-notification-message"
                | "re-authentication"
                | "re-authentication-interval",
                ..,
            ] => ignored("strongSwan does it in its own way"),
            _ => unknown("not understood"),
        }
    }

    fn proposal(&mut self, words: &[&str]) -> Judgement {
        match words {
            ["encapsulation-mode", "tunnel"] => {
                self.mode = Mode::Tunnel;
                converted("swanctl: mode, tunnel")
            }
            ["encapsulation-mode", "transport" | "auto"] => {
                self.mode = Mode::Transport;
                converted("swanctl: mode, transport")
            }
            ["transform", "esp"] => converted("swanctl: ESP"),
            ["transform", ..] => refused("AH is not used with GRE: ESP with a hash does the same"),
            ["esp", "authentication-algorithm", name] => {
                take(&mut self.hash, ciphers::integrity(name), "esp_proposals")
            }
            ["esp", "encryption-algorithm", name] => {
                take(&mut self.cipher, ciphers::encryption(name, None), "esp_proposals")
            }
            _ => unknown("not understood"),
        }
    }

    fn profile(&mut self, words: &[&str]) -> Judgement {
        match words {
            ["ike-peer", name] => {
                self.ike = Some((*name).to_owned());
                converted("swanctl: the connection's IKE")
            }
            ["proposal", name] => {
                self.esp = Some((*name).to_owned());
                converted("swanctl: esp_proposals")
            }
            ["pfs", name] => take(&mut self.group, ciphers::group(name), "esp_proposals"),
            ["sa", "duration", "traffic-based", value] => {
                number(&mut self.kilobytes, value, "swanctl: life_bytes")
            }
            ["sa", "duration", "time-based", value] => {
                number(&mut self.lifetime, value, "swanctl: life_time")
            }
            ["sa" | "anti-replay" | "respond-only" | "alias", ..] => {
                ignored("strongSwan does it in its own way")
            }
            _ => unknown("not understood"),
        }
    }
}
