//! The entry points.
#![expect(unsafe_code, reason = "kernel helpers, packets and per-CPU values are reached by pointer")]

use aya_ebpf::{
    EbpfContext as _, Global,
    bindings::{bpf_fib_lookup as FibQuery, xdp_action},
    btf_maps::{Array, PerCpuArray, ProgramArray},
    helpers::generated::{bpf_fib_lookup, bpf_ktime_get_ns, bpf_redirect, bpf_xdp_adjust_head},
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use dmvpn_common::Control;

/// First bytes of a packet.
type Front = [u64; 8];

/// Packets, bytes, and when the last packet came whose number is a multiple of [`STAMPED`]: `CLOCK_MONOTONIC` in
/// nanoseconds.
type Tally = [u64; 3];

/// The clock is not asked for every packet: that would be a good part of what is measured.
const STAMPED: u64 = 64;

/// First bytes of a packet of each flow. The loader sets the number of flows.
#[btf_map]
pub static BENCH_FRONTS: Array<Front, 2> = Array::new();

/// State of the random numbers, per CPU.
#[btf_map]
pub static BENCH_RANDOM: PerCpuArray<u64, 1> = PerCpuArray::new();

/// The program under test.
#[btf_map]
pub static BENCH_NEXT: ProgramArray<1> = ProgramArray::new();

/// What the sink has seen, per CPU.
#[btf_map]
pub static BENCH_SINK: PerCpuArray<Tally, 1> = PerCpuArray::new();

/// The data path's own map: the loader takes the pinned one.
#[btf_map]
pub static CONTROL: Array<Control, 1> = Array::new();

/// Number of flows.
#[unsafe(no_mangle)]
pub static BENCH_FLOWS: Global<u32> = Global::new(2);

/// Bytes of a packet.
#[unsafe(no_mangle)]
pub static BENCH_LENGTH: Global<u32> = Global::new(98);

/// Where `bench_generate` sends by.
#[unsafe(no_mangle)]
pub static BENCH_INTERFACE: Global<u32> = Global::new(0);

/// The underlay interface, for one question of `bench_fib`.
#[unsafe(no_mangle)]
pub static BENCH_UNDERLAY: Global<u32> = Global::new(0);

/// The tunnel interface, for the other.
#[unsafe(no_mangle)]
pub static BENCH_TUNNEL: Global<u32> = Global::new(0);

/// Feeds the program under test.
#[xdp(frags)]
fn bench_feed(context: XdpContext) -> u32 {
    if next_packet(&context).is_none() {
        return xdp_action::XDP_ABORTED;
    }
    // SAFETY: the program under test takes the same context. When there is none, the call returns.
    unsafe { BENCH_NEXT.tail_call(&context, 0) };
    xdp_action::XDP_ABORTED
}

/// Feeds the program under test, which finds no cached route.
#[xdp(frags)]
fn bench_feed_new(context: XdpContext) -> u32 {
    let Some(control) = CONTROL.get_ptr_mut(0) else { return xdp_action::XDP_ABORTED };
    // SAFETY: the value of an array is there for ever. The agent of a bench writes nothing meanwhile.
    unsafe { (*control).generation = (*control).generation.wrapping_add(1) };
    if next_packet(&context).is_none() {
        return xdp_action::XDP_ABORTED;
    }
    // SAFETY: as above.
    unsafe { BENCH_NEXT.tail_call(&context, 0) };
    xdp_action::XDP_ABORTED
}

/// Does nothing.
#[xdp(frags)]
fn bench_return(_context: XdpContext) -> u32 {
    xdp_action::XDP_TX
}

/// Sends a packet of a random flow by an interface.
#[xdp(frags)]
fn bench_generate(context: XdpContext) -> u32 {
    if next_packet(&context).is_none() {
        return xdp_action::XDP_ABORTED;
    }
    // SAFETY: takes numbers only.
    unsafe { bpf_redirect(BENCH_INTERFACE.load(), 0) as u32 }
}

/// Counts and drops.
#[xdp(frags)]
fn bench_sink(context: XdpContext) -> u32 {
    if let Some(tally) = BENCH_SINK.get_ptr_mut(0) {
        // SAFETY: the value of this CPU, and programs do not nest on one map value.
        unsafe {
            (*tally)[0] += 1;
            (*tally)[1] += (context.data_end() - context.data()) as u64;
            if (*tally)[0] % STAMPED == 0 {
                (*tally)[2] = bpf_ktime_get_ns();
            }
        }
    }
    xdp_action::XDP_DROP
}

/// Asks where the inner packet goes, then where the outer one goes, and sends the frame back. A packet that has no answer
/// to both is dropped, so that it is missed.
#[xdp(frags)]
fn bench_fib(context: XdpContext) -> u32 {
    // Ethernet 14, outer IPv4 20, GRE with key 8; addresses at 12 and 16 of an IPv4 header.
    let (start, end) = (context.data(), context.data_end());
    if start + 64 > end {
        return xdp_action::XDP_DROP;
    }
    let word = |offset: usize| {
        // SAFETY: all offsets used are below 64, which was checked.
        unsafe { ((start + offset) as *const u32).read_unaligned() }
    };
    let inner = (word(14 + 28 + 12), word(14 + 28 + 16));
    // Where the packet came from is as good a destination as any other peer.
    let outer = (word(14 + 16), word(14 + 12));
    if !has_route(&context, BENCH_TUNNEL.load(), inner) || !has_route(&context, BENCH_UNDERLAY.load(), outer)
    {
        return xdp_action::XDP_DROP;
    }
    xdp_action::XDP_TX
}

/// Whether the kernel knows the neighbour that a packet goes to.
#[inline(always)]
fn has_route(context: &XdpContext, interface: u32, (source, destination): (u32, u32)) -> bool {
    const AF_INET: u8 = 2;
    // SAFETY: all of it are numbers, for which zero is a value.
    let mut query: FibQuery = unsafe { core::mem::zeroed() };
    query.family = AF_INET;
    query.ifindex = interface;
    query.__bindgen_anon_3.ipv4_src = source;
    query.__bindgen_anon_4.ipv4_dst = destination;
    let size = size_of::<FibQuery>() as i32;
    // SAFETY: the query is what the helper takes, and has the size that is given.
    unsafe { bpf_fib_lookup(context.as_ptr(), &raw mut query, size, 0) == 0 }
}

/// Gives the packet its length and the first bytes of a random flow.
#[inline(always)]
fn next_packet(context: &XdpContext) -> Option<()> {
    let delta = (context.data_end() - context.data()) as i32 - BENCH_LENGTH.load() as i32;
    // Also when there is nothing to undo: so the floor costs as much as what is measured.
    // SAFETY: the context is the one the kernel gave the program.
    if unsafe { bpf_xdp_adjust_head(context.ctx, delta) } != 0 {
        return None;
    }
    let front = BENCH_FRONTS.get(next_flow()?)?;
    let (start, end) = (context.data(), context.data_end());
    if start + size_of::<Front>() > end {
        return None;
    }
    let packet = start as *mut u64;
    for (place, word) in front.iter().enumerate() {
        // SAFETY: within the packet, as was checked. Packets lie at any address, and eBPF stores words at any address: as
        // an unaligned store this would be eight of a byte each.
        unsafe { *packet.add(place) = *word };
    }
    Some(())
}

/// A random flow: the upper half of a linear congruential sequence, spread over the flows.
#[inline(always)]
fn next_flow() -> Option<u32> {
    let state = BENCH_RANDOM.get_ptr_mut(0)?;
    // SAFETY: the value of this CPU.
    let next =
        unsafe { (*state).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) };
    // SAFETY: as above.
    unsafe { *state = next };
    Some((((next >> 32) * u64::from(BENCH_FLOWS.load())) >> 32) as u32)
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
