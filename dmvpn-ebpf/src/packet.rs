//! Access to the bytes of a packet: one bounds check for a block of headers, then fixed offsets.
#![expect(
    unsafe_code,
    reason = "packet bytes are reached by address; every access is inside a checked block"
)]

use core::marker::PhantomData;

use crate::checksum;

/// A packet as a program sees it. Offsets count from its first byte, which is the Ethernet header's.
pub trait Packet {
    /// Address of the first byte.
    fn start(&self) -> usize;

    /// Address behind the last byte that can be reached by address. There may be more bytes than that.
    fn end(&self) -> usize;

    /// Length in bytes, with those that cannot be reached by address.
    fn length(&self) -> u32;

    /// Index of the interface whose hook runs the program.
    fn interface(&self) -> u32;

    /// Brings the first `length` bytes within reach. `false`: there are not as many, or it cannot be done here.
    #[inline(always)]
    fn reach(&mut self, length: u32) -> bool {
        self.end() - self.start() >= length as usize
    }

    /// Corrects the checksum at `offset` of a TCP header in which the word `old` became `new` (RFC 1624). `false`: it is
    /// not within reach.
    #[inline(always)]
    fn correct_tcp_checksum(&mut self, offset: u32, old: u16, new: u16) -> bool {
        let Some(mut field) = self.block::<2>(offset as usize) else { return false };
        field.set_half::<0>(checksum::update(field.half::<0>(), old, new));
        true
    }

    /// `SIZE` bytes from `offset` on, or `None` when they are not all within reach.
    #[inline(always)]
    fn block<const SIZE: usize>(&self, offset: usize) -> Option<Block<'_, SIZE>> {
        let address = self.start() + offset;
        // The verifier takes the rest of the function's bounds from this one comparison.
        if address + SIZE > self.end() {
            return None;
        }
        Some(Block { address: address as *mut u8, packet: PhantomData })
    }

    /// Whether the packet has `length` bytes. Asks for the whole length only when the reachable part is shorter.
    #[inline(always)]
    fn has(&self, length: u32) -> bool {
        // Not `start + length <= end`: before Linux 6.8 the verifier forgets what it knows of a number when its bytes are
        // swapped, and refuses to add a number of any size to an address.
        self.end() - self.start() >= length as usize || length <= self.length()
    }
}

/// `SIZE` bytes of a packet that were checked to be there. It borrows the packet, so it is gone when the packet is
/// resized. All values are given and taken in host order and stored in network order.
pub struct Block<'packet, const SIZE: usize> {
    address: *mut u8,
    packet: PhantomData<&'packet u8>,
}

impl<const SIZE: usize> Block<'_, SIZE> {
    /// The byte at `AT`.
    #[inline(always)]
    pub fn byte<const AT: usize>(&self) -> u8 {
        self.load::<u8, AT>()
    }

    /// The 16-bit value at `AT`.
    #[inline(always)]
    pub fn half<const AT: usize>(&self) -> u16 {
        u16::from_be(self.load::<u16, AT>())
    }

    /// The 32-bit value at `AT`.
    #[inline(always)]
    pub fn word<const AT: usize>(&self) -> u32 {
        u32::from_be(self.load::<u32, AT>())
    }

    /// The six bytes at `AT`: a link-layer address.
    #[inline(always)]
    pub fn mac<const AT: usize>(&self) -> [u8; 6] {
        self.load::<[u8; 6], AT>()
    }

    /// The four bytes at `AT`: an IPv4 address.
    #[inline(always)]
    pub fn ipv4<const AT: usize>(&self) -> [u8; 4] {
        self.load::<u32, AT>().to_ne_bytes()
    }

    /// The sixteen bytes at `AT`: an IPv6 address.
    #[inline(always)]
    pub fn ipv6<const AT: usize>(&self) -> [u8; 16] {
        self.load::<[u8; 16], AT>()
    }

    /// What lies at `AT`, as it lies in memory.
    #[inline(always)]
    pub fn copy_out<T: Plain, const AT: usize>(&self) -> T {
        self.load::<T, AT>()
    }

    /// Stores a byte at `AT`.
    #[inline(always)]
    pub fn set_byte<const AT: usize>(&mut self, value: u8) {
        self.store::<u8, AT>(value);
    }

    /// Stores a 16-bit value at `AT`.
    #[inline(always)]
    pub fn set_half<const AT: usize>(&mut self, value: u16) {
        self.store::<u16, AT>(value.to_be());
    }

    /// Stores a 32-bit value at `AT`.
    #[inline(always)]
    pub fn set_word<const AT: usize>(&mut self, value: u32) {
        self.store::<u32, AT>(value.to_be());
    }

    /// Copies `value` to `AT` as it lies in memory.
    #[inline(always)]
    pub fn copy_in<T: Plain, const AT: usize>(&mut self, value: T) {
        self.store::<T, AT>(value);
    }

    #[inline(always)]
    fn load<T: Plain, const AT: usize>(&self) -> T {
        const { assert!(AT + size_of::<T>() <= SIZE, "outside the block") };
        // SAFETY: `Packet::block` checked SIZE bytes, the line above that T is within them; any bytes are a T.
        unsafe { load(self.address.add(AT).cast()) }
    }

    #[inline(always)]
    fn store<T: Plain, const AT: usize>(&mut self, value: T) {
        const { assert!(AT + size_of::<T>() <= SIZE, "outside the block") };
        // SAFETY: as for `load`; programs may write where they may read.
        unsafe { store(self.address.add(AT).cast(), value) }
    }
}

/// Types any bytes are a value of.
pub trait Plain: Copy {}

impl Plain for u8 {}
impl Plain for u16 {}
impl Plain for u32 {}
impl Plain for u64 {}
impl<const SIZE: usize> Plain for [u8; SIZE] {}

// Headers lie at 2 modulo 4 behind an Ethernet header. An access that admits this compiles to single bytes and shifts,
// several times the instructions. BPF itself has no alignment trap: the verifier refuses a misaligned access on
// machines that cannot do it, and allows it on x86 and arm64. So on BPF the access claims natural alignment.

#[cfg(target_arch = "bpf")]
#[inline(always)]
unsafe fn load<T: Plain>(address: *const T) -> T {
    // SAFETY: the caller's; alignment as explained above.
    unsafe { address.read() }
}

#[cfg(target_arch = "bpf")]
#[inline(always)]
unsafe fn store<T: Plain>(address: *mut T, value: T) {
    // SAFETY: the caller's; alignment as explained above.
    unsafe { address.write(value) }
}

#[cfg(not(target_arch = "bpf"))]
unsafe fn load<T: Plain>(address: *const T) -> T {
    // SAFETY: the caller's.
    unsafe { address.read_unaligned() }
}

#[cfg(not(target_arch = "bpf"))]
unsafe fn store<T: Plain>(address: *mut T, value: T) {
    // SAFETY: the caller's.
    unsafe { address.write_unaligned(value) }
}

/// A packet in ordinary memory, for unit tests.
#[cfg(test)]
pub(crate) struct TestPacket(pub(crate) Vec<u8>);

#[cfg(test)]
impl Packet for TestPacket {
    fn start(&self) -> usize {
        self.0.as_ptr() as usize
    }

    fn end(&self) -> usize {
        self.start() + self.0.len()
    }

    fn length(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap()
    }

    fn interface(&self) -> u32 {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_in_network_order() {
        let packet = TestPacket((0..16).collect());
        let mut block = packet.block::<8>(3).unwrap();
        assert_eq!(block.byte::<0>(), 3);
        assert_eq!(block.half::<1>(), 0x0405);
        assert_eq!(block.word::<4>(), 0x0708_090a);
        assert_eq!(block.ipv4::<4>(), [7, 8, 9, 10]);
        assert_eq!(block.mac::<2>(), [5, 6, 7, 8, 9, 10]);
        block.set_half::<0>(0xaabb);
        block.set_word::<2>(0x0102_0304);
        assert_eq!(packet.0[..10], [0, 1, 2, 0xaa, 0xbb, 1, 2, 3, 4, 9]);
    }

    #[test]
    fn gives_no_block_beyond_the_end() {
        let packet = TestPacket(vec![0; 20]);
        assert!(packet.block::<20>(0).is_some());
        assert!(packet.block::<20>(1).is_none());
        assert!(packet.block::<1>(20).is_none());
        assert!(packet.has(20) && !packet.has(21));
    }
}
