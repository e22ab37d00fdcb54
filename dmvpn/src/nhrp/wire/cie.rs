//! Client information entries (RFC 2332 5.2.0.1).

use std::net::IpAddr;

use super::{
    CieCode, DecodeError, EncodeError, Fault, IpFamily, MAX_CIES, Opaque,
    address::{
        address_from, address_length, check_length, check_subaddress_length, check_type_and_length,
        subaddress_length, write_address,
    },
    reader::Reader,
};

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
    /// An entry for one host with both addresses: the start of a transit record, responder address or NAT
    /// address. MTU and holding time are zero.
    pub fn binding(nbma: IpAddr, protocol: IpAddr) -> Self {
        Self {
            prefix_length: IpFamily::of(protocol).host_prefix(),
            nbma: Some(nbma),
            protocol: Some(protocol),
            ..Self::default()
        }
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

/// Families that the addresses of a list of entries must have.
#[derive(Clone, Copy)]
pub(super) struct Families {
    nbma: Option<IpFamily>,
    protocol: Option<IpFamily>,
}

impl Families {
    /// In the mandatory part: those that the packet names.
    pub(super) const fn of_packet(nbma: IpFamily, protocol: IpFamily) -> Self {
        Self { nbma: Some(nbma), protocol: Some(protocol) }
    }

    /// In an extension: any. FRR writes IPv4 addresses into the Responder Address of IPv6 packets.
    pub(super) const ANY: Self = Self { nbma: None, protocol: None };
}

/// How many entries a packet may still have.
pub(super) struct Budget(usize);

impl Budget {
    /// For a whole packet.
    pub(super) const fn full() -> Self {
        Self(MAX_CIES)
    }

    /// Whether one more is allowed; counts it.
    fn spend(&mut self) -> bool {
        let allowed = self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        allowed
    }
}

/// Reads entries up to the end of the reader's part.
pub(super) fn read_list(
    reader: &mut Reader<'_>,
    families: Families,
    budget: &mut Budget,
) -> Result<Vec<Cie>, DecodeError> {
    let mut cies = Vec::new();
    while !reader.rest().is_empty() {
        if !budget.spend() {
            return Err(reader.error(reader.offset(), Fault::TooManyCies));
        }
        // One entry is the rule: more room is made only when there are more.
        cies.reserve_exact(usize::from(cies.is_empty()));
        cies.push(read(reader, families)?);
    }
    Ok(cies)
}

fn read(reader: &mut Reader<'_>, families: Families) -> Result<Cie, DecodeError> {
    let start = reader.offset();
    let [
        code,
        prefix_length,
        u0,
        u1,
        m0,
        m1,
        h0,
        h1,
        nbma_length,
        subaddress_length,
        protocol_length,
        preference,
    ] = reader.array()?;
    let checked = [
        (8, check_type_and_length(nbma_length, families.nbma)),
        (9, check_subaddress_length(subaddress_length)),
        (10, check_length(protocol_length, families.protocol)),
    ];
    for (offset, result) in checked {
        result.map_err(|fault| reader.error(start + offset, fault))?;
    }
    Ok(Cie {
        code: CieCode(code),
        prefix_length,
        unused: u16::from_be_bytes([u0, u1]),
        mtu: u16::from_be_bytes([m0, m1]),
        holding_time: u16::from_be_bytes([h0, h1]),
        nbma: address_from(reader.take(nbma_length.into())?),
        subaddress: reader.take(subaddress_length.into())?.into(),
        protocol: address_from(reader.take(protocol_length.into())?),
        preference,
    })
}

/// Appends entries.
pub(super) fn write_list(
    buffer: &mut Vec<u8>,
    cies: &[Cie],
    families: Families,
    budget: &mut Budget,
) -> Result<(), EncodeError> {
    for cie in cies {
        if !budget.spend() {
            return Err(EncodeError::TooManyCies);
        }
        write(buffer, cie, families)?;
    }
    Ok(())
}

fn write(buffer: &mut Vec<u8>, cie: &Cie, families: Families) -> Result<(), EncodeError> {
    let [u0, u1] = cie.unused.to_be_bytes();
    let [m0, m1] = cie.mtu.to_be_bytes();
    let [h0, h1] = cie.holding_time.to_be_bytes();
    let nbma_length = address_length(cie.nbma, families.nbma)?;
    let subaddress_length = subaddress_length(&cie.subaddress)?;
    let protocol_length = address_length(cie.protocol, families.protocol)?;
    buffer.extend_from_slice(&[
        cie.code.0,
        cie.prefix_length,
        u0,
        u1,
        m0,
        m1,
        h0,
        h1,
        nbma_length,
        subaddress_length,
        protocol_length,
        cie.preference,
    ]);
    write_address(buffer, cie.nbma);
    buffer.extend_from_slice(&cie.subaddress);
    write_address(buffer, cie.protocol);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_lengths_0_and_255_mean_one_host() {
        for (prefix_length, v4, v6) in [
            (0, Some(32), Some(128)),
            (0xFF, Some(32), Some(128)),
            (24, Some(24), Some(24)),
            (32, Some(32), Some(32)),
            (33, None, Some(33)),
            (128, None, Some(128)),
            (129, None, None),
        ] {
            let cie = Cie { prefix_length, ..Cie::default() };
            assert_eq!(cie.prefix(IpFamily::V4), v4, "{prefix_length}");
            assert_eq!(cie.prefix(IpFamily::V6), v6, "{prefix_length}");
        }
    }
}
