//! What the data path tells the agent: the ring buffer `EVENTS`.

use std::{
    io,
    mem::offset_of,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use aya::maps::{MapData, RingBuf};
use dmvpn_common::{Address, EVENT_HEAD_SIZE, Event, EventKind, Family};
use tokio::io::{Interest, unix::AsyncFd};

use super::DataPathError;

/// Where the source stands in an IPv6 header.
const SOURCE_OF_IPV6: usize = 8;

/// Something happened to a packet that NHRP has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataPathEvent {
    /// The kernel asked for the link-layer address of a next hop on a tunnel interface.
    Resolve {
        /// Index of the tunnel interface.
        ifindex: u32,
        /// The next hop.
        next_hop: IpAddr,
    },
    /// A packet came from the NHRP network and went back into it.
    Redirect {
        /// Index of the tunnel interface.
        ifindex: u32,
        /// NBMA address it came from.
        source: IpAddr,
        /// Head of the inner packet as it was received, at most 128 bytes.
        head: Vec<u8>,
    },
    /// A packet came from a peer with an IPv6 link-local source.
    LinkLocal {
        /// Index of the tunnel interface.
        ifindex: u32,
        /// NBMA address it came from.
        source: IpAddr,
        /// The link-local address.
        address: Ipv6Addr,
    },
}

/// The stream of events, from where the last agent stopped reading. Events that nobody reads are lost when the buffer
/// is full, and counted as [`DropReason::EventLost`](dmvpn_common::DropReason::EventLost).
pub struct DataPathEvents {
    ring: AsyncFd<RingBuf<MapData>>,
    malformed: u64,
}

impl DataPathEvents {
    /// Registers the buffer with the runtime, in which this has to be called.
    pub(super) fn new(ring: RingBuf<MapData>) -> Result<Self, DataPathError> {
        // SAFETY: the ring buffer owns the descriptor of its map, and has no way to change or close it.
        #[expect(unsafe_code, reason = "tokio wants it said that the descriptor stays open")]
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        let ring =
            ring.map_err(|error| DataPathError::Wait { what: "events", source: error.into_parts().1 })?;
        Ok(Self { ring, malformed: 0 })
    }

    /// Waits for the next event. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> io::Result<DataPathEvent> {
        loop {
            // Before waiting the buffer is always read empty: the kernel wakes a reader only when it has caught up.
            while let Some(record) = self.ring.get_mut().next() {
                match parse(&record) {
                    Some(event) => return Ok(event),
                    None => self.malformed += 1,
                }
            }
            self.ring.readable_mut().await?.clear_ready();
        }
    }

    /// Records that were not understood: any is a defect.
    pub const fn malformed(&self) -> u64 {
        self.malformed
    }
}

/// Reads a record field by field: a byte of an enum is not believed before it was looked at.
fn parse(record: &[u8]) -> Option<DataPathEvent> {
    if record.len() != size_of::<Event>() {
        return None;
    }
    let ifindex = word(record, offset_of!(Event, tunnel_ifindex))?;
    let address = address(record.get(offset_of!(Event, address)..)?)?;
    let kind = word(record, offset_of!(Event, kind))?;
    if kind == EventKind::Resolve as u32 {
        return Some(DataPathEvent::Resolve { ifindex, next_hop: address });
    }
    let length = usize::try_from(word(record, offset_of!(Event, head_length))?).ok()?;
    let head = record.get(offset_of!(Event, head)..)?.first_chunk::<EVENT_HEAD_SIZE>()?.get(..length)?;
    if kind == EventKind::LinkLocal as u32 {
        let octets = head.get(SOURCE_OF_IPV6..)?.first_chunk::<16>()?;
        let inner = Ipv6Addr::from_octets(*octets);
        return Some(DataPathEvent::LinkLocal { ifindex, source: address, address: inner });
    }
    if kind == EventKind::Redirect as u32 {
        return Some(DataPathEvent::Redirect { ifindex, source: address, head: head.to_vec() });
    }
    None
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let family = word(bytes, offset_of!(Address, family))?;
    let bytes = bytes.get(offset_of!(Address, bytes)..)?;
    if family == Family::Ipv4 as u32 {
        return bytes.first_chunk().map(|octets: &[u8; 4]| Ipv4Addr::from_octets(*octets).into());
    }
    if family == Family::Ipv6 as u32 {
        return bytes.first_chunk().map(|octets: &[u8; 16]| Ipv6Addr::from_octets(*octets).into());
    }
    None
}

fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|word| u32::from_ne_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record as the kernel side writes it.
    fn record(kind: u32, family: u32, address: &[u8], head_length: u32) -> Vec<u8> {
        let mut record = Vec::new();
        record.extend(kind.to_ne_bytes());
        record.extend(7_u32.to_ne_bytes());
        record.extend(family.to_ne_bytes());
        record.extend(address);
        record.resize(28, 0);
        record.extend(head_length.to_ne_bytes());
        record.extend((0..=127_u8).take(EVENT_HEAD_SIZE - 4));
        record.resize(160, 0);
        record
    }

    #[test]
    fn reads_a_resolution() {
        let next_hop = "10.0.0.5".parse().unwrap();
        assert_eq!(
            parse(&record(1, 4, &[10, 0, 0, 5], 0)),
            Some(DataPathEvent::Resolve { ifindex: 7, next_hop })
        );
        let octets = "2001:db8::5".parse::<Ipv6Addr>().unwrap().octets();
        let next_hop = "2001:db8::5".parse().unwrap();
        assert_eq!(parse(&record(1, 6, &octets, 0)), Some(DataPathEvent::Resolve { ifindex: 7, next_hop }));
    }

    #[test]
    fn reads_a_redirect_with_as_much_of_the_packet_as_there_is() {
        let source = "192.0.2.1".parse().unwrap();
        assert_eq!(
            parse(&record(2, 4, &[192, 0, 2, 1], 3)),
            Some(DataPathEvent::Redirect { ifindex: 7, source, head: vec![0, 1, 2] })
        );
        let Some(DataPathEvent::Redirect { head, .. }) = parse(&record(2, 4, &[192, 0, 2, 1], 128)) else {
            panic!("a full head is read");
        };
        assert_eq!(head.len(), EVENT_HEAD_SIZE);
    }

    #[test]
    fn reads_a_link_local_source() {
        let source = "192.0.2.1".parse().unwrap();
        // The bytes of the head count up.
        let address = "809:a0b:c0d:e0f:1011:1213:1415:1617".parse().unwrap();
        assert_eq!(
            parse(&record(3, 4, &[192, 0, 2, 1], 40)),
            Some(DataPathEvent::LinkLocal { ifindex: 7, source, address })
        );
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert_eq!(parse(&record(0, 4, &[10, 0, 0, 5], 0)), None, "kind 0");
        assert_eq!(parse(&record(4, 4, &[10, 0, 0, 5], 0)), None, "kind 4");
        assert_eq!(parse(&record(3, 4, &[10, 0, 0, 5], 23)), None, "no whole source");
        assert_eq!(parse(&record(1, 5, &[10, 0, 0, 5], 0)), None, "family 5");
        assert_eq!(parse(&record(2, 4, &[10, 0, 0, 5], 129)), None, "head longer than the record");
        assert_eq!(parse(&record(2, 4, &[10, 0, 0, 5], u32::MAX)), None, "head far too long");
        assert_eq!(parse(&record(1, 4, &[10, 0, 0, 5], 0)[..159]), None, "short record");
        assert_eq!(parse(&[]), None, "empty record");
    }
}
