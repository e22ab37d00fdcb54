//! Traffic between hosts, with an exact account of what arrived.

mod bulk;
mod frames;
mod path;
mod ping;
mod ping6;
mod stream;

pub use bulk::{Transfer, transfer};
pub use frames::{FrameSender, FrameWatcher};
pub use path::{Probe, path};
pub use ping::{Reply, ping};
pub use ping6::{ping6, ping6_by_kernel};
pub use stream::{Report, Stream, finish_without_loss};
