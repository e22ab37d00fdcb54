//! The pcap format.

use std::time::Duration;

use super::{
    FileFault, Kept, LinkType, Time,
    build::{BIG, LITTLE, join, pcap_header, pcap_record},
    frames, read, refused,
};
use crate::capture::{MAX_FRAME, PcapWriter};

const MICROSECONDS: u32 = 0xA1B2_C3D4;
const NANOSECONDS: u32 = 0xA1B2_3C4D;

#[test]
fn both_byte_orders_and_both_precisions() {
    for order in [&LITTLE, &BIG] {
        for (magic, nanoseconds) in [(MICROSECONDS, 7000), (NANOSECONDS, 7)] {
            let file = join(&[
                &pcap_header(order, magic, 1),
                &pcap_record(order, 7, b"one", 3),
                &pcap_record(order, 0, b"", 9),
            ]);
            let time = |nanoseconds| Some(Time(Duration::new(1000, nanoseconds)));
            let link = LinkType::ETHERNET;
            assert_eq!(
                frames(&file),
                [
                    Kept { time: time(nanoseconds), link, bytes: b"one".into(), length: 3 },
                    Kept { time: time(0), link, bytes: vec![], length: 9 },
                ]
            );
        }
    }
}

#[test]
fn the_length_of_a_frame_check_sequence_is_no_part_of_the_link_type() {
    let file = join(&[&pcap_header(&LITTLE, MICROSECONDS, 0x2400_0001), &pcap_record(&LITTLE, 0, b"one", 3)]);
    assert_eq!(frames(&file)[0].link, LinkType::ETHERNET);
}

#[test]
fn other_files_are_refused() {
    refused(b"", 0, 0, FileFault::Empty);
    refused(b"\xD4\xC3", 0, 0, FileFault::Truncated { needed: 4, left: 2 });
    refused(b"\x1F\x8B\x08\x00and so on", 0, 0, FileFault::Magic(0x1F8B_0800));
    // A variant of the nineties with longer records.
    refused(&pcap_header(&LITTLE, 0xA1B2_CD34, 1), 0, 0, FileFault::Magic(0x34CD_B2A1));
    let mut other = pcap_header(&BIG, MICROSECONDS, 1);
    other[5] = 3;
    refused(&other, 0, 4, FileFault::Version { major: 3, minor: 4, expected: "2.4" });
}

#[test]
fn a_file_that_ends_early_gives_what_it_has() {
    let file = join(&[
        &pcap_header(&LITTLE, MICROSECONDS, 1),
        &pcap_record(&LITTLE, 7, b"one", 3),
        &pcap_record(&LITTLE, 7, b"four", 4),
    ]);
    // Within the header, in the first record, between the two, in the second.
    refused(&file[..10], 0, 8, FileFault::Truncated { needed: 12, left: 2 });
    refused(&file[..23], 0, 20, FileFault::Truncated { needed: 4, left: 3 });
    refused(&file[..30], 0, 24, FileFault::Truncated { needed: 16, left: 6 });
    refused(&file[..41], 0, 40, FileFault::Truncated { needed: 3, left: 1 });
    assert_eq!(frames(&file[..43]).len(), 1);
    refused(&file[..60], 1, 59, FileFault::Truncated { needed: 4, left: 1 });
    assert_eq!(frames(&file).len(), 2);
}

#[test]
fn a_frame_that_is_too_long_is_refused_before_it_is_read() {
    let header = pcap_header(&BIG, MICROSECONDS, 1);
    let record = |length: u32| [1000, 0, length, length].map(u32::to_be_bytes).concat();
    refused(&join(&[&header, &record(u32::MAX)]), 0, 32, FileFault::FrameLength(u32::MAX));
    let longest = u32::try_from(MAX_FRAME).unwrap();
    refused(&join(&[&header, &record(longest + 1)]), 0, 32, FileFault::FrameLength(longest + 1));
    assert_eq!(frames(&join(&[&header, &record(longest), &vec![0; MAX_FRAME]])).len(), 1);
}

#[test]
fn errors_name_the_byte() {
    let (_, result) = read(b"\x1F\x8B\x08\x00");
    assert_eq!(
        result.unwrap_err().to_string(),
        "byte 0: neither a pcap nor a pcapng file: it begins with 0x1f8b0800 (is it compressed? convert other \
         formats with `editcap`)"
    );
    let (_, result) = read(&pcap_header(&LITTLE, MICROSECONDS, 1)[..23]);
    assert_eq!(result.unwrap_err().to_string(), "byte 20: the file ends too early: 4 bytes needed, 3 left");
}

#[test]
fn what_is_written_can_be_read() {
    let mut file = Vec::new();
    let mut writer = PcapWriter::new(&mut file, LinkType::RAW).unwrap();
    writer.write(Time(Duration::new(1000, 7999)), b"one", 3).unwrap();
    writer.write(Time(Duration::new(2000, 0)), b"four", 40).unwrap();
    let time = |seconds, microseconds| {
        Some(Time(Duration::from_secs(seconds) + Duration::from_micros(microseconds)))
    };
    let link = LinkType::RAW;
    assert_eq!(
        frames(&file),
        [
            Kept { time: time(1000, 7), link, bytes: b"one".into(), length: 3 },
            Kept { time: time(2000, 0), link, bytes: b"four".into(), length: 40 },
        ]
    );
}

/// Counts how often it is flushed.
#[derive(Default)]
struct Flushed(Vec<u8>, Vec<usize>);

impl std::io::Write for &mut Flushed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.1.push(self.0.len());
        Ok(())
    }
}

#[test]
fn every_frame_is_flushed() {
    let mut output = Flushed::default();
    let mut writer = PcapWriter::new(&mut output, LinkType::ETHERNET).unwrap();
    writer.write(Time::now(), b"one", 3).unwrap();
    writer.write(Time::now(), b"four", 4).unwrap();
    assert_eq!(output.1, [24, 24 + 16 + 3, 24 + 16 + 3 + 16 + 4]);
}
