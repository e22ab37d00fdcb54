//! Path MTUs: routers on the underlay say how much they let through to a peer (RFC 1191, RFC 8201).
//!
//! The kernel checks what they say against the packet they quote, and whether we could have sent it; here it is
//! remembered for ten minutes, as the kernel itself does, and then tried again.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// How long what a router said holds (RFC 1191, 6.3; the kernel's `mtu_expires`).
const LIFETIME: Duration = Duration::from_mins(10);
/// Least MTU believed, over IPv4 (the kernel's `min_pmtu`) and IPv6 (RFC 8200, 5). Whoever can forge such messages could
/// else make every packet a hundred.
const LEAST: [u32; 2] = [552, 1280];

/// What is known of the ways to NBMA addresses. At most one entry for each address that is a peer's.
#[derive(Debug, Default)]
pub(super) struct PathMtus {
    known: HashMap<IpAddr, Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    mtu: u32,
    until: Instant,
}

impl PathMtus {
    /// A router let no outer packet of more than `mtu` bytes through to `nbma`. Returns whether that is news.
    pub(super) fn learn(&mut self, nbma: IpAddr, mtu: u32, now: Instant) -> bool {
        let mtu = mtu.max(LEAST[usize::from(nbma.is_ipv6())]);
        let known = Known { mtu, until: now + LIFETIME };
        match self.known.get_mut(&nbma) {
            // A message on its way from before is not a better way.
            Some(old) if old.mtu <= mtu => false,
            Some(old) => {
                *old = known;
                true
            }
            None => {
                self.known.insert(nbma, known);
                true
            }
        }
    }

    /// Largest outer packet to `nbma`, as far as routers said.
    pub(super) fn get(&self, nbma: IpAddr) -> Option<u32> {
        self.known.get(&nbma).map(|known| known.mtu)
    }

    /// Forgets what is too old, and returns whose it was.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<IpAddr> {
        self.known.extract_if(|_, known| known.until <= now).map(|(nbma, _)| nbma).collect()
    }

    /// Forgets an address that is no peer's any more.
    pub(super) fn forget(&mut self, nbma: IpAddr) {
        self.known.remove(&nbma);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9));

    #[test]
    fn believes_the_smallest_until_it_is_old() {
        let mut known = PathMtus::default();
        let begin = Instant::now();
        assert_eq!(known.get(PEER), None);
        assert!(known.learn(PEER, 1400, begin));
        assert!(!known.learn(PEER, 1400, begin));
        assert!(!known.learn(PEER, 1450, begin));
        assert!(known.learn(PEER, 1300, begin + Duration::from_mins(1)));
        assert_eq!(known.get(PEER), Some(1300));
        assert!(known.expire(begin + LIFETIME).is_empty());
        assert_eq!(known.expire(begin + LIFETIME + Duration::from_mins(1)), [PEER]);
        assert_eq!(known.get(PEER), None);
    }

    #[test]
    fn does_not_believe_what_no_network_has() {
        let mut known = PathMtus::default();
        assert!(known.learn(PEER, 68, Instant::now()));
        assert_eq!(known.get(PEER), Some(552));
        let ipv6 = "2001:db8::9".parse().unwrap();
        assert!(known.learn(ipv6, 0, Instant::now()));
        assert_eq!(known.get(ipv6), Some(1280));
        known.forget(ipv6);
        assert_eq!(known.get(ipv6), None);
    }
}
