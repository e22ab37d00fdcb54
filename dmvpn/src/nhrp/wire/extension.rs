//! Extensions (RFC 2332 5.3, and what Cisco and Huawei added).

use std::{fmt, mem::discriminant};

use super::{Authentication, Cie, Opaque};

/// Number of an extension, without the compulsory bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExtensionKind(pub u16);

impl ExtensionKind {
    /// End of the list.
    pub const END: Self = Self(0);
    /// Who answered.
    pub const RESPONDER_ADDRESS: Self = Self(3);
    /// Servers a request went through.
    pub const FORWARD_TRANSIT: Self = Self(4);
    /// Servers a reply went through.
    pub const REVERSE_TRANSIT: Self = Self(5);
    /// Password or digest.
    pub const AUTHENTICATION: Self = Self(7);
    /// Anything, by vendor.
    pub const VENDOR_PRIVATE: Self = Self(8);
    /// Cisco's NAT address. The same number is RFC 2735's device capabilities; those are exactly 8 bytes.
    pub const NAT_ADDRESS: Self = Self(9);
    /// Authentication of mobile clients (RFC 2520).
    pub const MOBILE_AUTHENTICATION: Self = Self(10);
    /// Huawei's device identity.
    pub const HUAWEI_IDENTITY: Self = Self(0x401);
    /// Huawei's serial number.
    pub const HUAWEI_SERIAL: Self = Self(0x403);

    /// Whether an extension of this kind is sent with the compulsory bit.
    pub const fn is_compulsory(self) -> bool {
        matches!(
            self,
            Self::END
                | Self::RESPONDER_ADDRESS
                | Self::FORWARD_TRANSIT
                | Self::REVERSE_TRANSIT
                | Self::AUTHENTICATION
                | Self::MOBILE_AUTHENTICATION
        )
    }

    /// Whether we know what it means.
    pub const fn is_known(self) -> bool {
        matches!(self.0, 0 | 3..=5 | 7..=10)
    }
}

impl fmt::Display for ExtensionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::END => "End",
            Self::RESPONDER_ADDRESS => "Responder Address",
            Self::FORWARD_TRANSIT => "Forward Transit NHS Record",
            Self::REVERSE_TRANSIT => "Reverse Transit NHS Record",
            Self::AUTHENTICATION => "Authentication",
            Self::VENDOR_PRIVATE => "Vendor Private",
            Self::NAT_ADDRESS => "NAT Address",
            Self::MOBILE_AUTHENTICATION => "Mobile Authentication",
            Self(0x400 | 0x402) => "Huawei Padding",
            Self::HUAWEI_IDENTITY => "Huawei Identity",
            Self::HUAWEI_SERIAL => "Huawei Serial Number",
            Self(number) => return write!(f, "extension {number:#x}"),
        };
        f.write_str(name)
    }
}

/// Value of an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Empty in a request; in a reply, one entry that names who answered (RFC 2332 5.3.1).
    ResponderAddress(Vec<Cie>),
    /// One entry for each server that sent the request on, in order (RFC 2332 5.3.2).
    ForwardTransit(Vec<Cie>),
    /// One entry for each server that sent the reply on, in order (RFC 2332 5.3.3).
    ReverseTransit(Vec<Cie>),
    /// Password or digest (RFC 2332 5.3.4).
    Authentication(Authentication),
    /// Vendor private (RFC 2332 5.3.5).
    VendorPrivate {
        /// The vendor's IEEE number.
        oui: [u8; 3],
        /// The vendor's data.
        data: Opaque,
    },
    /// Cisco: addresses of a client behind a NAT as others see it.
    NatAddress(Vec<Cie>),
    /// Source and target capability masks (RFC 2735), as they are on the wire.
    DeviceCapabilities([u8; 8]),
    /// Like [`Self::Authentication`], of a mobile client (RFC 2520).
    MobileAuthentication(Authentication),
    /// One that is not known.
    Other {
        /// Its number: 14 bits, none of those above.
        kind: ExtensionKind,
        /// Its value.
        value: Opaque,
    },
}

impl Value {
    /// The number of the extension.
    pub const fn kind(&self) -> ExtensionKind {
        match self {
            Self::ResponderAddress(_) => ExtensionKind::RESPONDER_ADDRESS,
            Self::ForwardTransit(_) => ExtensionKind::FORWARD_TRANSIT,
            Self::ReverseTransit(_) => ExtensionKind::REVERSE_TRANSIT,
            Self::Authentication(_) => ExtensionKind::AUTHENTICATION,
            Self::VendorPrivate { .. } => ExtensionKind::VENDOR_PRIVATE,
            Self::NatAddress(_) | Self::DeviceCapabilities(_) => ExtensionKind::NAT_ADDRESS,
            Self::MobileAuthentication(_) => ExtensionKind::MOBILE_AUTHENTICATION,
            Self::Other { kind, .. } => *kind,
        }
    }

    /// The entries, where the value is a list of them.
    pub fn cies(&self) -> Option<&Vec<Cie>> {
        match self {
            Self::ResponderAddress(cies)
            | Self::ForwardTransit(cies)
            | Self::ReverseTransit(cies)
            | Self::NatAddress(cies) => Some(cies),
            _ => None,
        }
    }

    /// The entries to change, where the value is a list of them.
    pub fn cies_mut(&mut self) -> Option<&mut Vec<Cie>> {
        match self {
            Self::ResponderAddress(cies)
            | Self::ForwardTransit(cies)
            | Self::ReverseTransit(cies)
            | Self::NatAddress(cies) => Some(cies),
            _ => None,
        }
    }
}

/// One extension.
///
/// ```text
///  0                   1                   2                   3
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |C|u|        Type               |        Length                 |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                         Value ...                             |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Who does not know it must refuse the packet (C).
    pub compulsory: bool,
    /// What it says.
    pub value: Value,
}

impl From<Value> for Extension {
    /// With the compulsory bit as the kind wants it.
    fn from(value: Value) -> Self {
        Self { compulsory: value.kind().is_compulsory(), value }
    }
}

/// How the list of extensions ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With an End extension.
    Marked {
        /// Its compulsory bit; everyone sets it.
        compulsory: bool,
        /// What follows it within the packet: OpenNHRP pads errors with zeros.
        trailing: Opaque,
    },
    /// With the packet's last byte.
    Missing,
}

/// The extensions part of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extensions {
    /// The extensions in their order, without End.
    pub list: Vec<Extension>,
    /// How the list ends.
    pub end: End,
}

impl Default for Extensions {
    /// No extension, and an End extension the way everyone sends it.
    fn default() -> Self {
        Self { list: Vec::new(), end: End::Marked { compulsory: true, trailing: Opaque::default() } }
    }
}

impl Extensions {
    /// The first extension of a kind.
    pub fn get(&self, kind: ExtensionKind) -> Option<&Extension> {
        self.list.iter().find(|extension| extension.value.kind() == kind)
    }

    /// Puts a value in the place of the first of its sort; without one, before the first extension of a higher
    /// number. Cisco's order is that of the numbers.
    pub fn set(&mut self, value: Value) {
        let kind = value.kind();
        // The number alone does not tell a NAT address from device capabilities.
        let same = |other: &Value| other.kind() == kind && discriminant(other) == discriminant(&value);
        if let Some(extension) = self.list.iter_mut().find(|extension| same(&extension.value)) {
            extension.value = value;
            return;
        }
        let place = self.list.iter().position(|extension| extension.value.kind().0 > kind.0);
        self.list.insert(place.unwrap_or(self.list.len()), value.into());
    }

    /// Takes out every extension of a kind.
    pub fn remove(&mut self, kind: ExtensionKind) {
        self.list.retain(|extension| extension.value.kind() != kind);
    }
}
