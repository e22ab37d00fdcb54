//! What was counted.

use std::fmt;

use super::ordered_map::OrderedMap;
use crate::nhrp::wire::PacketKind;

/// Counts of one tunnel since the engine was made.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    received: [u64; PACKET_KINDS],
    sent: [u64; PACKET_KINDS],
    /// Those that happened.
    faults: OrderedMap<Fault, u64>,
    /// Those that a received packet of a kind caused.
    caused: OrderedMap<(Fault, PacketKind), u64>,
    /// The kind of the packet that is being acted on.
    current: Option<PacketKind>,
    /// Traffic Indications that were not sent because one was sent shortly before.
    pub redirects_suppressed: u64,
    /// Events that were not reported because too many came at once.
    pub events_suppressed: u64,
}

/// Types of packets: 1 to 8.
const PACKET_KINDS: usize = 8;

/// Why a packet was not acted on, or how an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The bytes are no NHRP packet.
    Malformed,
    /// A password is missing or wrong.
    Authentication,
    /// More packets than the limit for one source.
    SourceRate,
    /// More packets than the limit for all.
    TotalRate,
    /// Addresses of another family than the tunnel's, or none.
    AddressFamily,
    /// An unknown extension that must be understood.
    UnknownExtension,
    /// From a source that is not a peer, for what only peers may do.
    UnknownSource,
    /// Hop count used up.
    HopCount,
    /// Came round.
    Loop,
    /// No way to its destination.
    Unreachable,
    /// A reply to nothing we asked, or with content that cannot be true.
    UnexpectedReply,
    /// A registration that the policy or a table's bound refused.
    RegistrationRefused,
    /// An address that somebody else holds: a registration of a unique one, or a link-local one seen elsewhere.
    Conflict,
    /// A purge by somebody whose binding it is not.
    PurgeRefused,
    /// An indication about traffic that takes no shortcut.
    IndicationIgnored,
    /// Error Indications received.
    ErrorReceived,
    /// Error Indications not sent because too many were sent shortly before.
    ErrorSuppressed,
    /// A resolution that nobody answered, or with a refusal.
    ResolutionFailed,
    /// A table was full.
    TableFull,
    /// A packet of ours could not be written.
    Encode,
}

impl Fault {
    /// Every fault, in the order of their numbers.
    pub const ALL: [Self; 20] = [
        Self::Malformed,
        Self::Authentication,
        Self::SourceRate,
        Self::TotalRate,
        Self::AddressFamily,
        Self::UnknownExtension,
        Self::UnknownSource,
        Self::HopCount,
        Self::Loop,
        Self::Unreachable,
        Self::UnexpectedReply,
        Self::RegistrationRefused,
        Self::Conflict,
        Self::PurgeRefused,
        Self::IndicationIgnored,
        Self::ErrorReceived,
        Self::ErrorSuppressed,
        Self::ResolutionFailed,
        Self::TableFull,
        Self::Encode,
    ];

    /// Name for tables and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Authentication => "authentication-failed",
            Self::SourceRate => "source-rate",
            Self::TotalRate => "total-rate",
            Self::AddressFamily => "address-family",
            Self::UnknownExtension => "unknown-extension",
            Self::UnknownSource => "unknown-source",
            Self::HopCount => "hop-count",
            Self::Loop => "loop",
            Self::Unreachable => "unreachable",
            Self::UnexpectedReply => "unexpected-reply",
            Self::RegistrationRefused => "registration-refused",
            Self::Conflict => "unique-conflict",
            Self::PurgeRefused => "purge-refused",
            Self::IndicationIgnored => "indication-ignored",
            Self::ErrorReceived => "error-received",
            Self::ErrorSuppressed => "error-suppressed",
            Self::ResolutionFailed => "resolution-failed",
            Self::TableFull => "table-full",
            Self::Encode => "encode",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Every kind of packet, by its number.
const KINDS: [PacketKind; PACKET_KINDS] = [
    PacketKind::ResolutionRequest,
    PacketKind::ResolutionReply,
    PacketKind::RegistrationRequest,
    PacketKind::RegistrationReply,
    PacketKind::PurgeRequest,
    PacketKind::PurgeReply,
    PacketKind::ErrorIndication,
    PacketKind::TrafficIndication,
];

const fn slot(kind: PacketKind) -> usize {
    kind as usize - 1
}

impl Counters {
    /// Packets of a kind that were received and could be read.
    pub const fn received(&self, kind: PacketKind) -> u64 {
        self.received[slot(kind)]
    }

    /// Packets of a kind that were sent, those sent on included.
    pub const fn sent(&self, kind: PacketKind) -> u64 {
        self.sent[slot(kind)]
    }

    /// How often something went wrong.
    pub fn fault(&self, fault: Fault) -> u64 {
        self.faults.get(&fault).copied().unwrap_or(0)
    }

    /// Kind of packet, how many received, how many sent.
    pub fn packets(&self) -> impl Iterator<Item = (PacketKind, u64, u64)> + '_ {
        KINDS.into_iter().map(|kind| (kind, self.received(kind), self.sent(kind)))
    }

    /// Every fault and how often it happened.
    pub fn faults(&self) -> impl Iterator<Item = (Fault, u64)> + '_ {
        Fault::ALL.into_iter().map(|fault| (fault, self.fault(fault)))
    }

    /// Every fault that happened: the kind of the received packet that it happened to, or `None` if that could not be
    /// read or there was none; and how often.
    pub fn faults_by_packet(&self) -> impl Iterator<Item = (Fault, Option<PacketKind>, u64)> + '_ {
        Fault::ALL.into_iter().flat_map(move |fault| {
            let by_kind = KINDS.into_iter().filter_map(move |kind| {
                self.caused.get(&(fault, kind)).map(|&count| (fault, Some(kind), count))
            });
            let others = self.fault(fault) - by_kind.clone().map(|(.., count)| count).sum::<u64>();
            by_kind.chain((others > 0).then_some((fault, None, others)))
        })
    }

    /// Faults from here on are not about a packet, until the next one was received.
    pub(super) const fn no_packet(&mut self) {
        self.current = None;
    }

    pub(super) const fn count_received(&mut self, kind: PacketKind) {
        self.received[slot(kind)] += 1;
        self.current = Some(kind);
    }

    pub(super) const fn count_sent(&mut self, kind: PacketKind) {
        self.sent[slot(kind)] += 1;
    }

    pub(super) fn count(&mut self, fault: Fault) {
        *self.faults.get_or_insert_with(fault, || 0) += 1;
        if let Some(kind) = self.current {
            *self.caused.get_or_insert_with((fault, kind), || 0) += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_own_place_and_name() {
        let mut names = std::collections::BTreeSet::new();
        for (index, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, index);
            assert!(names.insert(fault.name()));
        }
    }

    #[test]
    fn counts_kinds_and_faults_apart() {
        let mut counters = Counters::default();
        counters.count_received(PacketKind::ResolutionRequest);
        counters.count_sent(PacketKind::TrafficIndication);
        counters.count_sent(PacketKind::TrafficIndication);
        counters.count(Fault::Encode);
        let sent: Vec<_> = counters.packets().filter(|&(_, received, sent)| received + sent > 0).collect();
        assert_eq!(sent, [(PacketKind::ResolutionRequest, 1, 0), (PacketKind::TrafficIndication, 0, 2)]);
        assert_eq!(counters.faults().filter(|&(_, count)| count > 0).count(), 1);
    }

    #[test]
    fn tells_which_packets_a_fault_happened_to() {
        let mut counters = Counters::default();
        counters.count(Fault::Loop);
        counters.count_received(PacketKind::PurgeRequest);
        counters.count(Fault::Loop);
        counters.count_received(PacketKind::ResolutionRequest);
        counters.count(Fault::Loop);
        counters.count(Fault::Loop);
        counters.no_packet();
        counters.count(Fault::Encode);
        let expected = [
            (Fault::Loop, Some(PacketKind::ResolutionRequest), 2),
            (Fault::Loop, Some(PacketKind::PurgeRequest), 1),
            (Fault::Loop, None, 1),
            (Fault::Encode, None, 1),
        ];
        assert_eq!(counters.faults_by_packet().collect::<Vec<_>>(), expected);
    }
}
