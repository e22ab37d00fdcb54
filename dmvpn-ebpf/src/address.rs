//! Addresses as map keys.
#![expect(unsafe_code, reason = "an address is built from words")]

use dmvpn_common::{Address, Family};

/// [`Address::v4`] for programs: five stores of a word, where bytes would become a call that stores one at a time.
#[inline(always)]
pub fn address(bytes: [u8; 4]) -> Address {
    const { assert!(size_of::<Address>() == 20 && align_of::<Address>() == 4) };
    let words = [Family::Ipv4 as u32, u32::from_ne_bytes(bytes), 0, 0, 0];
    // SAFETY: the first word is a family, the others are any bytes.
    unsafe { core::mem::transmute::<[u32; 5], Address>(words) }
}

/// An address from its family and its bytes as words; an IPv4 address has one, the others are zero.
#[inline(always)]
pub fn from_words(family: Family, [a, b, c, d]: [u32; 4]) -> Address {
    // SAFETY: the first word is a family, the others are any bytes.
    unsafe { core::mem::transmute::<[u32; 5], Address>([family as u32, a, b, c, d]) }
}

/// The bytes of an address as words.
#[inline(always)]
pub fn words(address: &Address) -> [u32; 4] {
    // SAFETY: five words, of which the last four are any bytes.
    let [_, a, b, c, d] = unsafe { core::mem::transmute::<Address, [u32; 5]>(*address) };
    [a, b, c, d]
}

/// Whether two addresses are one. By words: a comparison of byte arrays would be a call.
#[inline(always)]
pub fn is_same(one: &Address, other: &Address) -> bool {
    let (mine, yours) = (words(one), words(other));
    let mut difference = one.family as u32 ^ other.family as u32;
    let mut at = 0;
    while at < 4 {
        difference |= mine[at] ^ yours[at];
        at += 1;
    }
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_same_address() {
        assert_eq!(address([192, 0, 2, 1]), Address::v4([192, 0, 2, 1]));
    }
}
