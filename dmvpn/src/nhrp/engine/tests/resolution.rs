//! Next hops.
