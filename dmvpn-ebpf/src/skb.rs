//! A packet as a TC program sees it: a socket buffer, possibly cloned, in pieces, or waiting for segmentation.
//!
//! Direct writes to a cloned buffer are safe: the verifier puts code in front of the program that copies the headers.
#![expect(unsafe_code, reason = "kernel helpers and the context's fields are reached by pointer")]

use aya_ebpf::{
    bindings::__sk_buff,
    bindings::{
        BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_ADJ_ROOM_ENCAP_L4_GRE,
        BPF_F_ADJ_ROOM_FIXED_GSO, TC_ACT_OK, bpf_adj_room_mode,
    },
    helpers::generated::{
        bpf_clone_redirect, bpf_loop, bpf_redirect, bpf_redirect_neigh, bpf_skb_store_bytes,
    },
    programs::TcContext,
};
use dmvpn_common::{DropReason, PeerMac, Underlay};

use crate::{count, ethernet, ipv4, ipv6, packet::Packet, replicate, settings, tunnel::TunnelPacket};

/// A packet at a TC hook.
pub struct SkbPacket(pub TcContext);

/// Tells the kernel what is added, so that it can segment a large packet later. The segment size stays: it was chosen
/// for the tunnel interface's MTU, which leaves room for the outer header.
const ENCAPSULATION: u32 = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L4_GRE;

/// Bytes that an IPv6 header is longer than an IPv4 header.
pub const HEADERS_DIFFER: i32 = (ipv6::LENGTH - ipv4::LENGTH) as i32;

impl Packet for SkbPacket {
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
        self.0.len()
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: the context is the one the kernel gave the program.
        unsafe { (*self.0.skb.skb).ifindex }
    }

    #[inline(always)]
    fn reach(&mut self, length: u32) -> bool {
        self.start() + length as usize <= self.end() || self.0.pull_data(length).is_ok()
    }

    /// The kernel knows whether there is a checksum yet: until then the field has the sum of the pseudo-header, which
    /// does not change.
    #[inline(always)]
    fn correct_tcp_checksum(&mut self, offset: u32, old: u16, new: u16) -> bool {
        const SIZE: u64 = 2;
        self.0.skb.l4_csum_replace(offset as usize, old.to_be().into(), new.to_be().into(), SIZE).is_ok()
    }
}

impl TunnelPacket for SkbPacket {
    #[inline(always)]
    fn is_tagged(&self) -> bool {
        // SAFETY: as above.
        unsafe { (*self.0.skb.skb).vlan_present != 0 }
    }

    #[inline(always)]
    fn segment_size(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.0.skb.skb).gso_size }
    }

    #[inline(always)]
    fn leave(&self) -> i32 {
        TC_ACT_OK
    }

    #[inline(always)]
    fn segments(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.0.skb.skb).gso_segs }.max(1)
    }

    #[inline(always)]
    fn copy_along(&mut self, first: u32) -> u32 {
        let mut walk = Walk { packet: self.0.skb.skb, receiver: first };
        let context: *mut Walk = &raw mut walk;
        // SAFETY: the callback is called with the context, which outlives the call, and what is in it.
        unsafe {
            bpf_loop(settings::MAX_PEERS.load(), copy as *mut core::ffi::c_void, context.cast(), 0);
        }
        walk.receiver
    }

    #[inline(always)]
    fn make_room(&mut self, length: u32, ether_type: u16) -> bool {
        let mode = bpf_adj_room_mode::BPF_ADJ_ROOM_MAC;
        let family = if ether_type == ethernet::IPV4 {
            BPF_F_ADJ_ROOM_ENCAP_L3_IPV4
        } else {
            BPF_F_ADJ_ROOM_ENCAP_L3_IPV6
        };
        if self.0.adjust_room(length as i32, mode, u64::from(ENCAPSULATION | family)).is_ok() {
            return true;
        }
        // The kernel keeps the offsets of one encapsulation only. A packet that is one already (VXLAN through the
        // tunnel, say) can still get another header, unless its segmentation is left to the device.
        // SAFETY: as above.
        let (segment_size, protocol) = unsafe { ((*self.0.skb.skb).gso_size, (*self.0.skb.skb).protocol) };
        if segment_size != 0 {
            return false;
        }
        let ether_type = ether_type.to_be();
        let room = length as i32;
        if protocol == u32::from(ether_type) {
            return self.0.adjust_room(room, mode, 0).is_ok();
        }
        // Without those offsets room does not change the protocol. What does is meant for translation: it puts as many
        // bytes in front of an IPv4 packet as an IPv6 header is longer, or takes them away.
        if ether_type == ethernet::IPV6.to_be() {
            self.0.skb.change_proto(ether_type, 0).is_ok()
                && self.0.adjust_room(room - HEADERS_DIFFER, mode, 0).is_ok()
        } else {
            self.0.adjust_room(room + HEADERS_DIFFER, mode, 0).is_ok()
                && self.0.skb.change_proto(ether_type, 0).is_ok()
        }
    }

    #[inline(always)]
    fn transmit(&self, next_hop: &Underlay) -> i32 {
        // SAFETY: takes numbers only.
        unsafe { bpf_redirect(next_hop.route_ifindex, 0) as i32 }
    }

    #[inline(always)]
    fn resolve(&self, next_hop: &Underlay) -> i32 {
        // The kernel takes the gateway from its own routes. Naming the gateway here would leave the packet with its
        // route to the tunnel interface: when the address is known at last, the kernel looks for the next hop there.
        // SAFETY: takes no parameters but numbers.
        unsafe { bpf_redirect_neigh(next_hop.route_ifindex, core::ptr::null_mut(), 0, 0) as i32 }
    }
}

/// A packet on its way along a list of receivers.
#[repr(C)]
struct Walk {
    packet: *mut __sk_buff,
    /// Who has not got it yet.
    receiver: u32,
}

/// `ENOBUFS`: the copy was made, and dropped on its way, which was counted there. Some kernels return a positive number
/// instead.
const DROPPED_LATER: i64 = -105;

/// One step: sends a copy to the receiver the packet is at, unless it is the last one. The kernel calls it until it
/// returns 1.
///
/// # Safety
///
/// The context is a [`Walk`] with the program's own packet.
unsafe extern "C" fn copy(_step: u32, walk: *mut Walk) -> i64 {
    // SAFETY: the caller's.
    let Walk { packet, receiver } = unsafe { walk.read() };
    let next = replicate::after(receiver);
    if next == 0 {
        return 1;
    }
    let address = PeerMac::from_index(receiver).0;
    // SAFETY: the packet is the program's; nothing else of it is in use; the address has the length given.
    let result = unsafe {
        bpf_skb_store_bytes(packet, 0, address.as_ptr().cast(), address.len() as u32, 0);
        bpf_clone_redirect(packet, (*packet).ifindex, 0)
    };
    if result < 0 && result != DROPPED_LATER {
        // SAFETY: the packet is the program's.
        count::dropped(DropReason::NotCopied, unsafe { (*packet).len });
    }
    // SAFETY: the caller's.
    unsafe { (*walk).receiver = next };
    0
}
