//! What single values look like in the file. Rules that need more than one value are in `validate.rs`.

use std::{
    net::{IpAddr, Ipv6Addr},
    ops::RangeInclusive,
    path::PathBuf,
};

use ipnet::IpNet;

use super::{
    model::{
        Accept, Df, FastPath, MssClamp, MulticastServers, NAME_LENGTH, NhsAddress, NhsNbma, Phase, Source,
        Spread, Tos, XdpMode,
    },
    section::Kind,
};
use crate::nhrp::engine::Secret;

/// Most peers that can be configured: 1,048,576.
const MAX_PEERS: u32 = 1 << 20;

/// Largest bound that can be configured.
const MAX_LIMIT: u32 = 1 << 20;

/// The longest path that fits a Unix socket address with its terminating zero.
const SOCKET_PATH_LENGTH: usize = 107;

/// The kernel's limit for the name of an interface, in bytes.
const INTERFACE_NAME_LENGTH: usize = 15;

const fn kind<T>(expected: &'static str, read: fn(&str) -> Option<T>) -> Kind<T> {
    Kind { expected, read, secret: false }
}

pub(super) const CONTROL_SOCKET: Kind<PathBuf> = kind("an absolute path of at most 107 bytes", |text| {
    absolute(text).filter(|_| text.len() <= SOCKET_PATH_LENGTH)
});
pub(super) const PIN_DIRECTORY: Kind<PathBuf> = kind("an absolute path in a BPF file system", absolute);
pub(super) const STATE_DIRECTORY: Kind<PathBuf> = kind("an absolute path", absolute);
pub(super) const PEER_LIMIT: Kind<u32> =
    kind("a number from 1 to 1048576", |text| number(text, 1..=MAX_PEERS));

pub(super) const SPREAD: Kind<Spread> = kind("off, all, or a list of CPUs", |text| match text {
    "off" => Some(Spread::Off),
    "all" => Some(Spread::All),
    _ => None,
});
/// Linux knows no more than 8192 CPUs.
pub(super) const CPU: Kind<u32> = kind("the number of a CPU", |text| number(text, 0..=8191));

pub(super) const TUNNEL_NAME: Kind<String> =
    kind("an interface name of 1 to 13 letters, digits, `-`, `_` or `.`", |text| {
        is_tunnel_name(text).then(|| text.to_owned())
    });
pub(super) const TUNNEL_ADDRESS: Kind<IpNet> =
    kind("our address in the tunnel with its prefix length, as in 10.0.0.1/24", tunnel_address);
pub(super) const LINK_LOCAL: Kind<Ipv6Addr> = kind("an IPv6 link-local address, as in fe80::1", |text| {
    text.parse().ok().filter(|address: &Ipv6Addr| address.segments()[0] == 0xfe80)
});
pub(super) const SOURCE: Kind<Source> = kind("an address of this box or the name of an interface", source);
pub(super) const KEY: Kind<u32> = kind("a number from 0 to 4294967295", |text| number(text, 0..=u32::MAX));
pub(super) const NETWORK_ID: Kind<u32> =
    kind("a number from 1 to 4294967295", |text| number(text, 1..=u32::MAX));
pub(super) const PHASE: Kind<Phase> = kind("1, 2 or 3", |text| match text {
    "1" => Some(Phase::One),
    "2" => Some(Phase::Two),
    "3" => Some(Phase::Three),
    _ => None,
});
pub(super) const SWITCH: Kind<bool> = kind("true or false", |text| match text {
    "true" => Some(true),
    "false" => Some(false),
    _ => None,
});
pub(super) const AUTHENTICATION: Kind<Secret> = Kind {
    expected: "1 to 8 bytes",
    read: |text| (1..=8).contains(&text.len()).then(|| Secret::new(text)),
    secret: true,
};
pub(super) const SECONDS: Kind<u16> = kind("seconds from 1 to 65535", |text| number(text, 1..=u16::MAX));
pub(super) const SECONDS_OR_NONE: Kind<u16> =
    kind("seconds from 0 to 65535", |text| number(text, 0..=u16::MAX));
pub(super) const MTU: Kind<u16> = kind("bytes from 68 to 65535", |text| number(text, 68..=u16::MAX));
pub(super) const GROUP_NAME: Kind<String> =
    kind("a name of 1 to 32 letters, digits, `-`, `_` or `.`", |text| {
        let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        ((1..=32).contains(&text.len()) && text.chars().all(fits)).then(|| text.to_owned())
    });
pub(super) const RATE: Kind<u64> =
    kind("bits a second with their unit, from 8kbit to 100gbit, as in 10mbit", rate);
pub(super) const BURST: Kind<u32> = kind("bytes from 1 to 4294967295", |text| number(text, 1..=u32::MAX));
/// From the least that any vendor takes on: Huawei's.
pub(super) const MSS_CLAMP: Kind<MssClamp> =
    kind("auto, off, or bytes from 128 to 65535", |text| match text {
        "auto" => Some(MssClamp::Auto),
        "off" => Some(MssClamp::Off),
        _ => number(text, 128..=u16::MAX).map(MssClamp::AtMost),
    });
pub(super) const XDP: Kind<XdpMode> = kind("auto, native or generic", |text| match text {
    "auto" => Some(XdpMode::Auto),
    "native" => Some(XdpMode::Native),
    "generic" => Some(XdpMode::Generic),
    _ => None,
});
pub(super) const ACCEPT: Kind<Accept> = kind("known or any", |text| match text {
    "known" => Some(Accept::Known),
    "any" => Some(Accept::Any),
    _ => None,
});
pub(super) const TOS: Kind<Tos> = kind("inherit, or a DSCP from 0 to 63", |text| match text {
    "inherit" => Some(Tos::Inherit),
    _ => number(text, 0..=63).map(Tos::Dscp),
});
pub(super) const DF: Kind<Df> = kind("copy, set or clear", |text| match text {
    "copy" => Some(Df::Copy),
    "set" => Some(Df::Set),
    "clear" => Some(Df::Clear),
    _ => None,
});
pub(super) const FAST_PATH: Kind<FastPath> = kind("off, hairpin or full", |text| match text {
    "off" => Some(FastPath::Off),
    "hairpin" => Some(FastPath::Hairpin),
    "full" => Some(FastPath::Full),
    _ => None,
});
pub(super) const INTERFACE: Kind<String> =
    kind("the name of an interface", |text| is_interface_name(text).then(|| text.to_owned()));
pub(super) const TTL: Kind<u8> = kind("a number from 1 to 255", |text| number(text, 1..=u8::MAX));

pub(super) const NHS_ADDRESS: Kind<NhsAddress> =
    kind("the server's address in the tunnel, or `dynamic`", |text| match text {
        "dynamic" => Some(NhsAddress::Dynamic),
        _ => protocol_address(text).map(NhsAddress::Fixed),
    });
/// Priorities, clusters and connections: Cisco's range.
pub(super) const BYTE: Kind<u8> = kind("a number from 0 to 255", |text| number(text, 0..=u8::MAX));
pub(super) const MULTICAST_SERVERS: Kind<MulticastServers> = kind("all, active or none", |text| match text {
    "all" => Some(MulticastServers::All),
    "active" => Some(MulticastServers::Active),
    "none" => Some(MulticastServers::None),
    _ => None,
});
pub(super) const LIMIT: Kind<u32> = kind("a number from 1 to 1048576", |text| number(text, 1..=MAX_LIMIT));
pub(super) const NHS_NBMA: Kind<NhsNbma> =
    kind("the server's address outside the tunnel, or its host name", |text| match unicast(text) {
        Some(address) => Some(NhsNbma::Address(address)),
        None => is_host_name(text).then(|| NhsNbma::Name(text.to_owned())),
    });
pub(super) const ALIAS: Kind<IpAddr> = kind("another address of ours in the tunnel", protocol_address);
pub(super) const PEER_ADDRESS: Kind<IpAddr> = kind("the peer's address in the tunnel", protocol_address);
pub(super) const PEER_NBMA: Kind<IpAddr> =
    kind("the address the peer is reached at outside the tunnel", unicast);
pub(super) const PREFIX: Kind<IpNet> = kind("a prefix without host bits, as in 192.168.2.0/24", |text| {
    text.parse().ok().filter(|prefix: &IpNet| prefix.addr() == prefix.network())
});
pub(super) const ROUTE_VIA: Kind<IpAddr> = kind("an address in the tunnel", protocol_address);

/// A decimal number in `range`.
fn number<T: TryFrom<u64> + PartialOrd>(text: &str, range: RangeInclusive<T>) -> Option<T> {
    // Signs and leading zeros are mistakes more often than numbers.
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let number = text.parse::<u64>().ok().filter(|_| plain)?;
    T::try_from(number).ok().filter(|number| range.contains(number))
}

fn absolute(text: &str) -> Option<PathBuf> {
    let path = PathBuf::from(text);
    (path.is_absolute() && !text.contains('\0')).then_some(path)
}

/// A name that the kernel accepts for an interface (`dev_valid_name`).
fn is_interface_name(text: &str) -> bool {
    let legal = |letter: char| !letter.is_whitespace() && !letter.is_control() && !"/:".contains(letter);
    (1..=INTERFACE_NAME_LENGTH).contains(&text.len())
        && text.chars().all(legal)
        && !matches!(text, "." | "..")
}

/// A name for an interface of ours: with its far end short enough, no pattern (`%d`), and nothing that stands for
/// something else (`all` and `default` stand beside the interfaces' names in /proc/sys/net).
fn is_tunnel_name(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    is_interface_name(text)
        && text.len() <= NAME_LENGTH
        && text.bytes().all(legal)
        && !matches!(text, "all" | "default" | "lo")
}

/// An address that one host can have and others can send to. Loopback addresses are for `source` and `nbma` in
/// test beds.
fn unicast(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    let usable = match address {
        IpAddr::V4(v4) => !v4.is_broadcast(),
        // Without an interface a link-local address means nothing; a mapped one is to be written as IPv4.
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && v6.to_ipv4_mapped().is_none(),
    };
    (usable && !address.is_unspecified() && !address.is_multicast()).then_some(address)
}

/// An address in a tunnel.
fn protocol_address(text: &str) -> Option<IpAddr> {
    unicast(text).filter(|address| !address.is_loopback())
}

fn tunnel_address(text: &str) -> Option<IpNet> {
    let prefix: IpNet = text.parse().ok()?;
    protocol_address(&prefix.addr().to_string())?;
    Some(prefix)
}

/// A name that a resolver can look up (RFC 1123 2.1): what ends in digits is a bad address rather than a name.
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253 && name.split('.').all(is_label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// Bits a second, as tc writes them.
fn rate(text: &str) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: u64 = match unit {
        "bit" => 1,
        "kbit" => 1000,
        "mbit" => 1_000_000,
        "gbit" => 1_000_000_000,
        _ => return None,
    };
    let rate = number.parse::<u64>().ok()?.checked_mul(factor)?;
    (8000..=100_000_000_000).contains(&rate).then_some(rate)
}

fn source(text: &str) -> Option<Source> {
    if let Some(address) = unicast(text) {
        return Some(Source::Address(address));
    }
    // Only digits and dots, or a colon: a bad address rather than an interface.
    let like_an_address =
        text.contains(':') || text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    (is_interface_name(text) && !like_an_address).then(|| Source::Interface(text.to_owned()))
}
