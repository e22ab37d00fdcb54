//! Why the data path dropped a packet.

/// One dense, append-only list: the number is the index into `COUNTERS`, so a reason never changes its place.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DropReason {
    // ---- expected in operation ----
    /// Address resolution requests on the tunnel interface: swallowed, they became a resolution event.
    #[default]
    NeighbourSolicitation = 0,
    /// Data from an NBMA address that is not a known peer.
    UnknownPeer = 1,
    /// The peer is known but not up.
    PeerDown = 2,
    /// NHRP from one source above its rate.
    NhrpRateLimit = 3,
    /// The tunnel interface sent a multicast or broadcast frame and nobody is to receive it.
    NoMulticastReceiver = 4,
    // ---- routing ----
    /// The tunnel interface sent a frame to a link-layer address that names no peer.
    NoSuchPeer = 5,
    /// A blackhole route. (Unreachable and prohibit routes are left to the kernel, which answers with ICMP.)
    RouteRefused = 6,
    // ---- malformed ----
    /// Too short for the headers it announces.
    Truncated = 7,
    /// GRE key absent, unexpected or different on an address that has a tunnel.
    WrongKey = 8,
    /// GRE version or reserved bits that are not zero.
    GreVersion = 9,
    /// GRE protocol type that a tunnel does not carry; on the tunnel interface, an `EtherType` or a VLAN tag.
    GreProtocol = 10,
    /// Inner packet is not the IP version its GRE protocol type says, or its lengths disagree.
    InnerMalformed = 11,
    // ---- internal: any count is a defect or a lack of resources ----
    /// The frame could not be resized for encapsulation.
    NoHeadroom = 12,
    /// Event ring buffer full: the event is lost, the packet may be too.
    EventLost = 13,
    /// A map names an entry that does not exist.
    MapInconsistent = 14,
    // ---- added later, in the order they came ----
    /// The peer has no underlay next hop: no route leads to its NBMA address. Belongs to "routing".
    NoUnderlayRoute = 15,
    /// The outer header says "congestion experienced" and the inner packet's sender does not understand it (RFC 6040
    /// 4.2). Belongs to "expected in operation".
    Congestion = 16,
    /// The inner source is not routed to the peer the packet came from, on a tunnel that checks it. Belongs to
    /// "routing".
    Spoofed = 17,
    /// A copy of a multicast packet could not be made: out of memory. Belongs to "internal".
    NotCopied = 18,
    /// Longer than the way to the peer takes, and not to be cut: the sender is told. Belongs to "routing".
    TooLong = 19,
    /// Handed over to another CPU, whose queue was full. Belongs to "internal". No program sees it: it is what
    /// [`SpreadCounter`](crate::SpreadCounter) says was never taken.
    SpreadQueueFull = 20,
    /// The GRE checksum is wrong. Belongs to "malformed".
    GreChecksum = 21,
    /// More packets for the agent to take out of their tunnel than it may. Belongs to "expected in operation".
    SlowPathRateLimit = 22,
    /// The agent could not hand the packet to the tunnel interface. Belongs to "internal".
    NotDelivered = 23,
    /// More for the peer than its group may get. Belongs to "expected in operation".
    Policed = 24,
}

/// Entries of `COUNTERS`: more than there are reasons, so that a new reason changes nothing in the pinned layout.
pub const DROP_COUNTERS: usize = 64;

const _: () = assert!(DropReason::ALL.len() <= DROP_COUNTERS);

impl DropReason {
    /// Every reason, in order.
    pub const ALL: [Self; 25] = [
        Self::NeighbourSolicitation,
        Self::UnknownPeer,
        Self::PeerDown,
        Self::NhrpRateLimit,
        Self::NoMulticastReceiver,
        Self::NoSuchPeer,
        Self::RouteRefused,
        Self::Truncated,
        Self::WrongKey,
        Self::GreVersion,
        Self::GreProtocol,
        Self::InnerMalformed,
        Self::NoHeadroom,
        Self::EventLost,
        Self::MapInconsistent,
        Self::NoUnderlayRoute,
        Self::Congestion,
        Self::Spoofed,
        Self::NotCopied,
        Self::TooLong,
        Self::SpreadQueueFull,
        Self::GreChecksum,
        Self::SlowPathRateLimit,
        Self::NotDelivered,
        Self::Policed,
    ];

    /// Name in tables, JSON and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NeighbourSolicitation => "neighbour-solicitation",
            Self::UnknownPeer => "unknown-peer",
            Self::PeerDown => "peer-down",
            Self::NhrpRateLimit => "nhrp-rate-limit",
            Self::NoMulticastReceiver => "no-multicast-receiver",
            Self::NoSuchPeer => "no-such-peer",
            Self::RouteRefused => "route-refused",
            Self::Truncated => "truncated",
            Self::WrongKey => "wrong-key",
            Self::GreVersion => "gre-version",
            Self::GreProtocol => "gre-protocol",
            Self::InnerMalformed => "inner-malformed",
            Self::NoHeadroom => "no-headroom",
            Self::EventLost => "event-lost",
            Self::MapInconsistent => "map-inconsistent",
            Self::NoUnderlayRoute => "no-underlay-route",
            Self::Congestion => "congestion",
            Self::Spoofed => "spoofed",
            Self::NotCopied => "not-copied",
            Self::TooLong => "too-long",
            Self::SpreadQueueFull => "spread-queue-full",
            Self::GreChecksum => "gre-checksum",
            Self::SlowPathRateLimit => "slow-path-rate-limit",
            Self::NotDelivered => "not-delivered",
            Self::Policed => "policed",
        }
    }

    /// What it means, for an operator.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::NeighbourSolicitation => "next hop asked for: NHRP answers instead of ARP (normal)",
            Self::UnknownPeer => "data from an address that has not registered or been resolved",
            Self::PeerDown => "data to or from a peer that is not up",
            Self::NhrpRateLimit => "one source sent NHRP faster than allowed",
            Self::NoMulticastReceiver => "multicast or broadcast with no receiver",
            Self::NoSuchPeer => "frame to a link-layer address that names no peer",
            Self::RouteRefused => "blackhole route",
            Self::Truncated => "shorter than its headers say",
            Self::WrongKey => "GRE key missing, unexpected or different",
            Self::GreVersion => "GRE version or reserved bits not zero",
            Self::GreProtocol => "neither IPv4 nor IPv6: a tunnel does not carry it",
            Self::InnerMalformed => "inner packet malformed",
            Self::NoHeadroom => "no room for the outer header (driver, or a tunnel inside the tunnel)",
            Self::EventLost => "event ring full, agent too slow or stopped",
            Self::MapInconsistent => "internal: a map names what does not exist",
            Self::NoUnderlayRoute => "no route to the peer's NBMA address",
            Self::Congestion => "marked as congested on the way, and the sender cannot be told (RFC 6040)",
            Self::Spoofed => "from a source address that is not routed to the peer it came from",
            Self::NotCopied => "no memory for a copy of a multicast packet",
            Self::TooLong => "longer than the way to the peer takes: the sender was told (ICMP)",
            Self::SpreadQueueFull => {
                "handed over to another CPU, and lost at its full queue or still in it (`spread`)"
            }
            Self::GreChecksum => "GRE checksum wrong",
            Self::SlowPathRateLimit => {
                "more odd packets than `slow-path-packets` allows (bytes are not known)"
            }
            Self::NotDelivered => "the tunnel interface did not take it: is it up?",
            Self::Policed => "more for a peer than its group may get: `dmvpn show groups`",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_dense_and_in_order() {
        for (place, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place, "{reason:?}");
        }
    }
}
