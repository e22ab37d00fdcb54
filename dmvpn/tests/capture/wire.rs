//! A namespace with a veth pair, and frames that are put on it.

use std::{fs::File, io::Write, os::fd::AsRawFd, panic::resume_unwind, process::Command, thread};

use nix::{
    libc,
    net::if_::if_nametoindex,
    sched::{CloneFlags, unshare},
    sys::socket::{LinkAddr, MsgFlags, SockaddrLike, sendto},
};
use socket2::{Domain, Socket, Type};

/// Runs `test` in a new network namespace with two interfaces, `near` and `far`, that are joined.
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace (run these tests as root)");
        // Nothing but what the tests send: no IPv6 router solicitations.
        ip("link add near type veth peer name far");
        for interface in ["near", "far"] {
            ip(&format!("link set {interface} addrgenmode none"));
            ip(&format!("link set {interface} up"));
        }
        test();
    });
    if let Err(panic) = thread.join() {
        resume_unwind(panic);
    }
}

/// Runs `ip`.
pub(crate) fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// Sends frames on an interface as they are.
pub(crate) struct Wire {
    socket: Socket,
    address: LinkAddr,
}

impl Wire {
    pub(crate) fn open(interface: &str) -> Self {
        let address = libc::sockaddr_ll {
            sll_family: u16::try_from(libc::AF_PACKET).unwrap(),
            sll_protocol: 0,
            sll_ifindex: i32::try_from(if_nametoindex(interface).unwrap()).unwrap(),
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        #[expect(unsafe_code, reason = "nix makes this address from a pointer only")]
        // SAFETY: the pointer is to an address that lives across the call.
        let address = unsafe { LinkAddr::from_raw((&raw const address).cast(), None) }.unwrap();
        Self { socket: Socket::new(Domain::PACKET, Type::RAW, None).unwrap(), address }
    }

    pub(crate) fn send(&self, frame: &[u8]) {
        let sent = sendto(self.socket.as_raw_fd(), frame, &self.address, MsgFlags::empty()).unwrap();
        assert_eq!(sent, frame.len());
    }
}

/// A device without Ethernet headers, on which the test is the other side.
pub(crate) struct Tun(File);

impl Tun {
    pub(crate) fn open(name: &str) -> Self {
        #[repr(C)]
        struct Request {
            name: [u8; libc::IFNAMSIZ],
            flags: libc::c_short,
            padding: [u8; 22],
        }
        nix::ioctl_write_ptr_bad!(set_interface, libc::TUNSETIFF as libc::Ioctl, Request);

        let file = File::options().read(true).write(true).open("/dev/net/tun").unwrap();
        let flags = libc::c_short::try_from(libc::IFF_TUN | libc::IFF_NO_PI).unwrap();
        let mut request = Request { name: [0; libc::IFNAMSIZ], flags, padding: [0; 22] };
        request.name[..name.len()].copy_from_slice(name.as_bytes());
        #[expect(unsafe_code, reason = "there is no other way to make such a device")]
        // SAFETY: the request is as long as the kernel's, and lives across the call.
        unsafe { set_interface(file.as_raw_fd(), &raw const request) }.unwrap();
        ip(&format!("link set {name} addrgenmode none"));
        ip(&format!("link set {name} up"));
        Self(file)
    }

    /// Lets the device receive a packet.
    pub(crate) fn receive(&self, packet: &[u8]) {
        assert_eq!((&self.0).write(packet).unwrap(), packet.len());
    }
}

/// Bytes written as hexadecimal digits.
fn bytes(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// A spoke registers with its hub; with the password `secret`.
const REGISTRATION: &str = "
    0001 0800 0000000000 ff 006a fcaa 0034 01 03 04 00 04 04 8002 00000007
    c6336402 0a000002 0a000001 00 20 0000 05c0 1c20 00 00 00 00
    8003 0000 8004 0000 8005 0000 8007 000a 00000001 736563726574
    0009 0014 00 20 0000 05c0 0000 04 00 04 00 cb007101 0a000001 8000 0000";

/// Ethernet from one made-up station to another, without the type.
const STATIONS: &str = "02000000000a 02000000000b";

/// An IPv4 header of 20 bytes with its protocol and fragment field, in front of so many bytes.
fn ipv4(payload: usize, protocol: u8, fragment: u16) -> String {
    format!("0800 45c0 {:04x} 0001 {fragment:04x} ff {protocol:02x} 0000 c6336402 cb007101", 20 + payload)
}

fn frame(parts: &[&str]) -> Vec<u8> {
    parts.iter().flat_map(|part| bytes(part)).collect()
}

/// Every form of frame that is to be recorded.
pub(crate) fn nhrp_frames() -> Vec<Vec<u8>> {
    let v6 = "86dd 6c000000 006e 2f ff 20010db800000000000000000000000a 20010db800000000000000000000000b";
    let options = "0800 46c0 008a 0001 4000 ff 2f 0000 c6336402 cb007101 94040000";
    vec![
        frame(&[STATIONS, &ipv4(114, 47, 0x4000), "2000 2001 0000002a", REGISTRATION]),
        frame(&[STATIONS, &ipv4(110, 47, 0), "0000 2001", REGISTRATION]),
        frame(&[STATIONS, &ipv4(118, 47, 0x2000), "3000 2001 0000002a 00000001", REGISTRATION]),
        frame(&[STATIONS, options, "2000 2001 0000002a", REGISTRATION]),
        frame(&[STATIONS, v6, "0000 2001", REGISTRATION]),
    ]
}

/// Frames that are not to be recorded, each near to one that is.
pub(crate) fn decoys() -> Vec<Vec<u8>> {
    let v6 = |next| {
        format!(
            "86dd 6c000000 0008 {next} ff 20010db800000000000000000000000a 20010db800000000000000000000000b"
        )
    };
    vec![
        // User traffic, another protocol, a later fragment.
        frame(&[STATIONS, &ipv4(30, 47, 0x4000), "2000 0800 0000002a", &"00".repeat(22)]),
        frame(&[STATIONS, &ipv4(30, 17, 0x4000), "2000 2001 0000002a", &"00".repeat(22)]),
        frame(&[STATIONS, &ipv4(30, 47, 0x0001), "2000 2001 0000002a", &"00".repeat(22)]),
        frame(&[STATIONS, &v6("2f"), "0000 86dd 00000000"]),
        frame(&[STATIONS, &v6("11"), "0000 2001 00000000"]),
        frame(&[STATIONS, "0806 0001080006040001 02000000000b c6336402 000000000000 cb007101"]),
    ]
}
