//! Addresses of packet sockets.

use std::io;

use nix::{
    libc,
    sys::socket::{LinkAddr, SockaddrLike as _},
};

/// The address of an interface and a protocol.
pub(super) fn address(ifindex: u32, protocol: libc::c_int) -> io::Result<LinkAddr> {
    let invalid = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).map_err(invalid)?,
        sll_protocol: u16::try_from(protocol).map_err(invalid)?.to_be(),
        sll_ifindex: i32::try_from(ifindex).map_err(invalid)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of_val(&address)).map_err(invalid)?;
    #[expect(unsafe_code, reason = "nix makes this address from a pointer only")]
    // SAFETY: the pointer is to an address of this length that lives across the call.
    let address = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) };
    address.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}
