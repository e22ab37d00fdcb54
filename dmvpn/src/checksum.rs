//! The Internet checksum (RFC 1071), which NHRP, IPv4, GRE and UDP have.

/// One's complement sum of 16 bit big-endian words; a last odd byte is the high half of its word (RFC 1071).
///
/// The sum over a packet whose checksum field is right is 0xFFFF. The field itself is the complement of the sum
/// over the packet with 0 in the field.
pub fn sum(bytes: &[u8]) -> u16 {
    // Four bytes at a time: 2^16 = 1 in this arithmetic, so the halves may be added up later. A packet has fewer
    // than 2^16 bytes, so nothing is lost in 64 bits.
    let (words, rest) = bytes.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    let mut sum: u64 = words.iter().chain([&last]).map(|word| u64::from(u32::from_be_bytes(*word))).sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    let [.., high, low] = sum.to_be_bytes();
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_words_and_carries_around() {
        assert_eq!(sum(&[]), 0);
        assert_eq!(sum(&[0x12, 0x34, 0x00, 0x01]), 0x1235);
        // The example of RFC 1071 section 3.
        assert_eq!(sum(&[0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7]), 0xDDF2);
        assert_eq!(sum(&vec![0xFF; 65534]), 0xFFFF);
    }

    #[test]
    fn a_last_odd_byte_is_the_high_half() {
        assert_eq!(sum(&[0x12]), 0x1200);
        assert_eq!(sum(&[0x00, 0x01, 0x12]), 0x1201);
        assert_eq!(sum(&[0x00, 0x01, 0x00, 0x00, 0x12]), 0x1201);
        assert_eq!(sum(&[0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x12]), 0x1201);
    }
}
