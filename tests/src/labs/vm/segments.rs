//! What large buffers become on the wire: frames with GRE, every header of which is looked at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, bail, ensure};

/// What is before the outer packet.
pub(super) const ETHERNET: usize = 14;
/// Longest frame on a wire.
pub(super) const FRAME: usize = ETHERNET + 1500;

const GRE: u8 = 47;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// GRE with a key, up to the protocol.
const FLAGS: [u8; 2] = [0x20, 0];

/// A packet of TCP or UDP in GRE. Lengths and checksums of its headers were right.
#[derive(Debug)]
pub(super) struct Segment {
    /// Bytes of the frame.
    pub(super) frame: usize,
    /// Identifications of the outer and the inner packet, where they are IPv4.
    pub(super) identifications: [Option<u16>; 2],
    /// Sequence number of TCP.
    sequence: u32,
    /// Bytes that are not header.
    pub(super) payload: usize,
}

/// An IP packet.
struct Packet<'frame> {
    addresses: [IpAddr; 2],
    protocol: u8,
    identification: Option<u16>,
    payload: &'frame [u8],
}

/// Whether the sum of everything between the addresses is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checksum {
    /// It has to be.
    Complete,
    /// The device was to complete it.
    LeftToTheDevice,
}

impl Segment {
    /// Reads a frame; nothing when it is no TCP or UDP in GRE of a key from `source`. An error says what is wrong with it.
    pub(super) fn read(frame: &[u8], source: IpAddr, key: u32, checksum: Checksum) -> Result<Option<Self>> {
        if frame.len() < ETHERNET || ![[8, 0], [0x86, 0xdd]].contains(&[frame[12], frame[13]]) {
            return Ok(None);
        }
        let outer = Packet::read(&frame[ETHERNET..]).context("the outer header")?;
        if outer.protocol != GRE || outer.addresses[0] != source {
            return Ok(None);
        }
        let Some((header, packet)) = outer.payload.split_at_checked(8) else { bail!("GRE is cut off") };
        // NHRP and others.
        if ![[8, 0], [0x86, 0xdd]].contains(&[header[2], header[3]]) {
            return Ok(None);
        }
        ensure!(header[..2] == FLAGS && header[4..] == key.to_be_bytes(), "the GRE header: {header:02x?}");
        let inner = Packet::read(packet).context("the inner header")?;
        let bytes = inner.payload;
        let header = match inner.protocol {
            TCP => usize::from(bytes.get(12).context("TCP is cut off")? >> 4) * 4,
            UDP => 8,
            _ => return Ok(None),
        };
        let payload = bytes.len().checked_sub(header).context("a transport header is cut off")?;
        if inner.protocol == UDP {
            ensure!(usize::from(half(bytes, 4)) == bytes.len(), "the length of UDP");
        }
        if checksum == Checksum::Complete {
            ensure!(inner.is_complete(), "the checksum of the transport header");
        }
        let sequence = word(bytes, 4);
        let identifications = [outer.identification, inner.identification];
        Ok(Some(Self { frame: frame.len(), identifications, sequence, payload }))
    }
}

impl<'frame> Packet<'frame> {
    fn read(bytes: &'frame [u8]) -> Result<Self> {
        let version = bytes.first().context("nothing there")? >> 4;
        let length = if version == 4 { 20 } else { 40 };
        let Some((header, payload)) = bytes.split_at_checked(length) else { bail!("cut off: {bytes:02x?}") };
        if version == 4 {
            let announced = half(header, 2);
            ensure!(usize::from(announced) == bytes.len(), "{announced} bytes of {}", bytes.len());
            ensure!(header[0] == 0x45 && sum(header, 0) == 0xffff, "options or a wrong sum: {header:02x?}");
            let address = |at| Ipv4Addr::from_bits(word(header, at)).into();
            return Ok(Self {
                addresses: [address(12), address(16)],
                protocol: header[9],
                identification: Some(half(header, 4)),
                payload,
            });
        }
        let announced = half(header, 4);
        ensure!(
            version == 6 && usize::from(announced) == payload.len(),
            "{announced} bytes of {}",
            payload.len()
        );
        let address = |at: usize| -> Result<IpAddr> {
            let bytes: [u8; 16] = header[at..at + 16].try_into()?;
            Ok(Ipv6Addr::from(bytes).into())
        };
        Ok(Self {
            addresses: [address(8)?, address(24)?],
            protocol: header[6],
            identification: None,
            payload,
        })
    }

    /// Whether the checksum of the transport header is that of the payload.
    fn is_complete(&self) -> bool {
        let octets = |address| match address {
            IpAddr::V4(address) => Ipv4Addr::octets(&address).to_vec(),
            IpAddr::V6(address) => Ipv6Addr::octets(&address).to_vec(),
        };
        let addresses = self.addresses.map(octets).concat();
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        sum(self.payload, sum(&addresses, u32::from(self.protocol) + length)) == 0xffff
    }
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from(half(bytes, at)) << 16 | u32::from(half(bytes, at + 2))
}

/// One's complement sum of `start` and all halves.
fn sum(bytes: &[u8], start: u32) -> u32 {
    let halves =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let mut sum = start + halves.sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

/// Whether both identifications count up, as they do when buffers are cut up: the inner ones from frame to frame, the
/// outer ones from 0 in each buffer. One frame may overtake another.
///
/// What a connection says after its last data may have none.
pub(super) fn count_up(segments: &[Segment]) -> Result<()> {
    let last = segments.iter().rposition(|segment| segment.payload > 0).context("no frame with data")?;
    let identifications = segments[..=last].iter().map(|segment| segment.identifications);
    let (outer, inner): (Vec<_>, Vec<_>) = identifications.map(<(_, _)>::from).unzip();

    // Numbers go round: what matters is how far each is from the first.
    let inner: Vec<u16> = inner.into_iter().flatten().collect();
    let mut distances: Vec<i16> =
        inner.iter().map(|number| number.wrapping_sub(inner[0]).cast_signed()).collect();
    distances.sort_unstable();
    let gap = distances.windows(2).find(|pair| pair[0] + 1 != pair[1]);
    ensure!(gap.is_none(), "inner packets of {gap:?} after number {}", inner[0]);

    let mut outer: Vec<u16> = outer.into_iter().flatten().collect();
    outer.sort_unstable();
    let counts: Vec<(u16, usize)> = outer.chunk_by(|a, b| a == b).map(|same| (same[0], same.len())).collect();
    for (number, (identification, count)) in (0..).zip(&counts) {
        let before = if number == 0 { usize::MAX } else { counts[usize::from(number) - 1].1 };
        ensure!(*identification == number && *count <= before, "outer packets by identification: {counts:?}");
    }
    Ok(())
}

/// Bytes of a TCP connection that were in more than one of its frames. All of its `bytes` have to be in one.
pub(super) fn repeated(segments: &[Segment], bytes: u64) -> Result<u64> {
    let data = || segments.iter().filter(|segment| segment.payload > 0);
    let first = data().next().context("no frame with data")?.sequence;
    let mut parts: Vec<_> = data()
        .map(|segment| (u64::from(segment.sequence.wrapping_sub(first)), segment.payload as u64))
        .collect();
    parts.sort_unstable();
    let (mut end, mut repeated) = (0, 0);
    for (begin, length) in parts {
        ensure!(begin <= end, "bytes {end} to {begin} were never there");
        repeated += (end - begin).min(length);
        end = end.max(begin + length);
    }
    ensure!(end == bytes, "{end} of {bytes} bytes were there");
    Ok(repeated)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    /// Ethernet, IPv4, GRE with key 42, IPv4, UDP with two bytes; all sums are right.
    fn frame() -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([8, 0]);
        let mut outer = vec![0x45, 0, 0, 58, 0, 1, 0x40, 0, 255, 47, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
        let mut inner = vec![0x45, 0, 0, 30, 0, 7, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        for header in [&mut outer, &mut inner] {
            let complement = u16::try_from(0xffff - sum(header, 0)).unwrap();
            header[10..12].copy_from_slice(&complement.to_be_bytes());
        }
        let mut udp = vec![0, 9, 0, 7, 0, 10, 0, 0, 1, 2];
        let pseudo = sum(&[10, 0, 0, 1, 10, 0, 0, 2], 17 + 10);
        let complement = u16::try_from(0xffff - sum(&udp, pseudo)).unwrap();
        udp[6..8].copy_from_slice(&complement.to_be_bytes());
        frame.extend(outer);
        frame.extend([0x20, 0, 8, 0, 0, 0, 0, 42]);
        frame.extend(inner);
        frame.extend(udp);
        frame
    }

    #[test]
    fn reads_a_frame_and_finds_every_wrong_byte_of_its_headers() {
        let read = |frame: &[u8], checksum| Segment::read(frame, SOURCE, 42, checksum);
        let segment = read(&frame(), Checksum::Complete).unwrap().unwrap();
        assert_eq!((segment.frame, segment.payload), (72, 2));
        assert_eq!(segment.identifications, [Some(1), Some(7)]);
        for place in 14..frame().len() {
            let mut frame = frame();
            frame[place] ^= 0x40;
            let found = read(&frame, Checksum::Complete);
            assert!(!matches!(found, Ok(Some(_))), "byte {place}: {found:?}");
        }
        let mut frame = frame();
        *frame.last_mut().unwrap() ^= 1;
        assert!(read(&frame, Checksum::LeftToTheDevice).unwrap().is_some());
    }

    fn segment(identification: [u16; 2], sequence: u32, payload: usize) -> Segment {
        Segment { frame: 0, identifications: identification.map(Some), sequence, payload }
    }

    #[test]
    fn adds_up_a_connection() {
        let parts = |parts: &[(u32, usize)]| {
            parts.iter().map(|(at, length)| segment([0, 0], *at, *length)).collect::<Vec<_>>()
        };
        let start = u32::MAX - 4;
        assert_eq!(repeated(&parts(&[(start, 10), (5, 10)]), 20).unwrap(), 0);
        assert_eq!(repeated(&parts(&[(100, 10), (105, 10), (100, 3)]), 15).unwrap(), 8);
        assert!(repeated(&parts(&[(100, 10), (111, 10)]), 21).is_err(), "a gap");
        assert!(repeated(&parts(&[(100, 10)]), 11).is_err(), "an end that is missing");
        assert!(repeated(&[], 0).is_err());
    }

    #[test]
    fn identifications_count_up() {
        let frames = |frames: &[[u16; 2]]| {
            frames.iter().map(|identifications| segment(*identifications, 0, 1)).collect::<Vec<_>>()
        };
        assert!(count_up(&frames(&[[0, 7], [1, 8], [2, 9], [0, 10]])).is_ok());
        assert!(count_up(&frames(&[[1, 8], [0, 7], [0, 9]])).is_ok(), "overtaken");
        assert!(count_up(&frames(&[[0, 7], [0, 7]])).is_err(), "the same twice");
        assert!(count_up(&frames(&[[0, 7], [1, 9]])).is_err(), "a gap inside");
        assert!(count_up(&frames(&[[0, 7], [2, 8]])).is_err(), "a gap outside");
        assert!(count_up(&frames(&[[0, 7], [1, 8], [1, 9]])).is_err(), "a buffer that begins with 1");
        assert!(count_up(&frames(&[[0, u16::MAX], [1, 0]])).is_ok());
    }
}
