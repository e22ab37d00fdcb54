//! Writes connections and secrets for strongSwan (swanctl.conf).

use std::fmt::Write;

use super::{
    Places,
    line::printable,
    model::{Auth, Mode, Model, Profile, SharedKey, Suite},
    plan::{Plan, Planned},
};

/// The fragment; `None`: no tunnel is protected.
pub(super) fn write(model: &Model, plan: &Plan, places: &Places<'_>) -> Option<String> {
    let protected: Vec<(&Planned, &Profile)> = plan
        .tunnels
        .iter()
        .filter_map(|planned| {
            let name = planned.profile.as_ref()?;
            Some((planned, model.profiles.iter().find(|profile| profile.name == *name)?))
        })
        .collect();
    if protected.is_empty() {
        return None;
    }
    let mut writer = Writer { places, text: String::new() };
    writer.line(0, "# Made by `dmvpn import`; comments name the lines of the old configuration. It has keys in it: keep it");
    writer.line(0, "# readable by root only (mode 0600), as /etc/swanctl/conf.d/dmvpn.conf, and load it with `swanctl --load-all`.");
    writer.line(0, "");
    writer.line(0, "connections {");
    for (planned, profile) in &protected {
        writer.connections(planned, profile);
    }
    writer.line(0, "}");
    let mut written: Vec<&str> = Vec::new();
    writer.line(0, "");
    writer.line(0, "secrets {");
    for (_, profile) in &protected {
        if written.contains(&profile.name.as_str()) {
            continue;
        }
        written.push(&profile.name);
        writer.secrets(profile, written.len());
    }
    writer.line(0, "}");
    Some(writer.text)
}

struct Writer<'a> {
    places: &'a Places<'a>,
    text: String,
}

impl Writer<'_> {
    fn line(&mut self, level: usize, line: &str) {
        // Writing to a string cannot fail.
        let _ = if line.is_empty() {
            writeln!(self.text)
        } else {
            writeln!(self.text, "{:width$}{line}", "", width = level * 4)
        };
    }

    fn comment(&mut self, level: usize, text: &str) {
        self.line(level, &format!("# {}", printable(text)));
    }

    /// One connection for all peers. In tunnel mode trap policies need to know whose they are, so there is one for
    /// each server, too.
    fn connections(&mut self, planned: &Planned, profile: &Profile) {
        let name = &planned.name;
        if profile.mode == Mode::Transport {
            self.connection(planned, profile, name, "%any", "trap");
            return;
        }
        let servers: Vec<&String> = planned.servers.iter().filter(|server| is_host(server)).collect();
        for (number, server) in servers.iter().enumerate() {
            self.connection(planned, profile, &format!("{name}-{}", number + 1), server, "trap");
        }
        self.connection(planned, profile, name, "%any", "none");
    }

    fn connection(&mut self, planned: &Planned, profile: &Profile, name: &str, remote: &str, start: &str) {
        let place = self.places.names(profile.lines.first().copied());
        self.comment(1, &format!("Profile {} ({place})", profile.name));
        self.line(1, &format!("{name} {{"));
        self.line(2, &format!("version = {}", profile.version));
        if let Some(source) = planned.source {
            self.line(2, &format!("local_addrs = {source}"));
        }
        self.line(2, &format!("remote_addrs = {remote}"));
        if profile.aggressive {
            self.comment(2, "weak: aggressive mode shows a hash of the key");
            self.line(2, "aggressive = yes");
        }
        self.suites(2, "proposals", &profile.ike);
        if let Some(lifetime) = profile.ike_lifetime {
            let soft = soft(lifetime);
            self.line(2, &format!("rekey_time = {soft}s"));
            self.line(2, &format!("over_time = {}s", lifetime - soft));
        }
        if let Some((delay, timeout)) = profile.dpd {
            self.line(2, &format!("dpd_delay = {delay}s"));
            if let Some(timeout) = timeout.filter(|_| profile.version != 2) {
                self.line(2, &format!("dpd_timeout = {timeout}s"));
            }
        }
        self.line(2, "mobike = no");
        for side in ["local", "remote"] {
            let auth = match profile.auth {
                Auth::SharedKey => "psk",
                Auth::Certificate => "pubkey",
            };
            self.line(2, &format!("{side} {{"));
            self.line(3, &format!("auth = {auth}"));
            self.line(2, "}");
        }
        for note in &profile.notes {
            let place = self.places.name(note.at);
            self.comment(2, &format!("{place}: {}", note.value));
        }
        self.line(2, "children {");
        self.child(profile, name, start);
        self.line(2, "}");
        self.line(1, "}");
    }

    fn child(&mut self, profile: &Profile, name: &str, start: &str) {
        self.line(3, &format!("{name} {{"));
        self.line(4, "local_ts = dynamic[gre]");
        self.line(4, "remote_ts = dynamic[gre]");
        self.suites(4, "esp_proposals", &profile.esp);
        match profile.mode {
            Mode::Transport => self.line(4, "mode = transport"),
            Mode::Tunnel => {
                self.comment(
                    4,
                    "Peers that are not known beforehand can only be trapped in transport mode, so in this",
                );
                self.comment(4, "mode shortcuts start in clear. Prefer `mode = transport`, on all nodes, and one connection.");
                self.line(4, "mode = tunnel");
            }
        }
        if let Some(lifetime) = profile.lifetime {
            self.line(4, &format!("rekey_time = {}s", soft(lifetime)));
            self.line(4, &format!("life_time = {lifetime}s"));
        }
        if let Some(bytes) = profile.lifetime_kilobytes.and_then(|kilobytes| kilobytes.checked_mul(1024)) {
            self.line(4, &format!("rekey_bytes = {}", soft(bytes)));
            self.line(4, &format!("life_bytes = {bytes}"));
        }
        if let Some(seconds) = profile.inactivity {
            self.line(4, &format!("inactivity = {seconds}s"));
        }
        if let Some(action) = profile.dpd_action {
            self.line(4, &format!("dpd_action = {action}"));
        }
        if let Some(action) = profile.close_action {
            // `close_action` has the names of `start_action`.
            let action = match action {
                "restart" => "start",
                "clear" => "none",
                other => other,
            };
            self.line(4, &format!("close_action = {action}"));
        }
        self.line(4, &format!("start_action = {start}"));
        self.line(3, "}");
    }

    fn suites(&mut self, level: usize, key: &str, suites: &[Suite]) {
        for suite in suites {
            let place = self.places.names(suite.lines.iter().copied());
            let algorithms = suite.algorithms.join("-");
            match suite.weak.as_slice() {
                [] => self.comment(level, &format!("{place}: {algorithms}")),
                weak => self.comment(level, &format!("{place}: {algorithms} is weak: {}", weak.join("; "))),
            }
        }
        let proposals: Vec<String> = suites.iter().map(|suite| suite.algorithms.join("-")).collect();
        if !proposals.is_empty() {
            self.line(level, &format!("{key} = {}", proposals.join(", ")));
        }
    }

    fn secrets(&mut self, profile: &Profile, number: usize) {
        if profile.keys.is_empty() && profile.auth == Auth::SharedKey {
            self.comment(1, &format!("No key of profile {} was in the files.", profile.name));
        }
        for (index, SharedKey { at, peer, key }) in profile.keys.iter().enumerate() {
            let place = self.places.name(*at);
            self.comment(1, &place);
            self.line(1, &format!("ike-{number}-{} {{", index + 1));
            match peer.as_deref() {
                Some(peer) if is_host(peer) => self.line(2, &format!("id = {peer}")),
                Some(peer) => self.comment(2, &format!("it was the key of {peer} only")),
                None => {}
            }
            self.line(2, &format!("secret = {}", secret(key)));
            self.line(1, "}");
        }
    }
}

/// When to renew what ends after `hard`: nine tenths of it.
fn soft(hard: u64) -> u64 {
    hard - hard / 10
}

/// An address or a name that needs no quotes.
fn is_host(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || ".:-_@".contains(letter))
}

/// A key in quotes, or its bytes when quotes would change it.
fn secret(key: &str) -> String {
    let harmless = key.chars().all(|letter| letter.is_ascii_graphic() && !"\"\\".contains(letter));
    if harmless && !key.starts_with("0x") && !key.starts_with("0s") {
        format!("\"{key}\"")
    } else {
        key.bytes().fold(String::from("0x"), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_bytes() {
        assert_eq!(secret("s3cret"), "\"s3cret\"");
        assert_eq!(secret("a\"b"), "0x612262");
        assert_eq!(secret("0x12"), "0x30783132");
    }

    #[test]
    fn renews_before_the_end() {
        assert_eq!(soft(3600), 3240);
        assert_eq!(soft(0), 0);
        assert_eq!(soft(u64::MAX), u64::MAX - u64::MAX / 10);
    }
}
