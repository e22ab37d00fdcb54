//! The entry points.
#![expect(unsafe_code, reason = "a kernel helper")]

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, xdp_action, xdp_md},
    helpers::generated::bpf_redirect,
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use aya_log_ebpf::debug;
use dmvpn_ebpf::{
    count, hit, lan,
    packet::Packet as _,
    receive::{self, Verdict},
    skb::SkbPacket,
    tunnel,
    xdp::XdpPacket,
};

/// XDP program of an underlay interface.
#[xdp(frags)]
fn dmvpn_underlay(context: XdpContext) -> u32 {
    let mut packet = XdpPacket(context);
    match hit::forward(&mut packet) {
        Some(verdict) => carry_out(&packet, verdict),
        None => underlay_long_way(packet.0.ctx),
    }
}

/// The rest of [`dmvpn_underlay`]: a function of its own, so that the short way has registers and stack to itself.
#[inline(never)]
fn underlay_long_way(context: *mut xdp_md) -> u32 {
    let mut packet = XdpPacket(XdpContext::new(context));
    let verdict = receive::receive(&mut packet);
    carry_out(&packet, verdict)
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
