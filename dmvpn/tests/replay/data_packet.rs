//! Data packets, of which the engine sees the head: `udp 10.1.0.5 to 10.2.0.5 length 100`.

use std::net::IpAddr;

use anyhow::{Result, bail};

use super::words::Words;

/// Bytes of a data packet; 100 unless the words say otherwise.
pub(super) fn read(words: &mut Words) -> Result<Vec<u8>> {
    let protocol = match words.word("`udp`, `tcp` or `icmp`")?.as_str() {
        "udp" => 17,
        "tcp" => 6,
        "icmp" => 1,
        other => bail!("expected `udp`, `tcp` or `icmp`, not `{other}`"),
    };
    let source: IpAddr = words.value("a source address")?;
    words.expect("to")?;
    let destination: IpAddr = words.value("a destination address")?;
    let length: u16 = if words.take("length") { words.value("a length")? } else { 100 };
    let mut bytes = vec![0; length.into()];
    let [high, low] = length.to_be_bytes();
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) if length >= 28 => {
            bytes[..4].copy_from_slice(&[0x45, 0, high, low]);
            bytes[8..10].copy_from_slice(&[63, protocol]);
            bytes[12..16].copy_from_slice(&source.octets());
            bytes[16..20].copy_from_slice(&destination.octets());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) if length >= 48 => {
            let [high, low] = (length - 40).to_be_bytes();
            bytes[0] = 0x60;
            bytes[4..8].copy_from_slice(&[high, low, protocol, 63]);
            bytes[8..24].copy_from_slice(&source.octets());
            bytes[24..40].copy_from_slice(&destination.octets());
        }
        _ => bail!("two addresses of one family, and at least 8 bytes behind the header"),
    }
    Ok(bytes)
}
