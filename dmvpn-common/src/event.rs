//! What the data path tells the agent, through the ring buffer `EVENTS`.

use crate::Address;

/// Bytes of the packet an event can carry.
pub const EVENT_HEAD_SIZE: usize = 128;

/// What happened.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The kernel asked for the link-layer address of a next hop on a tunnel interface: [`Event::address`] is the
    /// next hop.
    Resolve = 1,
    /// A packet came from the NHRP network and went back into it: [`Event::address`] is the outer source,
    /// [`Event::head`] the head of the inner packet as it was received.
    Redirect = 2,
    /// A packet came from a peer with an IPv6 link-local source: [`Event::address`] is the outer source,
    /// [`Event::head`] the inner packet's header.
    LinkLocal = 3,
}

/// One record. The ring gives room at multiples of eight bytes.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Interface index of the tunnel interface concerned.
    pub tunnel_ifindex: u32,
    /// Meaning depends on [`kind`](Self::kind).
    pub address: Address,
    /// Bytes of [`head`](Self::head) in use.
    pub head_length: u32,
    /// Head of the packet.
    pub head: [u8; EVENT_HEAD_SIZE],
}

const _: () = assert!(size_of::<Event>() == 160);
