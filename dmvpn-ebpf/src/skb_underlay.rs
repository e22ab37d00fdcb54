//! A received packet as a TC program sees it: what [`crate::receive`] needs of it.
//!
//! Generic receive offload may have put several packets together. Its outer header is rewritten in place where the new one
//! has the same length; all other changes take room away or make room behind the Ethernet header.
#![expect(unsafe_code, reason = "kernel helpers and the context's fields are reached by pointer")]

use aya_ebpf::{
    EbpfContext as _,
    bindings::{
        BPF_F_ADJ_ROOM_DECAP_L3_IPV4, BPF_F_ADJ_ROOM_DECAP_L3_IPV6, BPF_F_ADJ_ROOM_FIXED_GSO,
        bpf_adj_room_mode,
    },
    helpers::generated::{bpf_fib_lookup, bpf_skb_load_bytes},
};
use dmvpn_common::{EVENT_HEAD_SIZE, Underlay};

use crate::{
    count::Path,
    ethernet,
    event::head_length,
    link,
    packet::Packet as _,
    receive::UnderlayPacket,
    route::RouteQuery,
    skb::{HEADERS_DIFFER, SkbPacket},
    tunnel::TunnelPacket,
};

impl UnderlayPacket for SkbPacket {
    const PATH: Path = Path::Tc;

    /// The kernel compared the addresses, those of VLAN devices too.
    #[inline(always)]
    fn is_for_us(&self, _link: u32) -> bool {
        const PACKET_HOST: u32 = 0;
        // SAFETY: the context is the one the kernel gave the program.
        unsafe { (*self.0.skb.skb).pkt_type == PACKET_HOST }
    }

    /// The kernel knows one encapsulation of a packet whose segmentation is left to the device, and keeps its offsets:
    /// another one is possible only where it has the same length.
    #[inline(always)]
    fn can_replace_front(&self, old: u32, link: u32, outer: u32) -> bool {
        // SAFETY: the context is the one the kernel gave the program.
        old == link + outer || unsafe { (*self.0.skb.skb).gso_size } == 0
    }

    #[inline(always)]
    fn replace_front(&mut self, old: u32, link: u32, outer: u32) -> bool {
        if old == link + outer {
            return true;
        }
        // The kernel leaves the Ethernet header alone, and moves it.
        self.take_off(old - link) && (outer == 0 || self.put_on(outer))
    }

    #[inline(always)]
    fn link_length(_next_hop: &Underlay) -> u32 {
        ethernet::LENGTH
    }

    #[inline(always)]
    fn write_link(&self, next_hop: &Underlay, ether_type: u16) -> bool {
        link::write_untagged(self, next_hop, ether_type)
    }

    /// A VLAN device puts its tag in itself.
    #[inline(always)]
    fn interface_of(next_hop: &Underlay) -> u32 {
        next_hop.route_ifindex
    }

    #[inline(always)]
    fn segments(&self) -> u32 {
        TunnelPacket::segments(self)
    }

    #[inline(always)]
    fn copy_head(&self, offset: u32, length: u32, to: *mut [u8; EVENT_HEAD_SIZE]) -> u32 {
        let length = head_length(length);
        // SAFETY: `to` has room for as many bytes; the kernel checks that the packet has them.
        let result = unsafe { bpf_skb_load_bytes(self.0.as_ptr(), offset, to.cast(), length) };
        if result == 0 { length } else { 0 }
    }

    #[inline(always)]
    fn look_up_route(&self, query: &mut RouteQuery) -> i64 {
        let size = size_of::<RouteQuery>() as i32;
        let parameters: *mut RouteQuery = query;
        // SAFETY: the query has the layout of the helper's parameters, is initialised, and of the size given.
        unsafe { bpf_fib_lookup(self.0.as_ptr(), parameters.cast(), size, 0) }
    }
}

impl SkbPacket {
    /// Takes `length` bytes of outer header off. The kernel is told what comes to light, else it would not let a short
    /// IPv4 packet out of an IPv6 one. Kernels before 6.4 do not know that; there the helper for translation takes away as
    /// many bytes as an IPv6 header is longer, and makes it an IPv4 packet.
    #[inline(always)]
    fn take_off(&mut self, length: u32) -> bool {
        let mode = bpf_adj_room_mode::BPF_ADJ_ROOM_MAC;
        // It is less than this; the verifier wants it said.
        let offset = core::hint::black_box(ethernet::LENGTH + length) & 0x7f;
        let Some(header) = self.block::<4>(offset as usize) else { return false };
        let family = if header.byte::<0>() >> 4 == 6 {
            BPF_F_ADJ_ROOM_DECAP_L3_IPV6
        } else {
            BPF_F_ADJ_ROOM_DECAP_L3_IPV4
        };
        let difference = -(length as i32);
        self.0.adjust_room(difference, mode, u64::from(family | BPF_F_ADJ_ROOM_FIXED_GSO)).is_ok()
            || self.0.adjust_room(difference, mode, u64::from(BPF_F_ADJ_ROOM_FIXED_GSO)).is_ok()
            || (self.0.skb.change_proto(ethernet::IPV4.to_be(), 0).is_ok()
                && self.0.adjust_room(difference + HEADERS_DIFFER, mode, 0).is_ok())
    }

    /// Makes room for `length` bytes of outer header.
    #[inline(always)]
    fn put_on(&mut self, length: u32) -> bool {
        self.0.adjust_room(length as i32, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC, 0).is_ok()
    }
}
