//! What outlives an agent in a file: clients' registrations, request ids, addresses of host names.
//!
//! The kernel keeps what forwards packets. It does not keep what NHRP needs to go on: until when a registration
//! holds, whether it is unique, who is behind NAT, which request ids are used up (RFC 2332 5.2.3). The file is a help,
//! never a condition: without it, or with one that is not understood, an agent starts from what is in the kernel.

mod format;
mod store;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, SystemTime},
};

pub use format::{StateError, VERSION, encode, parse};
pub use store::{FILE_NAME, Store, StoreError};

use crate::nhrp::engine::{Registration, RequestIds};

/// What an agent knew at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The moment, in whole seconds.
    pub saved_at: SystemTime,
    /// Host names of servers, and their addresses.
    pub names: BTreeMap<String, BTreeSet<IpAddr>>,
    /// Tunnels, by the names of their interfaces.
    pub tunnels: BTreeMap<String, TunnelState>,
}

/// What an agent knew about a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelState {
    /// How far the ids of its requests had come.
    pub ids: RequestIds,
    /// Registrations of its clients. What remains of each is in whole seconds.
    pub registrations: Vec<Registration>,
}

impl State {
    /// Takes the time that has passed at `now` off every registration; what is over is left out. A clock that went
    /// back counts as one that stood still.
    #[must_use]
    pub fn at(mut self, now: SystemTime) -> Self {
        let passed = now.duration_since(self.saved_at).unwrap_or(Duration::ZERO);
        for registration in self.tunnels.values_mut().flat_map(|tunnel| &mut tunnel.registrations) {
            registration.remaining = registration.remaining.saturating_sub(passed);
        }
        for tunnel in self.tunnels.values_mut() {
            tunnel.registrations.retain(|registration| !registration.remaining.is_zero());
        }
        self.saved_at = self.saved_at.max(now);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::{format::tests::sample, *};

    fn remaining(state: &State) -> Vec<u64> {
        let registrations = state.tunnels.values().flat_map(|tunnel| &tunnel.registrations);
        registrations.map(|registration| registration.remaining.as_secs()).collect()
    }

    #[test]
    fn time_passes_for_registrations() {
        let state = sample();
        assert_eq!(remaining(&state), [7200, 60, 65535]);
        let later = state.clone().at(state.saved_at + Duration::from_secs(59));
        assert_eq!(remaining(&later), [7141, 1, 65476]);
        let later = state.clone().at(state.saved_at + Duration::from_mins(1));
        assert_eq!(remaining(&later), [7140, 65475]);
        let earlier = state.clone().at(state.saved_at - Duration::from_hours(1));
        assert_eq!(earlier, state);
        assert_eq!(later.tunnels["dmvpn0"].ids, state.tunnels["dmvpn0"].ids);
    }
}
