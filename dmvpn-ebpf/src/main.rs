//! Entry points of the eBPF object: they turn a verdict into an action. See the library for everything else.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

/// On the host the package exists for its unit tests.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::{
        bindings::{TC_ACT_OK, xdp_action},
        macros::{classifier, xdp},
        programs::{TcContext, XdpContext},
    };
    use aya_log_ebpf::debug;
    use dmvpn_ebpf::{maps, settings};

    /// Passes everything: the decision is not wired yet. Names every map and setting, so that the linker keeps them.
    #[xdp(frags)]
    fn dmvpn_underlay(context: XdpContext) -> u32 {
        if settings::NHRP_SOURCE_LIMIT.load() == 0 && settings::REDIRECT_INTERVAL_NS.load() == 0 {
            maps::name_all();
        }
        debug!(&context, "pass");
        xdp_action::XDP_PASS
    }

    #[classifier]
    fn dmvpn_tunnel(_context: TcContext) -> i32 {
        TC_ACT_OK
    }

    #[panic_handler]
    fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }
}
