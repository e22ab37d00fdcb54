//! Synthetic link-layer addresses: "the neighbour table is the NHRP table".
//!
//! Every resolved next hop is a neighbour of the tunnel interface whose link-layer address holds the peer index:
//!
//! ```text
//!  0    1    2    3    4    5
//! +----+----+----+----+----+----+
//! | 02 | d4 |  peer index (BE)  |
//! +----+----+----+----+----+----+
//! ```
//!
//! `02` marks a locally administered unicast address. The tunnel interface itself has the index `0xffff_ffff`, its
//! far end `0xffff_fffe`; neither is ever a peer.

/// A link-layer address that names a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerMac(pub [u8; 6]);

impl PeerMac {
    /// First two bytes of every address made here.
    pub const PREFIX: [u8; 2] = [0x02, 0xd4];
    /// Link-layer address of the tunnel interface.
    pub const TUNNEL: Self = Self::from_index(0xffff_ffff);
    /// Link-layer address of the tunnel interface's far end.
    pub const FAR_END: Self = Self::from_index(0xffff_fffe);

    /// The address that carries `index`.
    #[inline(always)]
    pub const fn from_index(index: u32) -> Self {
        let [a, b, c, d] = index.to_be_bytes();
        Self([Self::PREFIX[0], Self::PREFIX[1], a, b, c, d])
    }

    /// The peer index in `address`, or `None` when it is not one of ours.
    #[inline(always)]
    pub const fn index_of(address: [u8; 6]) -> Option<u32> {
        let [first, second, index @ ..] = address;
        if first == Self::PREFIX[0] && second == Self::PREFIX[1] {
            Some(u32::from_be_bytes(index))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carries_the_index() {
        for index in [0, 1, 0x0102_0304, 0xffff_fffd] {
            assert_eq!(PeerMac::index_of(PeerMac::from_index(index).0), Some(index));
        }
    }

    #[test]
    fn refuses_a_foreign_address() {
        assert_eq!(PeerMac::index_of([0x02, 0xd5, 0, 0, 0, 1]), None);
        assert_eq!(PeerMac::index_of([0xff; 6]), None);
    }
}
