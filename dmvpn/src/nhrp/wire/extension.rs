//! Extensions (RFC 2332 5.3, and what Cisco and Huawei added).

use std::{fmt, mem::discriminant};

use super::{
    Authentication, Cie, DecodeError, EncodeError, Fault, MAX_EXTENSIONS, Opaque,
    cie::{self, Budget, Families},
    reader::Reader,
};

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

    /// Whether its value has a type of its own here; all others are [`Value::Other`].
    pub const fn is_known(self) -> bool {
        matches!(self.0, 0 | 3..=5 | 7..=10)
    }

    /// Whether it is one of the four that Huawei adds. They say things about the device that nobody has to know, with
    /// whatever compulsory bit.
    pub const fn is_of_huawei(self) -> bool {
        matches!(self.0, 0x400..=0x403)
    }

    /// The bits of the type field that hold the number, and the two above them.
    const NUMBER: u16 = 0x3FFF;
    const RESERVED: u16 = 0x4000;
    const COMPULSORY: u16 = 0x8000;

    /// The type field.
    const fn with_compulsory(self, compulsory: bool) -> [u8; 2] {
        let bit = if compulsory { Self::COMPULSORY } else { 0 };
        (self.0 | bit).to_be_bytes()
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

/// Value of an extension. Addresses in it can be of any family: check them before use.
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

/// Reads the extensions part: to the End extension and what follows it, or to the end of the packet.
pub(super) fn read_all(reader: &mut Reader<'_>, budget: &mut Budget) -> Result<Extensions, DecodeError> {
    // Cisco sends up to five.
    let mut list = Vec::with_capacity(5);
    let mut authenticated = false;
    while !reader.rest().is_empty() {
        let start = reader.offset();
        let [t0, t1, l0, l1] = reader.array()?;
        let field = u16::from_be_bytes([t0, t1]);
        let length = u16::from_be_bytes([l0, l1]);
        let compulsory = field & ExtensionKind::COMPULSORY != 0;
        let kind = ExtensionKind(field & ExtensionKind::NUMBER);
        if field & ExtensionKind::RESERVED != 0 {
            return Err(reader.error(start, Fault::ReservedBit(field)));
        }
        if kind == ExtensionKind::END {
            if length != 0 {
                return Err(reader.error(start + 2, Fault::EndWithValue));
            }
            return Ok(Extensions { list, end: End::Marked { compulsory, trailing: reader.rest().into() } });
        }
        if list.len() == MAX_EXTENSIONS {
            return Err(reader.error(start, Fault::TooManyExtensions));
        }
        if kind == ExtensionKind::AUTHENTICATION && std::mem::replace(&mut authenticated, true) {
            return Err(reader.error(start, Fault::DuplicateAuthentication));
        }
        let left = reader.rest().len();
        let mut part = reader
            .sub(length.into())
            .map_err(|_| reader.error(start + 2, Fault::ExtensionOverrun { length, left }))?;
        list.push(Extension { compulsory, value: read_value(&mut part, kind, budget)? });
    }
    Ok(Extensions { list, end: End::Missing })
}

fn read_value(
    reader: &mut Reader<'_>,
    kind: ExtensionKind,
    budget: &mut Budget,
) -> Result<Value, DecodeError> {
    let mut cies = |reader: &mut Reader<'_>| cie::read_list(reader, Families::ANY, budget);
    Ok(match kind {
        ExtensionKind::RESPONDER_ADDRESS => Value::ResponderAddress(cies(reader)?),
        ExtensionKind::FORWARD_TRANSIT => Value::ForwardTransit(cies(reader)?),
        ExtensionKind::REVERSE_TRANSIT => Value::ReverseTransit(cies(reader)?),
        ExtensionKind::AUTHENTICATION => Value::Authentication(reader.rest().into()),
        ExtensionKind::MOBILE_AUTHENTICATION => Value::MobileAuthentication(reader.rest().into()),
        ExtensionKind::VENDOR_PRIVATE => {
            Value::VendorPrivate { oui: reader.array()?, data: reader.rest().into() }
        }
        // No list of entries is 8 bytes long: one entry has 12 at least.
        ExtensionKind::NAT_ADDRESS => match reader.rest().try_into() {
            Ok(masks) => Value::DeviceCapabilities(masks),
            Err(_) => Value::NatAddress(cies(reader)?),
        },
        kind => Value::Other { kind, value: reader.rest().into() },
    })
}

/// Appends the extensions part.
pub(super) fn write_all(
    buffer: &mut Vec<u8>,
    extensions: &Extensions,
    budget: &mut Budget,
) -> Result<(), EncodeError> {
    if extensions.list.len() > MAX_EXTENSIONS {
        return Err(EncodeError::TooManyExtensions);
    }
    let mut authenticated = false;
    for Extension { compulsory, value } in &extensions.list {
        let kind = value.kind();
        if kind == ExtensionKind::AUTHENTICATION && std::mem::replace(&mut authenticated, true) {
            return Err(EncodeError::DuplicateAuthentication);
        }
        let start = buffer.len();
        buffer.extend_from_slice(&kind.with_compulsory(*compulsory));
        buffer.extend_from_slice(&[0, 0]);
        write_value(buffer, value, budget)?;
        let length = buffer.len() - start - 4;
        let length = u16::try_from(length).map_err(|_| EncodeError::TooLong(buffer.len()))?;
        buffer[start + 2..start + 4].copy_from_slice(&length.to_be_bytes());
    }
    if let End::Marked { compulsory, trailing } = &extensions.end {
        buffer.extend_from_slice(&ExtensionKind::END.with_compulsory(*compulsory));
        buffer.extend_from_slice(&[0, 0]);
        buffer.extend_from_slice(trailing);
    }
    Ok(())
}

fn write_value(buffer: &mut Vec<u8>, value: &Value, budget: &mut Budget) -> Result<(), EncodeError> {
    match value {
        Value::ResponderAddress(cies)
        | Value::ForwardTransit(cies)
        | Value::ReverseTransit(cies)
        | Value::NatAddress(cies) => cie::write_list(buffer, cies, Families::ANY, budget)?,
        Value::Authentication(authentication) | Value::MobileAuthentication(authentication) => {
            buffer.extend_from_slice(authentication.as_bytes());
        }
        Value::VendorPrivate { oui, data } => {
            buffer.extend_from_slice(oui);
            buffer.extend_from_slice(data);
        }
        Value::DeviceCapabilities(masks) => buffer.extend_from_slice(masks),
        Value::Other { kind, value } => {
            if kind.is_known() || kind.0 > ExtensionKind::NUMBER {
                return Err(EncodeError::ExtensionKind(*kind));
            }
            buffer.extend_from_slice(value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(extensions: &Extensions) -> Vec<u16> {
        extensions.list.iter().map(|extension| extension.value.kind().0).collect()
    }

    #[test]
    fn hand_made_extensions_come_in_cisco_order() {
        let mut extensions = Extensions::default();
        for value in [
            Value::NatAddress(vec![]),
            Value::Authentication(Authentication::clear_text(b"x")),
            Value::ForwardTransit(vec![]),
            Value::ResponderAddress(vec![]),
            Value::ReverseTransit(vec![]),
        ] {
            extensions.set(value);
        }
        assert_eq!(kinds(&extensions), [3, 4, 5, 7, 9]);
        assert_eq!(extensions.list.iter().filter(|extension| extension.compulsory).count(), 4);
        assert!(!extensions.get(ExtensionKind::NAT_ADDRESS).unwrap().compulsory);
    }

    #[test]
    fn setting_again_replaces_in_place() {
        let mut extensions = Extensions::default();
        let frr_order = [Value::ForwardTransit(vec![]), Value::ResponderAddress(vec![])];
        extensions.list = frr_order.map(Extension::from).into();
        extensions.set(Value::ForwardTransit(vec![Cie::default()]));
        assert_eq!(kinds(&extensions), [4, 3]);
        assert_eq!(extensions.list[0].value.cies().unwrap().len(), 1);
        extensions.remove(ExtensionKind::FORWARD_TRANSIT);
        assert_eq!(kinds(&extensions), [3]);
    }

    #[test]
    fn a_nat_address_does_not_replace_device_capabilities() {
        let mut extensions = Extensions::default();
        extensions.set(Value::DeviceCapabilities([1; 8]));
        extensions.set(Value::NatAddress(vec![]));
        assert_eq!(kinds(&extensions), [9, 9]);
    }

    #[test]
    fn huawei_extensions_have_names() {
        assert_eq!(ExtensionKind(0x400).to_string(), "Huawei Padding");
        assert_eq!(ExtensionKind(0x401).to_string(), "Huawei Identity");
        assert_eq!(ExtensionKind(0x403).to_string(), "Huawei Serial Number");
        assert_eq!(ExtensionKind(0x404).to_string(), "extension 0x404");
    }
}
