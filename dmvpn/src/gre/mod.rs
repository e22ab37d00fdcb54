//! GRE packets of others: the header ([`Gre`]), and the packet inside ([`Inner`]).
//!
//! What the data path does with most packets by itself is done here for those that it leaves to the kernel, and for
//! captures.

mod header;
mod inner;
#[cfg(test)]
mod tests;

pub use header::{Gre, GreChecksum, GreFault};
pub use inner::Inner;
