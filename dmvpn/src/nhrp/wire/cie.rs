//! Client information entries (RFC 2332 5.2.0.1).

use std::net::IpAddr;

use super::{CieCode, IpFamily, Opaque};

/// Client information entry: one binding of a protocol address or prefix to an NBMA address.
///
/// ```text
///  0                   1                   2                   3
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |     Code      | Prefix Length |            unused             |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  Maximum Transmission Unit    |         Holding Time          |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | Cli Addr T/L  | Cli SAddr T/L | Cli Proto Len |  Preference   |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                 Client NBMA address (0, 4, 16)                |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                 Client NBMA subaddress (0-63)                 |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |               Client protocol address (0, 4, 16)              |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cie {
    /// Zero in a request; success or the reason of a refusal in a reply.
    pub code: CieCode,
    /// Prefix length in bits as written; [`Self::prefix`] gives its meaning.
    pub prefix_length: u8,
    /// Not used; zero when sent, kept when received.
    pub unused: u16,
    /// Largest packet the client takes, in bytes; 0 for the default. Do not send 0: Huawei peers then say nothing.
    pub mtu: u16,
    /// How long the binding may be believed, in seconds.
    pub holding_time: u16,
    /// NBMA address; `None` when absent: the source NBMA address of the packet counts.
    pub nbma: Option<IpAddr>,
    /// NBMA subaddress; empty with IP.
    pub subaddress: Opaque,
    /// Protocol address; `None` when absent: the source protocol address of the packet counts.
    pub protocol: Option<IpAddr>,
    /// Higher is better.
    pub preference: u8,
}

impl Cie {
    /// An entry with both addresses, everything else zero: the start of a transit record, responder address or
    /// NAT address.
    pub fn binding(nbma: IpAddr, protocol: IpAddr) -> Self {
        Self { nbma: Some(nbma), protocol: Some(protocol), ..Self::default() }
    }

    /// What the prefix length means for addresses of `family`: 0 and 255 both mean one host. `None` when it is
    /// longer than an address.
    pub const fn prefix(&self, family: IpFamily) -> Option<u8> {
        match self.prefix_length {
            0 | 0xFF => Some(family.host_prefix()),
            length if length <= family.host_prefix() => Some(length),
            _ => None,
        }
    }
}
