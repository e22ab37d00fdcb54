//! Prefixes as vendors write them.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};

/// `10.0.0.1` and `255.255.255.0`: 10.0.0.1/24.
pub(super) fn with_mask(address: &str, mask: &str) -> Option<IpNet> {
    let mask: Ipv4Addr = mask.parse().ok()?;
    Ipv4Net::with_netmask(address.parse().ok()?, mask).ok().map(IpNet::V4)
}

/// `10.0.0.0` and `0.0.0.255`: 10.0.0.0/24, without host bits.
pub(super) fn with_wildcard(address: &str, wildcard: &str) -> Option<IpNet> {
    let wildcard: Ipv4Addr = wildcard.parse().ok()?;
    let mask = Ipv4Addr::from(!u32::from(wildcard));
    Ipv4Net::with_netmask(address.parse().ok()?, mask).ok().map(|prefix| IpNet::V4(prefix.trunc()))
}

/// A network by the class of its address, as RIP and EIGRP take it.
pub(super) fn classful(address: &str) -> Option<IpNet> {
    let address: Ipv4Addr = address.parse().ok()?;
    let length = match address.octets()[0] {
        0 => 0,
        1..=127 => 8,
        128..=191 => 16,
        192..=223 => 24,
        _ => return None,
    };
    Ipv4Net::new(address, length).ok().map(|prefix| IpNet::V4(prefix.trunc()))
}

/// A GRE key: a number, or an address that stands for one (iproute2).
pub(super) fn key(text: &str) -> String {
    match text.parse::<Ipv4Addr>() {
        Ok(dotted) => u32::from(dotted).to_string(),
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_masks_wildcards_and_classes() {
        let text = |prefix: Option<IpNet>| prefix.map(|prefix| prefix.to_string());
        assert_eq!(text(with_mask("10.0.0.1", "255.255.255.0")).as_deref(), Some("10.0.0.1/24"));
        assert_eq!(text(with_mask("10.0.0.1", "255.0.255.0")), None);
        assert_eq!(text(with_wildcard("10.0.0.1", "0.0.0.255")).as_deref(), Some("10.0.0.0/24"));
        assert_eq!(text(with_wildcard("10.0.0.1", "0.0.0.0")).as_deref(), Some("10.0.0.1/32"));
        assert_eq!(text(classful("192.168.1.0")).as_deref(), Some("192.168.1.0/24"));
        assert_eq!(text(classful("10.1.0.0")).as_deref(), Some("10.0.0.0/8"));
        assert_eq!(key("0.0.4.210"), "1234");
    }
}
