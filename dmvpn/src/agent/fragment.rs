//! Cuts an IPv4 packet into fragments (RFC 791, 3.2).

use crate::checksum::sum;

/// Bytes of a header without options.
const HEADER: usize = 20;
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// The packet in pieces of at most `mtu` bytes; `None` when it must not be cut, cannot be, or is no IPv4 packet.
pub(super) fn fragment(packet: &[u8], mtu: usize) -> Option<Vec<Vec<u8>>> {
    let length = usize::from(*packet.first()? & 0x0f) * 4;
    let word = |at: usize| Some(u16::from_be_bytes(*packet.get(at..)?.first_chunk()?));
    let total = usize::from(word(2)?);
    let flags = word(6)?;
    if packet.first()? >> 4 != 4 || length < HEADER || flags & DONT_FRAGMENT != 0 {
        return None;
    }
    let header = packet.get(..length)?;
    let payload = packet.get(length..total)?;
    if total <= mtu {
        // The way has become wider meanwhile.
        return Some(vec![packet.get(..total)?.to_vec()]);
    }
    // Offsets count eight bytes. The first header is the longest.
    let step = mtu.checked_sub(length)? & !7;
    if step == 0 {
        return None;
    }
    let later = later_header(header);
    let pieces = payload.chunks(step).enumerate().map(|(number, piece)| {
        let first = number == 0;
        let last = (number + 1) * step >= payload.len();
        let offset = (flags & OFFSET) + u16::try_from(number * step / 8).ok()?;
        let more = if last { flags & MORE_FRAGMENTS } else { MORE_FRAGMENTS };
        let mut fragment = if first { header.to_vec() } else { later.clone() };
        let total = u16::try_from(fragment.len() + piece.len()).ok()?;
        fragment.get_mut(2..4)?.copy_from_slice(&total.to_be_bytes());
        fragment.get_mut(6..8)?.copy_from_slice(&(offset & OFFSET | more).to_be_bytes());
        fragment.get_mut(10..12)?.fill(0);
        let checksum = !sum(&fragment);
        fragment.get_mut(10..12)?.copy_from_slice(&checksum.to_be_bytes());
        fragment.extend(piece);
        Some(fragment)
    });
    pieces.collect()
}

/// The header of every fragment but the first: of its options those that are to be copied.
fn later_header(header: &[u8]) -> Vec<u8> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const COPIED: u8 = 0x80;
    let (fixed, mut options) = header.split_at(HEADER);
    let mut later = fixed.to_vec();
    while let [kind, rest @ ..] = options {
        let length = match (*kind, rest) {
            (END, _) => break,
            (NO_OPERATION, _) => 1,
            (_, [length, ..]) => usize::from(*length),
            (_, []) => break,
        };
        let Some((option, rest)) = options.split_at_checked(length).filter(|_| length > 0) else { break };
        if kind & COPIED != 0 {
            later.extend(option);
        }
        options = rest;
    }
    later.resize(later.len().next_multiple_of(4), END);
    // Sixty bytes at most, as before.
    if let (Some(first), Ok(words)) = (later.first().copied(), u8::try_from(later.len() / 4)) {
        later[0] = first & 0xf0 | words;
    }
    later
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet of `total` bytes with these options, flags and offset, and a right checksum.
    fn packet(options: &[u8], flags: u16, total: usize) -> Vec<u8> {
        let length = HEADER + options.len();
        let mut packet = vec![0x40 | u8::try_from(length / 4).unwrap(), 0xb8];
        packet.extend(u16::try_from(total).unwrap().to_be_bytes());
        packet.extend([0x12, 0x34]);
        packet.extend(flags.to_be_bytes());
        packet.extend([64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend(options);
        let checksum = !sum(&packet);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        packet.extend((0..=250_u8).cycle().take(total - length));
        packet
    }

    /// Puts fragments together again, checking each.
    fn reassembled(fragments: &[Vec<u8>], mtu: usize, first_offset: usize) -> Vec<u8> {
        let mut payload = Vec::new();
        for (number, fragment) in fragments.iter().enumerate() {
            let length = usize::from(fragment[0] & 0xf) * 4;
            let word = |at: usize| u16::from_be_bytes([fragment[at], fragment[at + 1]]);
            assert!(fragment.len() <= mtu, "{} bytes", fragment.len());
            assert_eq!(usize::from(word(2)), fragment.len());
            assert_eq!(sum(&fragment[..length]), 0xffff, "checksum of number {number}");
            assert_eq!(usize::from(word(6) & OFFSET) * 8, first_offset + payload.len());
            assert_eq!(fragment[1], 0xb8);
            assert_eq!(word(4), 0x1234);
            payload.extend(&fragment[length..]);
        }
        payload
    }

    #[test]
    fn pieces_make_the_whole() {
        for (total, mtu, pieces) in [(1476, 1400, 2), (1400, 1400, 1), (9000, 576, 17), (1401, 1400, 2)] {
            let packet = packet(&[], 0, total);
            let fragments = fragment(&packet, mtu).unwrap();
            assert_eq!(fragments.len(), pieces, "{total} by {mtu}");
            assert_eq!(reassembled(&fragments, mtu, 0), packet[HEADER..]);
            let more: Vec<_> = fragments.iter().map(|fragment| fragment[6] & 0x20 != 0).collect();
            assert_eq!(more.iter().filter(|more| !**more).count(), 1, "one is the last");
            assert!(!more[pieces - 1]);
        }
    }

    #[test]
    fn a_fragment_can_be_cut_again() {
        let packet = packet(&[], MORE_FRAGMENTS + 100, 1500);
        let fragments = fragment(&packet, 1000).unwrap();
        assert_eq!(reassembled(&fragments, 1000, 800), packet[HEADER..]);
        assert!(fragments.iter().all(|fragment| fragment[6] & 0x20 != 0), "none of them is the last of all");
    }

    #[test]
    fn copies_only_the_options_that_say_so() {
        // Record route (not copied), no operation, loose source route (copied), end.
        let options = [7, 7, 4, 0, 0, 0, 0, 1, 131, 7, 4, 10, 0, 0, 9, 0];
        let packet = packet(&options, 0, 1480);
        let fragments = fragment(&packet, 1000).unwrap();
        assert_eq!(reassembled(&fragments, 1000, 0), packet[HEADER + 16..]);
        assert_eq!(fragments[0][HEADER..HEADER + 16], options);
        assert_eq!(fragments[1][0], 0x47);
        assert_eq!(fragments[1][HEADER..HEADER + 8], [131, 7, 4, 10, 0, 0, 9, 0]);
    }

    #[test]
    fn cuts_nothing_that_must_not_be_cut() {
        assert_eq!(fragment(&packet(&[], DONT_FRAGMENT, 1400), 1000), None);
        assert_eq!(fragment(&packet(&[], 0, 1400), 27), None, "no room for eight bytes");
        assert_eq!(fragment(&packet(&[], 0, 1400)[..1399], 1000), None, "shorter than it says");
        assert_eq!(fragment(&[0x60; 100], 50), None, "IPv6");
        assert_eq!(fragment(&[], 50), None);
        // An option whose length leads nowhere.
        let odd = fragment(&packet(&[131, 0, 0, 0], 0, 1400), 1000).unwrap();
        assert_eq!(odd[1][0], 0x45);
    }
}
