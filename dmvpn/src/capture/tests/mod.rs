//! Capture files and frames made by hand, byte by byte.

mod build;
mod frames;
mod pcap;
mod pcapng;
mod properties;
mod record;

use super::{CaptureError, CaptureFile, FileFault, Frame, LinkType, Time};

/// A frame with bytes of its own.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    time: Option<Time>,
    link: LinkType,
    bytes: Vec<u8>,
    length: u32,
}

impl From<Frame<'_>> for Kept {
    fn from(frame: Frame<'_>) -> Self {
        Self { time: frame.time, link: frame.link, bytes: frame.bytes.to_vec(), length: frame.length }
    }
}

/// All frames of a file, and how it ends.
fn read(file: &[u8]) -> (Vec<Kept>, Result<(), CaptureError>) {
    let mut frames = Vec::new();
    let mut read = || -> Result<(), CaptureError> {
        let mut capture = CaptureFile::open(file)?;
        while let Some(frame) = capture.next_frame()? {
            frames.push(frame.into());
        }
        Ok(())
    };
    let result = read();
    (frames, result)
}

/// All frames of a file that is in order.
fn frames(file: &[u8]) -> Vec<Kept> {
    let (frames, result) = read(file);
    result.unwrap();
    frames
}

/// Fails unless a file is refused for this reason, after so many frames.
#[track_caller]
fn refused(file: &[u8], after: usize, offset: u64, fault: FileFault) {
    let (frames, result) = read(file);
    match result {
        Err(CaptureError::File { offset: at, fault: found }) => assert_eq!((at, found), (offset, fault)),
        other => panic!("{other:?}"),
    }
    assert_eq!(frames.len(), after);
}
