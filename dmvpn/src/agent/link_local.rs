//! The link-local address of a tunnel interface.
//!
//! Every tunnel interface has the same link-layer address, so what the kernel would make from it is the same
//! everywhere. What all nodes do have of their own is their tunnel address, and it stays the same over restarts and
//! moves of the tunnel source: the link-local address is made from it.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

/// Longest network part that leaves room for an interface identifier.
const NETWORK_LENGTH: u8 = 64;

/// The link-local address that goes with a tunnel address: with the same interface identifier, if that is what tells
/// the nodes of the subnet apart, else with a hash of the whole address.
pub(super) fn of(address: Ipv6Net) -> Ipv6Addr {
    const PREFIX: u128 = 0xfe80 << 112;
    let identifier = address.addr().to_bits() & u128::from(u64::MAX);
    let tells_apart = (NETWORK_LENGTH..address.max_prefix_len()).contains(&address.prefix_len());
    // An identifier of zero is the subnet's routers' (RFC 4291 2.6.1).
    if tells_apart && identifier != 0 {
        Ipv6Addr::from_bits(PREFIX | identifier)
    } else {
        Ipv6Addr::from_bits(PREFIX | u128::from(hash(address.addr().octets())))
    }
}

/// FNV-1a: no secret is needed, only that other addresses give other values.
fn hash(octets: [u8; 16]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    octets.iter().fold(OFFSET, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn of_text(address: &str) -> Ipv6Addr {
        of(address.parse().unwrap())
    }

    #[test]
    fn has_the_identifier_of_the_tunnel_address() {
        for (address, expected) in [
            ("2001:db8::1/64", "fe80::1"),
            ("2001:db8::a:b:c:d/64", "fe80::a:b:c:d"),
            ("2001:db8::2/127", "fe80::2"),
        ] {
            assert_eq!(of_text(address), expected.parse::<Ipv6Addr>().unwrap(), "{address}");
        }
    }

    #[test]
    fn is_another_one_for_every_node_where_the_identifier_is_not() {
        let addresses =
            ["2001:db8::1/48", "2001:db8:0:1::1/48", "2001:db8::1/128", "2001:db8:1::1/128", "2001:db8::/64"];
        let made: BTreeSet<_> = addresses.iter().map(|address| of_text(address)).collect();
        // The first and the third are one address with different lengths.
        assert_eq!(made.len(), addresses.len() - 1, "{made:?}");
        assert!(made.iter().all(|address| address.segments()[..4] == [0xfe80, 0, 0, 0]));
        // It stays what it is, over releases too.
        assert_eq!(of_text("2001:db8::1/128"), "fe80::f971:61b7:a3be:1c14".parse::<Ipv6Addr>().unwrap());
    }
}
