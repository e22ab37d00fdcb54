//! The socket filter that lets only NHRP through.

use nix::libc;
use socket2::SockFilter;

use super::MAX_FRAME;

/// Classic BPF: accepts GRE with NHRP over IPv4 or IPv6.
///
/// Loads count from the network header: devices differ in what they have before it, and the kernel takes VLAN tags
/// out. IPv6 extension headers are not looked through.
pub(super) fn nhrp() -> [SockFilter; 19] {
    /// "Offsets" of loads that are not offsets into the frame, as 32 bits.
    const PROTOCOL: u32 = 0u32.wrapping_add_signed(libc::SKF_AD_OFF + libc::SKF_AD_PROTOCOL);
    const NETWORK: u32 = 0u32.wrapping_add_signed(libc::SKF_NET_OFF);
    const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const LOAD_HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
    const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
    /// Counts from the index register.
    const LOAD_HALF_INDEXED: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_IND;
    const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const ANY_BIT: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
    const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
    const SHIFT_LEFT: u32 = libc::BPF_ALU | libc::BPF_LSH | libc::BPF_K;
    const TO_INDEX: u32 = libc::BPF_MISC | libc::BPF_TAX;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    const IPV4: u32 = 0x0800;
    const IPV6: u32 = 0x86DD;
    const GRE: u32 = 47;
    const NHRP: u32 = 0x2001;
    const FRAGMENT_OFFSET: u32 = 0x1FFF;
    #[expect(clippy::cast_possible_truncation, reason = "262144 fits")]
    const ALL: u32 = MAX_FRAME as u32;

    // Operation, statements to pass over when it holds and when it does not, operand.
    #[rustfmt::skip]
    let program = [
        /*  0 */ (LOAD_WORD, 0, 0, PROTOCOL),
        /*  1 */ (EQUAL, 0, 10, IPV4),              // else to 12
        /*  2 */ (LOAD_BYTE, 0, 0, NETWORK + 9),    // protocol
        /*  3 */ (EQUAL, 0, 14, GRE),               // else to 18
        /*  4 */ (LOAD_HALF, 0, 0, NETWORK + 6),    // flags and fragment offset
        /*  5 */ (ANY_BIT, 12, 0, FRAGMENT_OFFSET), // to 18
        /*  6 */ (LOAD_BYTE, 0, 0, NETWORK),        // version and header length in words
        /*  7 */ (AND, 0, 0, 0x0F),
        /*  8 */ (SHIFT_LEFT, 0, 0, 2),
        /*  9 */ (TO_INDEX, 0, 0, 0),
        /* 10 */ (LOAD_HALF_INDEXED, 0, 0, NETWORK + 2),
        /* 11 */ (EQUAL, 5, 6, NHRP),               // to 17, else to 18
        /* 12 */ (EQUAL, 0, 5, IPV6),               // else to 18
        /* 13 */ (LOAD_BYTE, 0, 0, NETWORK + 6),    // next header
        /* 14 */ (EQUAL, 0, 3, GRE),                // else to 18
        /* 15 */ (LOAD_HALF, 0, 0, NETWORK + 42),
        /* 16 */ (EQUAL, 0, 1, NHRP),               // else to 18
        /* 17 */ (RETURN, 0, 0, ALL),
        /* 18 */ (RETURN, 0, 0, 0),
    ];
    #[expect(clippy::cast_possible_truncation, reason = "the operation codes of classic BPF have 16 bits")]
    program.map(|(code, when_true, when_false, operand)| {
        SockFilter::new(code as u16, when_true, when_false, operand)
    })
}
