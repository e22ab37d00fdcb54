//! Frames from capture files.

use std::{
    fs::{self, File},
    io::BufReader,
    path::Path,
};

use dmvpn::capture::CaptureFile;

/// The frames of all capture files in a directory.
pub(super) fn frames(directory: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    // The order of a directory is not that of another machine's.
    paths.sort();
    let mut frames = Vec::new();
    for path in paths {
        let is_capture = path.extension().is_some_and(|of| of == "pcap" || of == "pcapng");
        if !is_capture {
            continue;
        }
        let mut file = CaptureFile::open(BufReader::new(File::open(&path).unwrap()))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        while let Ok(Some(frame)) = file.next_frame() {
            frames.push(frame.bytes.to_vec());
        }
    }
    assert!(!frames.is_empty(), "no frames in {}", directory.display());
    frames
}
