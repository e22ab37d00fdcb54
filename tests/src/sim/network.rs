//! The underlay: it carries NHRP packets with a delay, in any order, and loses some.

use std::time::Duration;

use super::{address::Address, random::Random, slab::Slab};

/// Of 100 packets, so many are lost.
pub(super) const LOSS: u32 = 5;

/// Shortest and longest time on the way. Packets overtake each other.
const DELAY: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(50));

/// A packet on its way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) bytes: Vec<u8>,
    /// It comes from a stranger, or is a consequence of one that did.
    pub(super) hostile: bool,
}

/// Everything that is on its way.
#[derive(Debug)]
pub(super) struct Network {
    flights: Slab<Flight>,
    random: Random,
    /// Packets sent.
    pub(super) sent: u64,
    /// Of those, lost.
    pub(super) lost: u64,
    digest: u64,
}

impl Network {
    pub(super) const fn new(random: Random) -> Self {
        Self { flights: Slab::new(), random, sent: 0, lost: 0, digest: 0 }
    }

    /// Takes a packet: when it arrives and its number, or `None` when it is lost.
    pub(super) fn send(&mut self, flight: Flight) -> Option<(Duration, u32)> {
        self.sent += 1;
        self.note(u64::from(flight.from) << 32 | u64::from(flight.to));
        self.note_bytes(&flight.bytes);
        if self.random.chance(LOSS) {
            self.lost += 1;
            return None;
        }
        let delay = self.random.between(DELAY.0, DELAY.1);
        Some((delay, self.flights.add(flight)))
    }

    /// Takes a packet off the wire.
    pub(super) fn arrive(&mut self, number: u32) -> Option<Flight> {
        self.flights.take(number)
    }

    /// A number that two runs share only if they sent the same packets in the same order.
    pub(super) const fn digest(&self) -> u64 {
        self.digest
    }

    /// Adds something to the digest.
    pub(super) const fn note(&mut self, value: u64) {
        let mixed = (self.digest.rotate_left(5) ^ value).wrapping_mul(0x517C_C1B7_2722_0A95);
        self.digest = mixed ^ (mixed >> 29);
    }

    fn note_bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for &word in words {
            self.note(u64::from_le_bytes(word));
        }
        let rest = rest.iter().fold(bytes.len() as u64, |sum, &byte| sum << 8 | u64::from(byte));
        self.note(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(last: u8) -> Flight {
        Flight { from: 1, to: 2, bytes: vec![0, 1, 2, 3, 4, 5, 6, 7, 8, last], hostile: false }
    }

    #[test]
    fn loses_five_of_a_hundred_and_delivers_the_others_once() {
        let mut network = Network::new(Random::new(1));
        let mut arrived = 0;
        for _ in 0..10_000 {
            if let Some((delay, number)) = network.send(flight(0)) {
                assert!(delay >= DELAY.0 && delay <= DELAY.1);
                assert!(network.arrive(number).is_some());
                assert!(network.arrive(number).is_none());
                arrived += 1;
            }
        }
        assert_eq!(network.sent - network.lost, arrived);
        assert!((400..600).contains(&network.lost), "{}", network.lost);
    }

    #[test]
    fn the_digest_sees_every_byte_and_the_order() {
        let digest = |bytes: &[u8]| {
            let mut network = Network::new(Random::new(1));
            for &last in bytes {
                network.send(flight(last));
            }
            network.digest()
        };
        assert_eq!(digest(&[1, 2]), digest(&[1, 2]));
        assert_ne!(digest(&[1, 2]), digest(&[2, 1]));
        assert_ne!(digest(&[1, 2]), digest(&[1, 3]));
    }
}
