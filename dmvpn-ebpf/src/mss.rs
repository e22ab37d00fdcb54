//! Lowers the largest segment that the two ends of a TCP connection announce to each other (MSS, RFC 9293, 3.7.1), so
//! that what they send fits the tunnel from the first packet on.
//!
//! It is announced in a SYN, and nowhere else. So a packet costs two tests here, its protocol and its flags, and where
//! nothing is to be lowered not even these. A host that announces nothing is sent 536 bytes at most, which need not be
//! lowered.
//!
//! ```text
//! IP | source port  destination port  sequence  acknowledgment  offset  flags  window  checksum  urgent | options ...
//!      0            2                 4         8               12      13     14      16        18       20
//! ```

#![expect(
    unsafe_code,
    reason = "a kernel helper, and values of a hash map that may change while they are read"
)]

#[cfg(target_arch = "bpf")]
use aya_ebpf::helpers::generated::bpf_loop;
use dmvpn_common::Peer;

use crate::{inner::Inner, ipv4, ipv6, maps, packet::Packet};

/// Protocol number of TCP.
pub const TCP: u8 = 6;

/// Length of a TCP header without options.
const LENGTH: u32 = 20;
/// Where its flags are.
pub const FLAGS: usize = 13;
/// Where its checksum is.
const CHECKSUM: u32 = 16;
/// The flag that opens a connection.
pub const SYN: u8 = 0x02;

/// Most bytes of options.
const OPTIONS: u32 = 40;
/// Kind of the end of the options, a single byte.
const END: u8 = 0;
/// Kind of a filler, a single byte.
const FILLER: u8 = 1;
/// Kind of the option with the largest segment.
const LARGEST: u8 = 2;
/// Length of that option: kind, length and two bytes.
const LARGEST_LENGTH: u32 = 4;

/// Lowers the largest segment that the packet with the IP header at `offset` announces, if it announces one, to `most`
/// and to what fits the packets that `peers` take: the one it comes from and the one it goes to, 0 for none. Where `most`
/// is 0 nothing is lowered.
///
/// What is malformed is left alone, as are packets with IP options or extension headers: nobody sends such a SYN.
#[inline(always)]
pub fn clamp<P: Packet, H: Inner>(packet: &mut P, offset: u32, header: &H, most: u16, peers: [u32; 2]) {
    if most != 0 && header.opens_connection(packet, offset) {
        let [from, to] = peers;
        lower(packet, offset, most.into(), from, to);
    }
}

/// What a tunnel interface allows; 0: anything.
#[inline(always)]
pub fn of_interface<H: Inner>(ifindex: u32) -> u16 {
    // SAFETY: a word of the value is read; the agent replaces values whole.
    let interface = unsafe { maps::INTERFACES.get(ifindex) };
    interface.map_or(0, |interface| H::of_family(interface.mss_ipv4, interface.mss_ipv6))
}

/// The stricter of two limits, of which 0 is none.
#[inline(always)]
pub const fn lower_of(first: u16, second: u16) -> u16 {
    // One less than none is the largest number.
    if first.wrapping_sub(1) < second.wrapping_sub(1) { first } else { second }
}

/// Lowers what the packet with the IP header at `offset` announces. Rare, and so a function of its own.
#[inline(never)]
fn lower<P: Packet>(packet: &mut P, offset: u32, most: u32, from: u32, to: u32) {
    // It is less than this; in a register on its own, the verifier does not always know.
    let offset = offset & 0x7f;
    let Some(header) = packet.block::<{ ipv4::LENGTH as usize }>(offset as usize) else { return };
    let (length, room) = if header.byte::<0>() >> 4 == 4 {
        (ipv4::LENGTH, u32::from(header.half::<2>()).wrapping_sub(ipv4::LENGTH))
    } else {
        (ipv6::LENGTH, u32::from(header.half::<4>()))
    };
    let headers = length + LENGTH;
    let most = most.min(fits(from, headers)).min(fits(to, headers));
    lower_option(packet, offset + length, room, most);
}

/// Finds the option of the TCP header at `tcp`, in `room` bytes of packet, and lowers it.
#[inline(always)]
fn lower_option<P: Packet>(packet: &mut P, tcp: u32, room: u32, most: u32) {
    let Some(header) = packet.block::<{ LENGTH as usize }>(tcp as usize) else { return };
    let length = u32::from(header.byte::<12>() >> 4) * 4;
    if length < LENGTH || length > room || !packet.reach(tcp + length) {
        return;
    }
    let mut search = Search { packet: &raw const *packet, end: tcp + length, left: length - LENGTH };
    search.run();
    let (at, left) = (search.end.wrapping_sub(search.left) & 0xff, search.left);
    let Some(mut option) = packet.block::<{ LARGEST_LENGTH as usize }>(at as usize) else { return };
    let announced = option.half::<2>();
    let is_it =
        left >= LARGEST_LENGTH && option.byte::<0>() == LARGEST && option.byte::<1>() == LARGEST_LENGTH as u8;
    if is_it && u32::from(announced) > most {
        let most = most as u16;
        option.set_half::<2>(most);
        // Words of the checksum begin at even places of the header, which is as long as words are. At an odd one, the two
        // bytes are halves of two words.
        let odd = left & 1 != 0;
        let (old, new) = if odd { (announced.swap_bytes(), most.swap_bytes()) } else { (announced, most) };
        // The header is within reach, so this cannot fail.
        packet.correct_tcp_checksum(tcp + CHECKSUM, old, new);
    }
}

/// A walk along the options of a header.
#[repr(C)]
struct Search<P> {
    packet: *const P,
    /// Where the header ends.
    end: u32,
    /// Bytes of options from here on.
    left: u32,
}

impl<P: Packet> Search<P> {
    /// Goes on until it is at the option with the largest segment, or there is none. A loop of the program's own would
    /// be followed by the verifier round by round.
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn run(&mut self) {
        let search: *mut Self = self;
        // SAFETY: the callback is called with the search, which outlives the call.
        unsafe {
            bpf_loop(OPTIONS, step::<P> as *mut core::ffi::c_void, search.cast(), 0);
        }
    }

    #[cfg(not(target_arch = "bpf"))]
    fn run(&mut self) {
        // SAFETY: it is a search.
        let mut ended = (0..OPTIONS).map(|number| unsafe { step(number, self) });
        let _ = ended.find(|&ended| ended != 0);
    }
}

/// One step to the next option: 0, or 1 where the search ends.
///
/// # Safety
///
/// `search` is a search, and its packet is there.
unsafe extern "C" fn step<P: Packet>(_number: u32, search: *mut Search<P>) -> i64 {
    // SAFETY: the caller's.
    let (packet, end, left) = unsafe { (&*(*search).packet, (*search).end, (*search).left) };
    // The verifier wants it said.
    let at = end.wrapping_sub(left) & 0xff;
    // A shorter one is not looked for.
    let Some(option) = packet.block::<{ LARGEST_LENGTH as usize }>(at as usize) else { return 1 };
    let size = match option.byte::<0>() {
        END | LARGEST => return 1,
        FILLER => 1,
        _ => match option.byte::<1>() {
            // Shorter than the kind and itself.
            0 | 1 => return 1,
            size => size.into(),
        },
    };
    if size + LARGEST_LENGTH > left {
        return 1;
    }
    // SAFETY: the caller's.
    unsafe { (*search).left = left - size };
    0
}

/// The largest segment that fits a packet to or from a peer; no limit when there is no such peer.
#[inline(always)]
fn fits(peer: u32, headers: u32) -> u32 {
    let mtu = maps::PEERS.get(peer).map_or(0, |peer: &Peer| peer.mtu);
    // Index 0 is nobody's, and has no MTU.
    if mtu > headers { mtu - headers } else { u32::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::TestPacket;

    /// A SYN with these options behind 34 bytes of other headers. Its checksum is right, as far as this goes without a
    /// pseudo-header.
    fn syn(options: &[u8]) -> TestPacket {
        let words = 5 + options.len() / 4;
        let mut tcp = vec![0x12, 0x34, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0, 0, SYN, 0xff, 0xff, 0, 0, 0, 0];
        tcp[12] = u8::try_from(words << 4).unwrap();
        tcp.extend(options);
        let check = !sum(&tcp);
        tcp[16..18].copy_from_slice(&check.to_be_bytes());
        TestPacket([vec![0xee; 34], tcp].concat())
    }

    fn sum(tcp: &[u8]) -> u16 {
        let words = tcp.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
        crate::checksum::fold(words.sum())
    }

    /// The options of a SYN that went through, if its checksum still is right.
    fn lowered(options: &[u8], most: u32) -> Vec<u8> {
        let mut packet = syn(options);
        let room = u32::try_from(packet.0.len()).unwrap() - 34;
        lower_option(&mut packet, 34, room, most);
        let (before, tcp) = packet.0.split_at(34);
        assert_eq!(before, [0xee; 34]);
        assert_eq!(sum(tcp), 0xffff, "checksum");
        tcp[20..].to_vec()
    }

    #[test]
    fn lowers_what_is_larger_only() {
        for (announced, most, expected) in
            [(1460, 1360, 1360), (1460, 1459, 1459), (1460, 1460, 1460), (536, 1360, 536), (u16::MAX, 1, 1)]
        {
            let option = |value: u16| [&[2, 4], &value.to_be_bytes()[..]].concat();
            assert_eq!(lowered(&option(announced), most), option(expected), "{announced} {most}");
        }
    }

    /// At every place where the option can be, even and odd ones.
    #[test]
    fn finds_the_option_anywhere() {
        for fillers in 0..=36 {
            let mut options = vec![FILLER; fillers];
            options.extend([2, 4, 0x05, 0xb4]);
            options.resize(40, 0);
            let mut expected = options.clone();
            expected[fillers + 2..fillers + 4].copy_from_slice(&1337_u16.to_be_bytes());
            assert_eq!(lowered(&options, 1337), expected, "{fillers}");
        }
        // As Linux has them in another order: timestamps, selective acknowledgments, window scale.
        let others = [8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 4, 2, 3, 3, 7];
        let with = |value: u16| [&others[..], &[2, 4], &value.to_be_bytes(), &[0]].concat();
        assert_eq!(lowered(&with(1460), 1360), with(1360));
    }

    #[test]
    fn leaves_alone_what_is_malformed() {
        for options in [
            &[2, 3, 0xff, 0xff][..],
            &[2, 5, 0xff, 0xff, 0xff, 0, 0, 0],
            &[0, 0, 0, 0, 2, 4, 0xff, 0xff],
            &[8, 0, 0, 0, 2, 4, 0xff, 0xff],
            &[8, 1, 2, 4, 0xff, 0xff, 0, 0],
            &[8, 200, 0, 0, 2, 4, 0xff, 0xff],
            &[1, 1, 2, 4],
            &[1, 1, 1, 2],
            &[],
        ] {
            assert_eq!(lowered(options, 1000), options);
        }
    }

    #[test]
    fn stays_inside_the_packet() {
        let whole = syn(&[2, 4, 0x05, 0xb4]);
        // The packet ends before its options do; the frame may or may not.
        for (kept, room) in [(58, 23), (57, 23), (53, 24), (57, 24)] {
            let mut packet = TestPacket(whole.0[..kept].to_vec());
            lower_option(&mut packet, 34, room, 1000);
            assert_eq!(packet.0, whole.0[..kept], "{kept} {room}");
        }
        // A header that claims to be shorter than any.
        let mut packet = syn(&[2, 4, 0x05, 0xb4]);
        packet.0[34 + 12] = 0x40;
        let before = packet.0.clone();
        lower_option(&mut packet, 34, 24, 1000);
        assert_eq!(packet.0, before);
    }

    #[test]
    fn knows_the_stricter_limit() {
        for (first, second, expected) in [(0, 0, 0), (0, 1, 1), (1, 0, 1), (5, 3, 3), (u16::MAX, 0, u16::MAX)]
        {
            assert_eq!(lower_of(first, second), expected);
        }
    }
}
