//! A packet as an XDP program sees it: a frame in the driver's buffers.
#![expect(unsafe_code, reason = "kernel helpers and the context's fields are reached by pointer")]

use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::{bpf_fib_lookup, bpf_xdp_adjust_head, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::XdpContext,
};
use dmvpn_common::{EVENT_HEAD_SIZE, Underlay};

use crate::{
    count::Path, event::head_length, link, packet::Packet, receive::UnderlayPacket, route::RouteQuery,
    station,
};

/// A frame at the XDP hook.
pub struct XdpPacket(pub XdpContext);

impl Packet for XdpPacket {
    #[inline(always)]
    fn start(&self) -> usize {
        self.0.data()
    }

    #[inline(always)]
    fn end(&self) -> usize {
        self.0.data_end()
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        // SAFETY: the context is the one the kernel gave the program.
        unsafe { bpf_xdp_get_buff_len(self.0.ctx) as u32 }
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.0.ctx).ingress_ifindex }
    }
}

impl UnderlayPacket for XdpPacket {
    const PATH: Path = Path::Xdp;

    #[inline(always)]
    fn is_for_us(&self, link: u32) -> bool {
        station::is_ours(self, link)
    }

    /// Whether there is room, only trying tells.
    #[inline(always)]
    fn can_replace_front(&self, _old: u32, _link: u32, _outer: u32) -> bool {
        true
    }

    #[inline(always)]
    fn replace_front(&mut self, old: u32, link: u32, outer: u32) -> bool {
        let new = link + outer;
        // SAFETY: as above. Moving the start by nothing is a call saved.
        old == new || unsafe { bpf_xdp_adjust_head(self.0.ctx, old as i32 - new as i32) } == 0
    }

    #[inline(always)]
    fn link_length(next_hop: &Underlay) -> u32 {
        link::length(next_hop)
    }

    #[inline(always)]
    fn write_link(&self, next_hop: &Underlay, ether_type: u16) -> bool {
        link::write(self, next_hop, ether_type)
    }

    #[inline(always)]
    fn interface_of(next_hop: &Underlay) -> u32 {
        next_hop.ifindex
    }

    #[inline(always)]
    fn segments(&self) -> u32 {
        1
    }

    #[inline(always)]
    fn copy_head(&self, offset: u32, length: u32, to: *mut [u8; EVENT_HEAD_SIZE]) -> u32 {
        let length = head_length(length);
        // SAFETY: `to` has room for as many bytes; the kernel checks that the packet has them.
        let result = unsafe { bpf_xdp_load_bytes(self.0.ctx, offset, to.cast(), length) };
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
