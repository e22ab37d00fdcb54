//! From the blocks of `crypto` to a connection for each IPsec profile.

use std::collections::BTreeSet;

use super::{
    super::{
        ciphers,
        line::{At, LineId},
        model::{Auth, Model, Profile, Suite},
        verdict::{refused, unknown},
    },
    crypto::{Crypto, IkeProfile, IpsecProfile, Policy},
};

/// Probes that IOS sends before it gives a peer up.
const RETRIES: u64 = 5;

/// Seconds, where a policy has no `lifetime`.
const IKE_LIFETIME: u64 = 86_400;

impl Crypto {
    /// Puts a [`Profile`] for every IPsec profile into the model.
    pub(super) fn finish(self, model: &mut Model) {
        for profile in &self.profiles {
            let protection = self.protection(profile, model);
            model.profiles.push(protection);
        }
    }

    fn protection(&self, from: &IpsecProfile, model: &mut Model) -> Profile {
        let mut to = Profile {
            name: from.name.clone(),
            lines: from.lines.clone(),
            version: from.version.max(1),
            lifetime: from.lifetime,
            lifetime_kilobytes: from.kilobytes,
            inactivity: from.inactivity,
            ..Profile::default()
        };
        if let (None, Some((at, seconds))) = (to.lifetime, self.lifetime) {
            to.lines.insert(at);
            to.lifetime = Some(seconds);
        }
        self.esp(from, &mut to, model);
        let ike =
            from.ike_profile.as_ref().and_then(|name| self.ike_profiles.iter().find(|ike| ike.name == *name));
        for policy in self.policies.iter().filter(|policy| policy.version == to.version) {
            to.lines.extend(&policy.lines);
            to.ike.push(policy.suite(model));
            to.ike_lifetime = to.ike_lifetime.or(policy.lifetime);
            if policy.auth == Some(Auth::Certificate) {
                to.auth = Auth::Certificate;
            }
        }
        to.ike_lifetime = to.ike_lifetime.or((!to.ike.is_empty()).then_some(IKE_LIFETIME));
        self.identity(ike, &mut to);
        to
    }

    fn esp(&self, from: &IpsecProfile, to: &mut Profile, model: &mut Model) {
        for name in &from.transforms {
            let Some(transform) = self.transforms.iter().find(|transform| transform.name == *name) else {
                // The line that names it is one of the profile's.
                to.notes.extend(
                    from.lines.last().map(|at| At::new(*at, format!("there is no transform-set {name}"))),
                );
                model
                    .revisions
                    .extend(from.lines.first().map(|at| (*at, unknown(format!("no transform-set {name}")))));
                continue;
            };
            to.lines.extend(&transform.lines);
            // The first one is preferred, and a connection has one mode.
            if to.esp.is_empty() {
                to.mode = transform.mode;
            }
            let mut suite = Suite { lines: transform.lines.clone(), ..Suite::default() };
            let at = transform.lines.first().copied().unwrap_or_default();
            let alone = transform.cipher.is_some_and(|cipher| ciphers::is_combined(cipher.name));
            let hash = transform.hash.filter(|_| !alone);
            for algorithm in [transform.cipher, hash, from.group].into_iter().flatten() {
                suite.add(at, algorithm);
            }
            if transform.cipher.is_some() {
                to.esp.push(suite);
            }
        }
    }

    /// Keys, probes and the rest of the IKE profile, or what is said for all.
    fn identity(&self, ike: Option<&IkeProfile>, to: &mut Profile) {
        let mut keepalive = self.keepalive;
        let mut keyring = None;
        if let Some(ike) = ike {
            to.lines.extend(&ike.lines);
            keepalive = ike.keepalive.or(keepalive);
            to.ike_lifetime = ike.lifetime.or(to.ike_lifetime);
            to.auth = ike.auth.unwrap_or(to.auth);
            keyring.clone_from(&ike.keyring);
        }
        if let Some(keepalive) = keepalive {
            to.lines.insert(keepalive.at);
            let after = |retry: u64| keepalive.delay.saturating_add(retry.saturating_mul(RETRIES));
            to.dpd = Some((keepalive.delay, keepalive.retry.map(after)));
        }
        let keyring = keyring.unwrap_or_default();
        for ring in self.keyrings.iter().filter(|ring| ring.name == keyring) {
            to.lines.extend(&ring.lines);
            to.keys.extend(ring.keys.iter().cloned());
        }
    }
}

impl Policy {
    /// Its algorithms; what an IKEv1 policy leaves out has a default, which for two of them is bad.
    fn suite(&self, model: &mut Model) -> Suite {
        let mut suite = Suite { lines: self.lines.clone(), ..Suite::default() };
        let mut missing = |word: &str, default: &str, algorithm| {
            let note = format!(
                "without `{word}` older IOS uses {default}: kept in the swanctl fragment, marked weak"
            );
            model.revisions.push((self.at, refused(note)));
            Vec::from_iter(algorithm)
        };
        let by_default = |at: LineId, list: Vec<_>, suite: &mut Suite| {
            for algorithm in list {
                suite.add(at, algorithm);
            }
        };
        let (mut encryption, mut hash, mut group) =
            (self.encryption.clone(), self.hash.clone(), self.group.clone());
        if self.version == 1 {
            if encryption.is_empty() {
                encryption = missing("encr", "DES", ciphers::encryption("des", None));
            }
            if hash.is_empty() {
                hash.extend(ciphers::integrity("sha1"));
            }
            if group.is_empty() {
                group = missing("group", "group 1", ciphers::group("1"));
            }
        }
        let alone =
            !encryption.is_empty() && encryption.iter().all(|cipher| ciphers::is_combined(cipher.name));
        let mut random_function = self.random_function.clone();
        if alone {
            if random_function.is_empty() {
                random_function.extend(hash.first().and_then(|hash| ciphers::random_function(hash.name)));
            }
            hash.clear();
        }
        for list in [encryption, hash, random_function, group] {
            by_default(self.at, list, &mut suite);
        }
        // A word that is said twice is said once.
        let mut seen = BTreeSet::new();
        suite.algorithms.retain(|name| seen.insert(*name));
        suite
    }
}
