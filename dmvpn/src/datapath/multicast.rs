//! Who gets copies of multicast packets: `MULTICAST`, for each tunnel interface a list of peers.
//!
//! ```text
//!   INTERFACES[dmvpn0].first_receiver = 7    MULTICAST[7] -> 3    MULTICAST[3] -> 9    MULTICAST[9] -> 0
//! ```
//!
//! A change is one write, and what a packet that is on its way along the list stands on is not changed: nobody is
//! left out or gets two copies because somebody else comes or goes.

use std::collections::HashMap;

use aya::maps::{Array, MapData};
use dmvpn_common::{MulticastReceiver, map_names};

use super::{DataPathError, InterfaceTable};

/// A peer's place in its list.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Index of the tunnel interface.
    ifindex: u32,
    /// The peer before it; 0 for the first.
    previous: u32,
    /// The peer after it; 0 for the last.
    next: u32,
}

/// The lists in the kernel. They outlive the agent.
pub struct MulticastTable {
    map: Array<MapData, MulticastReceiver>,
    places: HashMap<u32, Place>,
    /// By tunnel interface.
    first: HashMap<u32, u32>,
}

impl MulticastTable {
    /// Reads the lists that an earlier run left. A list that is damaged is cut where it is.
    pub(super) fn open(
        map: Array<MapData, MulticastReceiver>,
        interfaces: &mut InterfaceTable,
    ) -> Result<Self, DataPathError> {
        let mut table = Self { map, places: HashMap::new(), first: HashMap::new() };
        for (ifindex, interface) in interfaces.entries()? {
            let (mut previous, mut peer) = (0, interface.first_receiver);
            while peer != 0 && peer < table.map.len() && !table.places.contains_key(&peer) {
                let receiver = table.map.get(&peer, 0);
                let next = receiver.map_err(DataPathError::map(map_names::MULTICAST, "read"))?.next;
                table.places.insert(peer, Place { ifindex, previous, next });
                if previous == 0 {
                    table.first.insert(ifindex, peer);
                }
                (previous, peer) = (peer, next);
            }
            if peer != 0 {
                table.link(interfaces, ifindex, previous, 0)?;
            }
        }
        Ok(table)
    }

    /// Sends a copy of every multicast packet of the tunnel interface `ifindex` to a peer from now on.
    pub fn add(
        &mut self,
        interfaces: &mut InterfaceTable,
        ifindex: u32,
        peer: u32,
    ) -> Result<(), DataPathError> {
        match self.places.get(&peer) {
            Some(place) if place.ifindex == ifindex => return Ok(()),
            Some(_) => self.remove(interfaces, peer)?,
            None => {}
        }
        let next = self.first.get(&ifindex).copied().unwrap_or(0);
        self.places.insert(peer, Place { ifindex, previous: 0, next });
        // Complete before anything leads to it.
        self.write(peer, next)?;
        self.link(interfaces, ifindex, 0, peer)?;
        if let Some(place) = self.places.get_mut(&next) {
            place.previous = peer;
        }
        Ok(())
    }

    /// Sends a peer no more copies; nothing happens when it gets none.
    pub fn remove(&mut self, interfaces: &mut InterfaceTable, peer: u32) -> Result<(), DataPathError> {
        let Some(Place { ifindex, previous, next }) = self.places.remove(&peer) else { return Ok(()) };
        self.link(interfaces, ifindex, previous, next)?;
        if let Some(place) = self.places.get_mut(&next) {
            place.previous = previous;
        }
        Ok(())
    }

    /// The peers that get copies of what a tunnel interface sends, the one that was added last first.
    pub fn receivers(&self, ifindex: u32) -> Vec<u32> {
        let first = self.first.get(&ifindex).copied();
        std::iter::successors(first, |peer| self.places.get(peer).map(|place| place.next))
            .take_while(|peer| *peer != 0)
            .collect()
    }

    /// Makes `next` follow `previous`, or be the first.
    fn link(
        &mut self,
        interfaces: &mut InterfaceTable,
        ifindex: u32,
        previous: u32,
        next: u32,
    ) -> Result<(), DataPathError> {
        if previous == 0 {
            self.first.insert(ifindex, next);
            return interfaces.set_first_receiver(ifindex, next);
        }
        if let Some(place) = self.places.get_mut(&previous) {
            place.next = next;
        }
        self.write(previous, next)
    }

    fn write(&mut self, peer: u32, next: u32) -> Result<(), DataPathError> {
        let written = self.map.set(peer, MulticastReceiver { next }, 0);
        written.map_err(DataPathError::map(map_names::MULTICAST, "write"))
    }
}
