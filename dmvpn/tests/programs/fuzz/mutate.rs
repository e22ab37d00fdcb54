//! Makes of a frame one that nobody would send.

use std::net::IpAddr;

use super::{
    packet::{Outer, half, sum},
    random::Random,
};

/// Values that mean something somewhere: versions, protocols, lengths, ends of ranges.
const BYTES: [u8; 18] = [0, 1, 2, 3, 4, 6, 17, 20, 40, 47, 58, 63, 64, 127, 128, 0x45, 0x60, 255];
const HALVES: [u16; 16] =
    [0, 1, 19, 20, 23, 24, 28, 0x0800, 0x0806, 0x2000, 0x2001, 0x4000, 0x8100, 0x86dd, 0x7fff, 0xffff];

/// Changes a frame here and there; mostly checksums are made right afterwards, so that it is not only they that show it.
pub(super) fn mutate(random: &mut Random, frame: &mut Vec<u8>, other: &[u8]) {
    let times = random.pick(&[0, 0, 1, 1, 1, 2, 3, 6]);
    for _ in 0..times {
        change(random, frame, other);
    }
    if times > 0 && !random.once_in(4) {
        correct_checksums(frame);
    }
    // The kernel runs no program on less than an Ethernet header.
    if frame.len() < 14 {
        frame.resize(14, 0);
    }
}

fn change(random: &mut Random, frame: &mut Vec<u8>, other: &[u8]) {
    if frame.len() < 14 {
        return;
    }
    // Headers are where things happen.
    let within = if random.once_in(4) { frame.len() } else { frame.len().min(110) };
    let at = random.below(within);
    match random.below(12) {
        0 | 1 => frame[at] ^= 1 << random.below(8),
        2 => frame[at] = random.byte(),
        3 | 4 => frame[at] = random.pick(&BYTES),
        5 if at + 2 <= frame.len() => frame[at..at + 2].copy_from_slice(&random.pick(&HALVES).to_be_bytes()),
        6 if at + 2 <= frame.len() => {
            // A length that is off by a little.
            let value =
                half(frame, at).unwrap().wrapping_add(random.pick(&[1, 2, 4, 8, 20, !0, !1, !3, !19]));
            frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
        }
        7 => frame.truncate(at),
        8 => frame.extend((0..=random.below(40)).map(|_| 0xee)),
        9 => {
            let end = (at + 1 + random.below(16)).min(frame.len());
            frame.drain(at..end);
        }
        10 => {
            let end = (at + 1 + random.below(16)).min(frame.len());
            let again = frame[at..end].to_vec();
            frame.splice(at..at, again);
        }
        _ => {
            // The rest of another frame, from the same place or another one.
            let from = if random.once_in(2) { at } else { random.below(other.len()) };
            frame.truncate(at);
            frame.extend(other.get(from..).unwrap_or_default());
        }
    }
}

/// Makes the header checksums of IPv4 right, where there are such headers.
fn correct_checksums(frame: &mut [u8]) {
    let Some(Outer { link, gre, local, .. }) = Outer::read(frame) else {
        correct(frame, 14);
        return;
    };
    if matches!(local, IpAddr::V4(_)) {
        correct(frame, link);
    }
    let keyed = frame.get(gre).is_some_and(|&flags| flags & 0x20 != 0);
    correct(frame, gre + if keyed { 8 } else { 4 });
}

fn correct(frame: &mut [u8], at: usize) {
    let Some(&first) = frame.get(at) else { return };
    let length = usize::from(first & 15) * 4;
    if first >> 4 != 4 || length < 20 {
        return;
    }
    let Some(header) = frame.get_mut(at..at + length) else { return };
    header[10..12].fill(0);
    let checksum = !sum(header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}
