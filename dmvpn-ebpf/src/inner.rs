//! The inner packet, of either family: what the data path has to know of it, and what it changes.

use dmvpn_common::{Address, Family};

use crate::{
    address, ethernet,
    ipv4::{self, Ipv4},
    ipv6::{self, Ipv6},
    mss,
    packet::Packet,
    route::RouteQuery,
};

/// The header of an inner packet.
pub trait Inner: Copy {
    /// Its GRE protocol type and `EtherType`.
    const PROTOCOL: u16;
    /// Its length without options.
    const LENGTH: u32;

    /// Reads the header at `offset` of a packet that has `room` bytes from there on.
    fn read<P: Packet>(packet: &P, offset: u32, room: u32) -> Reading<Self>;

    /// The one of two values that is for its family.
    fn of_family<T>(ipv4: T, ipv6: T) -> T;

    /// Length of the packet.
    fn length(&self) -> u32;

    /// Type of service or traffic class.
    fn tos(&self) -> u8;

    /// [`ipv4::DONT_FRAGMENT`] or zero.
    fn df(&self) -> u8;

    /// The protocol of what follows the header at once; 0, which is none of interest, when there are options.
    fn transport(&self) -> u8;

    /// Whether the packet with the header at `offset` opens a TCP connection.
    fn opens_connection<P: Packet>(&self, packet: &P, offset: u32) -> bool;

    /// Whether this box may forward it without a closer look, and it has a hop left.
    fn is_forwardable(&self) -> bool;

    /// Whether the source is an address of one node, and may be on another link.
    fn has_unicast_source(&self) -> bool;

    /// Whether the destination is one.
    fn has_unicast_destination(&self) -> bool;

    /// Source address.
    fn source(&self) -> Address;

    /// Destination address.
    fn destination(&self) -> Address;

    /// The question how the kernel would forward it, had it come in by `ifindex`.
    fn query(&self, ifindex: u32) -> RouteQuery;

    /// Whether a router may forward the header at `offset` (RFC 1812, 5.2.2).
    fn checksum_is_right<P: Packet>(packet: &P, offset: u32) -> bool;

    /// Gives the header at `offset` the type of service `tos`. `false`: it is not within reach.
    fn set_tos<P: Packet>(&self, packet: &P, offset: u32, tos: u8) -> bool;

    /// Takes one hop from the header at `offset`, and gives it the type of service `tos`. `false`: it is not within
    /// reach.
    fn pass_hop<P: Packet>(&self, packet: &P, offset: u32, tos: u8) -> bool;
}

/// What reading a header came to.
pub enum Reading<H> {
    /// This is the header.
    Header(H),
    /// It contradicts itself or the outer header.
    Malformed,
    /// It is not within reach.
    OutOfReach,
}

impl Inner for Ipv4 {
    const PROTOCOL: u16 = ethernet::IPV4;
    const LENGTH: u32 = ipv4::LENGTH;

    #[inline(always)]
    fn read<P: Packet>(packet: &P, offset: u32, room: u32) -> Reading<Self> {
        let Some(header) = packet.block(offset as usize) else { return Reading::OutOfReach };
        match Self::read(&header, room) {
            Some(header) => Reading::Header(header),
            None => Reading::Malformed,
        }
    }

    #[inline(always)]
    fn of_family<T>(ipv4: T, _ipv6: T) -> T {
        ipv4
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        u32::from(self.length)
    }

    #[inline(always)]
    fn tos(&self) -> u8 {
        self.tos
    }

    #[inline(always)]
    fn df(&self) -> u8 {
        self.df
    }

    #[inline(always)]
    fn transport(&self) -> u8 {
        if self.plain { self.protocol } else { 0 }
    }

    #[inline(always)]
    fn opens_connection<P: Packet>(&self, packet: &P, offset: u32) -> bool {
        const FLAGS: usize = ipv4::LENGTH as usize + mss::FLAGS;
        self.transport() == mss::TCP
            && packet.block::<{ FLAGS + 1 }>(offset as usize).is_some_and(|packet| {
                packet.byte::<FLAGS>() & mss::SYN != 0 && !ipv4::is_later_fragment(packet.half::<6>())
            })
    }

    #[inline(always)]
    fn is_forwardable(&self) -> bool {
        self.is_simple_unicast() && self.ttl > 1
    }

    #[inline(always)]
    fn has_unicast_source(&self) -> bool {
        ipv4::is_unicast(self.source)
    }

    #[inline(always)]
    fn has_unicast_destination(&self) -> bool {
        ipv4::is_unicast(self.destination)
    }

    #[inline(always)]
    fn source(&self) -> Address {
        address::address(self.source)
    }

    #[inline(always)]
    fn destination(&self) -> Address {
        address::address(self.destination)
    }

    #[inline(always)]
    fn query(&self, ifindex: u32) -> RouteQuery {
        RouteQuery::ipv4(ifindex, self)
    }

    #[inline(always)]
    fn checksum_is_right<P: Packet>(packet: &P, offset: u32) -> bool {
        packet
            .block::<{ ipv4::LENGTH as usize }>(offset as usize)
            .is_some_and(|header| ipv4::checksum_is_right(&header))
    }

    #[inline(always)]
    fn set_tos<P: Packet>(&self, packet: &P, offset: u32, tos: u8) -> bool {
        let Some(mut header) = packet.block(offset as usize) else { return false };
        ipv4::set_tos(&mut header, tos);
        true
    }

    #[inline(always)]
    fn pass_hop<P: Packet>(&self, packet: &P, offset: u32, tos: u8) -> bool {
        let Some(mut header) = packet.block(offset as usize) else { return false };
        ipv4::decrement_ttl(&mut header);
        if tos != self.tos {
            ipv4::set_tos(&mut header, tos);
        }
        true
    }
}

impl Inner for Ipv6 {
    const PROTOCOL: u16 = ethernet::IPV6;
    const LENGTH: u32 = ipv6::LENGTH;

    #[inline(always)]
    fn read<P: Packet>(packet: &P, offset: u32, room: u32) -> Reading<Self> {
        let Some(header) = packet.block(offset as usize) else { return Reading::OutOfReach };
        match Self::read(&header, room) {
            Some(header) => Reading::Header(header),
            None => Reading::Malformed,
        }
    }

    #[inline(always)]
    fn of_family<T>(_ipv4: T, ipv6: T) -> T {
        ipv6
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        self.length
    }

    #[inline(always)]
    fn tos(&self) -> u8 {
        self.traffic_class
    }

    /// Routers never fragment IPv6.
    #[inline(always)]
    fn df(&self) -> u8 {
        ipv4::DONT_FRAGMENT
    }

    #[inline(always)]
    fn transport(&self) -> u8 {
        self.next_header
    }

    /// A fragment has another header in between.
    #[inline(always)]
    fn opens_connection<P: Packet>(&self, packet: &P, offset: u32) -> bool {
        const FLAGS: usize = ipv6::LENGTH as usize + mss::FLAGS;
        self.next_header == mss::TCP
            && packet
                .block::<{ FLAGS + 1 }>(offset as usize)
                .is_some_and(|packet| packet.byte::<FLAGS>() & mss::SYN != 0)
    }

    #[inline(always)]
    fn is_forwardable(&self) -> bool {
        self.is_simple_unicast() && self.hop_limit > 1
    }

    #[inline(always)]
    fn has_unicast_source(&self) -> bool {
        ipv6::is_unicast(self.source)
    }

    #[inline(always)]
    fn has_unicast_destination(&self) -> bool {
        ipv6::is_unicast(self.destination)
    }

    #[inline(always)]
    fn source(&self) -> Address {
        address::from_words(Family::Ipv6, self.source)
    }

    #[inline(always)]
    fn destination(&self) -> Address {
        address::from_words(Family::Ipv6, self.destination)
    }

    #[inline(always)]
    fn query(&self, ifindex: u32) -> RouteQuery {
        RouteQuery::ipv6(ifindex, self)
    }

    /// There is none.
    #[inline(always)]
    fn checksum_is_right<P: Packet>(_packet: &P, _offset: u32) -> bool {
        true
    }

    #[inline(always)]
    fn set_tos<P: Packet>(&self, packet: &P, offset: u32, tos: u8) -> bool {
        let Some(mut header) = packet.block(offset as usize) else { return false };
        ipv6::set_traffic_class(&mut header, tos);
        true
    }

    #[inline(always)]
    fn pass_hop<P: Packet>(&self, packet: &P, offset: u32, tos: u8) -> bool {
        let Some(mut header) = packet.block(offset as usize) else { return false };
        ipv6::decrement_hop_limit(&mut header);
        if tos != self.traffic_class {
            ipv6::set_traffic_class(&mut header, tos);
        }
        true
    }
}
