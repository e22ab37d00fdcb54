//! Words for numbers.

use std::fmt::{self, Write};

use crate::nhrp::wire::{Cie, Flags, PacketKind};

/// The flags of a packet by name; bits without a name as a hexadecimal number.
pub(super) fn flags(kind: PacketKind, flags: Flags) -> Vec<String> {
    const RESOLUTION: &[(Flags, &str)] = &[
        (Flags::RESOLUTION_ROUTER, "router"),
        (Flags::RESOLUTION_AUTHORITATIVE, "authoritative"),
        (Flags::RESOLUTION_DESTINATION_STABLE, "destination-stable"),
        (Flags::RESOLUTION_UNIQUE, "unique"),
        (Flags::RESOLUTION_SOURCE_STABLE, "source-stable"),
        (Flags::NAT, "nat"),
    ];
    const REGISTRATION: &[(Flags, &str)] = &[(Flags::REGISTRATION_UNIQUE, "unique"), (Flags::NAT, "nat")];
    const PURGE: &[(Flags, &str)] = &[(Flags::PURGE_NO_REPLY, "no-reply")];

    let names = match kind {
        PacketKind::ResolutionRequest | PacketKind::ResolutionReply => RESOLUTION,
        PacketKind::RegistrationRequest | PacketKind::RegistrationReply => REGISTRATION,
        PacketKind::PurgeRequest | PacketKind::PurgeReply => PURGE,
        PacketKind::ErrorIndication | PacketKind::TrafficIndication => &[],
    };
    let mut rest = flags;
    let mut words = Vec::new();
    for (flag, name) in names {
        if flags.contains(*flag) {
            words.push((*name).to_owned());
            rest = rest.without(*flag);
        }
    }
    if rest != Flags::default() {
        words.push(hex16(rest.0));
    }
    words
}

/// Whether the codes of the entries say something: in replies. Elsewhere they are zero, which is no success.
pub(super) const fn has_codes(kind: PacketKind) -> bool {
    matches!(kind, PacketKind::ResolutionReply | PacketKind::RegistrationReply | PacketKind::PurgeReply)
}

/// Whether an entry without addresses speaks of those of the packet's source (RFC 2332 5.2.0.1).
pub(super) const fn is_about_source(kind: PacketKind) -> bool {
    matches!(
        kind,
        PacketKind::ResolutionRequest | PacketKind::RegistrationRequest | PacketKind::RegistrationReply
    )
}

/// The meaning of the code of a Traffic Indication.
pub(super) const fn traffic_code(code: u16) -> &'static str {
    if code == 0 { "redirect" } else { "unknown" }
}

/// A prefix length as written, with its meaning where that is another one.
pub(super) struct Prefix<'a>(pub(super) &'a Cie);

impl fmt::Display for Prefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0.prefix_length)?;
        match self.0.prefix_length {
            0 | 0xFF => f.write_str(" (one host)"),
            _ => Ok(()),
        }
    }
}

/// `1 byte`, `2 bytes`.
pub(super) fn count(bytes: usize) -> String {
    if bytes == 1 { "1 byte".into() } else { format!("{bytes} bytes") }
}

/// `0x00ff`.
pub(super) fn hex16(number: u16) -> String {
    format!("{number:#06x}")
}

/// Two digits a byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_means_what_it_does_in_its_kind_of_packet() {
        let all = Flags(0xF802);
        assert_eq!(
            flags(PacketKind::ResolutionReply, all),
            ["router", "authoritative", "destination-stable", "unique", "source-stable", "nat"]
        );
        assert_eq!(flags(PacketKind::RegistrationRequest, all), ["unique", "nat", "0x7800"]);
        assert_eq!(flags(PacketKind::PurgeRequest, Flags(0x8000)), ["no-reply"]);
        assert_eq!(flags(PacketKind::ErrorIndication, Flags(0x8002)), ["0x8002"]);
        assert!(flags(PacketKind::TrafficIndication, Flags(0)).is_empty());
    }
}
