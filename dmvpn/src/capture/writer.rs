//! Writes pcap files.

use std::io::{self, Write};

use super::{
    LinkType, MAX_FRAME, Time,
    pcap::{MAGIC, VERSION},
};

/// A pcap file that is being written: little-endian, with microseconds, as everyone reads it. After each frame the
/// file is complete.
pub struct PcapWriter<W> {
    output: W,
    record: Vec<u8>,
}

impl<W: Write> PcapWriter<W> {
    /// Writes the header of a file whose frames are all of one link type.
    pub fn new(mut output: W, link: LinkType) -> io::Result<Self> {
        let mut header = Vec::with_capacity(24);
        header.extend_from_slice(&MAGIC.to_le_bytes());
        header.extend_from_slice(&VERSION.0.to_le_bytes());
        header.extend_from_slice(&VERSION.1.to_le_bytes());
        // Time zone and accuracy, which nobody sets.
        header.extend_from_slice(&[0; 8]);
        header.extend_from_slice(&u32::try_from(MAX_FRAME).unwrap_or(u32::MAX).to_le_bytes());
        header.extend_from_slice(&u32::from(link.0).to_le_bytes());
        output.write_all(&header)?;
        output.flush()?;
        Ok(Self { output, record: header })
    }

    /// Appends a frame, of which `bytes` are there, out of `length`.
    pub fn write(&mut self, time: Time, bytes: &[u8], length: usize) -> io::Result<()> {
        let field = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
        self.record.clear();
        for number in
            [time.0.as_secs(), time.0.subsec_micros().into(), bytes.len() as u64, length as u64].map(field)
        {
            self.record.extend_from_slice(&number);
        }
        self.record.extend_from_slice(bytes);
        // In one call: whoever reads the file meanwhile sees whole records.
        self.output.write_all(&self.record)?;
        self.output.flush()
    }
}
