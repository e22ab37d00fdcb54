//! `crypto ...`: IKE and ESP, as they are written. `protect` puts them together.

use std::collections::BTreeSet;

use super::super::{
    ciphers::{self, Algorithm},
    line::LineId,
    model::{Auth, Mode, SharedKey},
    verdict::{Hidden, Judgement, converted, hinted, ignored, refused, unknown},
};

/// All lines that start with `crypto`, and the blocks below them.
#[derive(Debug, Default)]
pub(super) struct Crypto {
    /// IKEv1 policies and IKEv2 proposals.
    pub(super) policies: Vec<Policy>,
    /// Where pre-shared keys are: one without a name has those of `crypto isakmp key`.
    pub(super) keyrings: Vec<Keyring>,
    pub(super) transforms: Vec<Transform>,
    pub(super) profiles: Vec<IpsecProfile>,
    /// ISAKMP and IKEv2 profiles.
    pub(super) ike_profiles: Vec<IkeProfile>,
    /// `crypto isakmp keepalive`, or that of IKEv2.
    pub(super) keepalive: Option<Keepalive>,
    /// `crypto ipsec security-association lifetime seconds`.
    pub(super) lifetime: Option<(LineId, u64)>,
}

/// Which of the blocks, by its place in [`Crypto`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    Policy(usize),
    Keyring(usize),
    Transform(usize),
    IpsecProfile(usize),
    IkeProfile(usize),
    /// `crypto ikev2 policy`: which proposals are used; all are.
    Ikev2Policy,
}

#[derive(Debug, Default)]
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) at: LineId,
    /// 1 or 2.
    pub(super) version: u8,
    pub(super) lines: BTreeSet<LineId>,
    pub(super) encryption: Vec<Algorithm>,
    pub(super) hash: Vec<Algorithm>,
    pub(super) random_function: Vec<Algorithm>,
    pub(super) group: Vec<Algorithm>,
    pub(super) auth: Option<Auth>,
    pub(super) lifetime: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Keyring {
    pub(super) name: String,
    pub(super) lines: BTreeSet<LineId>,
    pub(super) keys: Vec<SharedKey>,
    /// Address of the peer that following lines are about.
    peer: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Transform {
    pub(super) name: String,
    pub(super) lines: BTreeSet<LineId>,
    pub(super) cipher: Option<Algorithm>,
    pub(super) hash: Option<Algorithm>,
    pub(super) mode: Mode,
}

#[derive(Debug, Default)]
pub(super) struct IpsecProfile {
    pub(super) name: String,
    pub(super) lines: BTreeSet<LineId>,
    pub(super) transforms: Vec<String>,
    pub(super) group: Option<Algorithm>,
    pub(super) lifetime: Option<u64>,
    pub(super) kilobytes: Option<u64>,
    pub(super) inactivity: Option<u64>,
    pub(super) ike_profile: Option<String>,
    pub(super) version: u8,
}

#[derive(Debug, Default)]
pub(super) struct IkeProfile {
    pub(super) name: String,
    pub(super) lines: BTreeSet<LineId>,
    pub(super) keyring: Option<String>,
    pub(super) keepalive: Option<Keepalive>,
    pub(super) lifetime: Option<u64>,
    pub(super) auth: Option<Auth>,
}

/// Probes of silent peers, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keepalive {
    pub(super) at: LineId,
    pub(super) delay: u64,
    pub(super) retry: Option<u64>,
}

/// The entry with this name, made if it is not there.
fn named<T: Default>(list: &mut Vec<T>, is: impl Fn(&T) -> bool, name: impl FnOnce(&mut T)) -> usize {
    list.iter().position(is).unwrap_or_else(|| {
        let mut new = T::default();
        name(&mut new);
        list.push(new);
        list.len() - 1
    })
}

const CERTIFICATES: &str = "certificates: put them where swanctl looks for them";

impl Crypto {
    /// A line that starts with `crypto`, without that word, and the block that it starts.
    pub(super) fn top(&mut self, at: LineId, words: &[&str]) -> Option<(Option<Block>, Judgement)> {
        Some(match words {
            ["isakmp", "policy", name] => (Some(self.policy(at, name, 1)), converted("swanctl: proposals")),
            ["ikev2", "proposal", name] => (Some(self.policy(at, name, 2)), converted("swanctl: proposals")),
            ["ikev2", "policy", ..] => (Some(Block::Ikev2Policy), ignored("all proposals are offered")),
            ["isakmp", "key", key @ ..] => (None, self.global_key(at, key)),
            ["isakmp", "keepalive", rest @ ..] | ["ikev2", "dpd", rest @ ..] => match keepalive(at, rest) {
                Some(keepalive) => {
                    self.keepalive = Some(keepalive);
                    (None, converted("swanctl: dpd_delay, dpd_timeout"))
                }
                None => (None, unknown("not understood")),
            },
            ["isakmp" | "ikev2", "profile", name] => {
                let index =
                    named(&mut self.ike_profiles, |p| p.name == *name, |p| (*name).clone_into(&mut p.name));
                self.ike_profiles.get_mut(index)?.lines.insert(at);
                (Some(Block::IkeProfile(index)), converted("swanctl: the connections of this profile"))
            }
            ["keyring", name, ..] | ["ikev2", "keyring", name] => {
                (Some(Block::Keyring(self.keyring(at, name))), converted("swanctl: secrets"))
            }
            ["ipsec", "transform-set", name, transforms @ ..] => self.transform(at, name, transforms),
            ["ipsec", "profile", name] => {
                let index =
                    named(&mut self.profiles, |p| p.name == *name, |p| (*name).clone_into(&mut p.name));
                self.profiles.get_mut(index)?.lines.insert(at);
                (Some(Block::IpsecProfile(index)), converted("swanctl: a connection"))
            }
            ["ipsec", "security-association", "lifetime", "seconds", seconds] => match seconds.parse() {
                Ok(seconds) => {
                    self.lifetime = Some((at, seconds));
                    (None, converted("swanctl: life_time"))
                }
                Err(_) => (None, unknown("not a number of seconds")),
            },
            [
                "isakmp",
                "invalid-spi-recovery" | "diagnose" | "aggressive-mode" | "enable" | "fragmentation",
                ..,
            ]
            | ["ikev2", "diagnose" | "fragmentation" | "cookie-challenge" | "limit", ..]
            | ["ipsec", "df-bit" | "fragmentation" | "nat-transparency" | "optional", ..]
            | ["engine" | "logging" | "call" | "mib" | "gdoi" | "session", ..] => {
                (None, ignored("strongSwan does it in its own way"))
            }
            ["isakmp", "identity", ..] => {
                (None, hinted("strongSwan's identity is the address: set `id` if it is not"))
            }
            ["isakmp" | "ikev2", "nat", ..] => {
                (None, hinted("strongSwan: charon.keep_alive in strongswan.conf"))
            }
            ["ipsec", "security-association", "replay", ..] => {
                (None, hinted("swanctl: replay_window, in packets"))
            }
            ["ipsec", "security-association", ..] => {
                (None, hinted("swanctl: life_time, life_bytes, inactivity"))
            }
            ["pki" | "ca" | "key", ..] => (None, hinted(CERTIFICATES)),
            ["map" | "dynamic-map", ..] | ["isakmp", "client", ..] => {
                (None, hinted("a crypto map protects an interface's traffic, not a tunnel: see swanctl.conf"))
            }
            _ => return None,
        })
    }

    fn policy(&mut self, at: LineId, name: &str, version: u8) -> Block {
        let is = |policy: &Policy| policy.version == version && policy.name == name;
        let index = named(&mut self.policies, is, |policy| {
            *policy = Policy { name: name.to_owned(), at, version, ..Policy::default() };
        });
        if let Some(policy) = self.policies.get_mut(index) {
            policy.lines.insert(at);
        }
        Block::Policy(index)
    }

    fn keyring(&mut self, at: LineId, name: &str) -> usize {
        let is = |keyring: &Keyring| keyring.name == name;
        let index = named(&mut self.keyrings, is, |keyring| name.clone_into(&mut keyring.name));
        if let Some(keyring) = self.keyrings.get_mut(index) {
            keyring.lines.insert(at);
        }
        index
    }

    /// `crypto isakmp key [0|6] KEY address ADDRESS [MASK] [no-xauth]`.
    fn global_key(&mut self, at: LineId, words: &[&str]) -> Judgement {
        let (place, words) = match words {
            ["6", ..] => return encrypted_key().secret(Hidden::From(4)),
            ["0", rest @ ..] if rest.len() > 2 => (4, rest),
            _ => (3, words),
        };
        let index = self.keyring(at, "");
        match words {
            [key, "address" | "hostname", peer, ..] => {
                let key = SharedKey { at, peer: any(peer), key: (*key).to_owned() };
                if let Some(keyring) = self.keyrings.get_mut(index) {
                    keyring.keys.push(key);
                }
                converted("swanctl: secrets").secret(Hidden::Word(place))
            }
            _ => unknown("not understood").secret(Hidden::From(3)),
        }
    }

    fn transform(&mut self, at: LineId, name: &str, words: &[&str]) -> (Option<Block>, Judgement) {
        let mut new = Transform { name: name.to_owned(), mode: Mode::Tunnel, ..Transform::default() };
        new.lines.insert(at);
        let mut judgement = converted("swanctl: esp_proposals");
        let mut rest = words;
        loop {
            rest = match rest {
                [] => break,
                [cipher, bits @ ("128" | "192" | "256"), rest @ ..] => {
                    new.cipher = ciphers::encryption(cipher, Some(bits));
                    if new.cipher.is_none() {
                        judgement = unknown(format!("no cipher of strongSwan: {cipher} {bits}"));
                    }
                    rest
                }
                [word, rest @ ..] => {
                    if let Some(cipher) = ciphers::encryption(word, None) {
                        new.cipher = Some(cipher);
                    } else if word.starts_with("ah-") {
                        judgement = refused("AH is not used with GRE: esp-... with a hash does the same");
                    } else if let Some(hash) = ciphers::integrity(word) {
                        new.hash = Some(hash);
                    } else if *word == "comp-lzs" {
                        judgement = refused("compression leaks what is encrypted, and strongSwan has no LZS");
                    } else {
                        judgement = unknown(format!("no algorithm of strongSwan: {word}"));
                    }
                    rest
                }
            };
        }
        for algorithm in [new.cipher, new.hash].into_iter().flatten() {
            if algorithm.weak.is_some() {
                judgement = algorithm.judge("esp_proposals");
            }
        }
        self.transforms.retain(|transform| transform.name != name);
        self.transforms.push(new);
        (Some(Block::Transform(self.transforms.len() - 1)), judgement)
    }

    /// A line of a block.
    pub(super) fn inside(&mut self, block: Block, at: LineId, words: &[&str]) -> Judgement {
        let judgement = match block {
            Block::Policy(index) => self.policies.get_mut(index).map(|policy| {
                policy.lines.insert(at);
                policy.line(words)
            }),
            Block::Keyring(index) => self.keyrings.get_mut(index).map(|keyring| {
                keyring.lines.insert(at);
                keyring.line(at, words)
            }),
            Block::Transform(index) => self.transforms.get_mut(index).map(|transform| {
                transform.lines.insert(at);
                match words {
                    ["mode", "transport", ..] => {
                        transform.mode = Mode::Transport;
                        converted("swanctl: mode, transport")
                    }
                    ["mode", "tunnel"] => {
                        transform.mode = Mode::Tunnel;
                        converted("swanctl: mode, tunnel")
                    }
                    _ => unknown("not understood"),
                }
            }),
            Block::IpsecProfile(index) => self.profiles.get_mut(index).map(|profile| {
                profile.lines.insert(at);
                profile.line(words)
            }),
            Block::IkeProfile(index) => self.ike_profiles.get_mut(index).map(|profile| {
                profile.lines.insert(at);
                profile.line(at, words)
            }),
            Block::Ikev2Policy => Some(ignored("all proposals are offered")),
        };
        judgement.unwrap_or_else(|| unknown("not understood"))
    }
}

fn encrypted_key() -> Judgement {
    refused("the key is encrypted with one of the old box: put it into the swanctl fragment")
}

/// Addresses that stand for all peers are `None`.
fn any(peer: &str) -> Option<String> {
    (!matches!(peer, "0.0.0.0" | "::" | "::/0")).then(|| peer.to_owned())
}

/// `DELAY [RETRY] [periodic|on-demand]`.
fn keepalive(at: LineId, words: &[&str]) -> Option<Keepalive> {
    let delay = words.first()?.parse().ok()?;
    let retry = words.iter().skip(1).find_map(|word| word.parse().ok());
    Some(Keepalive { at, delay, retry })
}

impl Policy {
    fn line(&mut self, words: &[&str]) -> Judgement {
        match words {
            ["encr" | "encryption", ciphers @ ..] => {
                let one = match ciphers {
                    [cipher, bits] if bits.parse::<u16>().is_ok() => {
                        vec![ciphers::encryption(cipher, Some(bits))]
                    }
                    _ => ciphers.iter().map(|cipher| ciphers::encryption(cipher, None)).collect(),
                };
                take(&mut self.encryption, one)
            }
            ["hash" | "integrity", names @ ..] => {
                take(&mut self.hash, names.iter().map(|name| ciphers::integrity(name)).collect())
            }
            ["prf", names @ ..] => take(
                &mut self.random_function,
                names.iter().map(|name| ciphers::random_function(name)).collect(),
            ),
            ["group", names @ ..] => {
                take(&mut self.group, names.iter().map(|name| ciphers::group(name)).collect())
            }
            ["authentication", "pre-share"] => {
                self.auth = Some(Auth::SharedKey);
                converted("swanctl: auth, psk")
            }
            ["authentication", "rsa-sig" | "ecdsa-sig"] => {
                self.auth = Some(Auth::Certificate);
                hinted(CERTIFICATES)
            }
            ["authentication", ..] => refused("only pre-shared keys and certificates"),
            ["lifetime", seconds] => match seconds.parse() {
                Ok(seconds) => {
                    self.lifetime = Some(seconds);
                    converted("swanctl: rekey_time")
                }
                Err(_) => unknown("not a number of seconds"),
            },
            ["description", ..] => ignored("description"),
            _ => unknown("not understood"),
        }
    }
}

/// Adds algorithms of one kind; what becomes of the line is what becomes of the worst.
fn take(list: &mut Vec<Algorithm>, found: Vec<Option<Algorithm>>) -> Judgement {
    if found.is_empty() || found.contains(&None) {
        return unknown("no algorithm of strongSwan");
    }
    let found: Vec<Algorithm> = found.into_iter().flatten().collect();
    let worst = found.iter().find(|algorithm| algorithm.weak.is_some()).or(found.first()).copied();
    list.extend(found);
    worst.map_or_else(|| unknown("not understood"), |algorithm| algorithm.judge("proposals"))
}

impl Keyring {
    fn line(&mut self, at: LineId, words: &[&str]) -> Judgement {
        match words {
            ["peer", _] => {
                self.peer = None;
                converted("swanctl: secrets")
            }
            ["address", peer, ..] => {
                self.peer = any(peer);
                converted("swanctl: secrets")
            }
            ["identity" | "hostname", ..] => hinted("swanctl: the `id` of the secret"),
            ["pre-shared-key", "address", peer, .., "key", key] => {
                self.keys.push(SharedKey { at, peer: any(peer), key: (*key).to_owned() });
                converted("swanctl: secrets")
            }
            ["pre-shared-key", .., "6", _] => encrypted_key(),
            ["pre-shared-key", "remote", ..] => {
                hinted("swanctl: one secret serves both ways, that of `local` here")
            }
            ["pre-shared-key", .., key] => {
                self.keys.push(SharedKey { at, peer: self.peer.clone(), key: (*key).to_owned() });
                converted("swanctl: secrets")
            }
            ["description", ..] => ignored("description"),
            _ => unknown("not understood"),
        }
    }
}

impl IpsecProfile {
    fn line(&mut self, words: &[&str]) -> Judgement {
        let number = |text: &str| text.parse::<u64>().ok();
        match words {
            ["set", "transform-set", names @ ..] => {
                self.transforms = names.iter().map(|name| (*name).to_owned()).collect();
                converted("swanctl: esp_proposals")
            }
            ["set", "pfs", rest @ ..] => match ciphers::group(rest.first().copied().unwrap_or("group1")) {
                Some(group) => {
                    self.group = Some(group);
                    group.judge("esp_proposals")
                }
                None => unknown("no group of strongSwan"),
            },
            ["set", "security-association", "lifetime", "seconds", value] if number(value).is_some() => {
                self.lifetime = number(value);
                converted("swanctl: life_time")
            }
            ["set", "security-association", "lifetime", "kilobytes", value] if number(value).is_some() => {
                self.kilobytes = number(value);
                converted("swanctl: life_bytes")
            }
            ["set", "security-association", "lifetime", "kilobytes", "disable"] => ignored("no limit"),
            ["set", "security-association", "idle-time", value] if number(value).is_some() => {
                self.inactivity = number(value);
                converted("swanctl: inactivity")
            }
            ["set", "security-association", "replay", ..] => hinted("swanctl: replay_window, in packets"),
            ["set", "isakmp-profile", name] => {
                (self.ike_profile, self.version) = (Some((*name).to_owned()), 1);
                converted("swanctl: the connection's IKE")
            }
            ["set", "ikev2-profile", name] => {
                (self.ike_profile, self.version) = (Some((*name).to_owned()), 2);
                converted("swanctl: the connection's IKE")
            }
            ["set", "identity" | "reverse-route", ..] | ["responder-only"] => {
                hinted("swanctl: look at `remote { id }` and start_action")
            }
            ["description", ..] => ignored("description"),
            _ => unknown("not understood"),
        }
    }
}

impl IkeProfile {
    fn line(&mut self, at: LineId, words: &[&str]) -> Judgement {
        match words {
            ["keyring", "local", name] | ["keyring", name] => {
                self.keyring = Some((*name).to_owned());
                converted("swanctl: secrets")
            }
            ["keepalive", delay, "retry", retry, ..] | ["dpd", delay, retry, ..] => {
                self.keepalive = keepalive(at, &[delay, retry]);
                if self.keepalive.is_some() {
                    converted("swanctl: dpd_delay, dpd_timeout")
                } else {
                    unknown("not a number of seconds")
                }
            }
            ["lifetime", seconds] => match seconds.parse() {
                Ok(seconds) => {
                    self.lifetime = Some(seconds);
                    converted("swanctl: rekey_time")
                }
                Err(_) => unknown("not a number of seconds"),
            },
            ["authentication", _, "pre-share"] => {
                self.auth = Some(Auth::SharedKey);
                converted("swanctl: auth, psk")
            }
            ["authentication", _, "rsa-sig" | "ecdsa-sig"] => {
                self.auth = Some(Auth::Certificate);
                hinted(CERTIFICATES)
            }
            ["authentication", ..] => refused("only pre-shared keys and certificates"),
            ["match", "identity", "address" | "remote", ..]
            | ["match", "fvrf" | "address" | "identity", ..] => {
                hinted("swanctl: any peer that has a secret; narrow `remote { id }` by hand")
            }
            ["identity" | "self-identity", ..] => hinted("swanctl: `local { id }`"),
            ["pki" | "ca", ..] => hinted(CERTIFICATES),
            ["vrf" | "local-address" | "virtual-template" | "aaa" | "nat" | "initiate", ..] => {
                hinted("no counterpart: see swanctl.conf")
            }
            ["description", ..] => ignored("description"),
            ["no", "config-exchange", ..] => ignored("no addresses are handed out"),
            _ => unknown("not understood"),
        }
    }
}
