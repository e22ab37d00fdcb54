//! What the agent tells the data path about the state of the whole box.

/// Value of `CONTROL`, which has one entry.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// See below.
    #[cfg(feature = "other-layout")]
    pub seconds: u32,
    /// Raised by the agent after every change of a route, rule, neighbour, address, link or peer: a cached route of
    /// another generation is not used.
    pub generation: u32,
    /// `CLOCK_MONOTONIC` in whole seconds, as the agent last wrote it: time without asking a clock. It stands still
    /// while there is no agent.
    #[cfg(not(feature = "other-layout"))]
    pub seconds: u32,
    /// Set of [`ControlFlags`].
    pub flags: u32,
    /// Bits of the inner source address that decide on a route beside the destination: all where routing depends on
    /// the source (policy rules, several next hops, a check of the source), else none.
    pub source_mask: u32,
}

/// Bits of [`Control::flags`].
pub struct ControlFlags;

impl ControlFlags {
    /// Do not cache routes: the host's policy rules select by what a cached route does not know (TOS, protocol).
    /// Takes effect with the next [`Control::generation`].
    pub const NO_CACHE: u32 = 1 << 0;
}

const _: () = assert!(size_of::<Control>() == 16);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, no padding, no pointers.
#[expect(unsafe_code, reason = "aya reads and writes map values as plain bytes")]
unsafe impl aya::Pod for Control {}
