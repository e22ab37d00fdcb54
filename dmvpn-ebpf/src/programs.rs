//! The entry points.
#![expect(unsafe_code, reason = "a kernel helper")]

use aya_ebpf::{
    bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action, xdp_md},
    helpers::generated::bpf_redirect,
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use aya_log_ebpf::debug;
use dmvpn_ebpf::{
    count, hit, lan, mss,
    packet::Packet as _,
    receive::{self, Verdict},
    skb::SkbPacket,
    spread,
    tunnel::{self, TunnelPacket as _},
    xdp::XdpPacket,
};

/// XDP program of an underlay interface.
#[xdp(frags)]
fn dmvpn_underlay(context: XdpContext) -> u32 {
    underlay(context)
}

/// The short way, then the long one.
#[inline(always)]
fn underlay(context: XdpContext) -> u32 {
    let mut packet = XdpPacket(context);
    match hit::forward(&mut packet) {
        Some(verdict) => carry_out(&packet, verdict),
        None => underlay_long_way(packet.0.ctx),
    }
}

/// The rest of [`underlay`]: a function of its own, so that the short way has registers and stack to itself.
#[inline(never)]
fn underlay_long_way(context: *mut xdp_md) -> u32 {
    let mut packet = XdpPacket(XdpContext::new(context));
    let verdict = receive::receive(&mut packet);
    carry_out(&packet, verdict)
}

/// XDP program of an underlay interface whose packets are spread over CPUs. What is not spread is dealt with here.
#[xdp(frags)]
fn dmvpn_spread(context: XdpContext) -> u32 {
    let packet = XdpPacket(context);
    spread::hand_over(&packet).unwrap_or_else(|| underlay(packet.0))
}

/// What a CPU does with a packet that was handed over to it: what [`dmvpn_underlay`] does, which knows a way to send it
/// back by its own interface that is not open here.
#[xdp(frags, map = "cpumap")]
fn dmvpn_spread_cpu(context: XdpContext) -> u32 {
    let packet = XdpPacket(context);
    spread::take(&packet);
    let interface = packet.interface();
    match underlay(packet.0) {
        // SAFETY: takes numbers only.
        xdp_action::XDP_TX => unsafe { bpf_redirect(interface, 0) as u32 },
        action => action,
    }
}

/// XDP program of an accelerated interface.
#[xdp(frags)]
fn dmvpn_lan(context: XdpContext) -> u32 {
    let mut packet = XdpPacket(context);
    let verdict = lan::forward(&mut packet).unwrap_or(Verdict::Pass);
    carry_out(&packet, verdict)
}

/// The action of XDP that a verdict stands for.
#[inline(always)]
fn carry_out(packet: &XdpPacket, verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Pass => xdp_action::XDP_PASS,
        Verdict::Drop(reason) => {
            count::dropped(reason, packet.length());
            debug!(&packet.0, "interface {}: dropped, reason {}", packet.interface(), reason as u32);
            xdp_action::XDP_DROP
        }
        Verdict::Transmit(interface) if interface == packet.interface() => xdp_action::XDP_TX,
        // SAFETY: takes numbers only.
        Verdict::Transmit(interface) => unsafe { bpf_redirect(interface, 0) as u32 },
    }
}

/// Bytes of a received packet that the programs look at: the longest headers of both packets, and TCP's up to its flags.
const HEADERS: u32 = 14 + 40 + 8 + 40 + mss::FLAGS as u32 + 1;

/// TC ingress program of an underlay interface: what [`dmvpn_underlay`] does, where that would not run in the driver.
#[classifier]
fn dmvpn_underlay_tc(context: TcContext) -> i32 {
    let mut packet = SkbPacket(context);
    // A tag that lies beside the packet's bytes is a VLAN device's, which has a program of its own.
    let length = packet.length().min(HEADERS);
    if packet.is_tagged() || !packet.reach(length) {
        return TC_ACT_UNSPEC;
    }
    match hit::forward(&mut packet) {
        Some(verdict) => carry_out_tc(&packet, verdict),
        None => underlay_tc_long_way(packet.0.skb.skb),
    }
}

/// The rest of [`dmvpn_underlay_tc`].
#[inline(never)]
fn underlay_tc_long_way(context: *mut __sk_buff) -> i32 {
    let mut packet = SkbPacket(TcContext::new(context));
    let verdict = receive::receive(&mut packet);
    carry_out_tc(&packet, verdict)
}

/// The action of TC that a verdict stands for.
#[inline(always)]
fn carry_out_tc(packet: &SkbPacket, verdict: Verdict) -> i32 {
    match verdict {
        Verdict::Pass => TC_ACT_UNSPEC,
        Verdict::Drop(reason) => {
            count::dropped(reason, packet.length());
            debug!(&packet.0, "interface {}: dropped, reason {}", packet.interface(), reason as u32);
            TC_ACT_SHOT as i32
        }
        // SAFETY: takes numbers only.
        Verdict::Transmit(interface) => unsafe { bpf_redirect(interface, 0) as i32 },
    }
}

/// TC egress program of a tunnel interface.
#[classifier]
fn dmvpn_tunnel(context: TcContext) -> i32 {
    let mut packet = SkbPacket(context);
    match tunnel::send(&mut packet) {
        Ok(action) => action,
        Err(reason) => {
            count::dropped(reason, packet.length());
            debug!(&packet.0, "interface {}: dropped, reason {}", packet.interface(), reason as u32);
            TC_ACT_SHOT as i32
        }
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
