//! Raises events for the agent.
#![expect(unsafe_code, reason = "an event is written field by field into the ring")]

use dmvpn_common::{Address, DropReason, EVENT_HEAD_SIZE, Event, EventKind};

use crate::{count, maps::EVENTS};

/// Asks the agent for the link-layer address of `next_hop` on a tunnel interface.
#[inline(always)]
pub fn resolve(tunnel_ifindex: u32, next_hop: Address) {
    raise(EventKind::Resolve, tunnel_ifindex, &next_hop, |_| 0);
}

/// Tells the agent that a packet from the NBMA address `outer_source` went back into the NHRP network. `copy` copies
/// the packet's head and returns how many bytes it copied.
#[inline(always)]
pub fn redirect(
    tunnel_ifindex: u32,
    outer_source: &Address,
    copy: impl FnOnce(*mut [u8; EVENT_HEAD_SIZE]) -> u32,
) {
    raise(EventKind::Redirect, tunnel_ifindex, outer_source, copy);
}

/// Tells the agent that a packet from the NBMA address `outer_source` has a link-local source. `copy` copies the
/// packet's header and returns how many bytes it copied.
#[inline(always)]
pub fn link_local(
    tunnel_ifindex: u32,
    outer_source: &Address,
    copy: impl FnOnce(*mut [u8; EVENT_HEAD_SIZE]) -> u32,
) {
    raise(EventKind::LinkLocal, tunnel_ifindex, outer_source, copy);
}

#[inline(always)]
fn raise(
    kind: EventKind,
    tunnel_ifindex: u32,
    address: &Address,
    copy: impl FnOnce(*mut [u8; EVENT_HEAD_SIZE]) -> u32,
) {
    let Some(mut entry) = EVENTS.reserve(0) else {
        count::dropped(DropReason::EventLost, 0);
        return;
    };
    let event: *mut Event = entry.as_mut_ptr();
    // SAFETY: the ring gave room for one event, aligned to 8 bytes, to this program alone.
    unsafe {
        (&raw mut (*event).kind).write(kind);
        (&raw mut (*event).tunnel_ifindex).write(tunnel_ifindex);
        (&raw mut (*event).address).write(*address);
        (&raw mut (*event).head).write([0; EVENT_HEAD_SIZE]);
        let length = copy(&raw mut (*event).head);
        (&raw mut (*event).head_length).write(length);
    }
    entry.submit(0);
}

/// How many of `length` bytes an event takes. Between 1 and the size of the head, in a form that tells the verifier so:
/// before Linux 6.8 it has lost the bounds of a number that came from swapped bytes. The black box keeps the compiler
/// from leaving out what it finds superfluous.
#[inline(always)]
pub fn head_length(length: u32) -> u32 {
    const MASK: u32 = EVENT_HEAD_SIZE as u32 - 1;
    const { assert!(EVENT_HEAD_SIZE.is_power_of_two()) };
    (core::hint::black_box(length.min(EVENT_HEAD_SIZE as u32).wrapping_sub(1)) & MASK) + 1
}
