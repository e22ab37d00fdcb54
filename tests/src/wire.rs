//! A wire between the underlay's router and a node: a veth pair made to behave like two NICs.
//!
//! A NIC puts complete packets of at most the MTU on the wire, and takes whatever arrives. A veth does neither by
//! itself:
//!
//! - It hands packets over as the sender left them: without a checksum (the NIC would add it) and larger than the MTU
//!   (the NIC would cut them up). An XDP program at the other end would see, and send on, garbage. So these offloads
//!   are off: the kernel completes packets before they leave.
//! - Frames that an XDP program sends (`XDP_TX`) are taken by the other end only when that has an XDP program too.
//!   Without one they wait in a ring that nobody empties, and are lost when it is full; generic receive offload at
//!   the other end makes it take redirected frames, but not these. So the router's end gets a program that lets
//!   everything pass.

use std::{
    ffi::CString,
    fs, io,
    net::Ipv4Addr,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use anyhow::{Context as _, Result};

use crate::namespace::Namespace;

/// The node's end; the router's end has the name of the node.
pub const UNDERLAY: &str = "underlay0";

/// Connects a node to the router. `pin` is a path on a BPF file system that nobody else uses meanwhile.
pub(crate) fn connect(
    router: (&Namespace, Ipv4Addr),
    node: (&Namespace, Ipv4Addr),
    name: &str,
    pin: &Path,
) -> Result<()> {
    let (router, gateway) = router;
    let (node, address) = node;
    let inside = node.name();
    router.command(&format!("ip link add {name} type veth peer name {UNDERLAY} netns {inside}"))?;
    for (namespace, interface, address) in [(router, name, gateway), (node, UNDERLAY, address)] {
        namespace.command(&format!("ip address add {address}/24 dev {interface}"))?;
        namespace.command(&format!("ethtool -K {interface} tx off tso off gso off"))?;
        namespace.command(&format!("ip link set {interface} up"))?;
    }
    node.command(&format!("ip route add default via {gateway}"))?;

    attach_pass_program(router, name, pin)
}

/// Attaches an XDP program to an interface that lets everything pass. `pin` is a path on a BPF file system that nobody
/// else uses meanwhile.
pub(crate) fn attach_pass_program(namespace: &Namespace, interface: &str, pin: &Path) -> Result<()> {
    pin_pass_program(pin).with_context(|| format!("cannot pin an XDP program at {}", pin.display()))?;
    let attached = namespace.command(&format!("ip link set dev {interface} xdpdrv pinned {}", pin.display()));
    // The interface keeps the program; the name has served its purpose.
    fs::remove_file(pin).with_context(|| format!("cannot remove {}", pin.display()))?;
    attached.map(drop)
}

/// `BPF_PROG_LOAD`, `BPF_OBJ_PIN`, `BPF_PROG_TYPE_XDP` of `linux/bpf.h`.
const PROG_LOAD: libc::c_int = 5;
const OBJ_PIN: libc::c_int = 6;
const TYPE_XDP: u32 = 6;

/// `r0 = XDP_PASS; exit`.
const PASS: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 2, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];

/// First fields of `union bpf_attr` for `BPF_PROG_LOAD`; the kernel takes the rest as zero.
#[repr(C)]
struct Load {
    kind: u32,
    instructions: u32,
    code: u64,
    license: u64,
}

/// The same for `BPF_OBJ_PIN`.
#[repr(C)]
struct Pin {
    path: u64,
    program: u32,
    flags: u32,
}

/// Loads the program and pins it, so that `ip` can attach it.
fn pin_pass_program(path: &Path) -> Result<()> {
    let license = c"GPL";
    let load = Load {
        kind: TYPE_XDP,
        instructions: u32::try_from(PASS.len())?,
        code: PASS.as_ptr() as u64,
        license: license.as_ptr() as u64,
    };
    let program = bpf(PROG_LOAD, &load).context("loading")?;
    // SAFETY: the kernel has just returned this descriptor, nobody else has it.
    #[expect(unsafe_code, reason = "no crate of the workspace loads a program that is not in an object file")]
    let program = unsafe { OwnedFd::from_raw_fd(program) };

    let text = CString::new(path.as_os_str().as_bytes())?;
    let pin = Pin { path: text.as_ptr() as u64, program: u32::try_from(program.as_raw_fd())?, flags: 0 };
    bpf(OBJ_PIN, &pin).context("pinning").map(drop)
}

/// The system call. `attributes` must be what `command` expects, and what it points to must be alive.
fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: both commands only read the attributes and what they point to, which the callers keep alive.
    #[expect(unsafe_code, reason = "bpf(2) has no wrapper in libc")]
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    match libc::c_int::try_from(result) {
        Ok(value) if value >= 0 => Ok(value),
        _ => Err(io::Error::last_os_error()),
    }
}
