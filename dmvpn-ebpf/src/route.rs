//! The question to the kernel's routing table, and its answer.

use core::mem::offset_of;

use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_BLACKHOLE, BPF_FIB_LKUP_RET_NOT_FWDED, BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup,
};

use crate::{ipv4::Ipv4, ipv6::Ipv6};

/// The route leads to a neighbour whose link-layer address is known.
pub const FOUND: i64 = BPF_FIB_LKUP_RET_SUCCESS as i64;
/// A blackhole route.
pub const BLACKHOLE: i64 = BPF_FIB_LKUP_RET_BLACKHOLE as i64;

/// The packet is for this box, or there is no route for it.
pub const NOT_FORWARDED: i64 = BPF_FIB_LKUP_RET_NOT_FWDED as i64;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// The kernel's `struct bpf_fib_lookup`, question and answer in one, in a form that is initialised with a few stores.
#[repr(C, align(8))]
pub struct RouteQuery {
    family: u8,
    protocol: u8,
    source_port: u16,
    destination_port: u16,
    /// Question: length of the packet. Answer: the MTU.
    pub length: u16,
    /// Question: interface the packet came in by. Answer: interface it leaves by.
    pub ifindex: u32,
    /// Question: type of service.
    tos: u32,
    source: [u32; 4],
    destination: [u32; 4],
    /// Answer: VLAN, source and destination link-layer addresses.
    link_layer: [u64; 2],
}

const _: () = {
    assert!(size_of::<RouteQuery>() == size_of::<bpf_fib_lookup>());
    assert!(offset_of!(RouteQuery, ifindex) == offset_of!(bpf_fib_lookup, ifindex));
    assert!(offset_of!(RouteQuery, tos) == offset_of!(bpf_fib_lookup, __bindgen_anon_2));
    assert!(offset_of!(RouteQuery, destination) == offset_of!(bpf_fib_lookup, __bindgen_anon_4));
    assert!(offset_of!(RouteQuery, link_layer) == offset_of!(bpf_fib_lookup, __bindgen_anon_5));
    assert!(offset_of!(bpf_fib_lookup, smac) == offset_of!(RouteQuery, link_layer) + 4);
    assert!(offset_of!(bpf_fib_lookup, dmac) == offset_of!(RouteQuery, link_layer) + 10);
};

impl RouteQuery {
    /// How would the kernel forward this packet, had it come in by the interface `ifindex`? Ports are left out: a policy
    /// rule or a multipath hash that asks for them sees zero.
    #[inline(always)]
    pub fn ipv4(ifindex: u32, packet: &Ipv4) -> Self {
        Self {
            family: AF_INET,
            protocol: packet.protocol,
            source_port: 0,
            destination_port: 0,
            length: packet.length,
            ifindex,
            tos: u32::from_ne_bytes([packet.tos, 0, 0, 0]),
            source: [u32::from_ne_bytes(packet.source), 0, 0, 0],
            destination: [u32::from_ne_bytes(packet.destination), 0, 0, 0],
            link_layer: [0; 2],
        }
    }

    /// As [`ipv4`](Self::ipv4).
    #[inline(always)]
    pub fn ipv6(ifindex: u32, packet: &Ipv6) -> Self {
        let class = u32::from(packet.traffic_class) << 20;
        Self {
            family: AF_INET6,
            protocol: packet.next_header,
            source_port: 0,
            destination_port: 0,
            length: packet.length as u16,
            ifindex,
            // Flow label and class, in network order.
            tos: class.to_be(),
            source: packet.source,
            destination: packet.destination,
            link_layer: [0; 2],
        }
    }

    /// The same question about the way back, to find out whose address the source is. Nothing comes back from a group:
    /// then the question is `from_destination` no more, but from nowhere.
    #[inline(always)]
    #[must_use]
    pub fn reversed(mut self, from_destination: bool) -> Self {
        let from = if from_destination { self.destination } else { [0; 4] };
        (self.source, self.destination) = (from, self.source);
        // Any length but none: then the kernel would take that of the frame at TC, and find it too long.
        self.length = 1;
        self
    }

    /// Answer: destination and source addresses of the frame, as they lie in it.
    #[inline(always)]
    pub fn frame_addresses(&self) -> [u8; 12] {
        let [_, _, _, _, s0, s1, s2, s3] = self.link_layer[0].to_ne_bytes();
        let [s4, s5, d0, d1, d2, d3, d4, d5] = self.link_layer[1].to_ne_bytes();
        [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5]
    }

    /// Answer: link-layer address of the next hop.
    #[inline(always)]
    pub fn next_hop_address(&self) -> [u8; 6] {
        let [_, _, address @ ..] = self.link_layer[1].to_ne_bytes();
        address
    }
}
