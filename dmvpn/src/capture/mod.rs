//! Captures: files are read ([`CaptureFile`]) and written ([`PcapWriter`]), NHRP is found in frames ([`find`]),
//! and recorded from interfaces ([`Recorder`]).
//!
//! Nothing in a file is believed: what does not fit is an error that names the byte.

mod error;
mod file;
mod filter;
mod find;
mod input;
mod link;
mod pcap;
mod pcapng;
mod record;
mod recorder;
#[cfg(test)]
mod tests;
mod time;
mod writer;

pub use error::{CaptureError, FileFault};
pub use file::{CaptureFile, Frame};
pub use find::{Envelope, Found, NotNhrp, find};
pub use link::LinkType;
pub use record::{Record, RecordRow, SCHEMA_VERSION, Verdict};
pub use recorder::{RecordError, Recorder};
pub use time::Time;
pub use writer::PcapWriter;

/// Most bytes of one frame: what tcpdump and Wireshark take.
pub const MAX_FRAME: usize = 262_144;
