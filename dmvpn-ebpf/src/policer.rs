//! Bounds what is sent to a peer: a token bucket.
//!
//! A packet goes as long as there is anything in the bucket, and may take more than there is: so a packet that is longer
//! than the bucket is deep, as a large one whose segmentation is left to the device may be, is not shut out for ever, and
//! what it took too much is missing later. Over time the rate is exact.
//!
//! All CPUs share one bucket, under its lock. Without one, two CPUs that read the same number of tokens would both take
//! them, and the rate would grow with the number of CPUs that send to the peer at once. The lock is held for some twenty
//! instructions, and nobody asks for it who sends to a peer without a policer.
#![expect(unsafe_code, reason = "kernel helpers, and a value of a map that CPUs share")]

use aya_ebpf::helpers::generated::{bpf_spin_lock, bpf_spin_unlock};
use dmvpn_common::Policer;

use crate::{clock, inner::Inner, maps, mss, packet::Packet};

const SECOND: u64 = 1_000_000_000;
/// Seconds in which any bucket is full.
const A_DAY: u64 = 86_400;

/// Whether a packet to a peer with the policer `index` may go: the one with the IP `header` at `offset`, which is
/// `segments` packets on the wire. It is counted there either way.
#[inline(always)]
pub fn admits<P: Packet, H: Inner>(packet: &P, index: u32, offset: u32, header: &H, segments: u32) -> bool {
    admits_bytes(index, segments, bytes_on_wire(packet, offset, header, segments))
}

/// Bytes of the packets that this one is on the wire: each has the headers again.
#[inline(always)]
fn bytes_on_wire<P: Packet, H: Inner>(packet: &P, offset: u32, header: &H, segments: u32) -> u32 {
    const UDP_HEADER: u32 = 8;
    if segments <= 1 {
        return header.length();
    }
    let transport = if header.transport() == mss::TCP {
        packet
            .block::<13>((offset + H::LENGTH) as usize)
            .map_or(0, |tcp| u32::from(tcp.byte::<12>() >> 4) * 4)
    } else {
        UDP_HEADER
    };
    header.length() + (segments - 1) * (H::LENGTH + transport)
}

/// Takes the packets' bytes out of the bucket, if anything is in it.
#[inline(never)]
fn admits_bytes(index: u32, packets: u32, bytes: u32) -> bool {
    let now = clock::exact();
    // A peer whose policer is not there is not limited.
    let Some(policer) = maps::POLICERS.get_ptr_mut(index) else { return true };
    let (packets, bytes) = (u64::from(packets), u64::from(bytes));
    // SAFETY: in the map, which the kernel keeps; the lock is in the value. Nothing is called while it is held.
    unsafe {
        bpf_spin_lock((&raw mut (*policer).lock).cast());
        let admitted = take(&mut *policer, now, packets, bytes);
        bpf_spin_unlock((&raw mut (*policer).lock).cast());
        admitted
    }
}

/// Fills the bucket up to `now`, and takes the bytes if it is not empty.
#[inline(always)]
fn take(policer: &mut Policer, now: u64, packets: u64, bytes: u64) -> bool {
    refill(policer, now);
    let admitted = policer.tokens > 0;
    if admitted {
        policer.tokens -= bytes as i64;
        policer.passed_packets += packets;
        policer.passed_bytes += bytes;
    } else {
        policer.dropped_packets += packets;
        policer.dropped_bytes += bytes;
    }
    admitted
}

/// Adds what has come in since the last time, in whole bytes: the time that makes no whole byte is left for the next time.
#[inline(always)]
fn refill(policer: &mut Policer, now: u64) {
    // Another CPU may have read the clock later and been here first.
    if policer.rate == 0 || now <= policer.last {
        return;
    }
    let elapsed = now - policer.last;
    let (seconds, rest) = (elapsed / SECOND, elapsed % SECOND);
    let in_rest = rest * policer.rate / SECOND;
    // Rounded up: never more comes in than there was time for.
    policer.last += seconds * SECOND + (in_rest * SECOND).div_ceil(policer.rate);
    let seconds = if seconds < A_DAY { seconds } else { A_DAY };
    let tokens = policer.tokens + (seconds * policer.rate + in_rest) as i64;
    let full = i64::from(policer.burst);
    policer.tokens = if tokens < full { tokens } else { full };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policer(rate: u64, burst: u32) -> Policer {
        Policer { rate, burst, tokens: burst.into(), ..Policer::default() }
    }

    #[test]
    fn a_full_bucket_is_emptied_and_fills_again() {
        let mut policer = policer(1000, 300);
        let sent = |policer: &mut Policer, now| (0..10).filter(|_| take(policer, now, 1, 100)).count();
        assert_eq!(sent(&mut policer, 0), 3);
        assert_eq!(sent(&mut policer, SECOND / 1000 - 1), 0);
        // A byte is in it: a packet goes, and the next one waits until it is paid.
        assert_eq!(sent(&mut policer, SECOND / 1000), 1);
        assert_eq!(policer.tokens, -99);
        assert_eq!(sent(&mut policer, SECOND / 10), 0);
        assert_eq!(sent(&mut policer, SECOND / 10 + SECOND / 1000), 1);
        // No fuller than full.
        assert_eq!(sent(&mut policer, 1000 * SECOND), 3);
        assert_eq!((policer.passed_packets, policer.passed_bytes), (8, 800));
        assert_eq!((policer.dropped_packets, policer.dropped_bytes), (52, 5200));
    }

    /// However often it is asked, and however little comes in each time.
    #[test]
    fn the_rate_is_exact_over_time() {
        for (rate, step) in [(1, 1_000_003), (12_345, 77_777), (1_250_000_000, 13), (12_500_000_000, 41)] {
            let mut policer = policer(rate, 1_000_000_000);
            policer.tokens = 0;
            let mut now = 0;
            for _ in 0..100_000 {
                now += step;
                take(&mut policer, now, 1, 1 + now % 1400);
            }
            let came_in = i128::from(now) * i128::from(rate) / i128::from(SECOND);
            let gone = i128::from(policer.passed_bytes) + i128::from(policer.tokens);
            // A nanosecond is lost each time, at most.
            assert!(gone <= came_in && gone * 100 >= came_in * 97, "{rate}: {gone} of {came_in}");
        }
    }

    #[test]
    fn a_packet_longer_than_the_bucket_is_deep_goes() {
        let mut policer = policer(1000, 1);
        assert!(take(&mut policer, 0, 45, 65_000));
        assert!(!take(&mut policer, 64 * SECOND / 65, 1, 1));
        for second in 1..65 {
            assert!(!take(&mut policer, second * SECOND, 1, 100), "{second}");
        }
        assert!(take(&mut policer, 65 * SECOND, 1, 100));
    }
}
