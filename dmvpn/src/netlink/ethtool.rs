//! Device features that rtnetlink does not know.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// `ETHTOOL_GGRO`: is receive offload on?
const GET_GRO: u32 = 0x2b;
/// `ETHTOOL_SGRO`: switch receive offload.
const SET_GRO: u32 = 0x2c;

/// `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Switches generic receive offload on for the interface `name`; whether it was off.
pub(super) fn enable_gro(name: &str) -> io::Result<bool> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut value = EthtoolValue { command: GET_GRO, data: 0 };
    ethtool(&socket, name, &mut value)?;
    if value.data != 0 {
        return Ok(false);
    }
    ethtool(&socket, name, &mut EthtoolValue { command: SET_GRO, data: 1 })?;
    Ok(true)
}

fn ethtool(socket: &OwnedFd, name: &str, value: &mut EthtoolValue) -> io::Result<()> {
    let mut interface_name = [0; libc::IFNAMSIZ];
    if name.len() >= interface_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (place, byte) in interface_name.iter_mut().zip(name.bytes()) {
        *place = byte.cast_signed();
    }
    let request = libc::ifreq {
        ifr_name: interface_name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: std::ptr::from_mut(value).cast() },
    };
    // SAFETY: SIOCETHTOOL takes a pointer to an ifreq with a terminated name and a pointer to a value of the
    // shape its command word says; both commands used here mean `struct ethtool_value`, and both objects
    // outlive the call.
    #[expect(unsafe_code, reason = "there is no safe wrapper for SIOCETHTOOL")]
    let result =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as libc::Ioctl, &raw const request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
