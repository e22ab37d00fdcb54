//! The one's complement checksum of IPv4 headers (RFC 1071), and its update when a word changes (RFC 1624).

/// Adds the carries back into 16 bits. Right for sums of up to 65,536 words.
#[inline(always)]
pub const fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    // The first fold may carry once more.
    ((once & 0xffff) + (once >> 16)) as u16
}

/// The checksum `check` of a header in which the word `old` becomes `new` (RFC 1624, equation 3).
#[inline(always)]
pub const fn update(check: u16, old: u16, new: u16) -> u16 {
    !fold((!check) as u32 + (!old) as u32 + new as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksum(words: &[u16]) -> u16 {
        !fold(words.iter().map(|&word| u32::from(word)).sum())
    }

    /// The example of RFC 1071, section 3.
    #[test]
    fn folds_the_example_of_the_rfc() {
        assert_eq!(fold(0x0001 + 0xf203 + 0xf4f5 + 0xf6f7), 0xddf2);
    }

    #[test]
    fn folds_a_carry_of_a_carry() {
        assert_eq!(fold(0xffff + 0xffff), 0xffff);
        assert_eq!(fold(0x1_ffff), 1);
        assert_eq!(fold(u32::MAX), 0xffff);
    }

    #[test]
    fn updates_to_what_a_full_sum_gives() {
        // A header with some fixed words, one of which takes every value.
        let rest = [0x4500_u16, 0x0054, 0x1c46, 0x4000, 0xac10, 0x0a63, 0xac10, 0x0a0c];
        let with = |word: u16| {
            let mut words = rest.to_vec();
            words.push(word);
            checksum(&words)
        };
        for old in [0_u16, 1, 0x0101, 0x4006, 0x7fff, 0xff2f, 0xfffe] {
            for new in 0..=u16::MAX {
                let updated = update(with(old), old, new);
                assert!(updated == with(new) || (updated ^ with(new)) == 0xffff, "{old:#x} -> {new:#x}");
            }
        }
    }

    /// A header of RFC 1624, section 4: the older equation gives 0xffff here, which some receivers refuse.
    #[test]
    fn updates_the_corner_case_of_the_rfc() {
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
    }
}
