//! Streams of packets through a lab.

use anyhow::Result;

use super::Lab;
use crate::{agent::Agent, traffic::Stream};

impl Lab {
    /// A stream of numbered packets from LAN to LAN, see [`Stream::start`].
    pub fn stream(&self, from: usize, to: usize, rate: u32) -> Result<Stream> {
        let (from, to) = (self.spoke_lan(from)?, self.spoke_lan(to)?);
        Stream::start(&from.host, &to.host, to.address, rate)
    }

    /// Streams from a LAN to the hub's own tunnel address, and from the hub to that LAN.
    pub fn streams_with_hub(&self, lan: usize, rate: u32) -> Result<[Stream; 2]> {
        let (lan, hub) = (self.spoke_lan(lan)?, &self.hub);
        Ok([
            Stream::start(&lan.host, &hub.namespace, hub.address, rate)?,
            Stream::start(&hub.namespace, &lan.host, lan.address, rate)?,
        ])
    }

    /// Streams between the first two LANs, there and back, once each of the two spokes has a shortcut for the other's LAN.
    pub fn streams_by_shortcuts(&self, spokes: &[Agent], rate: u32) -> Result<[Stream; 2]> {
        let streams = [self.stream(0, 1, rate)?, self.stream(1, 0, rate)?];
        for (spoke, other) in spokes.iter().zip([1, 0]) {
            spoke.wait_shortcut(self.spoke_lan(other)?.prefix)?;
        }
        Ok(streams)
    }
}
