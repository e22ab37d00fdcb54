//! What is particular to a make of router, as plain values.

use dmvpn::nhrp::wire::ExtensionKind;

/// A make of router. Every value that is not observed or documented is named in [`Profile::evidence`] as inferred.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a habit of its own, none follows from another")]
pub struct Profile {
    /// Name on the command line.
    pub name: &'static str,
    /// The router, in words.
    pub what: &'static str,
    /// How sure it is that the router does so.
    pub evidence: &'static [(&'static str, Evidence)],
    /// Kinds of extensions in requests, in their order. Authentication only where there is a password.
    pub order: &'static [ExtensionKind],
    /// Huawei's extensions 0x400 to 0x403 are sent, too.
    pub private_extensions: bool,
    /// Flags of a Registration Request for a unique address.
    pub registration_flags: u16,
    /// Prefix length in the entry of a Registration Request.
    pub registration_prefix: u8,
    /// MTU in the entry of a Registration Request.
    pub registration_mtu: u16,
    /// Whom a Registration Request is for.
    pub destination: Destination,
    /// Hop count of a Registration Request.
    pub registration_hops: u8,
    /// Hop count of Resolution Requests and of all replies.
    pub hops: u8,
    /// A second Registration Request follows a second after the first success.
    pub registers_twice: bool,
    /// When an unanswered Registration Request is sent again.
    pub retry: Retry,
    /// Flags of a Resolution Request.
    pub resolution_flags: u16,
    /// Prefix length in the entry of a Resolution Request.
    pub resolution_prefix: u8,
    /// MTU in the entry of a Resolution Request.
    pub resolution_mtu: u16,
    /// Bits of a Resolution Request's flags that stay in the reply, and those that are added.
    pub reply_flags: (u16, u16),
    /// Requests whose entry has MTU 0 are not answered.
    pub ignores_mtu_zero: bool,
    /// What happens to packets with a wrong password.
    pub authentication_failure: AuthenticationFailure,
    /// Hop count of its errors, and bytes of the packet in them, at most.
    pub error: (u8, usize),
    /// Packets that have two authentication extensions are answered with an error.
    pub refuses_double_authentication: bool,
    /// As a hub: a unique address that is registered already is refused to others.
    pub keeps_unique: bool,
    /// Purge Requests are obeyed and answered.
    pub obeys_purge: bool,
    /// As a hub: what a redirect looks like.
    pub indication: Indication,
}

/// How sure a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Seen in packets of such a router.
    Seen,
    /// Read in its documentation, or in its source.
    Documented,
    /// Concluded from something else: may be wrong.
    Inferred,
}

/// Whom a Registration Request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The server's protocol address, which is configured.
    Server,
    /// The broadcast address of the tunnel's network.
    Broadcast,
    /// Its own address: it does not know the server's, which it says is 0.0.0.0.
    Own,
}

/// When an unanswered request is sent again, with the same request id.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Retry {
    /// After `first` seconds, then twice as long each time, up to `longest`; each time multiplied by a random number
    /// between `least` and 1.
    Doubling {
        /// Seconds before the first repetition.
        first: f64,
        /// Most seconds.
        longest: f64,
        /// 1: no chance in it.
        least: f64,
    },
    /// `times` times every `every` seconds, then after a pause of `pause` seconds from the start.
    Rounds {
        /// Seconds.
        every: f64,
        /// Requests of a round.
        times: u32,
        /// Seconds; the real router adds up to 120 by chance.
        pause: f64,
    },
}

impl Retry {
    /// Seconds from the `sent`th request (from 1) to the next; `chance` is between 0 and 1.
    pub fn pause(self, sent: u32, chance: f64) -> f64 {
        match self {
            Self::Doubling { first, longest, least } => {
                let doubled = first * f64::from(1_u32 << sent.saturating_sub(1).min(16));
                doubled.min(longest) * (least + (1.0 - least) * chance)
            }
            Self::Rounds { every, times, pause } => {
                if sent.is_multiple_of(times) {
                    pause
                } else {
                    every
                }
            }
        }
    }
}

/// What happens to a packet with a wrong password, or without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthenticationFailure {
    /// Error Indication 11.
    Error,
    /// Nothing.
    Silence,
}

/// What a redirect looks like.
#[derive(Clone, Copy, Debug)]
pub struct Indication {
    /// Bytes of the data packet in it, at most.
    pub head: usize,
    /// Hop count.
    pub hops: u8,
    /// Extensions in it.
    pub extensions: IndicationExtensions,
}

/// Extensions of a redirect, beside authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndicationExtensions {
    /// Transit records, NAT address: as in a request.
    AsInRequests,
    /// Only the forward transit record.
    ForwardTransit,
    /// None.
    Nothing,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let retry = Retry::Doubling { first: 2.0, longest: 64.0, least: 0.75 };
        let pauses: Vec<f64> = (1..=8).map(|sent| retry.pause(sent, 1.0)).collect();
        assert_eq!(pauses, [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 64.0, 64.0]);
        assert!((retry.pause(1, 0.0) - 1.5).abs() < 1e-9);
    }

    #[test]
    fn rounds_end_with_a_longer_pause() {
        let retry = Retry::Rounds { every: 5.0, times: 3, pause: 60.0 };
        let pauses: Vec<f64> = (1..=6).map(|sent| retry.pause(sent, 0.5)).collect();
        assert_eq!(pauses, [5.0, 5.0, 60.0, 5.0, 5.0, 60.0]);
    }
}
