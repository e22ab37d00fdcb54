//! The pcapng format.

use std::time::Duration;

use super::{
    FileFault, LinkType, Time,
    build::{BIG, LITTLE, Order, block, interface, join, packet, section},
    frames, refused,
};
use crate::capture::MAX_FRAME;

const TIME_RESOLUTION: u16 = 9;
const TIME_OFFSET: u16 = 14;

/// Time of the one frame of a file whose interface has these options.
fn time_with(order: &Order, options: &[(u16, &[u8])], time: u64) -> Option<Time> {
    let file = join(&[&section(order), &interface(order, 1, 0, options), &packet(order, 0, time, b"x", 1)]);
    frames(&file)[0].time
}

const fn nanoseconds(seconds: u64, nanoseconds: u32) -> Time {
    Time(Duration::new(seconds, nanoseconds))
}

#[test]
fn both_byte_orders() {
    for order in [&LITTLE, &BIG] {
        let file = join(&[
            &section(order),
            &interface(order, 1, 0, &[(2, b"eth0")]),
            &packet(order, 0, 5_000_000_123_456, b"three", 9),
        ]);
        let frames = frames(&file);
        assert_eq!(frames.len(), 1);
        assert_eq!((&frames[0].bytes[..], frames[0].length), (&b"three"[..], 9));
        assert_eq!(frames[0].time, Some(nanoseconds(5_000_000, 123_456_000)));
    }
}

#[test]
fn every_interface_has_its_own_link_type_and_clock() {
    let file = join(&[
        &section(&LITTLE),
        &interface(&LITTLE, 1, 0, &[]),
        &interface(&LITTLE, 113, 0, &[(2, b"any"), (TIME_RESOLUTION, &[9]), (0, b"")]),
        &packet(&LITTLE, 1, 5_000_000_001, b"second", 6),
        &packet(&LITTLE, 0, 5_000_001, b"first", 5),
        // A new section forgets them.
        &section(&BIG),
        &interface(&BIG, 101, 0, &[]),
        &packet(&BIG, 0, 6_000_000, b"third", 5),
    ]);
    let seen: Vec<_> = frames(&file).into_iter().map(|frame| (frame.bytes, frame.link, frame.time)).collect();
    assert_eq!(
        seen,
        [
            (b"second".to_vec(), LinkType::LINUX_SLL, Some(nanoseconds(5, 1))),
            (b"first".to_vec(), LinkType::ETHERNET, Some(nanoseconds(5, 1000))),
            (b"third".to_vec(), LinkType::RAW, Some(nanoseconds(6, 0))),
        ]
    );
}

#[test]
fn every_unit_of_time() {
    for order in [&LITTLE, &BIG] {
        assert_eq!(time_with(order, &[(TIME_RESOLUTION, &[0])], 7), Some(nanoseconds(7, 0)));
        assert_eq!(time_with(order, &[(TIME_RESOLUTION, &[3])], 7008), Some(nanoseconds(7, 8_000_000)));
        assert_eq!(time_with(order, &[(TIME_RESOLUTION, &[12])], 7_000_000_008_999), Some(nanoseconds(7, 8)));
        // Powers of two.
        assert_eq!(time_with(order, &[(TIME_RESOLUTION, &[0x81])], 15), Some(nanoseconds(7, 500_000_000)));
        assert_eq!(
            time_with(order, &[(TIME_RESOLUTION, &[0xBF])], u64::MAX),
            Some(nanoseconds(1, 999_999_999))
        );
        let offset = |seconds: i64| (order.i64)(seconds);
        assert_eq!(time_with(order, &[(TIME_OFFSET, &offset(100))], 7_000_008), Some(nanoseconds(107, 8000)));
        assert_eq!(time_with(order, &[(TIME_OFFSET, &offset(-2))], 7_000_008), Some(nanoseconds(5, 8000)));
        // Before 1970, and past the end of time.
        assert_eq!(time_with(order, &[(TIME_OFFSET, &offset(-9))], 7_000_008), None);
        assert_eq!(time_with(order, &[(TIME_RESOLUTION, &[0]), (TIME_OFFSET, &offset(1))], u64::MAX), None);
    }
}

#[test]
fn a_unit_of_time_that_cannot_be() {
    for (field, offset) in [(20, 28 + 20), (0xC0, 28 + 20)] {
        let file = join(&[&section(&LITTLE), &interface(&LITTLE, 1, 0, &[(TIME_RESOLUTION, &[field])])]);
        refused(&file, 0, offset, FileFault::TimeResolution(field));
    }
}

#[test]
fn frames_of_old_and_of_simple_form() {
    let numbers =
        |numbers: &[u32]| -> Vec<u8> { numbers.iter().flat_map(|number| number.to_le_bytes()).collect() };
    // Interface 0 and 5 drops in one word; then as today.
    let old = join(&[&numbers(&[0x0005_0000, 0, 7_000_000, 3, 3]), b"old"]);
    let simple = join(&[&numbers(&[9]), b"simp"]);
    let file = join(&[
        &section(&LITTLE),
        &interface(&LITTLE, 1, 4, &[]),
        &block(&LITTLE, 2, &old),
        &block(&LITTLE, 3, &simple),
    ]);
    let frames = frames(&file);
    assert_eq!((&frames[0].bytes[..], frames[0].time), (&b"old"[..], Some(nanoseconds(7, 0))));
    assert_eq!((&frames[1].bytes[..], frames[1].length, frames[1].time), (&b"simp"[..], 9, None));
}

#[test]
fn options_and_blocks_that_say_nothing_here_are_passed_over() {
    let secrets = block(&LITTLE, 10, &vec![7; 3_000_000]);
    let file = join(&[
        &section(&LITTLE),
        &block(&LITTLE, 0x0BAD_0000, b""),
        &interface(&LITTLE, 1, 0, &[(1, b"a comment"), (11, b"\0ip proto 47")]),
        &secrets,
        &packet(&LITTLE, 0, 1, b"x", 1),
    ]);
    assert_eq!(frames(&file).len(), 1);
}

#[test]
fn blocks_that_cannot_be() {
    let start = join(&[&section(&LITTLE), &interface(&LITTLE, 1, 0, &[])]);
    let at = start.len() as u64;
    let with = |block: &[u8]| join(&[&start, block]);
    let good = packet(&LITTLE, 0, 1, b"four", 4);
    let changed = |place: usize, number: u32| {
        let mut block = good.clone();
        block[place..place + 4].copy_from_slice(&number.to_le_bytes());
        with(&block)
    };
    assert_eq!(frames(&with(&good)).len(), 1);
    // Too short for its fields, no multiple of four, longer than any.
    for length in [0, 28, 33, 37, 2 << 20, u32::MAX] {
        refused(&changed(4, length), 0, at + 4, FileFault::BlockLength(length));
    }
    refused(&changed(32, 40), 0, at + 32, FileFault::BlockLengths { start: 36, end: 40 });
    refused(&changed(8, 1), 0, at + 8, FileFault::UnknownInterface(1));
    refused(&changed(20, 5), 0, at + 20, FileFault::BlockOverrun { frame: 5, room: 4 });
    let too_long = u32::try_from(MAX_FRAME).unwrap() + 1;
    refused(&changed(20, too_long), 0, at + 20, FileFault::FrameLength(too_long));
    let orphan = join(&[&section(&LITTLE), &good]);
    refused(&orphan, 0, 28 + 8, FileFault::UnknownInterface(0));
    let simple = block(&LITTLE, 3, &join(&[&9_u32.to_le_bytes(), b"simp"]));
    refused(&with(&simple), 0, at + 8, FileFault::BlockOverrun { frame: 9, room: 4 });
    let mut option = interface(&LITTLE, 1, 0, &[(2, b"eth0")]);
    option[18] = 5;
    refused(
        &join(&[&section(&LITTLE), &option]),
        0,
        28 + 18,
        FileFault::OptionOverrun { length: 5, left: 4 },
    );
}

#[test]
fn section_headers_that_cannot_be() {
    let changed = |place: usize, replacement: &[u8]| {
        let mut file = section(&LITTLE);
        file[place..place + replacement.len()].copy_from_slice(replacement);
        file
    };
    refused(&changed(8, &[1, 2, 3, 4]), 0, 8, FileFault::ByteOrder(0x0102_0304));
    refused(&changed(4, &[24]), 0, 4, FileFault::BlockLength(24));
    let fault = FileFault::Version { major: 2, minor: 0, expected: "1.0" };
    refused(&changed(12, &[2]), 0, 12, fault);
}

#[test]
fn a_file_that_ends_early_gives_what_it_has() {
    let file = join(&[
        &section(&BIG),
        &interface(&BIG, 1, 0, &[]),
        &packet(&BIG, 0, 1, b"four", 4),
        &packet(&BIG, 0, 1, b"more", 4),
    ]);
    let whole = |length: usize| [28, 48, 84, 120].contains(&length);
    for length in 1..file.len() {
        let (frames, result) = super::read(&file[..length]);
        assert_eq!(frames.len(), usize::from(length >= 84), "{length}");
        assert_eq!(result.is_ok(), whole(length), "{length}");
    }
    // A block that is passed over is missed, too.
    let cut = join(&[&section(&BIG), &block(&BIG, 10, &[0; 100])[..50]]);
    refused(&cut, 0, 28 + 8, FileFault::Truncated { needed: 100, left: 42 });
}

#[test]
fn interfaces_are_bounded() {
    let mut file = section(&LITTLE);
    for _ in 0..4096 {
        file.extend(interface(&LITTLE, 1, 0, &[]));
    }
    assert!(frames(&file).is_empty());
    let at = file.len() as u64;
    file.extend(interface(&LITTLE, 1, 0, &[]));
    refused(&file, 0, at + 8, FileFault::TooManyInterfaces);
}
