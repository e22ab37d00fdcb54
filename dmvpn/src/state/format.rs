//! The file's format: JSON with a version.
//!
//! Another version is refused as a whole, so fields may mean something else in it. Fields that are not known are
//! ignored: a newer agent of this version may add some.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, SystemTime},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{State, TunnelState};
use crate::nhrp::engine::{Registration, RequestIds};

/// Version of the format.
pub const VERSION: u64 = 1;

/// Largest file in bytes: a million registrations.
pub(super) const MAX_SIZE: usize = 256 << 20;

/// Why bytes are not a state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// More than an agent ever writes.
    #[error("it is larger than {MAX_SIZE} bytes")]
    TooLarge,
    /// Cut off, damaged, or something else.
    #[error("it is damaged, or something else ({0})")]
    Malformed(#[from] serde_json::Error),
    /// Written by an agent of another release.
    #[error("it has version {found}, this agent reads version {VERSION}")]
    Version {
        /// Version of the file.
        found: u64,
    },
}

/// All that is read before the version is known to be ours.
#[derive(Deserialize)]
struct Header {
    version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    version: u64,
    /// Seconds since 1970.
    saved_at: u32,
    names: BTreeMap<String, BTreeSet<IpAddr>>,
    tunnels: BTreeMap<String, Tunnel>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Tunnel {
    registration_id: u32,
    next_request_id: u32,
    registrations: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    client: IpAddr,
    /// Absent: the client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<IpNet>,
    nbma: IpAddr,
    /// Absent: the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claimed_nbma: Option<IpAddr>,
    unique: bool,
    mtu: u16,
    request_id: u32,
    /// Seconds.
    remaining: u16,
}

/// Reads a state.
pub fn parse(bytes: &[u8]) -> Result<State, StateError> {
    if bytes.len() > MAX_SIZE {
        return Err(StateError::TooLarge);
    }
    let Header { version } = serde_json::from_slice(bytes)?;
    if version != VERSION {
        return Err(StateError::Version { found: version });
    }
    let File { saved_at, names, tunnels, .. } = serde_json::from_slice(bytes)?;
    Ok(State {
        saved_at: SystemTime::UNIX_EPOCH + Duration::from_secs(saved_at.into()),
        names,
        tunnels: tunnels.into_iter().map(|(name, tunnel)| (name, tunnel.into())).collect(),
    })
}

/// Writes a state.
pub fn encode(state: &State) -> Result<Vec<u8>, StateError> {
    let since_epoch = state.saved_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let file = File {
        version: VERSION,
        saved_at: u32::try_from(since_epoch.as_secs()).unwrap_or(u32::MAX),
        names: state.names.clone(),
        tunnels: state.tunnels.iter().map(|(name, tunnel)| (name.clone(), tunnel.into())).collect(),
    };
    let mut bytes = serde_json::to_vec(&file)?;
    bytes.push(b'\n');
    if bytes.len() > MAX_SIZE { Err(StateError::TooLarge) } else { Ok(bytes) }
}

impl From<Tunnel> for TunnelState {
    fn from(tunnel: Tunnel) -> Self {
        Self {
            ids: RequestIds { registration: tunnel.registration_id, next: tunnel.next_request_id },
            registrations: tunnel.registrations.into_iter().map(Registration::from).collect(),
        }
    }
}

impl From<&TunnelState> for Tunnel {
    fn from(state: &TunnelState) -> Self {
        Self {
            registration_id: state.ids.registration,
            next_request_id: state.ids.next,
            registrations: state.registrations.iter().map(Entry::from).collect(),
        }
    }
}

impl From<Entry> for Registration {
    fn from(entry: Entry) -> Self {
        Self {
            prefix: entry.prefix.unwrap_or(entry.client.into()),
            client: entry.client,
            nbma: entry.nbma,
            claimed_nbma: entry.claimed_nbma.unwrap_or(entry.nbma),
            unique: entry.unique,
            mtu: entry.mtu,
            request_id: entry.request_id,
            remaining: Duration::from_secs(entry.remaining.into()),
        }
    }
}

impl From<&Registration> for Entry {
    fn from(registration: &Registration) -> Self {
        let Registration { prefix, client, nbma, claimed_nbma, .. } = *registration;
        Self {
            client,
            prefix: (prefix != client.into()).then_some(prefix),
            nbma,
            claimed_nbma: (claimed_nbma != nbma).then_some(claimed_nbma),
            unique: registration.unique,
            mtu: registration.mtu,
            request_id: registration.request_id,
            // Holding times have sixteen bits.
            remaining: u16::try_from(registration.remaining.as_secs()).unwrap_or(u16::MAX),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn registration(client: &str, prefix: &str, nbma: &str, claimed: &str, remaining: u64) -> Registration {
        Registration {
            prefix: prefix.parse().unwrap(),
            client: client.parse().unwrap(),
            nbma: nbma.parse().unwrap(),
            claimed_nbma: claimed.parse().unwrap(),
            unique: claimed == nbma,
            mtu: 1472,
            request_id: u32::MAX,
            remaining: Duration::from_secs(remaining),
        }
    }

    /// One of everything.
    pub(in crate::state) fn sample() -> State {
        let registrations = vec![
            registration("10.0.0.11", "10.0.0.11/32", "203.0.113.7", "172.20.0.1", 7200),
            registration("10.0.0.12", "10.0.0.12/32", "203.0.113.8", "203.0.113.8", 60),
            registration("10.0.0.12", "192.168.2.0/24", "203.0.113.8", "203.0.113.8", 65535),
        ];
        let ids = RequestIds { registration: 1, next: u32::MAX };
        let blue = TunnelState { ids: RequestIds { registration: 0, next: 0 }, registrations: Vec::new() };
        State {
            saved_at: SystemTime::UNIX_EPOCH + Duration::from_hours(500_000),
            names: [("hub.example.net".to_owned(), ["203.0.113.1".parse().unwrap()].into())].into(),
            tunnels: [("dmvpn0".to_owned(), TunnelState { ids, registrations }), ("blue".to_owned(), blue)]
                .into(),
        }
    }

    /// What agents in the field have written.
    const WRITTEN: &str = r#"{"version":1,"saved-at":1800000000,"names":{"hub.example.net":["203.0.113.1"]},"tunnels":{"blue":{"registration-id":0,"next-request-id":0,"registrations":[]},"dmvpn0":{"registration-id":1,"next-request-id":4294967295,"registrations":[{"client":"10.0.0.11","nbma":"203.0.113.7","claimed-nbma":"172.20.0.1","unique":false,"mtu":1472,"request-id":4294967295,"remaining":7200},{"client":"10.0.0.12","nbma":"203.0.113.8","unique":true,"mtu":1472,"request-id":4294967295,"remaining":60},{"client":"10.0.0.12","prefix":"192.168.2.0/24","nbma":"203.0.113.8","unique":true,"mtu":1472,"request-id":4294967295,"remaining":65535}]}}}
"#;

    #[test]
    fn the_format_stays_as_it_is() {
        assert_eq!(String::from_utf8(encode(&sample()).unwrap()).unwrap(), WRITTEN);
        assert_eq!(parse(WRITTEN.as_bytes()).unwrap(), sample());
    }

    #[test]
    fn a_file_that_is_cut_off_is_damaged() {
        let whole = WRITTEN.trim_end();
        for length in 0..whole.len() {
            let error = parse(&whole.as_bytes()[..length]).unwrap_err();
            assert!(matches!(error, StateError::Malformed(_)), "{length}: {error}");
        }
    }

    #[test]
    fn another_version_is_not_read_at_all() {
        for (text, found) in [
            (r#"{"version":0}"#, 0),
            (r#"{"version":2,"tunnels":["these","are","lists"]}"#, 2),
            (r#"{"version":18446744073709551615}"#, u64::MAX),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, StateError::Version { found: is } if is == found), "{text}: {error}");
        }
        assert_eq!(
            parse(br#"{"version":2}"#).unwrap_err().to_string(),
            "it has version 2, this agent reads version 1"
        );
    }

    #[test]
    fn a_value_out_of_its_range_is_refused() {
        for (part, other) in [
            (r#""remaining":60"#, r#""remaining":65536"#),
            (r#""remaining":60"#, r#""remaining":-1"#),
            (r#""mtu":1472"#, r#""mtu":65536"#),
            (r#""client":"10.0.0.11""#, r#""client":"10.0.0.300""#),
            (r#""prefix":"192.168.2.0/24""#, r#""prefix":"192.168.2.0/33""#),
            (r#""registration-id":1,"#, ""),
            (r#""version":1"#, r#""version":-1"#),
            (r#""version":1"#, r#""version":"1""#),
        ] {
            let text = WRITTEN.replacen(part, other, 1);
            assert_ne!(text, WRITTEN);
            assert!(matches!(parse(text.as_bytes()), Err(StateError::Malformed(_))), "{other}");
        }
    }

    #[test]
    fn a_field_that_is_not_known_is_ignored() {
        let text = WRITTEN.replace(r#""mtu":1472"#, r#""mtu":1472,"group":"gold""#);
        assert_eq!(parse(text.as_bytes()).unwrap(), sample());
    }

    proptest! {
        #[test]
        fn survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn survives_any_change_of_a_byte(place in 0..WRITTEN.len(), byte in any::<u8>()) {
            let mut bytes = WRITTEN.as_bytes().to_vec();
            bytes[place] = byte;
            if let Ok(state) = parse(&bytes) {
                prop_assert_eq!(parse(&encode(&state).unwrap()).unwrap(), state);
            }
        }
    }
}
