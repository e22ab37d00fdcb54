//! What the data path has to know of interfaces: `INTERFACES`.

use aya::maps::{HashMap, MapData, MapError};
use dmvpn_common::{Interface, InterfaceRole, map_names};

use super::{ControlTable, DataPathError, TunnelParameters};

/// The tunnel interfaces, and the interfaces that are accelerated.
pub struct InterfaceTable {
    map: HashMap<MapData, u32, Interface>,
    control: ControlTable,
}

impl InterfaceTable {
    pub(super) fn new(map: HashMap<MapData, u32, Interface>, control: ControlTable) -> Self {
        Self { map, control }
    }

    /// Says that packets between the tunnels and this interface may bypass the kernel's stack
    /// ([`FastPath::Full`]). `mac` is its link-layer address: call it again when that changes.
    pub fn accelerate(&mut self, ifindex: u32, mac: [u8; 6]) -> Result<(), DataPathError> {
        self.write(ifindex, Interface { role: InterfaceRole::Lan, mac, ..Interface::default() })
    }

    /// Forgets an interface; nothing happens when it is not known.
    pub fn remove(&mut self, ifindex: u32) -> Result<(), DataPathError> {
        match self.map.remove(&ifindex) {
            Ok(()) => self.control.forget_routes(),
            Err(MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(DataPathError::map(map_names::INTERFACES, "remove from")(error)),
        }
    }

    /// Every interface in the map, also those of an earlier run.
    pub fn entries(&self) -> Result<Vec<(u32, Interface)>, DataPathError> {
        self.map.iter().collect::<Result<_, _>>().map_err(DataPathError::map(map_names::INTERFACES, "read"))
    }

    /// Adds a tunnel's interface. One that is there already keeps what else is known of it.
    pub(super) fn set_tunnel(&mut self, tunnel: &TunnelParameters) -> Result<(), DataPathError> {
        let TunnelParameters { id, ifindex, fast_path, mtu, segments, .. } = *tunnel;
        let old = match self.map.get(&ifindex, 0) {
            Ok(old) => old,
            Err(MapError::KeyNotFound) => Interface::default(),
            Err(error) => return Err(DataPathError::map(map_names::INTERFACES, "read")(error)),
        };
        let kept = if old.tunnel == id { old } else { Interface::default() };
        let [mss_ipv4, mss_ipv6] = segments.limits(mtu);
        let role = InterfaceRole::Tunnel;
        self.write(ifindex, Interface { role, tunnel: id, fast_path, mss_ipv4, mss_ipv6, ..kept })
    }

    /// Says with whom a tunnel interface's list of receivers begins. No interface is no error: its list went with it.
    pub(super) fn set_first_receiver(&mut self, ifindex: u32, peer: u32) -> Result<(), DataPathError> {
        let old = match self.map.get(&ifindex, 0) {
            Ok(old) => old,
            Err(MapError::KeyNotFound) => return Ok(()),
            Err(error) => return Err(DataPathError::map(map_names::INTERFACES, "read")(error)),
        };
        let written = self.map.insert(ifindex, Interface { first_receiver: peer, ..old }, 0);
        written.map_err(DataPathError::map(map_names::INTERFACES, "write"))
    }

    fn write(&mut self, ifindex: u32, interface: Interface) -> Result<(), DataPathError> {
        self.map.insert(ifindex, interface, 0).map_err(DataPathError::map(map_names::INTERFACES, "write"))?;
        self.control.forget_routes()
    }
}
